# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from edgevlm_ros.edge.drafts import Drafts, agreed


def test_a_draft_is_the_last_answer_to_the_same_question() -> None:
    drafts = Drafts()
    drafts.put("where?", [1, 2])
    drafts.put("who?", [3])
    drafts.put("where?", [4])
    assert (drafts.get("where?"), drafts.get("who?"), drafts.get("when?")) == ((4,), (3,), ())


def test_a_draft_is_of_the_same_camera() -> None:
    drafts = Drafts(capacity=1)
    drafts.put("where?", [1], "front")
    drafts.put("where?", [2], "rear")
    assert (drafts.get("where?", "front"), drafts.get("where?", "rear"), drafts.get("where?")) == ((1,), (2,), ())


def test_seconds_passed_and_pixels_of_boxes_make_no_other_question() -> None:
    drafts = Drafts()
    drafts.put("[9 s later]\nwhere?\nperson at 10, 20", [1])
    assert drafts.get("[10 s later]\nwhere?\nperson at 9, 123") == (1,)


def test_the_question_that_was_answered_longest_ago_is_forgotten_first() -> None:
    drafts = Drafts(capacity=2)
    for question in ("a", "b", "a", "c"):
        drafts.put(question, [1])
    assert [drafts.get(question) for question in "abc"] == [(1,), (), (1,)]


def test_a_draft_agrees_up_to_its_first_wrong_token() -> None:
    assert agreed((), (1, 2)) == agreed((3, 2), (1, 2)) == agreed((1,), ()) == 0
    assert agreed((1, 3, 2), (1, 2, 2)) == 1
    assert agreed((1, 2, 3), (1, 2)) == agreed((1, 2), (1, 2, 3)) == 2
