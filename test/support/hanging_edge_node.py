# SPDX-License-Identifier: Apache-2.0
"""The real edge node, whose model blocks in a call of the operating system as soon as a file is there.

HANG_AT names the file, which goes when the call begins; the call reads a pipe that nobody writes to. HUNG_BEFORE says
how often the node hung just before it was started.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from edgevlm_ros.edge.transformers_engine import TransformersEngine
from edgevlm_ros.nodes import edge_node
from edgevlm_ros.nodes.resumption import RESUME, Carried

TRIGGER = Path(os.environ["HANG_AT"])


def main() -> None:
    forward = TransformersEngine._forward

    def blocking(engine: TransformersEngine, *args: Any, **kwargs: Any) -> Any:
        # a first frame is answered to warm up, which may take longer
        if TRIGGER.exists() and threading.current_thread().name == "inference":
            TRIGGER.unlink()
            reader, _ = os.pipe()
            os.read(reader, 1)
        return forward(engine, *args, **kwargs)

    TransformersEngine._forward = blocking  # type: ignore[method-assign, assignment]
    if RESUME not in os.environ and (hangs := int(os.environ.get("HUNG_BEFORE", "0"))):
        before = Carried("active", hangs=(time.monotonic(),) * hangs)
        edge_node.carried_over = lambda: before  # type: ignore[attr-defined]
    edge_node.main()


if __name__ == "__main__":
    main()
