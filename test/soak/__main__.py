# SPDX-License-Identifier: Apache-2.0
"""`PYTHONPATH=test python -m soak`: what half an hour of trouble leaves in the processes of the robot."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edgevlm_ros.arguments import number
from edgevlm_ros.program import FAILED, OK, ended
from soak.schedule import PHASES, VALUES, schedule

_MINUTES, _ROUND_S = 30.0, 120.0
_RATE, _SIZE = 10.0, (640, 480)
_POSITIVE = number(0.01, 100_000.0)
_TIMEOUT_S = 4.0  # shorter than a fault, so that requests end within it
_TRACEBACKS = ("Traceback (most recent call last)", "Exception ignored in")
_EPILOG = f"""
The edge node, the cloud bridge, the recorder, a camera and the bundled large model's server run as processes of their
own, as on a robot, in a ROS domain that nobody else sees; between bridge and server stand the faults of `make chaos`.
They go through the same round again and again, in {len(PHASES)} phases: {", ".join(name for name, _ in PHASES)}.
In it happen: {", ".join(VALUES)}; see test/soak/schedule.py.

Every second each process is looked at: memory, threads, file descriptors, CPU. Of each round after the warm-up (the
first fifth) counts the median; the slope is that of a Theil-Sen line through these, and wants 5 of them.

In OUT: soak.json (all figures and samples), soak.md (the tables that are printed), soak.png, logs/, record/.
The exit code is 0 if what does not depend on the machine holds: memory grows by less than 0.5 MB a minute, no thread
and no descriptor is gained, no traceback is in any log, every request ended as one context. 1 if not, 2 for what cannot
be asked for, 130 for Ctrl-C. A run that is too short for a slope is judged by the rest.

  make soak                                                   half an hour
  PYTHONPATH=test .venv/bin/python -m soak --minutes 480      over night
  PYTHONPATH=test .venv/bin/python -m soak --minutes 2 --round 20    whether it works at all, with a rough slope
  PYTHONPATH=test .venv/bin/python -m soak --minutes 3 --round 6 --only reload    which kind of event makes it grow
  PYTHONPATH=test .venv/bin/python -m soak --rate 3           beside other work: about a fifth of a core
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    asked = _parser().parse_args(arguments)
    return ended(lambda check: _soak(asked, check))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m soak", description=__doc__, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--minutes", type=_POSITIVE, default=_MINUTES, metavar="M", help="of trouble (%(default)g)")
    add("--round", type=_POSITIVE, default=_ROUND_S, metavar="S", help="seconds of one round of it (%(default)g)")
    add(
        "--only", nargs="+", default=(), choices=VALUES, metavar="KIND", help="of event, to find what makes memory grow"
    )
    add("--rate", type=_POSITIVE, default=_RATE, metavar="HZ", help="of the camera (%(default)g)")
    add("--model", default="micro_svlm", metavar="NAME", help="edge model: bundled, folder or hub id (%(default)s)")
    add("--cloud", default="bundled", choices=("bundled", "scripted"), help="the real server, or a cheap one")
    add("--keyframe-period", type=_POSITIVE, default=3.0, metavar="S", help="of the bridge (%(default)g)")
    add("--out", type=Path, default=Path("runs/soak"), metavar="FOLDER", help="for the results (%(default)s)")
    add("--domain", type=int, choices=range(102), metavar="0..101", help="ROS domain; else a free one")
    return parser


def _soak(asked: argparse.Namespace, check: Any) -> int:
    from edgevlm_ros.assets import model_path
    from edgevlm_ros.machine import machine, versions
    from edgevlm_ros.terminal import shown
    from soak.figures import figures, markdown, targets
    from soak.plot import draw_soak
    from soak.robot import Asked, Robot

    model_path(asked.model)
    out: Path = asked.out.expanduser().resolve()
    out.mkdir(parents=True, exist_ok=True)
    for left in ("logs", "record"):
        shutil.rmtree(out / left, ignore_errors=True)
    seconds, (width, height) = 60.0 * asked.minutes, _SIZE
    steps = schedule(seconds, asked.round, asked.only)
    wanted = Asked(
        asked.model, asked.rate, width, height, asked.cloud, asked.keyframe_period, _TIMEOUT_S, domain=asked.domain
    )
    date, began = datetime.datetime.now().astimezone().isoformat(timespec="seconds"), time.monotonic()
    print(f"starting the graph, logs in {shown(out / 'logs')}", flush=True)
    with _bar(seconds) as bar, Robot(wanted, out, check) as robot:

        def tell(passed: float, what: str, answers: int) -> None:
            bar.set_description_str(f"{what[:28]:<28}", refresh=False)
            bar.set_postfix_str(f"{answers} answers", refresh=False)
            bar.update(min(passed, seconds) - bar.n)

        bar.reset()
        samples = robot.live(steps, seconds, tell)
    found, logs = figures(samples), told_in_logs(out / "logs")
    soak: dict[str, Any] = {
        "date": date,
        "asked": {**dataclasses.asdict(wanted), "seconds": seconds, "round": asked.round, "only": list(asked.only)},
        "machine": machine(),
        "versions": versions(),
        "load_average": os.getloadavg(),
        "took_s": round(time.monotonic() - began, 1),
        "targets": targets(found, logs["tracebacks"]),
        "figures": found,
        "logs": logs,
        "samples": _columns(samples),
    }
    (out / "soak.json").write_text(json.dumps(soak) + "\n")
    table = markdown(soak)
    (out / "soak.md").write_text(table)
    draw_soak(samples, out / "soak.png")
    print(table)
    print(f"{shown(out / 'soak.json')}, and beside it soak.md, soak.png, logs")
    return FAILED if any(row["met"] is False for row in soak["targets"]) else OK


def _columns(samples: Any) -> dict[str, Any]:
    """For soak.json: seconds from the beginning, memory in bytes."""
    processes: dict[str, list[Any]] = {}
    for use in samples.uses:
        row = [round(use.at, 2), use.pid, use.memory, use.private, use.threads, use.descriptors, round(use.cpu, 2)]
        processes.setdefault(use.process, []).append(row)
    return {
        "columns": ["at", "pid", "memory", "private", "threads", "descriptors", "cpu"],
        "processes": processes,
        "marks": [[round(mark.at, 2), mark.kind, mark.value, mark.begins] for mark in samples.marks],
        "answers": [round(at, 2) for at in samples.answers],
        "replies": [[round(reply.at, 2), reply.id, reply.status] for reply in samples.replies],
        "shared": [[round(at, 2), used] for at, used in samples.shared],
    }


def _bar(seconds: float) -> Any:
    """In a terminal a live one; elsewhere a line now and then."""
    every = 0.5 if sys.stderr.isatty() else 30.0
    layout = "{desc} {bar}| {n:.0f}/{total:.0f} s{postfix}"
    return tqdm(total=seconds, bar_format=layout, mininterval=every, dynamic_ncols=True)


def told_in_logs(folder: Path) -> dict[str, int]:
    """Lines of all logs in a folder: tracebacks, and those of each level that is bad."""
    found: Counter[str] = Counter({"tracebacks": 0})
    for log in sorted(folder.glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            found["tracebacks"] += line.startswith(_TRACEBACKS)
            for level in ("WARN", "ERROR", "FATAL"):
                found[f"{log.stem} {level}"] += line.startswith(f"[{level}]")
    return {name: count for name, count in found.items() if count or name == "tracebacks"}


if __name__ == "__main__":
    sys.exit(main())
