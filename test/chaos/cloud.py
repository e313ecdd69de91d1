# SPDX-License-Identifier: Apache-2.0
"""An HTTP server in front of the model's that spoils what it says: the faults of a cloud that is reached."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType

import httpx

from chaos.faults import Settings
from support.raw_cloud import Caller, RawCloud, http

_POLL_S = 0.05
_CHUNK = bytes(1 << 16)
_WRONG_SHAPE = b'{"choices": [{"message": {"content": 7}}]}'


class SpoiltCloud:
    """Serves on loopback what the server behind says. upstream: its base URL, asked for at each request.

    whole: replies that were said to their end as the server gave them.
    """

    def __init__(self, upstream: Callable[[], str]) -> None:
        self.whole = 0
        self._upstream = upstream
        self._fault = ""
        self._settings: Settings = {}
        self._changed, self._ended = threading.Event(), threading.Event()
        self._turn = threading.Condition()
        self._waiting = 0
        self._http = httpx.Client(timeout=60.0, trust_env=False)
        self._raw = RawCloud(self._serve)
        self.port = self._raw.port

    def fail(self, fault: str, settings: Settings) -> None:
        """Until recover()."""
        self._changed = threading.Event()
        self._settings, self._fault = settings, fault

    def recover(self) -> None:
        self._fault = ""
        self._changed.set()

    def __enter__(self) -> SpoiltCloud:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.recover()
        self._raw.__exit__(None, None, None)
        self._http.close()

    # -- the threads of connections ----------------------------------------------------------------------------------

    def _serve(self, caller: Caller) -> None:
        """All requests of one connection."""
        while not self._ended.is_set():
            request = caller.request()
            fault = self._fault
            if fault:
                self._spoil(caller, request, fault)
            else:
                caller.say(self._answered(request))
                self.whole += 1

    def _spoil(self, caller: Caller, request: bytes, fault: str) -> None:
        settings, over = self._settings, self._changed
        match fault:
            case "status":
                code = HTTPStatus(int(settings["code"]))
                wait = [f"Retry-After: {settings['retry_after']:g}"] if settings["retry_after"] else []
                caller.say(http(_error(code.description or code.phrase), f"{code.value} {code.phrase}", *wait))
            case "not_json":
                caller.say(http(b"<html>\x00\xff welcome to the captive portal </html>"))
            case "wrong_shape":
                caller.say(http(_WRONG_SHAPE))
            case "huge_body":
                size = int(settings["bytes"])
                caller.say(http(b"", length=size))
                for _ in range(0, size, len(_CHUNK)):
                    caller.say(_CHUNK)
                raise ConnectionError("said it all")
            case _:
                self._spoil_reply(caller, self._answered(request), fault, settings, over)

    def _spoil_reply(self, caller: Caller, reply: bytes, fault: str, settings: Settings, over: threading.Event) -> None:
        """What goes wrong with a reply that was there."""
        head, gap, body = reply.partition(b"\r\n\r\n")
        match fault:
            case "truncated_json":
                caller.say(http(body[: len(body) // 2]))
            case "cut_stream":
                caller.say(head + gap + body[: len(body) // 2])
                raise ConnectionError("cut, as asked for")
            case "dripping_body":
                caller.say(head + gap)
                for at in range(len(body)):
                    caller.say(body[at : at + 1])
                    if over.wait(settings["seconds"]):
                        raise ConnectionError("hung up, as asked for")
            case "twice":
                caller.say(reply + reply)
                self.whole += 1
            case "late":
                over.wait(settings["seconds"])
                caller.say(reply)
            case "out_of_order":
                self._let_pass(settings["seconds"])
                caller.say(reply)
                self.whole += 1
            case _:
                raise ValueError(f"no such fault: {fault!r}")

    def _let_pass(self, patience: float) -> None:
        """Waits until one that came later has gone first, or nobody came."""
        with self._turn:
            if self._waiting:
                self._waiting = 0
                self._turn.notify_all()
                return
            self._waiting = 1
            came = self._turn.wait(patience)
            self._waiting = 0
        if came:
            time.sleep(_POLL_S)  # so that the other one is first on its way too

    def _answered(self, request: bytes) -> bytes:
        head, _, body = request.partition(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split()
        url = self._upstream().removesuffix("/v1") + path
        try:
            reply = self._http.request(method, url, content=body or None, headers={"Content-Type": "application/json"})
        except httpx.HTTPError as error:
            return http(_error(str(error)), "502 Bad Gateway")
        return http(reply.content, f"{reply.status_code} {reply.reason_phrase}", "Content-Type: application/json")


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message}}).encode()
