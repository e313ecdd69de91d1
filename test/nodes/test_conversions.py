# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from edgevlm_msgs.msg import CloudContext as CloudContextMsg
from edgevlm_msgs.msg import Region as RegionMsg
from edgevlm_ros.cloud.selection import Heard
from edgevlm_ros.nodes.conversions import (
    check_size,
    to_answer_msg,
    to_context,
    to_focus_msg,
    to_heard,
    to_nanoseconds,
    to_region,
    to_region_msg,
    to_time,
)
from edgevlm_ros.transfer.types import Answer, FocusMap, Question, Region, Source, Status, Turn

SECOND = 1_000_000_000
QUESTION = Question("Where is the person?")


@given(st.integers(0, 2**31 * SECOND - 1))
def test_stamps_survive(stamp: int) -> None:
    assert to_nanoseconds(to_time(stamp)) == stamp


def test_regions_survive_in_whole_pixels() -> None:
    region = Region("cart", 0.5, 10, 20, 110, 220)
    assert to_region(to_region_msg(region)) == region


def test_the_bridge_hears_of_an_answer_what_it_chooses_keyframes_by() -> None:
    told = Turn(4 * SECOND, QUESTION, "left", Source.CLOUD)
    answer = Answer(
        stamp=7 * SECOND,
        question=QUESTION,
        text="right",
        confidence=0.5,
        inference_time=0.1,
        first_token_time=0.0,
        context=told,
    )
    assert to_heard(to_answer_msg(answer, Header(), "m", 0.0)) == Heard(QUESTION.id, "right", 0.5, 3.0)
    untold = replace(answer, context=None, suspended=True)
    assert to_heard(to_answer_msg(untold, Header(), "m", 0.0)) == Heard(QUESTION.id, "right", 0.5, None, suspended=True)


def test_a_context_message_is_read_whole() -> None:
    header = Header(stamp=to_time(7 * SECOND + 5))
    box = RegionMsg(label="cart", score=1.0, box=RegionOfInterest(x_offset=1, y_offset=2, width=3, height=4))
    message = CloudContextMsg(
        header=header, keyframe_id=3, question_id=QUESTION.id, text="left", regions=[box], image_width=640,
        image_height=480, model="big",
    )  # fmt: skip
    context = to_context(message)
    assert (context.stamp, context.keyframe_id, context.status) == (7 * SECOND + 5, 3, Status.OK)
    assert context.regions == (Region("cart", 1.0, 1, 2, 4, 6),)
    message.status = 77
    with pytest.raises(ValueError, match="77"):
        to_context(message)


HUGE = "x" * 1_000_000


@pytest.mark.parametrize(
    "fields",
    [
        *({name: HUGE} for name in ("text", "error_msg", "model", "question")),
        {"regions": [RegionMsg(label=HUGE)]},
        {"regions": [RegionMsg()] * 5000},
    ],
)
def test_a_context_that_is_too_large_to_keep_is_refused(fields: dict[str, object]) -> None:
    check_size(CloudContextMsg(text="left", regions=[RegionMsg(label="cart")]))
    with pytest.raises(ValueError, match="at most"):
        check_size(CloudContextMsg(**fields))


def test_the_statuses_are_those_of_the_message() -> None:
    for status in Status:
        assert getattr(CloudContextMsg, f"STATUS_{status.name}") == status


def test_an_answer_tells_its_frame_its_context_and_its_focus() -> None:
    header = Header(frame_id="camera", stamp=to_time(9 * SECOND))
    focus = FocusMap(np.zeros((5, 6), np.float32), (Region("r", 0.5, 1, 2, 3, 4),), (0, 0, 320, 240), 7 * SECOND)
    context = Turn(7 * SECOND, QUESTION, "left", Source.CLOUD)
    answer = Answer(9 * SECOND, QUESTION, "right", 0.5, 0.1, 0.05, context, focus, "crop")
    message = to_answer_msg(answer, header, "micro", 0.12)
    assert message.header == header
    assert (message.question_id, message.text, message.model) == (QUESTION.id, "right", "micro")
    assert message.context_used
    assert message.context_age == pytest.approx(2.0)
    told = to_focus_msg(answer, header, 0.0)
    assert (told.mode, told.rows, told.cols, told.crop.width, told.crop.height) == ("crop", 5, 6, 320, 240)
    assert told.context_age == pytest.approx(2.0)
    bare = to_answer_msg(Answer(9 * SECOND, QUESTION, "right", 0.5, 0.1, 0.05), header, "micro", 0.12)
    assert not bare.context_used
    assert to_nanoseconds(bare.context_stamp) == 0
