# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server whose replies a test writes: what clouds do when they do not do what they should."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

ANSWER = '{"answer": "acid, left", "regions": [{"label": "cart", "bbox_2d": [125, 250, 375, 500]}]}'


@dataclass
class Reply:
    """One HTTP response. body: bytes as they are, or what becomes JSON. hold: seconds before it. drip: between bytes.

    cut: close the connection instead of, or in the middle of, the body.
    """

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hold: float = 0.0
    drip: float = 0.0
    cut: bool = False


def completion(content: object = ANSWER, *, prompt_tokens: int = 150, **options: Any) -> Reply:
    """A chat completion as OpenAI's API returns it."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 20, "total_tokens": prompt_tokens + 20}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    return Reply({"model": "scripted-lvlm", "choices": [choice], "usage": usage}, **options)


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def image_url(self) -> str | None:
        parts = self.body["messages"][1]["content"]
        return next((part["image_url"]["url"] for part in parts if part["type"] == "image_url"), None)


class ScriptedCloud:
    """Serves on loopback until it is stopped. answer: what becomes of each chat request, may be set at any time."""

    def __init__(self, answer: Callable[[Request], Reply] | None = None, port: int = 0) -> None:
        self.answer = answer or (lambda request: completion(prompt_tokens=150 if request.image_url else 30))
        self.models = Reply({"object": "list", "data": [{"id": "scripted-lvlm"}]})
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def chats(self) -> list[Request]:
        return [request for request in self.requests if request.path == "/v1/chat/completions"]

    def stop(self) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> ScriptedCloud:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _handler(cloud) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                cloud.requests.append(Request(self.path, dict(self.headers), {}))
                self._send(cloud.models)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = Request(self.path, dict(self.headers), json.loads(body))
                cloud.requests.append(request)
                self._send(cloud.answer(request))

            def _send(self, reply: Reply) -> None:
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                cloud._stopped.wait(reply.hold)
                try:
                    if reply.cut and not body:
                        return
                    self.send_response(reply.status)
                    for name, value in {"Content-Length": str(len(body) + reply.cut), **reply.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    for at in range(0, len(body), 1 if reply.drip else max(1, len(body))):
                        self.wfile.write(body[at : at + 1] if reply.drip else body)
                        self.wfile.flush()
                        time.sleep(reply.drip)
                except ConnectionError:
                    pass  # the client gave up, which is its right

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
