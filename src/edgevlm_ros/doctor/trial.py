# SPDX-License-Identifier: Apache-2.0
"""Code that is tried in a process of its own: an extension built for another NumPy, CUDA or Python may crash the one
that imports it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

_TIMEOUT_S = 120.0  # the first `import torch` after a boot takes half a minute on a small board
_AS_A_SCRIPT = "import sys; sys.path[:] = [path for path in sys.path if path]\n"  # nodes do not import from the folder


@dataclass(frozen=True, slots=True)
class Trial:
    """value: what the code said; None if it failed. error: the last line of its complaint, empty if it did not fail."""

    value: Any = None
    error: str = ""


def attempt(code: str, python: str = sys.executable, timeout: float = _TIMEOUT_S) -> Trial:
    """Run code that calls `say(value)` once; value: anything that JSON can hold."""
    said = "import json\ndef say(value): print('\\n' + json.dumps(value))\n"
    try:
        done = subprocess.run(
            [python, "-c", f"{_AS_A_SCRIPT}{said}{code}"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Trial(error=f"no end after {timeout:g} s")
    except OSError as error:
        return Trial(error=f"{python} does not run: {error.strerror}")
    if done.returncode < 0:
        return Trial(error=f"crashed with signal {-done.returncode}")
    if done.returncode > 0:
        return Trial(error=_last_line(done.stderr) or f"exit code {done.returncode}")
    try:
        return Trial(value=json.loads(done.stdout.strip().splitlines()[-1]))
    except (ValueError, IndexError):
        return Trial(error="it said nothing that can be read")


def _last_line(text: str) -> str:
    """The exception's own line: what follows a traceback may have several."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    outer = [at for at, line in enumerate(lines) if at and lines[at - 1].startswith("  ") and not line.startswith(" ")]
    return lines[outer[-1] if outer else -1][:300] if lines else ""
