# SPDX-License-Identifier: Apache-2.0
"""A node that replaces its own process and goes on where it was.

No process can end a thread of its own that is stuck in native code, nor free the GPU memory that it holds. So the
process becomes a new one: the same id, so that whoever launched it sees no exit, and nothing left of the old threads.
What must not be lost (state, parameters, questions, the newest words of the cloud) travels in a file without a name.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RESUME = "EDGEVLM_RESUME"
"""Environment variable with the number of that file's descriptor."""

_STREAK_S = 600.0
_MOST = 3
"""Hangs within that time after which it is no accident any more, and the node waits for a person."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What goes from one process to the next.

    state: label of the lifecycle state to come back to. parameters: by name. questions: the standing one of each camera
    by its name. contexts: by camera, the newest serialized CloudContext. hangs: seconds on the steady clock, which goes
    on. why: what happened, for people.
    """

    state: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    questions: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, bytes] = field(default_factory=dict)
    hangs: Sequence[float] = ()
    why: str = ""


def recent(hangs: Sequence[float], now: float) -> tuple[float, ...]:
    """The hangs that still count, this one included."""
    return (*(then for then in hangs if 0.0 <= now - then < _STREAK_S), now)


def too_many(hangs: Sequence[float]) -> bool:
    """Whether to give up. hangs: the recent ones."""
    return len(hangs) >= _MOST


def packed(carried: Carried) -> bytes:
    fields = {name: getattr(carried, name) for name in ("state", "parameters", "questions", "hangs", "why")}
    contexts = {name: base64.b64encode(context).decode() for name, context in carried.contexts.items()}
    return json.dumps({**fields, "contexts": contexts}).encode()


def unpacked(data: bytes) -> Carried:
    """Raises ValueError for what is no such thing."""
    try:
        found = json.loads(data)
        contexts = {name: base64.b64decode(context) for name, context in found.pop("contexts").items()}
        return Carried(**{**found, "contexts": contexts, "hangs": tuple(found["hangs"])})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is not what a node carries over: {error!r}") from error


def carried_over() -> Carried | None:
    """What the process that this one was before has left; None at an ordinary start. Only the first call finds it."""
    number = os.environ.pop(RESUME, "")
    if not number:
        return None
    try:
        with os.fdopen(int(number), "rb") as file:
            file.seek(0)
            return unpacked(file.read())
    except (ValueError, OSError) as error:
        print(f"nothing is carried over from the process before: {error}", file=sys.stderr)
        return None


def replace_process(carried: Carried) -> None:
    """Starts this program anew in this process. Any thread; returns only by raising OSError."""
    file = os.memfd_create("edgevlm", 0)
    os.write(file, packed(carried))
    # what C libraries opened would stay open in a program that knows nothing of it
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number > 2 and number != file:
            try:
                os.set_inheritable(number, False)
            except OSError:  # the listing's own
                continue
    os.environ[RESUME] = str(file)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
