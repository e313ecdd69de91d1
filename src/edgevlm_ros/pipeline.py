# SPDX-License-Identifier: Apache-2.0
"""One object that answers frames and takes in late cloud answers: the same one on the robot and in every evaluation.

Questions and contexts may come from any thread and cost microseconds; frames are answered on one inference thread. What
arrives while a frame is being answered takes effect on the next one.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from edgevlm_ros.edge.engine import Engine, EngineError, OnToken, Prompt, Stop
from edgevlm_ros.transfer.focus import Focus, carried, focus_map
from edgevlm_ros.transfer.history import History, Replacement, bounded
from edgevlm_ros.transfer.types import Answer, CloudContext, FocusMap, Frame, Outcome, Question, Source, Turn

# A frame this much older than the one before it means that the stream began anew (a looping bag), not jitter.
_RESTART_NS = 1_000_000_000


class Pipeline:
    """Owns the history, the focus and the use of the engine.

    clock: seconds, steady; measures the engine. `replacement` and `focus` may be assigned at any time.
    """

    def __init__(
        self,
        engine: Engine,
        question: Question,
        replacement: Replacement | None = None,
        focus: Focus | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._question = question
        self._history = History()
        self._context: CloudContext | None = None
        self._now: int | None = None
        self._replacement = replacement or Replacement()
        self._focus = Focus()
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
    def replacement(self) -> Replacement:
        return self._replacement

    @replacement.setter
    def replacement(self, rule: Replacement) -> None:
        self._replacement = rule

    @property
    def focus(self) -> Focus:
        return self._focus

    @focus.setter
    def focus(self, rule: Focus) -> None:
        if rule.mode not in self._engine.focus_modes:
            can = ", ".join(sorted(self._engine.focus_modes))
            raise EngineError(f"{self._engine.name} cannot be focused by {rule.mode!r}: it can {can}")
        self._focus = rule

    def set_question(self, question: Question) -> None:
        """What is asked of the frames from now on. Turns and contexts of other questions are kept but not told."""
        self._question = question

    def on_context(self, context: CloudContext) -> Outcome:
        """Takes in one cloud reply; anything but APPLIED changes nothing."""
        rule = self._replacement
        text = bounded(context.text, rule.max_tokens, self._engine.count_tokens)
        with self._lock:
            history, outcome = self._history.replaced(replace(context, text=text), self._question, self._now, rule)
            self._history = history
            if outcome is Outcome.APPLIED:
                self._context = context
        return outcome

    def on_frame(self, frame: Frame, on_token: OnToken | None = None, stop: Stop | None = None) -> Answer:
        """Answers the standing question about one frame. What the engine raises leaves the history as it was."""
        with self._lock:
            if self._now is not None and frame.stamp < self._now - _RESTART_NS:
                self._history, self._context = History(), None
            self._now = frame.stamp
            question, history, context = self._question, self._history, self._context
        focus_rule = self._focus
        turns = history.prompt_turns(question, frame.stamp, self._replacement)
        focus = self._focused(frame, question, context, focus_rule)
        beta = focus_rule.beta if focus_rule.mode == "attention" else 0.0
        start = self._clock()
        completion = self._engine.complete(Prompt(turns, frame.image, question, focus, beta), on_token, stop)
        inference_time = self._clock() - start
        with self._lock:
            self._history = self._history.said(Turn(frame.stamp, question, completion.text, Source.EDGE))
        return Answer(
            stamp=frame.stamp,
            question=question,
            text=completion.text,
            confidence=completion.confidence,
            inference_time=inference_time,
            first_token_time=completion.first_token_time,
            context=next((turn for turn in reversed(turns) if turn.source is Source.CLOUD), None),
            focus=focus,
            focus_mode=focus_rule.mode if focus is not None else "none",
        )

    def _focused(self, frame: Frame, question: Question, context: CloudContext | None, rule: Focus) -> FocusMap | None:
        if context is None or context.question_id != question.id or rule.mode == "none":
            return None
        regions = carried(context, frame.stamp, frame.width, frame.height, rule)
        grid = self._engine.grid(frame.width, frame.height)
        return focus_map(regions, context.stamp, frame.width, frame.height, grid, rule)
