# SPDX-License-Identifier: Apache-2.0
"""The way to the cloud: a TCP proxy that passes bytes on, and does what networks do.

All of it happens to real sockets, so that a client meets what it would meet: RST, a full accept queue in which SYNs
get lost, a window that does not open.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator
from types import TracebackType

from chaos.faults import Settings

_POLL_S = 0.05
_PIECE = 1 << 14
_BACKLOG = 64
_FILLERS = 4
_RESET = struct.pack("ii", 1, 0)


class Wire:
    """Listens on a port of loopback and leads to another one. A context manager."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._fault = ""
        self._settings: Settings = {}
        self._over, self._ended = threading.Event(), threading.Event()
        self._draw = random.Random(1)
        self._fillers: list[socket.socket] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = self._listening(0)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def fail(self, fault: str, settings: Settings) -> None:
        """Until recover(). A fault of the line is one of its connections too; for reset and refused they are broken."""
        self._over, self._settings, self._fault = threading.Event(), settings, fault
        if fault == "refused":
            self._hang_up()
            self._break_all()
        elif fault == "partition":
            self._fill_up()

    def recover(self) -> None:
        fault, self._fault = self._fault, ""
        if fault == "refused":
            self._listener = self._listening(self.port)
        elif fault == "partition":
            assert self._listener is not None
            self._listener.listen(_BACKLOG)
            for filler in self._fillers:
                filler.close()
            self._fillers = []
        self._over.set()
        if fault in ("silent", "partition"):
            self._break_all()  # a NAT in between has forgotten them

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._over.set()
        self._hang_up()
        self._thread.join()
        self._break_all()
        for filler in self._fillers:
            filler.close()

    # -- the listening end -------------------------------------------------------------------------------------------

    @staticmethod
    def _listening(port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        listener.settimeout(_POLL_S)
        return listener

    def _hang_up(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)  # at once, even while the thread waits in accept(), which closes it

    def _fill_up(self) -> None:
        """As many connections as the queue takes: the kernel drops the SYNs of all others, as a dead link would."""
        assert self._listener is not None
        self._listener.listen(0)
        for _ in range(_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self.port))
            self._fillers.append(filler)

    def _accept(self) -> None:
        while not self._ended.is_set():
            listener = self._listener
            if listener is None or self._fault == "partition":
                self._ended.wait(_POLL_S)
                continue
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                listener.close()
                continue
            threading.Thread(target=self._lead, args=(connection,), daemon=True).start()

    # -- connections -------------------------------------------------------------------------------------------------

    def _lead(self, near: socket.socket) -> None:
        near.settimeout(None)
        with self._lock:
            self._open.add(near)
        if self._fault == "silent":
            self._over.wait()
            self._break(near)
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._upstream))
        except OSError:
            self._break(near)
            return
        with self._lock:
            self._open.add(far)
        up = threading.Thread(target=self._pump, args=(near, far, False), daemon=True)
        up.start()
        self._pump(far, near, True)
        up.join()
        for connection in (near, far):
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _pump(self, source: socket.socket, sink: socket.socket, down: bool) -> None:
        """One direction, to its end. down: towards the client."""
        passed = 0
        try:
            while data := source.recv(_PIECE):
                for piece in self._held(data):
                    if self._fault == "reset" and down and passed + len(piece) > self._settings["after_bytes"]:
                        sink.sendall(piece[: max(0, int(self._settings["after_bytes"]) - passed)])
                        raise ConnectionResetError("as asked for")
                    sink.sendall(piece)
                    passed += len(piece)
            sink.shutdown(socket.SHUT_WR)  # whoever has no more to say may still listen
        except OSError:
            self._break(source)
            self._break(sink)

    def _held(self, data: bytes) -> Iterator[bytes]:
        """Pieces of data, each once it may go on."""
        over, settings = self._over, self._settings
        step = len(data)
        match self._fault:
            case "delayed":
                over.wait(settings["seconds"])
            case "stalling":
                if self._draw.random() < settings["share"]:
                    over.wait(settings["seconds"])
            case "throttled":
                step = max(1, int(settings["bytes_per_s"] * _POLL_S))
            case "silent" | "partition":
                over.wait()
        for at in range(0, len(data), step):
            if step < len(data):
                over.wait(_POLL_S)
            yield data[at : at + step]

    def _break_all(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            self._break(connection)

    def _break(self, connection: socket.socket) -> None:
        """RST, and whoever waits for it wakes up."""
        with self._lock:
            self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.shutdown(socket.SHUT_RD)
        connection.close()
