# SPDX-License-Identifier: Apache-2.0
"""How the history is worded for the model: who spoke, and how long before the present frame.

Only the last message, which stands after the image, changes with time. All before it stays the same until the history
itself changes, so that its prefill can be reused by every frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgevlm_ros.transfer.types import Source, Turn

SPEAKERS = {Source.EDGE: "your own answer", Source.CLOUD: "answer from the cloud"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer, as the model is told them."""

    asked: str
    said: str


def worded(turns: Sequence[Turn], question: str, now: int, provenance: bool = True) -> tuple[tuple[Exchange, ...], str]:
    """The exchanges before the image, oldest first, and the question after it.

    Each turn says who answered and how long after the turn before it; the question says how long after the last turn
    it is asked. now: stamp of the frame. Without provenance, or without turns, the bare words.
    """
    if not provenance or not turns:
        return tuple(Exchange(turn.question.text, turn.text) for turn in turns), question
    exchanges = []
    for index, turn in enumerate(turns):
        notes = [SPEAKERS[turn.source]]
        if index:
            notes.insert(0, later(turns[index - 1].stamp, turn.stamp))
        exchanges.append(Exchange(f"[{', '.join(notes)}]\n{turn.question.text}", turn.text))
    return tuple(exchanges), f"[{later(turns[-1].stamp, now)}]\n{question}"


def later(before: int, after: int) -> str:
    """How long after: whole seconds, at least one."""
    return f"{max(1, round((after - before) * 1e-9))} s later"
