# SPDX-License-Identifier: Apache-2.0
"""A cloud between which and the bridge something goes wrong at times: a server of ours in front of a model's.

Connections are kept open while all is well, as a real endpoint does: what a client forgets to close then adds up.
"""

from __future__ import annotations

import json
import threading
from types import TracebackType

import httpx

from support.raw_cloud import Caller, RawCloud, http
from support.scripted_cloud import completion

_FAULT_POLL_S = 0.1
_DRIP_S = 0.2
_REGION = '{"answer": "acid, left", "regions": [{"label": "cart", "bbox_2d": [125, 250, 375, 500]}]}'
_CANNED = json.dumps(completion(_REGION).body).encode()
_MODELS = json.dumps({"object": "list", "data": [{"id": "scripted-lvlm"}]}).encode()


class FaultyCloud:
    """Serves on loopback, as the model behind `upstream` would, or with the same words always if that is empty.

    upstream: a base URL. A context manager.
    """

    def __init__(self, upstream: str = "") -> None:
        self.requests = 0
        self._fault = ""
        self._ended = threading.Event()
        self._http = httpx.Client(base_url=upstream.removesuffix("/v1"), timeout=60.0, trust_env=False)
        self._upstream = upstream
        self._raw: RawCloud | None = RawCloud(self._serve)
        self._port = self._raw.port

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def fail(self, fault: str) -> None:
        """From now on, until it is well again. fault: a name of `schedule.VALUES`."""
        self._fault = fault
        if fault == "refused" and self._raw is not None:
            self._raw.__exit__(None, None, None)
            self._raw = None

    def recover(self) -> None:
        self._fault = ""
        if self._raw is None:
            self._raw = RawCloud(self._serve, port=self._port)

    def __enter__(self) -> FaultyCloud:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._raw is not None:
            self._raw.__exit__(None, None, None)
        self._http.close()

    # -- the threads of connections ----------------------------------------------------------------------------------

    def _serve(self, caller: Caller) -> None:
        """All requests of one connection."""
        while not self._ended.is_set():
            request = caller.request()
            self.requests += 1
            if not self._spoilt(caller):
                caller.say(self._answered(request))

    def _spoilt(self, caller: Caller) -> bool:
        """Does what the fault of this moment is; whether there was one."""
        fault, good = self._fault, http(_CANNED)
        match fault:
            case "":
                return False
            case "refused" | "cut":
                caller.say(good[: len(good) // 2] if fault == "cut" else b"")
                caller.reset()
                raise ConnectionError("broken, as asked for")
            case "hangs":
                while self._fault == fault and not self._ended.wait(_FAULT_POLL_S):
                    pass
                raise ConnectionError("hung up, as asked for")
            case "drips":
                head = len(good) - len(_CANNED)
                for begin, end in [(0, head), *((at, at + 1) for at in range(head, len(good)))]:
                    caller.say(good[begin:end])
                    if self._fault != fault or self._ended.wait(_DRIP_S):
                        raise ConnectionError("hung up, as asked for")
            case "busy":
                caller.say(http(b'{"error": {"message": "busy"}}', "503 Service Unavailable"))
            case "unauthorized":
                caller.say(http(b'{"error": {"message": "no such key"}}', "401 Unauthorized"))
            case "garbage":
                caller.say(http(b"\x00\xff{not json"))
            case "wrong shape":
                caller.say(http(b'{"choices": [{"message": {"content": 7}}]}'))
            case _:
                raise ValueError(f"no such fault: {fault!r}")
        return True

    def _answered(self, request: bytes) -> bytes:
        head, _, body = request.partition(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split()
        if not self._upstream:
            return http(_MODELS if method == "GET" else _CANNED)
        try:
            reply = self._http.request(method, path, content=body or None, headers={"Content-Type": "application/json"})
        except httpx.HTTPError as error:
            return http(json.dumps({"error": {"message": str(error)}}).encode(), "502 Bad Gateway")
        return http(reply.content, f"{reply.status_code} {reply.reason_phrase}", "Content-Type: application/json")
