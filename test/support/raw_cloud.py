# SPDX-License-Identifier: Apache-2.0
"""A TCP server that does, byte by byte, what a test says: faults that no HTTP library would let a server have."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType

from support.scripted_cloud import completion

Serve = Callable[["Caller"], None]


def completed(content: str) -> bytes:
    """The JSON of a chat completion with these words."""
    return json.dumps(completion(json.dumps({"answer": content})).body).encode()


def http(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """A whole HTTP response; length: what it says of its body's length, if that is a lie."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Caller:
    """One connection of a client. number: from 0, in the order in which they came."""

    def __init__(self, connection: socket.socket, number: int, stopped: threading.Event) -> None:
        self.number = number
        self.stopped = stopped
        self.sent = 0
        self._connection = connection

    def request(self) -> bytes:
        """Head and body of one request."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += self._more()
        return data[: len(head)] + b"\r\n\r\n" + body

    def say(self, data: bytes) -> None:
        self._connection.sendall(data)
        self.sent += len(data)

    def silence(self) -> None:
        """Say nothing more, and stay."""
        self.stopped.wait()

    def reset(self) -> None:
        """Break the connection as a crashed machine does: RST instead of FIN."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def _more(self) -> bytes:
        data = self._connection.recv(1 << 16)
        if not data:
            raise ConnectionError("the client has hung up")
        return data


class RawCloud:
    """Serves each connection on loopback in a thread of its own, with what the test says; tls: a server's context."""

    def __init__(self, serve: Serve, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.callers: list[Caller] = []
        self._serve = serve
        self._tls = tls
        self._stopped = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> RawCloud:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            caller = Caller(connection, len(self.callers), self._stopped)
            self.callers.append(caller)
            threading.Thread(target=self._attend, args=(caller, connection), daemon=True).start()

    def _attend(self, caller: Caller, connection: socket.socket) -> None:
        with connection:
            try:
                if self._tls:
                    caller._connection = connection = self._tls.wrap_socket(connection, server_side=True)
                self._serve(caller)
                connection.close()
            except OSError:
                pass  # the client gave up, which is its right
