# SPDX-License-Identifier: Apache-2.0
"""`transformers serve` as a process that ends with the one that started it, and gives way to the robot's own.

A server that outlives a killed demo would hold its port and a core, and the next demo would talk to the old model.
"""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

NICENESS = 5
"""A third of the processor time of a process that wants it as much; what nobody else wants is still the server's."""


def end_with(parent: int) -> None:
    """Terminate this process as soon as it is no longer a child of `parent`."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5.0)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def give_way() -> None:
    """Lower this process's priority, in its session and, where the kernel groups sessions, among them."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))


if __name__ == "__main__":
    give_way()
    end_with(int(os.environ["EDGEVLM_PARENT"]))
    from transformers.cli.transformers import app

    app()
