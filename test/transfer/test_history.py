# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.transfer.history import History, Replacement, bounded
from edgevlm_ros.transfer.types import CloudContext, Outcome, Question, Source, Status, Turn

SECOND = 1_000_000_000
WHERE, WHAT = Question("where is it?"), Question("what is it?")
RULE = Replacement()


def edge(second: int, text: str = "edge", question: Question = WHERE) -> Turn:
    return Turn(second * SECOND, question, text, Source.EDGE)


def reply(second: int, text: str = "cloud", question: Question = WHERE, status: Status = Status.OK) -> CloudContext:
    return CloudContext(second * SECOND, second, question.id, status, text)


def history(*turns: Turn) -> History:
    result = History()
    for turn in turns:
        result = result.said(turn)
    return result


def test_a_reply_takes_the_turn_of_its_keyframe() -> None:
    after, outcome = history(edge(1), edge(2)).replaced(reply(2), WHERE, 3 * SECOND, RULE)
    assert outcome is Outcome.APPLIED
    assert [(t.stamp // SECOND, t.text, t.source) for t in after.turns] == [
        (1, "edge", Source.EDGE),
        (2, "cloud", Source.CLOUD),
    ]


def test_a_reply_to_a_frame_that_was_dropped_takes_the_turn_before_it() -> None:
    after, _ = history(edge(1), edge(2)).replaced(replace(reply(2), stamp=SECOND * 5 // 2), WHERE, 3 * SECOND, RULE)
    assert [t.text for t in after.turns] == ["edge", "cloud"]


def test_a_reply_before_any_turn_makes_one() -> None:
    after, outcome = History().replaced(reply(2), WHERE, None, RULE)
    assert outcome is Outcome.APPLIED
    assert [t.source for t in after.turns] == [Source.CLOUD]


@pytest.mark.parametrize(("later", "left"), [("drop", ["e1", "cloud"]), ("keep", ["e1", "cloud", "e3", "e4"])])
def test_turns_said_without_knowing_better_are_dropped_or_kept(later: str, left: list[str]) -> None:
    before = history(*(edge(second, f"e{second}") for second in (1, 2, 3, 4)))
    after, _ = before.replaced(reply(2), WHERE, 4 * SECOND, Replacement(later_turns=later))  # type: ignore[arg-type]
    assert [t.text for t in after.turns] == left


def test_turns_of_other_questions_are_left_alone() -> None:
    after, _ = history(edge(1, "w", WHAT), edge(2), edge(3, "w", WHAT)).replaced(reply(2), WHERE, 4 * SECOND, RULE)
    assert [t.text for t in after.turns] == ["w", "cloud", "w"]


@pytest.mark.parametrize(
    ("context", "outcome"),
    [
        (reply(2, status=Status.TIMEOUT, text=""), Outcome.FAILED),
        (reply(2, text=""), Outcome.FAILED),
        (reply(2, question=WHAT), Outcome.OTHER_QUESTION),
        (reply(5), Outcome.DUPLICATE),
        (reply(4), Outcome.STALE),
        (reply(90), Outcome.STALE),
    ],
)
def test_what_comes_late_or_does_not_belong_changes_nothing(context: CloudContext, outcome: Outcome) -> None:
    before, _ = history(edge(2), edge(5)).replaced(reply(5), WHERE, 6 * SECOND, RULE)
    after, seen = before.replaced(context, WHERE, 10 * SECOND, RULE)
    assert seen is outcome
    assert after is before


def test_an_old_reply_is_stale() -> None:
    _, outcome = history(edge(2)).replaced(reply(2), WHERE, 30 * SECOND, Replacement(max_context_age=10.0))
    assert outcome is Outcome.STALE


def test_a_context_is_told_until_it_is_too_old() -> None:
    after, _ = history(edge(2)).replaced(reply(2), WHERE, 3 * SECOND, RULE)
    rule = Replacement(max_context_age=5.0)
    assert [t.text for t in after.prompt_turns(WHERE, 7 * SECOND, rule)] == ["cloud"]
    assert after.prompt_turns(WHERE, 8 * SECOND, rule) == ()
    assert after.prompt_turns(WHAT, 7 * SECOND, rule) == ()
    assert after.prompt_turns(WHERE, 7 * SECOND, Replacement(enabled=False)) == ()
    assert after.prompt_turns(WHERE, 7 * SECOND, Replacement(max_turns=0)) == ()


def test_the_edges_own_turns_are_told_only_if_asked_for() -> None:
    turns = history(edge(1, "a"), edge(2, "b"), edge(3, "c"))
    assert turns.prompt_turns(WHERE, 4 * SECOND, RULE) == ()
    told = turns.prompt_turns(WHERE, 4 * SECOND, Replacement(own_turns=True, max_turns=2))
    assert [t.text for t in told] == ["b", "c"]


def test_the_history_is_bounded() -> None:
    turns = History(capacity=3)
    for second in range(10):
        turns = turns.said(edge(second))
    assert [t.stamp // SECOND for t in turns.turns] == [7, 8, 9]


events = st.lists(
    st.one_of(
        st.builds(edge, st.integers(0, 20), st.just("e"), st.sampled_from([WHERE, WHAT])),
        st.builds(reply, st.integers(0, 20), st.sampled_from(["c", ""]), st.sampled_from([WHERE, WHAT])),
    ),
    max_size=30,
)


@given(events, st.sampled_from(["drop", "keep"]))
def test_no_order_of_events_applies_a_reply_twice_or_to_another_question(
    order: list[Turn | CloudContext], later: str
) -> None:
    rule = Replacement(later_turns=later, max_context_age=100.0)  # type: ignore[arg-type]
    state = History()
    applied: set[int] = set()
    for event in order:
        if isinstance(event, Turn):
            state = state.said(event)
            continue
        state, outcome = state.replaced(event, WHERE, 20 * SECOND, rule)
        if outcome is Outcome.APPLIED:
            assert event.question_id == WHERE.id
            assert event.stamp not in applied
            applied.add(event.stamp)
    assert [t.stamp for t in state.turns] == sorted(t.stamp for t in state.turns)
    cloud = [t for t in state.turns if t.source is Source.CLOUD]
    assert all(t.question == WHERE for t in cloud)


@given(st.text(max_size=200), st.integers(0, 40))
def test_bounded_text_never_exceeds_its_budget(text: str, budget: int) -> None:
    cut = bounded(text, budget, lambda part: len(part.split()))
    assert len(cut.split()) <= budget
    assert text.strip().startswith(cut)


def test_a_text_is_cut_at_a_sentence_if_one_fits() -> None:
    def words(part: str) -> int:
        return len(part.split())

    text = "A person is ahead. They walk left. They carry a box"
    assert bounded(text, 8, words) == "A person is ahead. They walk left."
    assert bounded(text, 3, words) == "A person is"
    assert bounded(text, 100, words) == text
