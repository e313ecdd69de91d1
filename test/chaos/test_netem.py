# SPDX-License-Identifier: Apache-2.0
"""What the kernel can do is found out, and where it cannot that is said; DDS on the same loopback is left alone."""

from __future__ import annotations

import pytest

from chaos import netem
from chaos.faults import FAULTS, KERNEL


def tools(monkeypatch: pytest.MonkeyPatch, *there: str) -> None:
    monkeypatch.setattr(netem.shutil, "which", lambda tool: f"/bin/{tool}" if tool in there else None)


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tools(monkeypatch, "unshare", "ip")
    assert "no `tc`" in netem.missing()


def test_a_kernel_that_refuses_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    tools(monkeypatch, "unshare", "ip", "tc")
    said = netem.missing(["sh", "-c", "echo 'Error: Specified qdisc kind is unknown.' >&2; exit 2"])
    assert said == "netem: not available on this machine (Error: Specified qdisc kind is unknown)"


def test_a_machine_that_can_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    tools(monkeypatch, "unshare", "ip", "tc")
    assert netem.missing(["true"]) == ""


def test_the_question_itself_harms_nothing() -> None:
    assert netem.missing() == "" or netem.missing().startswith("netem: not available on this machine (")


@pytest.mark.parametrize("fault", [name for name, fault in FAULTS.items() if fault.place == KERNEL])
def test_only_packets_of_the_port_are_touched(fault: str) -> None:
    made = [" ".join(command) for command in netem.commands(fault, FAULTS[fault].settings, 4711)]
    assert sum("netem" in command for command in made) == 1
    assert all("parent 1:4" in command for command in made if "netem" in command)
    filters = [command for command in made if "filter" in command]
    assert {word for command in filters for word in ("dport", "sport") if word in command} == {"dport", "sport"}
    assert all("4711 0xffff flowid 1:4" in command for command in filters)
