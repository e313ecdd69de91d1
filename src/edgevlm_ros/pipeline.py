# SPDX-License-Identifier: Apache-2.0
"""One object that answers frames and takes in late cloud answers: the same one on the robot and in every evaluation.

Questions and contexts may come from any thread and cost microseconds; frames are answered on one inference thread. What
arrives while a frame is being answered takes effect on the next one. Taking a context in (carrying its regions up to
now, prefilling its words) happens in the background if the pipeline may have a thread of its own; until it is done the
frames are answered with what was known before.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial

from edgevlm_ros.edge.engine import Engine, EngineError, OnToken, Prompt, Stop
from edgevlm_ros.edge.memory_budget import Means, MemoryBudget, ran_out_of_memory
from edgevlm_ros.tracking.glimpse import Glimpse, glimpse, similarity
from edgevlm_ros.tracking.memory import Memory
from edgevlm_ros.tracking.tracks import Tracks, advance, begin, regions, with_keyframe
from edgevlm_ros.transfer.conversation import Exchange, worded
from edgevlm_ros.transfer.epoch import RESTART_NS
from edgevlm_ros.transfer.focus import Focus, focus_map
from edgevlm_ros.transfer.geometry import cleaned
from edgevlm_ros.transfer.history import History, Replacement, bounded
from edgevlm_ros.transfer.types import Answer, CloudContext, FocusMap, Frame, Outcome, Question, Source, Turn
from edgevlm_ros.transfer.views import compose
from edgevlm_ros.words import plain

# Frames that a region is carried over within one frame's time, when its question comes back after a while.
_MOST_STEPS = 8
_MOST_QUESTIONS = 16

_LOGGER = logging.getLogger(__name__)


class Pipeline:
    """Owns the history, the focus and the use of the engine.

    clock: seconds, steady; measures the engine. background: whether contexts are taken in by a thread of its own, so
    that no frame waits for one; else on_context returns when the next frame will know. camera: its name, where several
    share the engine. `replacement`, `focus` and `choices` may be assigned at any time.
    """

    def __init__(
        self,
        engine: Engine,
        question: Question,
        replacement: Replacement | None = None,
        focus: Focus | None = None,
        clock: Callable[[], float] = time.monotonic,
        background: bool = False,
        camera: str = "",
    ) -> None:
        self._engine = engine
        self._camera = camera
        self._clock = clock
        self._lock = threading.Lock()
        self._question = question
        self._history = History()
        self._now: int | None = None
        self._replacement = replacement or Replacement()
        self._memory = Memory(self._replacement.max_context_age)
        self._tracks: OrderedDict[int, Tracks] = OrderedDict()
        self._untold: frozenset[tuple[int, int]] = frozenset()
        self._stream = 0
        self._regions_dropped = 0
        self._count_tokens = lru_cache(256)(engine.count_tokens)
        self._memory_budget = MemoryBudget(engine.capabilities.resolution)
        self._worker = ThreadPoolExecutor(1, "context") if background else None
        self._choices: tuple[str, ...] = ()
        self.focus = focus or Focus()

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def question(self) -> Question:
        return self._question

    @property
    def history(self) -> History:
        return self._history

    @property
    def regions_dropped(self) -> int:
        """Boxes of contexts that meant nothing on their keyframe, or were too many."""
        return self._regions_dropped

    @property
    def left_out(self) -> str:
        """What frames are answered without, since memory ran out; empty if nothing is. For people."""
        return self._memory_budget.means.left_out

    @property
    def replacement(self) -> Replacement:
        return self._replacement

    @replacement.setter
    def replacement(self, rule: Replacement) -> None:
        self._replacement = rule
        self._memory.horizon_s = rule.max_context_age

    @property
    def focus(self) -> Focus:
        return self._focus

    @focus.setter
    def focus(self, rule: Focus) -> None:
        engine = self._engine
        if not rule.modes <= engine.capabilities.focus_modes:
            can = ", ".join(sorted(engine.capabilities.focus_modes)) or "nothing"
            raise EngineError(f"{engine.name} cannot be focused by {rule.mode!r}: it can {can}")
        if "crop" in rule.modes and rule.pixel_budget < 2.0 and not engine.capabilities.resolution:
            raise EngineError(
                f"{engine.name} sees every view with the same number of pixels, so that a pixel budget of "
                f"{rule.pixel_budget} saves nothing: leave it at 2"
            )
        self._focus = rule

    @property
    def choices(self) -> tuple[str, ...]:
        """The answers that on_frame may give, whatever the question; empty for any. `ask` is not bound by them."""
        return self._choices

    @choices.setter
    def choices(self, allowed: tuple[str, ...]) -> None:
        if allowed and not self._engine.capabilities.choices:
            raise EngineError(
                f"{self._engine.name} cannot keep its answers to given choices: leave choices empty, or run a model of "
                "transformers in the node (server_url empty)"
            )
        self._choices = allowed

    def close(self) -> None:
        """Ends the background thread, when the context at hand is taken in."""
        if self._worker is not None:
            self._worker.shutdown(wait=True, cancel_futures=True)

    def settle(self) -> None:
        """Waits until the contexts that have come are taken in."""
        if self._worker is not None:
            self._worker.submit(lambda: None).result()

    def set_question(self, question: Question) -> None:
        """What is asked of the frames from now on. Turns and contexts of other questions are kept but not told."""
        self._question = question

    # -- contexts ----------------------------------------------------------------------------------------------------

    def on_context(self, context: CloudContext) -> Outcome:
        """Takes in one cloud reply; anything but APPLIED and SUSPENDED changes nothing."""
        rule = self._replacement
        context, dropped = cleaned(context)
        context = replace(context, text=bounded(context.text, rule.max_tokens, self._engine.count_tokens))
        with self._lock:
            history, outcome = self._history.replaced(context, self._question, self._now, rule)
            if outcome is not Outcome.APPLIED:
                return outcome
            self._history = history
            self._regions_dropped += dropped
            self._untold = self._untold | {(context.question_id, context.stamp)}
            question, stream = self._question, self._stream
        keyframe = self._memory.at(context.stamp)
        if self._worker is None:
            self._take_in(context, keyframe, question, stream)
        else:
            self._worker.submit(self._take_in, context, keyframe, question, stream)
        newest = self._memory.newest
        return Outcome.SUSPENDED if newest is not None and self._changed(keyframe, newest) else Outcome.APPLIED

    def _take_in(self, context: CloudContext, keyframe: Glimpse | None, question: Question, stream: int) -> None:
        """The slow part of a context: its regions come up to now, its words are prefilled; then frames know of it."""
        with self._lock:
            latest = self._history.latest_cloud_turn(context.question_id)
            if latest is not None and latest.stamp > context.stamp:  # a newer one waits behind it
                self._untold = self._untold - {(context.question_id, context.stamp)}
                return
        tracks = begin(context, keyframe)
        try:
            tracks = self._followed(tracks, keyframe, self._memory.since(context.stamp), self._focus.carry)
            newest = self._memory.newest
            rule = self._memory_budget.means.replacement(self._replacement)
            exchanges, _, _ = self._prompted(self._history, question, newest.stamp if newest else context.stamp, rule)
            self._engine.prepare(exchanges)
        except Exception as error:
            if ran_out_of_memory(error):  # the next frame will see to it
                _LOGGER.warning("a context could not be taken in ahead of the next frame: %s", error)
            else:
                _LOGGER.exception("a context could not be taken in ahead of the next frame")
        with self._lock:
            if stream != self._stream:
                return
            self._untold = self._untold - {(context.question_id, context.stamp)}
            self._tracks[context.question_id] = tracks
            self._tracks.move_to_end(context.question_id)
            while len(self._tracks) > _MOST_QUESTIONS:
                self._tracks.popitem(last=False)

    def _changed(self, keyframe: Glimpse | None, now: Glimpse) -> bool:
        """Whether the scene no longer is the keyframe's. A keyframe that the edge has not seen is unlike any."""
        limit = self._replacement.min_similarity
        return limit > 0.0 and (keyframe is None or similarity(keyframe, now) < limit)

    # -- frames ------------------------------------------------------------------------------------------------------

    def on_frame(self, frame: Frame, on_token: OnToken | None = None, stop: Stop | None = None) -> Answer:
        """Answers the standing question about one frame. What the engine raises leaves the history as it was.

        on_token: takes the pieces as the model says them; words.plain makes what they add up to fit to be shown, as the
        answer's text is.
        """
        if self._now is not None and frame.stamp < self._now - RESTART_NS:
            self.restart()
        with self._lock:
            self._now = frame.stamp
        answer = self._answer(frame, self._question, on_token, stop, self._choices)
        with self._lock:
            self._history = self._history.said(Turn(frame.stamp, answer.question, answer.text, Source.EDGE))
        return answer

    def restart(self) -> None:
        """Forgets what was said and seen: the stream begins anew. On the inference thread."""
        with self._lock:
            self._history, self._untold, self._now = History(), frozenset(), None
            self._tracks.clear()
            self._memory.clear()
            self._stream += 1

    def ask(
        self, question: Question, frame: Frame, on_token: OnToken | None = None, stop: Stop | None = None
    ) -> Answer:
        """Answers another question about a frame that on_frame has just answered, without seeing it again.

        On the inference thread. Nothing is remembered of it.
        """
        return self._answer(frame, question, on_token, stop)

    def notice(self, frame: Frame) -> None:
        """Remembers a frame that is not answered, so that regions find their way to the next one. Any thread."""
        self._memory.add(glimpse(frame.stamp, frame.image))

    def _answer(
        self,
        frame: Frame,
        question: Question,
        on_token: OnToken | None,
        stop: Stop | None,
        choices: tuple[str, ...] = (),
    ) -> Answer:
        """With all that memory allows. Raises EngineError if there is none for the least."""
        attempt = partial(self._answered, frame, question, on_token, stop, choices)
        return self._memory_budget.tried(attempt, self._engine, self._clock)

    def _answered(
        self,
        frame: Frame,
        question: Question,
        on_token: OnToken | None,
        stop: Stop | None,
        choices: tuple[str, ...],
        means: Means,
    ) -> Answer:
        rule = means.focus(self._focus)
        start = self._clock()
        with self._lock:
            history, untold, tracks = self._history, self._untold, self._tracks.get(question.id)
        now = self._remembered(frame)
        if tracks is not None and tracks.keyframe is None:  # a reply may come before the edge has seen its keyframe
            tracks = with_keyframe(tracks, self._memory.at(tracks.keyframe_stamp))
        suspended = tracks is not None and self._changed(tracks.keyframe, now)
        told = history.without_cloud(None if suspended else untold)
        exchanges, asked, turns = self._prompted(told, question, frame.stamp, means.replacement(self._replacement))
        focus = None if tracks is None or suspended else self._focused(frame, question, tracks, now, rule)
        views = compose(frame.image, focus, rule)
        focused = self._clock()
        completion = self._engine.complete(
            Prompt(
                history=exchanges,
                images=views.images,
                question=f"{asked}\n{views.note}" if views.note else asked,
                pixel_share=min(views.pixel_share, means.pixel_share),
                focus=None if focus is None else focus.grid,
                beta=rule.beta if "attention" in rule.modes else 0.0,
                keep=rule.keep if "prune" in rule.modes else 1.0,
                choices=choices,
                camera=self._camera,
            ),
            on_token,
            stop,
        )
        end = self._clock()
        return Answer(
            stamp=frame.stamp,
            question=question,
            text=plain(completion.text).strip(),  # topics, logs and terminals take it as data
            confidence=completion.confidence,
            inference_time=end - focused,
            first_token_time=completion.first_token_time,
            context=next((turn for turn in reversed(turns) if turn.source is Source.CLOUD), None),
            focus=focus,
            focus_mode=rule.mode if focus is not None else "none",
            focus_time=focused - start,
            timings=completion.timings,
            suspended=suspended,
        )

    def _remembered(self, frame: Frame) -> Glimpse:
        newest = self._memory.newest
        if newest is not None and newest.stamp == frame.stamp:
            return newest
        now = glimpse(frame.stamp, frame.image)
        self._memory.add(now)
        return now

    def _prompted(
        self, history: History, question: Question, now: int, rule: Replacement
    ) -> tuple[tuple[Exchange, ...], str, tuple[Turn, ...]]:
        """What is told before the image, what is asked after it, and the turns that it is made of."""
        turns = history.prompt_turns(question, now, rule, self._count_tokens)
        return *worded(turns, question.text, now, rule.provenance), turns

    def _focused(self, frame: Frame, question: Question, tracks: Tracks, now: Glimpse, rule: Focus) -> FocusMap | None:
        if not rule.modes:
            return None
        if tracks.stamp < now.stamp:
            missed = self._memory.since(tracks.stamp)[:-1]
            steps = *missed[:: max(1, len(missed) // _MOST_STEPS)], now
            tracks = self._followed(tracks, self._memory.at(tracks.stamp), steps, rule.carry)
            with self._lock:
                held = self._tracks.get(question.id)
                if held is not None and held.keyframe_stamp == tracks.keyframe_stamp:
                    self._tracks[question.id] = tracks
        carried = regions(tracks, frame.stamp, frame.width, frame.height, rule)
        grid = self._engine.grid(frame.width, frame.height)
        return focus_map(carried, tracks.keyframe_stamp, frame.width, frame.height, grid, rule)

    def _followed(self, tracks: Tracks, previous: Glimpse | None, seen: Sequence[Glimpse], method: str) -> Tracks:
        """The tracks on the last of the frames; what another scene shows says nothing about where a region went."""
        for glimpsed in seen:
            if not self._changed(tracks.keyframe, glimpsed):
                tracks, previous = advance(tracks, previous, glimpsed, method), glimpsed
        return tracks
