# SPDX-License-Identifier: Apache-2.0
"""What the large model said is kept, by model, prompt, bag, frame and question."""

from __future__ import annotations

from pathlib import Path

from edgevlm_ros.evaluation.large_model import Spoken
from edgevlm_ros.evaluation.replies import append_replies, fingerprint, missing, read_replies, replies_file
from edgevlm_ros.evaluation.robot import Bridge
from edgevlm_ros.evaluation.streams import open_stream
from support.small_bag import whole


def test_replies_are_read_as_they_were_written_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "replies.jsonl"
    assert read_replies(file) == {}
    said = {(1, "Where?"): Spoken('links\u2028, "rechts"', (4, 5)), (2, "Where?"): Spoken("", ())}
    append_replies(file, said)
    with file.open("a") as torn:
        torn.write('{"stamp": 3, "ques')
    assert read_replies(file) == said
    append_replies(file, {(4, "Who?"): Spoken("x", (1,))})
    assert (4, "Who?") in read_replies(file)


def test_only_what_is_not_known_is_asked_and_once() -> None:
    assert missing([(1, "a"), (2, "a"), (1, "a"), (1, "b")], {(2, "a"): Spoken("", ())}) == [(1, "a"), (1, "b")]


def test_a_model_is_known_by_its_files_and_a_hub_id_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = fingerprint(str(tmp_path))
    (tmp_path / "metrics.json").write_text("{}")
    assert fingerprint(str(tmp_path)) == before
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert fingerprint(str(tmp_path)) != before
    assert fingerprint("someone/model") == "someone/model"


def test_another_bag_prompt_or_model_has_another_file(tmp_path: Path) -> None:
    stream = open_stream(whole(tmp_path / "one"))
    longer = open_stream(whole(tmp_path / "more" / "one", [0.2 * n for n in range(30)]))
    files = {
        replies_file(tmp_path, "someone/model", Bridge(), stream),
        replies_file(tmp_path, "someone/other", Bridge(), stream),
        replies_file(tmp_path, "someone/model", Bridge(max_regions=1), stream),
        replies_file(tmp_path, "someone/model", Bridge(), longer),
    }
    assert len(files) == 4
    assert replies_file(tmp_path, "someone/model", Bridge(timeout=1.0), stream) in files
