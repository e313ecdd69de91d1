# SPDX-License-Identifier: Apache-2.0
"""How much the standing question's pace suffers while somebody asks one question after the other.

`PYTHONPATH=test python -m soak.ask_pace`: spells with and without goals of the action `ask`, in turn, so that what the
machine does besides falls on both. The camera is faster than the model, or there would be nothing to lose.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from soak.robot import SCRIPTED, Asked, Robot

_SECONDS, _SPELL_S = 60.0, 5.0
_RATE, _SIZE = 60.0, (320, 240)


def spell(robot: Robot, seconds: float, asking: bool) -> tuple[float, float]:
    """Answers to the standing question a second, and goals that were answered a second."""
    robot.samples.answers.clear()
    goals, began = 0, time.monotonic()
    while (left := began + seconds - time.monotonic()) > 0:
        if asking:
            result = robot.ask("edge")
            goals += robot.wait(result.done, left)
        else:
            robot.wait(lambda: False, left)
    passed = time.monotonic() - began
    return len(robot.samples.answers) / passed, goals / passed


def told(quiet: Sequence[float], asked: Sequence[float], goals: Sequence[float]) -> str:
    """One line. quiet, asked: answers a second of spells that followed each other; goals: a second, of the latter."""
    ratios = [with_goals / without for without, with_goals in zip(quiet, asked, strict=True)]
    return (
        f"{median(quiet):.1f} answers/s; beside {median(goals):.1f} goals/s of ask {median(asked):.1f} answers/s: "
        f"{median(ratios):.2f} of the pace ({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} pairs of spells)"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m soak.ask_pace", description=__doc__)
    parser.add_argument("--seconds", type=float, default=_SECONDS, metavar="S", help="in all (%(default)g)")
    parser.add_argument("--model", default="micro_svlm", metavar="NAME", help="edge model (%(default)s)")
    asked = parser.parse_args(arguments)
    wanted = Asked(asked.model, _RATE, *_SIZE, SCRIPTED, keyframe_period=3600.0, timeout=4.0)
    rates: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder, Robot(wanted, Path(folder), lambda: None) as robot:
        spell(robot, _SPELL_S / 2, asking=True)  # what is set up once
        for number in range(max(2, round(asked.seconds / _SPELL_S / 2) * 2)):
            rates[number % 2 == 1].append(spell(robot, _SPELL_S, asking=number % 2 == 1))
    quiet = [answers for answers, _ in rates[False]]
    print(told(quiet, *zip(*rates[True], strict=True)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
