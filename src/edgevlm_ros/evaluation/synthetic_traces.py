# SPDX-License-Identifier: Apache-2.0
"""Networks that we made up, for want of recordings that may be shipped.

Each is a rate and a round trip that wander around a middle (an AR(1) process of their logarithms), and breaks: a
handover, an access point left behind, a tunnel. The middles are ordinary figures of such links; nothing was measured.
`python -m edgevlm_ros.evaluation.synthetic_traces` writes the files.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevlm_ros.evaluation.traces import COLUMNS, Sample, traces_dir

SECONDS = 300.0
STEP_S = 0.5
SEED = 4


@dataclass(frozen=True, slots=True)
class Link:
    """A kind of network. up_kbps, rtt_ms: the middles. spread: of the rate's logarithm. memory_s: while it stays alike.

    break_every, break_s: seconds from break to break on average, shortest and longest break. fade_s: before and after a
    break the rate falls and rises over so many seconds. in_break: share of packets that a break loses.
    """

    about: str
    up_kbps: float
    rtt_ms: float
    loss: float
    spread: float
    memory_s: float
    break_every: float
    break_s: tuple[float, float]
    fade_s: float
    in_break: float = 1.0


LINKS = {
    "4g_drive": Link("4G in a moving vehicle, a handover now and then", 6000, 65, 0.004, 0.75, 8, 28, (0.5, 1.5), 2),
    "5g_edge": Link("5G with the server at the edge of the network", 35000, 18, 0.001, 0.35, 5, 90, (0.5, 0.5), 1, 0.3),
    "wifi_roaming": Link(
        "Wi-Fi in a hall, from access point to access point", 18000, 9, 0.006, 0.5, 4, 32, (1.5, 4), 7
    ),
    "tunnel": Link("4G on a route with tunnels", 7000, 60, 0.004, 0.6, 8, 75, (14, 24), 3),
}


def make(name: str) -> list[Sample]:
    """Samples every half second."""
    link, rng = LINKS[name], random.Random(f"{name}/{SEED}")
    breaks = _breaks(link, rng)
    keep = math.exp(-STEP_S / link.memory_s)
    samples, wander = [], rng.gauss(0.0, 1.0)
    for index in range(round(SECONDS / STEP_S)):
        time = index * STEP_S
        wander = keep * wander + math.sqrt(1.0 - keep * keep) * rng.gauss(0.0, 1.0)
        away = min(max(begin - time, time - end + STEP_S, 0.0) for begin, end in breaks)  # seconds to the nearest break
        strength = min(1.0, away / (link.fade_s + STEP_S))
        rate = link.up_kbps * math.exp(link.spread * wander) * strength
        rtt = link.rtt_ms * (
            math.exp(-0.4 * link.spread * wander + 0.12 * rng.gauss(0.0, 1.0)) + 2.0 * (1.0 - strength)
        )
        loss = link.in_break if away == 0.0 else min(1.0, link.loss * (1.0 + 8.0 * (1.0 - strength)))
        samples.append(Sample(time, round(rtt, 1), float(round(rate)), round(loss, 4)))
    return samples


def _breaks(link: Link, rng: random.Random) -> list[tuple[float, float]]:
    """Begin and end of each, seconds."""
    breaks: list[tuple[float, float]] = []
    time = link.break_every * rng.uniform(0.3, 0.7)
    while time < SECONDS:
        breaks.append((time, time + rng.uniform(*link.break_s)))
        time = breaks[-1][1] + link.break_every * rng.uniform(0.6, 1.4)
    return breaks


def text(name: str) -> str:
    """The file, as it is committed."""
    rows = [f"{s.time:g},{s.rtt_ms:g},{s.up_kbps:.0f},{s.loss:g}" for s in make(name)]
    made = f"# synthetic, not recorded: {LINKS[name].about}; by edgevlm_ros.evaluation.synthetic_traces, seed {SEED}"
    return "\n".join([made, ",".join(COLUMNS), *rows]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the synthetic network traces.")
    parser.add_argument(
        "--out", type=Path, default=traces_dir(), help="folder for the CSV files (default: config/traces)"
    )
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    for name in LINKS:
        (out / f"{name}.csv").write_text(text(name), encoding="utf-8")
        print(out / f"{name}.csv")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
