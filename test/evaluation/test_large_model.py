# SPDX-License-Identifier: Apache-2.0
"""The large model without its server says what the bridge would hear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevlm_ros.cloud.features import read_features
from edgevlm_ros.cloud.jpeg import Upload, encode
from edgevlm_ros.evaluation.large_model import LargeModel, decoded, parsed
from edgevlm_ros.evaluation.robot import Bridge
from support.tiny_lvlm import REPLY, SIZE, make_tiny_lvlm

TOKENS = (SIZE // 16) ** 2


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> LargeModel:
    return LargeModel(str(make_tiny_lvlm(tmp_path_factory.mktemp("lvlm"))), Bridge(), "cpu")


@pytest.fixture
def upload() -> Upload:
    return encode(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8), 640, 85)


def test_a_reply_is_the_model_s_words_and_tokens(large: LargeModel, upload: Upload) -> None:
    spoken = large.ask(upload, "Where is the person?")
    assert spoken.text == "".join(REPLY)
    assert len(spoken.tokens) == len(REPLY)


def test_the_bridge_reads_it_in_pixels_of_the_source(large: LargeModel, upload: Upload) -> None:
    read = parsed(large.ask(upload, "Where?").text, upload, Bridge())
    assert read is not None
    assert (read.text, read.regions[0].label, read.regions[0].y0) == ("left", "person", 15.0)
    assert parsed('{"answer": ', upload, Bridge()) is None


@pytest.mark.parametrize(("guess", "accepted"), [("left", 2), ("right", 1)])
def test_a_draft_changes_no_word_and_is_accepted_as_far_as_it_is_right(
    large: LargeModel, upload: Upload, guess: str, accepted: int
) -> None:
    done = large.complete(upload, "Where?", draft=large.beginning(guess))
    assert done.text == large.ask(upload, "Where?").text
    assert (done.accepted_tokens, done.drafted_tokens >= accepted) == (accepted, True)


def test_split_after_the_eyes_it_still_answers_and_its_features_have_a_size(large: LargeModel, upload: Upload) -> None:
    assert large.ask(upload, "Where?", split=True).text == "".join(REPLY)
    assert large.ask(upload, "Where?", split=True, keep=0.25).text == "".join(REPLY)
    assert TOKENS * (64 + 2) < len(large.features(upload)) < TOKENS * (64 + 2) + 600
    assert len(read_features(large.features(upload, keep=0.25)).kept) == TOKENS / 4


def test_the_server_s_pixels_are_those_of_the_jpeg(upload: Upload) -> None:
    assert decoded(upload).shape == (60, 80, 3)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"config\.json"):
        LargeModel(str(tmp_path), Bridge())
