# SPDX-License-Identifier: Apache-2.0
"""What the kernel can do to packets: `tc netem` on the loopback of a network namespace of our own.

Only what goes to or comes from one port is touched: DDS runs over the same loopback. Many machines cannot do it, for
want of rights or of the kernel's module sch_netem; then the table says so, and the proxy's faults are all there are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from chaos.faults import Settings

_INSIDE = "EDGEVLM_CHAOS_NAMESPACE"
_TIMEOUT_S = 20.0
_NAMESPACE = ("unshare", "--map-root-user", "--net", "--")
_UP = "ip link set lo up && ip link set lo multicast on && ip route add 224.0.0.0/4 dev lo"
_PROBE = f"{_UP} && tc qdisc add dev lo root netem delay 1ms"


def missing(run: Sequence[str] = (*_NAMESPACE, "sh", "-c", _PROBE)) -> str:
    """Why netem cannot be used here, for people; empty if it can. run: what tries it."""
    for tool in ("unshare", "ip", "tc"):
        if shutil.which(tool) is None:
            return f"netem: not available on this machine (no `{tool}`: packages util-linux and iproute2)"
    try:
        tried = subprocess.run(run, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"netem: not available on this machine ({error})"
    if tried.returncode:
        words = (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[-1]
        return f"netem: not available on this machine ({words.rstrip('.')})"
    return ""


def inside(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is in such a namespace already."""
    return environ.get(_INSIDE) == "1"


def enter(module: str, arguments: Sequence[str]) -> NoReturn:
    """This process becomes `python -m module arguments` in a namespace of its own, which ends with it."""
    os.environ[_INSIDE] = "1"
    words = ["sh", "-c", f'{_UP} && exec "$@"', "sh", sys.executable, "-m", module, *arguments]
    os.execvp(_NAMESPACE[0], [*_NAMESPACE, *words])


def commands(fault: str, settings: Settings, port: int) -> list[list[str]]:
    """What makes a fault of the packets to and from a port of loopback."""
    rule = {
        "netem_loss": lambda: ["loss", f"{settings['percent']:g}%"],
        "netem_delay": lambda: ["delay", f"{settings['milliseconds']:g}ms", f"{settings['jitter']:g}ms"],
        "netem_partition": lambda: ["loss", "100%"],
    }[fault]()
    qdisc, into = ["tc", "qdisc", "add", "dev", "lo"], ["tc", "filter", "add", "dev", "lo", "protocol", "ip"]
    into += ["parent", "1:0", "prio", "1", "u32", "match", "ip"]
    return [
        # a fourth band, to which no priority leads, only the filters
        [*qdisc, "root", "handle", "1:", "prio", "bands", "4"],
        [*qdisc, "parent", "1:4", "handle", "40:", "netem", *rule],
        *([*into, way, str(port), "0xffff", "flowid", "1:4"] for way in ("dport", "sport")),
    ]


def apply(fault: str, settings: Settings, port: int) -> None:
    for command in commands(fault, settings, port):
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)


def clear() -> None:
    subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], check=True, capture_output=True, timeout=_TIMEOUT_S)
