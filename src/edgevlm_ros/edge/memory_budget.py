# SPDX-License-Identifier: Apache-2.0
"""What a frame may take when memory runs out: less and less until it is answered, and all of it again after a while.

A robot's memory is shared: a map grows, another node starts, and a model that fitted yesterday does not for a minute. A
coarser answer is worth more than none, so the frame is tried again with less; what was left out is told to people.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, runtime_checkable

from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.history import Replacement
from edgevlm_ros.words import in_one_line

WIDEN_AFTER_S = 60.0
"""So long a smaller budget has to do before a larger one is tried; twice as long each time that was too early."""
_WIDEN_AT_MOST_AFTER_S = 960.0

ADVICE = (
    "take a smaller model, quantization (nf4, int8), fewer max_new_tokens or a smaller replacement.max_history_tokens, "
    "focus.pixel_budget below 2 or focus.mode without crop; or end what else takes memory"
)

LOADING_ADVICE = (
    "set quantization to nf4 or auto, take a smaller model (`edgevlm models` lists what fits here), device:=cpu "
    "where only the GPU is full, or end what else takes memory"
)

# torch on CUDA and CPU, cuBLAS and cuDNN, the C++ library, OpenCV, the kernel, oneDNN; torch on Tegra, which fails
# when it asks NVML for the memory that is left
_SAYS = re.compile(
    r"out of memory|not enough memory|insufficient memory|(can't|cannot|could not|unable to|failed to) allocate"
    r"|alloc_failed|bad_alloc|NVML_SUCCESS == r INTERNAL ASSERT FAILED at .*CUDACachingAllocator"
    r"|could not create a (primitive|memory object)$",
    re.IGNORECASE,
)


_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")


@runtime_checkable
class Caching(Protocol):
    """An engine that keeps what it could compute again."""

    def give_back(self) -> None:
        """Forgets all of that, and returns its memory to the system. Any thread."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a frame may take. pixel_share: of the pixels of a whole frame that a view may take at most."""

    second_view: bool = True
    pixel_share: float = 1.0
    history: bool = True

    @property
    def left_out(self) -> str:
        """For people; empty if nothing is."""
        pixels = "" if self.pixel_share == 1.0 else f"with {self.pixel_share:.0%} of the pixels"
        parts = ("" if self.second_view else "without a second view", pixels, "" if self.history else "without history")
        return ", ".join(filter(None, parts))

    def focus(self, rule: Focus) -> Focus:
        """The rule without what these means do not reach for."""
        if self.second_view or "crop" not in rule.modes:
            return rule
        return replace(rule, mode="+".join(sorted(rule.modes - {"crop"})) or "none")

    def replacement(self, rule: Replacement) -> Replacement:
        return rule if self.history else replace(rule, max_turns=0)


def ladder(resolution: bool) -> tuple[Means, ...]:
    """From all to the least, each step what costs the answer least for the memory that it saves.

    resolution: whether the engine can see a view with fewer pixels.
    """
    steps = [Means(), Means(second_view=False)]
    if resolution:
        steps += [Means(False, 0.5), Means(False, 0.25)]
    return (*steps, replace(steps[-1], history=False))


class MemoryBudget:
    """The present step of the ladder. All times are seconds on one steady clock, handed in. For one thread."""

    def __init__(self, resolution: bool) -> None:
        self._ladder = ladder(resolution)
        self._step = 0
        self._changed = 0.0
        self._widened = False
        self._wait = WIDEN_AFTER_S

    @property
    def means(self) -> Means:
        return self._ladder[self._step]

    def tried(self, attempt: Callable[[Means], T], engine: object, clock: Callable[[], float]) -> T:
        """What the attempt returns with as much as memory allows. Raises EngineError if there is none for the least."""
        self.widen(clock())
        while True:
            try:
                return attempt(self.means)
            except Exception as error:
                if not ran_out_of_memory(error):
                    raise
                why = in_one_line(error)
            # not within `except`: what failed holds its tensors as long as it is being handled
            if isinstance(engine, Caching):
                engine.give_back()
            least = self.means.left_out
            if not self.tighten(clock()):
                raise EngineError(f"out of memory, even {least}: {ADVICE} ({why})")
            _LOGGER.warning("out of memory: the frame is tried again %s (%s)", self.means.left_out, why)

    def tighten(self, now: float) -> bool:
        """Takes note that memory ran out; whether there is less to try."""
        held = now - self._changed
        if self._widened and held < self._wait:
            self._wait = min(2 * self._wait, _WIDEN_AT_MOST_AFTER_S)
        elif held >= self._wait:
            self._wait = WIDEN_AFTER_S
        less = self._step + 1 < len(self._ladder)
        self._step += less
        self._changed, self._widened = now, False
        return less

    def widen(self, now: float) -> None:
        """Takes note that a frame begins: after a while with less, more is tried."""
        if self._step and now - self._changed >= self._wait:
            self._step -= 1
            self._changed, self._widened = now, True


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether this is what a lack of memory looks like, on whatever device."""
    return isinstance(error, MemoryError) or _SAYS.search(str(error)) is not None
