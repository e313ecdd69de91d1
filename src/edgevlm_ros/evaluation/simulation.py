# SPDX-License-Identifier: Apache-2.0
"""A scene as every policy is given it: a stream in virtual time, and what both models say about its frames.

What a model says is asked of it once and shared by all policies: they differ in when they ask, what they tell it and
whose words they publish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from edgevlm_ros.cloud.reply import Reply
from edgevlm_ros.edge.engine import Completion, Prompt
from edgevlm_ros.evaluation import timings
from edgevlm_ros.evaluation.large_model import LargeModel, Spoken, parsed
from edgevlm_ros.evaluation.outcomes import Said
from edgevlm_ros.evaluation.remembering import RememberingEngine
from edgevlm_ros.evaluation.replies import Asked, Replies
from edgevlm_ros.evaluation.robot import Robot
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.evaluation.timeline import Call, Camera, Taken, Timeline
from edgevlm_ros.evaluation.timings import Timings
from edgevlm_ros.transfer.types import Question

_FRAMES_BYTES = 256 << 20  # of decoded frames that are held


@dataclass(frozen=True, slots=True)
class Played:
    """What a policy did in a scene. calls: to the cloud. outcomes: counts of whatever else happened."""

    said: Sequence[Said]
    calls: Sequence[Call] = ()
    outcomes: Mapping[str, int] = field(default_factory=dict)


class Scene(Timeline):
    """One stream with what both models say about it.

    replies, strange: of the LVLM, to this scene's frames and to those of another scene which stand in for them. small:
    shared by all policies. large: gives the LVLM itself, for the policies that take it apart; loaded when asked for.
    """

    def __init__(
        self,
        stream: Stream,
        robot: Robot,
        small: RememberingEngine,
        large: Callable[[], LargeModel],
        replies: Replies,
        strange: Mapping[int, Spoken],
        drawn: Timings,
        seed: int = 0,
    ) -> None:
        super().__init__(stream, robot.bridge, drawn, seed)
        self.robot = robot
        self.small = small
        self.large = large
        self.strange = strange
        self._replies: dict[Asked, Spoken] = dict(replies)
        self._split: dict[tuple[int, str, float], Spoken] = {}
        self._verified: dict[Asked, Completion] = {}
        self._feature_bytes: dict[float, int] = {}
        first = stream.frame(stream.stamps[0])
        self.width, self.height = first.width, first.height
        self.frame = lru_cache(max(16, _FRAMES_BYTES // first.image.nbytes))(stream.frame)

    def plain(self, stamp: int, question: Question) -> Completion:
        """What the small model says about a frame when it is told nothing."""
        return self.small.complete(Prompt((), (self.frame(stamp).image,), question.text, choices=self.robot.choices))

    def spoken(self, stamp: int, question: Question) -> Spoken:
        """What the large model says about a frame, word for word."""
        asked = (stamp, question.text)
        if asked not in self._replies:
            self._replies[asked] = self.large().ask(self.stream.upload(stamp), question.text)
        return self._replies[asked]

    def spoken_of_features(self, stamp: int, question: Question, keep: float) -> Spoken:
        """The same where its eyes are on the robot, and this share of its visual tokens goes up as int8."""
        asked = (stamp, question.text, keep)
        if asked not in self._split:
            self._split[asked] = self.large().ask(self.stream.upload(stamp), question.text, split=True, keep=keep)
        return self._split[asked]

    def reply(self, stamp: int, question: Question) -> Reply | None:
        """The same as the bridge reads it; None if it finds no answer in it."""
        return self.read(self.spoken(stamp, question).text, stamp)

    def read(self, text: str, stamp: int) -> Reply | None:
        """Words about a frame, as the bridge reads them."""
        return parsed(text, self.stream.upload(stamp), self.bridge)

    def verified(self, stamp: int, question: Question) -> Completion:
        """What the large model says about a frame, the small one's answer being its draft."""
        asked = (stamp, question.text)
        if asked not in self._verified:
            large, upload = self.large(), self.stream.upload(stamp)
            draft = large.beginning(self.plain(stamp, question).text)
            self._verified[asked] = large.complete(upload, question.text, draft=draft)
        return self._verified[asked]

    def feature_bytes(self, keep: float) -> int:
        """What this share of the large model's visual tokens of a frame takes on the way up."""
        if keep not in self._feature_bytes:
            self._feature_bytes[keep] = len(self.large().features(self.stream.upload(self.begin), keep))
        return self._feature_bytes[keep]

    def turns(
        self, kind: str = timings.EDGE, complete: Callable[[int, Question], Completion] | None = None
    ) -> Iterator[tuple[Taken, Question, Completion, int]]:
        """The small model alone, frame after frame: what it took, was asked, said, and when it was done.

        kind: of the measured times, what an answer takes. complete: answers a question about the frame of a stamp, if
        not `plain`.
        """
        complete = complete or self.plain
        camera, free = Camera(self.stream.stamps), self.begin
        while (taken := camera.take(free)) is not None:
            question = self.question(taken.start)
            free = taken.start
            if question is not None:
                free = taken.start + self.cost(kind, taken.stamp)
                yield taken, question, complete(taken.stamp, question), free
