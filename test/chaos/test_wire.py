# SPDX-License-Identifier: Apache-2.0
"""The proxy does to real sockets what networks do, and is a plain way again afterwards."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from chaos.faults import FAULTS
from chaos.wire import Wire
from support.raw_cloud import Caller, RawCloud

WORDS = b"words that come back " * 200
_PATIENCE = 30.0


def echo(caller: Caller) -> None:
    while True:
        caller.say(caller._more())


@pytest.fixture
def wire() -> Iterator[Wire]:
    with RawCloud(echo) as cloud, Wire(cloud.port) as wire:
        yield wire


def connected(wire: Wire, timeout: float = _PATIENCE) -> socket.socket:
    return socket.create_connection(("127.0.0.1", wire.port), timeout=timeout)


def echoed(connection: socket.socket) -> bytes:
    """What comes back of the words, until it is all or the other end hangs up."""
    connection.sendall(WORDS)
    heard = b""
    while len(heard) < len(WORDS) and (data := connection.recv(1 << 16)):
        heard += data
    return heard


def is_a_plain_way(wire: Wire) -> bool:
    with connected(wire) as connection:
        return echoed(connection) == WORDS


def test_bytes_pass_both_ways(wire: Wire) -> None:
    assert is_a_plain_way(wire)


@pytest.mark.parametrize("fault", ["delayed", "stalling", "throttled"])
def test_what_slows_the_line_loses_nothing(wire: Wire, fault: str) -> None:
    wire.fail(fault, {**FAULTS[fault].settings, "seconds": 0.05, "bytes_per_s": 40_000})
    assert is_a_plain_way(wire)
    wire.recover()
    assert is_a_plain_way(wire)


def test_nobody_listens_while_it_refuses(wire: Wire) -> None:
    with connected(wire) as before:
        assert echoed(before) == WORDS
        wire.fail("refused", {})
        with pytest.raises(ConnectionRefusedError):
            connected(wire)
        with pytest.raises(ConnectionError):
            while before.recv(1):
                pass
            raise ConnectionResetError("hung up")
    wire.recover()
    assert is_a_plain_way(wire)


def test_silence_accepts_and_says_nothing(wire: Wire) -> None:
    wire.fail("silent", {})
    with connected(wire) as connection:
        connection.sendall(WORDS)
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(_PATIENCE)
        wire.recover()
        assert ended(connection)
    assert is_a_plain_way(wire)


def test_a_reset_comes_in_the_middle_of_the_reply(wire: Wire) -> None:
    wire.fail("reset", {"after_bytes": 60})
    with connected(wire) as connection:
        heard = b""
        connection.sendall(WORDS)
        with pytest.raises(ConnectionResetError):
            while data := connection.recv(7):
                heard += data
    assert len(heard) <= 60
    wire.recover()
    assert is_a_plain_way(wire)


def test_a_partition_answers_neither_a_connection_nor_one_that_is_there(wire: Wire) -> None:
    with connected(wire) as before:
        assert echoed(before) == WORDS
        wire.fail("partition", {})
        with pytest.raises(TimeoutError):
            connected(wire, timeout=0.3)
        before.sendall(WORDS)
        before.settimeout(0.2)
        with pytest.raises(TimeoutError):
            before.recv(1)
        before.settimeout(_PATIENCE)
        wire.recover()
        assert ended(before)
    assert is_a_plain_way(wire)


def ended(connection: socket.socket) -> bool:
    """Whether the other end goes away, by a word or without one."""
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return True
