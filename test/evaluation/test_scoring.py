# SPDX-License-Identifier: Apache-2.0
"""What answers are worth at the times of the truth."""

from __future__ import annotations

import math
from pathlib import Path

from edgevlm_ros.evaluation.outcomes import Key, Said
from edgevlm_ros.evaluation.scoring import scored
from edgevlm_ros.evaluation.simulation import Played
from edgevlm_ros.evaluation.streams import open_stream
from edgevlm_ros.evaluation.timeline import Call
from edgevlm_ros.transfer.types import Question
from support.small_bag import WHERE, stamp, whole

KEY = Key("p", "d", "s", "test", "3", 0)
ASKED = Question(WHERE)


def said(published: float, text: str, frame: float) -> Said:
    return Said(stamp(published), ASKED, text, stamp(frame))


def test_each_truth_is_worth_the_newest_answer_by_then_and_knows_how_old_its_frame_is(tmp_path: Path) -> None:
    stream = open_stream(whole(tmp_path / "bag"))  # left until 2 s, right from then on
    call = Call(1, stamp(0), ASKED, stamp(0), None, stamp(9), 700)
    run = scored(stream, KEY, Played([said(3.1, "right", 1.0), said(0.3, "Left.", 0.2)], [call, call], {"lost": 2}))
    assert run.misses == 2
    assert run.correct == (0.0,) * 2 + (1.0,) * 8 + (0.0,) * 6 + (1.0,) * 4
    assert math.isnan(run.ages[1])
    assert [round(age, 3) for age in (run.ages[2], run.ages[16])] == [0.2, 2.2]
    assert [one.text for one in run.published] == ["Left.", "right"]
    assert (run.bytes_up, run.cloud_calls, run.outcomes, run.key) == (1400, 2, {"lost": 2}, KEY)


def test_a_judge_decides_what_is_right(tmp_path: Path) -> None:
    class Lenient:
        name = "lenient"

        def right(self, question: Question, answer: str, truth: str) -> float:
            return 0.5

    stream = open_stream(whole(tmp_path / "bag"))
    run = scored(stream, KEY, Played([said(0.3, "over there", 0.2)]), Lenient())
    assert set(run.correct) == {0.0, 0.5}
