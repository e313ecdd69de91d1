# SPDX-License-Identifier: Apache-2.0
"""One target in atheris, in a process of its own: libFuzzer ends the process that it runs in.

`python -m fuzz.campaign TARGET FOLDER EXECUTIONS SECONDS`, 0 seconds for no limit. FOLDER keeps the inputs that reached
new code, from which the next campaign goes on; an input that may not be is in FOLDER.crash-*, and the exit status is
not 0. Its figures are in FOLDER.json, once a second and at the end.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import atheris

from fuzz import corpus, limits

_CODE = ["edgevlm_ros", "rosbags"]
"""Whose branches guide the fuzzer."""
_HANG_S = 30
"""After which libFuzzer ends a process whose input does not come back at all, on the clock of the wall."""


class Tally:
    """Counts executions, and keeps the slowest input."""

    def __init__(self, target: Any, figures: Path, wanted: int) -> None:
        self._check, self._figures, self._wanted = target.check, figures, wanted
        self._began = self._written = time.monotonic()
        self._count, self._slowest = 0, 0.0

    def __call__(self, data: bytes) -> None:
        self._slowest = max(self._slowest, limits.cost(self._check, data))
        self._count += 1
        if self._count == self._wanted or time.monotonic() - self._written > 1.0:
            self.write()

    def write(self) -> None:
        self._written = time.monotonic()
        seconds = self._written - self._began
        figures = {"executions": self._count, "seconds": round(seconds, 1), "slowest_s": round(self._slowest, 4)}
        new = self._figures.with_suffix(".new")
        new.write_text(json.dumps(figures))
        new.replace(self._figures)  # at once: the process may end at any moment


def main() -> None:
    name, folder, executions, seconds = sys.argv[1:]
    found = Path(folder)
    found.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=_CODE, enable_loader_override=False):
        target = importlib.import_module(f"fuzz.targets.{name}")
    for data in corpus.inputs(name).values():  # imports and caches are no input's cost
        target.check(data)
    dictionary = found.with_suffix(".words")
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in target.WORDS))
    tally = Tally(target, found.with_suffix(".json"), int(executions))
    options = {
        "runs": executions,
        "max_total_time": seconds,
        "max_len": target.LONGEST,
        "timeout": _HANG_S,
        "rss_limit_mb": 0,  # see limits
        "artifact_prefix": f"{found}.",
        "print_final_stats": 1,
    }
    words = [f"-{option}={value}" for option, value in options.items()]
    if target.WORDS:
        words.append(f"-dict={dictionary}")
    atheris.Setup([sys.argv[0], *words, str(found), str(corpus.FOLDER / name)], tally)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(rf"\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
