# SPDX-License-Identifier: Apache-2.0
"""Every door holds against the kept inputs and some thousand made of them. A million of each: `make fuzz`."""

from __future__ import annotations

import importlib
import time
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import corpus, limits

each_target = pytest.mark.parametrize("name", corpus.TARGETS)


def target(name: str) -> ModuleType:
    """The target, its imports and caches paid for."""
    module = importlib.import_module(f"fuzz.targets.{name}")
    for data in corpus.inputs(name).values():
        module.check(data)
    return module


@st.composite
def spoilt(draw: st.DrawFn, name: str, words: tuple[bytes, ...]) -> bytes:
    """A kept input with pieces cut out, put in and repeated."""
    kept = list(corpus.inputs(name).values())
    data = bytearray(draw(st.sampled_from(kept)))
    pieces = st.binary(max_size=6) | st.sampled_from([*words, b"\xff\xff\xff\xff", b"\0"])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 9))] = draw(pieces) * draw(st.sampled_from([1, 1, 1, 2, 40]))
    return bytes(data)


@each_target
def test_every_kept_input_is_held(name: str) -> None:
    module = target(name)
    for kept, data in corpus.inputs(name).items():
        assert len(data) < 8192, f"{kept} is larger than a kept input should be"
        limits.cost(module.check, data)


@each_target
def test_whatever_is_made_of_a_kept_input_is_held(name: str) -> None:
    module = target(name)

    @settings(
        max_examples=40 if getattr(module, "SLOW", False) else 250,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(spoilt(name, module.WORDS))
    def holds(data: bytes) -> None:
        limits.cost(module.check, data)

    holds()


def test_an_input_that_takes_too_much_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.01)

    def busy(data: bytes) -> None:
        began = time.process_time()
        while time.process_time() - began < 0.05:
            pass

    with pytest.raises(limits.TooMuch, match=r"3 bytes took 0\.\d\d s"):
        limits.cost(busy, b"abc")
    with pytest.raises(ZeroDivisionError):
        limits.cost(lambda data: print(1 / 0), b"")


def test_a_target_says_what_it_needs_to() -> None:
    for name in corpus.TARGETS:
        module: Any = importlib.import_module(f"fuzz.targets.{name}")
        assert module.__doc__
        assert module.LONGEST > 0
        assert all(isinstance(word, bytes) and word for word in module.WORDS)
