# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.transfer.conversation import worded
from edgevlm_ros.transfer.history import History, Replacement, bounded, single_line
from edgevlm_ros.transfer.types import CloudContext, Outcome, Question, Source, Status, Turn

SECOND = 1_000_000_000
WHERE, WHAT = Question("where is it?"), Question("what is it?")
RULE = Replacement()


def words(text: str) -> int:
    return len(text.split())


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


@pytest.mark.parametrize(
    ("keyframes", "left"),
    [
        ((), ["e1", "cloud", "e3"]),
        ([(WHERE.id, 2 * SECOND)], ["e1", "e3"]),
        ([(WHAT.id, 2 * SECOND), (WHERE.id, 3 * SECOND)], ["e1", "cloud", "e3"]),
        (None, ["e1", "e3"]),
    ],
    ids=["of none", "of its keyframe", "of others", "of any"],
)
def test_what_the_cloud_said_can_be_left_out(keyframes: Sequence[tuple[int, int]] | None, left: list[str]) -> None:
    said, _ = history(edge(1, "e1")).said(edge(2)).replaced(reply(2), WHERE, 3 * SECOND, RULE)
    said = said.said(edge(3, "e3"))
    assert [turn.text for turn in said.without_cloud(keyframes).turns] == left
    assert len(said.turns) == 3


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
    assert [t.text for t in after.prompt_turns(WHERE, 7 * SECOND, rule, words)] == ["cloud"]
    assert after.prompt_turns(WHERE, 8 * SECOND, rule, words) == ()
    assert after.prompt_turns(WHAT, 7 * SECOND, rule, words) == ()
    assert after.prompt_turns(WHERE, 7 * SECOND, Replacement(enabled=False), words) == ()
    assert after.prompt_turns(WHERE, 7 * SECOND, Replacement(max_turns=0), words) == ()


def test_the_edges_own_turns_are_told_only_if_asked_for() -> None:
    turns = history(edge(1, "a"), edge(2, "b"), edge(3, "c"))
    assert turns.prompt_turns(WHERE, 4 * SECOND, RULE, words) == ()
    told = turns.prompt_turns(WHERE, 4 * SECOND, Replacement(own_turns=True, max_turns=2), words)
    assert [t.text for t in told] == ["b", "c"]


def test_the_history_is_bounded() -> None:
    turns = History(capacity=3)
    for second in range(10):
        turns = turns.said(edge(second))
    assert [t.stamp // SECOND for t in turns.turns] == [7, 8, 9]


def test_many_turns_of_the_edge_do_not_drive_out_the_clouds() -> None:
    state, _ = History(capacity=4).said(edge(1)).replaced(reply(1), WHERE, 1 * SECOND, RULE)
    for second in range(2, 12):
        state = state.said(edge(second))
    assert [t.stamp // SECOND for t in state.turns] == [1, 9, 10, 11]
    assert [t.text for t in state.prompt_turns(WHERE, 12 * SECOND, RULE, words)] == ["cloud"]


def test_the_oldest_turns_are_left_out_of_a_prompt_over_its_budget() -> None:
    turns = history(*(edge(second, "two words") for second in range(1, 10)))
    rule = Replacement(own_turns=True, max_turns=9, provenance=False, max_history_tokens=17)
    told = turns.prompt_turns(WHERE, 10 * SECOND, rule, words)
    assert [t.stamp // SECOND for t in told] == [7, 8, 9]
    assert turns.prompt_turns(WHERE, 10 * SECOND, replace(rule, max_history_tokens=4), words) == ()


@dataclass(frozen=True, slots=True)
class Asked:
    """The standing question changes."""

    question: Question


questions = st.sampled_from([WHERE, WHAT])
texts = st.sampled_from(["", "yes", "on the left.", "a b c d e f g h. i j k l m n o p"])
events = st.lists(
    st.one_of(
        st.builds(edge, st.integers(0, 20), texts, questions),
        st.builds(reply, st.integers(0, 20), texts, questions, st.sampled_from([Status.OK, Status.OK, Status.TIMEOUT])),
        st.builds(Asked, questions),
    ),
    max_size=40,
)
rules = st.builds(
    Replacement,
    max_turns=st.integers(0, 5),
    later_turns=st.sampled_from(["drop", "keep"]),
    own_turns=st.booleans(),
    max_context_age=st.sampled_from([2.0, 6.0, 100.0]),
    max_history_tokens=st.integers(0, 60),
    provenance=st.booleans(),
)


def play(order: Sequence[Turn | CloudContext | Asked], rule: Replacement) -> tuple[History, list[CloudContext]]:
    """The history after events in an order as wild as can be, and the replies that were applied; checks every step."""
    state, standing, now = History(), WHERE, None
    applied: list[CloudContext] = []
    for event in order:
        if isinstance(event, Asked):
            standing = event.question
        elif isinstance(event, Turn):
            state, now = state.said(event), event.stamp
        else:
            before = state
            state, outcome = state.replaced(event, standing, now, rule)
            if outcome is Outcome.APPLIED:
                assert event.question_id == standing.id
                assert now is None or abs(now - event.stamp) <= rule.max_context_age * 1e9
                applied.append(event)
            else:
                assert state is before
        stamps = [turn.stamp for turn in state.turns]
        assert stamps == sorted(stamps)
        check_prompt(state, standing, now or 0, rule)
    return state, applied


def check_prompt(state: History, standing: Question, now: int, rule: Replacement) -> None:
    told = state.prompt_turns(standing, now, rule, words)
    exchanges, _ = worded(told, standing.text, now, rule.provenance)
    assert len(told) <= rule.max_turns
    assert sum(words(e.asked) + words(e.said) for e in exchanges) <= rule.max_history_tokens
    assert all(turn.question == standing for turn in told)
    cloud = [turn for turn in told if turn.source is Source.CLOUD]
    assert all(0 <= now - turn.stamp <= rule.max_context_age * 1e9 for turn in cloud)
    assert rule.own_turns or cloud == list(told)


@given(events, rules)
def test_no_order_of_events_applies_a_reply_twice_or_to_another_question(
    order: list[Turn | CloudContext | Asked], rule: Replacement
) -> None:
    state, applied = play(order, rule)
    keyframes = [(context.question_id, context.stamp) for context in applied]
    assert len(keyframes) == len(set(keyframes))
    spoken = {(t.question.id, t.stamp): t.text for t in state.turns if t.source is Source.CLOUD}
    assert spoken.items() <= {(c.question_id, c.stamp): c.text for c in applied}.items()
    for question_id in {WHERE.id, WHAT.id}:
        stamps = [stamp for asked, stamp in keyframes if asked == question_id]
        assert stamps == sorted(stamps)


@given(events, rules)
def test_the_same_events_give_the_same_history(order: list[Turn | CloudContext | Asked], rule: Replacement) -> None:
    assert play(order, rule) == play(order, rule)


@given(st.text(max_size=200), st.integers(0, 40))
def test_bounded_text_never_exceeds_its_budget(text: str, budget: int) -> None:
    for count in (words, len):
        cut = bounded(text, budget, count)
        assert count(cut) <= budget
        assert single_line(text[: 32 * budget]).startswith(cut)
        assert "\n" not in cut


def test_a_text_is_cut_at_a_sentence_if_one_fits_else_at_a_word_else_anywhere() -> None:
    text = "A person is ahead. They walk left. They carry a box"
    assert bounded(text, 8, words) == "A person is ahead. They walk left."
    assert bounded(text, 3, words) == "A person is"
    assert bounded(text, 100, words) == text
    assert bounded("前方有人。他向左走。", 7, len) == "前方有人。"
    assert bounded("前方有人。他向左走。", 3, len) == "前方有"


def test_a_text_is_told_on_one_line() -> None:
    assert bounded("  Acid,\tahead.\n\nA  cart. 3.5 m", 64, words) == "Acid, ahead. A cart. 3.5 m"
    assert single_line("nul\x00 and half a pair \ud800") == "nul and half a pair"


@pytest.mark.parametrize("text", ["green; red; green", "Left. Right. Left.", "Red. Red. Red. Green.", "左。右。左。"])
def test_a_text_within_its_budget_keeps_what_it_says_twice(text: str) -> None:
    assert bounded(text, 64, words) == text


def test_a_loop_over_the_budget_is_told_once_and_a_sequence_in_its_order() -> None:
    assert bounded("A cart. " + "A man walks.\nhe  waves. A man Walks. He waves.\n" * 9, 20, words) == (
        "A cart. A man walks. he waves."
    )
    assert bounded("- a man\n" * 30 + "- a m", 20, words) == "- a man"
    steps = "Left. Right. Left. On. " * 2
    assert bounded(steps + "Left. Right. Stop. Then wait there.", 11, words) == steps + "Left. Right. Stop."


def test_a_text_far_over_its_budget_is_not_read_to_its_end() -> None:
    seen = 0

    def count(part: str) -> int:
        nonlocal seen
        seen = max(seen, len(part))
        return words(part)

    assert bounded("word " * 1_000_000, 64, count) == " ".join(["word"] * 64)
    assert seen < 10_000
