# SPDX-License-Identifier: Apache-2.0
"""A moment of a bag in which a late reply visibly helps: found, not staged.

The large model answers a keyframe; its reply reaches the pipeline some seconds later, between two frames. A moment is
worth showing if the small model alone is wrong about the first frame after that, and with the reply is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgevlm_ros.cloud.prompt import box_extent
from edgevlm_ros.cloud.reply import Reply, ReplyError, parse_reply
from edgevlm_ros.edge.engine import Engine, Prompt
from edgevlm_ros.evaluation.annotated_frames import AnnotatedFrame
from edgevlm_ros.evaluation.streaming import matches
from edgevlm_ros.pipeline import Pipeline
from edgevlm_ros.transfer.conversation import Exchange, worded
from edgevlm_ros.transfer.history import History
from edgevlm_ros.transfer.types import Answer, CloudContext, Outcome, Question, Region, Status

AFTER = 3  # frames after the reply that are answered too


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What the small model was told before a frame, what it was asked after it, and what it said."""

    exchanges: tuple[Exchange, ...]
    question: str
    answer: Answer


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """From the keyframe, the first of `frames`, to a few frames after the arrival of its reply.

    arrival: index of the first frame that was answered with the reply. alone, answers: the small model's answers to
    each frame, without the reply and as it came. before, after: the history when the reply came, and with it in it.
    unhelped, helped: the frame of the arrival, without the reply and with it.
    """

    question: Question
    frames: tuple[AnnotatedFrame, ...]
    arrival: int
    reply: Reply
    alone: tuple[Answer, ...]
    answers: tuple[Answer, ...]
    before: History
    after: History
    unhelped: Asked
    helped: Asked

    @property
    def keyframe(self) -> AnnotatedFrame:
        return self.frames[0]

    @property
    def now(self) -> AnnotatedFrame:
        return self.frames[self.arrival]

    @property
    def worth(self) -> float:
        """How well it shows what happens: the small model is wrong until the reply and right from then on, the world
        has moved on since the keyframe, and the box was carried to where the thing is now."""
        right = [matches(answer.text, frame.answer) for answer, frame in zip(self.answers, self.frames, strict=True)]
        wrong_before = 1 - sum(right[: self.arrival]) / self.arrival
        right_after = sum(right[self.arrival :]) / len(right[self.arrival :])
        moved_on = 0.25 * (self.now.answer != self.keyframe.answer)
        focus = self.helped.answer.focus
        carried = focus.regions[0] if focus is not None and focus.regions else None
        followed = overlap(carried, self.now.regions[0]) if carried is not None and self.now.regions else 0.0
        return wrong_before + right_after + moved_on + followed


def best_moment(
    small: Engine, large: Engine, frames: Sequence[AnnotatedFrame], question: Question, delay_s: float
) -> Moment | None:
    """The moment most worth showing; None if there is none. large: told to reply as `cloud.prompt` asks for.

    delay_s: seconds from the keyframe to its reply.
    """
    return max(moments(small, large, frames, question, delay_s), key=lambda moment: moment.worth, default=None)


def moments(
    small: Engine, large: Engine, frames: Sequence[AnnotatedFrame], question: Question, delay_s: float
) -> Iterator[Moment]:
    """All moments that are worth showing, in order."""
    stream = [frame for frame in frames if frame.question == question]
    pipeline = Pipeline(small, question)
    alone = [pipeline.on_frame(frame.frame) for frame in stream]
    for first, keyframe in enumerate(stream):
        due = keyframe.frame.stamp + round(delay_s * 1e9)
        arrival = next((at for at in range(first + 1, len(stream)) if stream[at].frame.stamp >= due), None)
        if arrival is None or arrival + AFTER >= len(stream):
            return
        if not keyframe.regions or matches(alone[arrival].text, stream[arrival].answer):
            continue
        reply = _reply(large, keyframe, question)
        if reply is None or not reply.regions or not matches(reply.text, keyframe.answer):
            continue
        part = slice(first, arrival + AFTER + 1)
        moment = play(small, stream[part], tuple(alone[part]), question, reply, arrival - first)
        if moment is not None and matches(moment.helped.answer.text, moment.now.answer):
            yield moment


def play(
    small: Engine,
    frames: Sequence[AnnotatedFrame],
    alone: tuple[Answer, ...],
    question: Question,
    reply: Reply,
    arrival: int,
) -> Moment | None:
    """The frames through a pipeline that takes the reply in before the one at `arrival`; None if it would not."""
    pipeline = Pipeline(small, question)
    answers = [pipeline.on_frame(frame.frame) for frame in frames[:arrival]]
    before, key, now = pipeline.history, frames[0].frame, frames[arrival].frame
    told = CloudContext(key.stamp, 0, question.id, Status.OK, reply.text, reply.regions, key.width, key.height)
    if pipeline.on_context(told) is not Outcome.APPLIED:
        return None
    after = pipeline.history
    answers += [pipeline.on_frame(frame.frame) for frame in frames[arrival:]]

    def asked(history: History, answer: Answer) -> Asked:
        rule = pipeline.replacement
        turns = history.prompt_turns(question, now.stamp, rule, small.count_tokens)
        return Asked(*worded(turns, question.text, now.stamp, rule.provenance), answer)

    return Moment(
        question=question,
        frames=tuple(frames),
        arrival=arrival,
        reply=reply,
        alone=alone,
        answers=tuple(answers),
        before=before,
        after=after,
        unhelped=asked(before, alone[arrival]),
        helped=asked(after, answers[arrival]),
    )


def overlap(one: Region, other: Region) -> float:
    """Intersection over union, 0..1."""
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    down = min(one.y1, other.y1) - max(one.y0, other.y0)
    both = max(across, 0.0) * max(down, 0.0)
    areas = [(region.x1 - region.x0) * (region.y1 - region.y0) for region in (one, other)]
    return both / (sum(areas) - both) if sum(areas) > both else 0.0


def _reply(large: Engine, keyframe: AnnotatedFrame, question: Question) -> Reply | None:
    frame = keyframe.frame
    said = large.complete(Prompt((), (frame.image,), question.text)).text
    extent = box_extent("relative_1000", frame.width, frame.height)
    try:
        return parse_reply(said, width=frame.width, height=frame.height, extent=extent)
    except ReplyError:
        return None
