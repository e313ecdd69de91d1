# SPDX-License-Identifier: Apache-2.0
"""A model that is ready for the first frame, and what people are told until it is.

Loading takes seconds to minutes, in which a silent node looks dead; and what a first forward pass sets up must not be
paid by the first frame.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from edgevlm_ros.edge.engine import Engine, EngineError, Prompt
from edgevlm_ros.edge.loading import load_engine
from edgevlm_ros.edge.memory_budget import LOADING_ADVICE, ran_out_of_memory
from edgevlm_ros.edge.served import ServedEngine
from edgevlm_ros.nodes import edge_parameters, memory
from edgevlm_ros.nodes.parameters import Values
from edgevlm_ros.nodes.watchdog import Pulse, Watchdog
from edgevlm_ros.words import in_one_line

_PROGRESS_S = 5.0
# The first forward pass reads the weights from the disk and compiles: it may take so many times the watchdog's time.
_WARM_UP_FACTOR = 10.0


def warm_model(
    value: Values, watched: Callable[[Pulse, float], Watchdog | None], tell: Callable[[str], object]
) -> Engine:
    """The model of the edge node's parameters. watched: begins to watch a pulse, with so many times the patience.
    Raises EngineError, AssetError or ParameterError."""
    with _progress(value["server_url"] or value["model"], tell):
        if value["server_url"]:
            return ServedEngine(edge_parameters.served_settings(value))
        engine = load_engine(edge_parameters.engine_settings(value))
        tell(f"{engine.name} is loaded, and answers one frame to warm up")
        pulse = Pulse()
        watchdog = watched(pulse, _WARM_UP_FACTOR)
        try:
            with pulse.step():
                warm_up(engine)
        finally:
            if watchdog is not None:
                watchdog.close()
        return engine


def warm_up(engine: Engine) -> None:
    """Lets it answer one frame. Raises EngineError where memory does not suffice for that."""
    gray = np.full((480, 640, 3), 127, np.uint8)
    try:
        engine.complete(Prompt((), (gray,), "?"), stop=lambda: True)
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        what = f"out of memory when answering the first frame ({in_one_line(error)})"
        raise EngineError(f"{engine.name}: {what}: {LOADING_ADVICE}") from None


@contextmanager
def _progress(model: str, tell: Callable[[str], object]) -> Iterator[None]:
    """Says now and then that the model is being loaded, and when it is."""
    started, done = time.monotonic(), threading.Event()

    def told() -> str:
        return f"{time.monotonic() - started:.1f} s, {memory.resident() / 1e6:.0f} MB of memory"

    def tell_on() -> None:
        while not done.wait(_PROGRESS_S):
            tell(f"loading {model}: {told()}")

    tell(f"loading {model}")
    teller = threading.Thread(target=tell_on, name="progress", daemon=True)
    teller.start()
    try:
        yield
        tell(f"{model} is ready after {told()}")
    finally:
        done.set()
        teller.join()
