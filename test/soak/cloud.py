# SPDX-License-Identifier: Apache-2.0
"""A cloud that fails at times: the server of a model, or of a script, behind the faults of the chaos suite.

Connections are kept open while all is well, as a real endpoint does: what a client forgets to close then adds up.
"""

from __future__ import annotations

import contextlib
from types import TracebackType

from chaos.cloud import SpoiltCloud
from chaos.faults import FAULTS, NETWORK
from chaos.wire import Wire
from support.scripted_cloud import Reply, Request, ScriptedCloud, completion


class FaultyCloud:
    """Serves on loopback, as the model behind `upstream` would, or with the same words always if that is empty.

    upstream: a base URL. A context manager.
    """

    def __init__(self, upstream: str = "") -> None:
        self._fault = ""
        with contextlib.ExitStack() as stack:
            if not upstream:
                script = stack.enter_context(ScriptedCloud(lambda request: _forgetful(script, request)))
                upstream = script.base_url
            self._cloud = stack.enter_context(SpoiltCloud(lambda: upstream))
            self._wire = stack.enter_context(Wire(self._cloud.port))
            self._stack = stack.pop_all()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._wire.port}/v1"

    def fail(self, fault: str) -> None:
        """From now on, until it is well again. fault: one of the server's or of the way there, in chaos.faults."""
        self._fault = fault
        self._place(fault).fail(fault, FAULTS[fault].settings)

    def recover(self) -> None:
        if self._fault:
            fault, self._fault = self._fault, ""
            self._place(fault).recover()

    def _place(self, fault: str) -> SpoiltCloud | Wire:
        return self._wire if FAULTS[fault].place == NETWORK else self._cloud

    def __enter__(self) -> FaultyCloud:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.recover()
        self._stack.__exit__(kind, error, trace)


def _forgetful(cloud: ScriptedCloud, request: Request) -> Reply:
    """The script's words; the pictures of half an hour are not kept."""
    cloud.requests.clear()
    return completion(prompt_tokens=150 if request.image_url else 30)
