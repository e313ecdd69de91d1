# SPDX-License-Identifier: Apache-2.0
"""`PYTHONPATH=test python -m chaos`: what each fault of a schedule does to the real graph, as a table and a picture."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from chaos import netem
from chaos.faults import FAULTS, KERNEL
from chaos.figures import markdown, rows, silent, slow, twice, wrong
from chaos.schedule import LONG, SHORT, Entry, ScheduleError, length, read_schedule
from edgevlm_ros.program import BAD_INPUT, FAILED, OK, ended

_RATE, _SIZE = 10.0, (640, 480)
_EPILOG = """
The edge node, the cloud bridge, the recorder, a camera and the bundled large model's server run as processes of their
own, in a ROS domain that nobody else sees. Between bridge and server stand a TCP proxy and an HTTP server of ours that
break as the schedule says: a YAML file, see test/chaos/schedule.yaml; --faults lists what may stand in it. Faults of
the kernel (tc netem) happen in a network namespace, where the machine has both; elsewhere the table says why not.

In OUT: chaos.json (all figures), chaos.md (the table), chaos.png, logs/, record/.
The exit code is 0 if what does not depend on the machine holds: every request ended as exactly one context, no
traceback is in any log, the cloud came back after every fault, and what was heard is in the record. 1 if not, 2 for
what cannot be asked for, 130 for Ctrl-C. The edge's pace and the time until the cloud is back are told, not judged.

  make chaos                                                    all of it, about six minutes
  PYTHONPATH=test .venv/bin/python -m chaos --short             a handful of faults, under a cheap cloud: half a minute
  PYTHONPATH=test .venv/bin/python -m chaos --schedule mine.yaml --out runs/mine
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    asked = _parser().parse_args(words)
    if asked.faults:
        print(_listed())
        return OK
    try:
        entries = read_schedule(asked.schedule or (SHORT if asked.short else LONG))
    except ScheduleError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    missing = ""
    if any(entry.place == KERNEL for entry in entries) and not netem.inside():
        missing = netem.missing()
        if not missing:
            netem.enter("chaos", words)
    return ended(lambda check: _chaos(asked, entries, missing, check))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--schedule", type=Path, metavar="FILE", help="of faults (test/chaos/schedule.yaml)")
    add("--short", action="store_true", help="short.yaml and a scripted cloud, unless others are named")
    add("--faults", action="store_true", help="list the faults and their settings, and end")
    add("--rate", type=float, default=_RATE, metavar="HZ", help="of the camera (%(default)g)")
    add("--model", default="micro_svlm", metavar="NAME", help="edge model: bundled, folder or hub id (%(default)s)")
    add("--cloud", choices=("bundled", "scripted"), help="the real server, or a cheap one")
    add("--keyframe-period", type=float, metavar="S", help="of the bridge (1, or 0.25 of a scripted cloud)")
    add("--timeout", type=float, metavar="S", help="of the bridge (3, or 1 of a scripted cloud)")
    add("--probe", type=float, metavar="S", help="between the breaker's probes at most (3, or 1 of a scripted cloud)")
    add("--out", type=Path, default=Path("runs/chaos"), metavar="FOLDER", help="for the results (%(default)s)")
    add("--domain", type=int, choices=range(102), metavar="0..101", help="ROS domain; else a free one")
    return parser


def _listed() -> str:
    lines = []
    for name, fault in FAULTS.items():
        settings = ", ".join(f"{key}: {value:g}" for key, value in fault.settings.items())
        lines.append(f"{name:<18} {fault.place:<8} {fault.words}{f' ({settings})' if settings else ''}")
    return "\n".join(lines)


def _chaos(asked: argparse.Namespace, entries: list[Entry], missing: str, check: Any) -> int:
    from chaos.plot import draw_chaos
    from chaos.robot import ChaosRobot, unrecorded
    from edgevlm_ros.assets import model_path
    from edgevlm_ros.machine import machine, versions
    from edgevlm_ros.terminal import shown
    from soak.__main__ import told_in_logs
    from soak.robot import BUNDLED, SCRIPTED, Asked

    model_path(asked.model)
    out: Path = asked.out.expanduser().resolve()
    out.mkdir(parents=True, exist_ok=True)
    for left in ("logs", "record"):
        shutil.rmtree(out / left, ignore_errors=True)
    cloud = asked.cloud or (SCRIPTED if asked.short else BUNDLED)
    slowly = cloud == BUNDLED
    period = asked.keyframe_period or (1.0 if slowly else 0.25)
    timeout, probe = asked.timeout or (3.0 if slowly else 1.0), asked.probe or (3.0 if slowly else 1.0)
    wanted = Asked(asked.model, asked.rate, *_SIZE, cloud, period, timeout, domain=asked.domain)
    possible = [entry for entry in entries if not (missing and entry.place == KERNEL)]
    seconds = length(possible)
    date = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    print(f"starting the graph, logs in {shown(out / 'logs')}", flush=True)
    with _bar(seconds) as bar, ChaosRobot(wanted, out, check, probe) as robot:

        def tell(passed: float, what: str, answers: int) -> None:
            now = [window.entry.label for window in robot.windows if window.end == window.begin]
            bar.set_description_str(f"{(now or ['quiet'])[-1][:28]:<28}", refresh=False)
            bar.set_postfix_str(f"{answers} answers", refresh=False)
            bar.update(min(passed, seconds) - bar.n)

        bar.reset()
        robot.suffer(possible, seconds, tell)
    samples = robot.samples
    memory = [(use.at, use.process, use.memory) for use in samples.uses if use.process != "camera"]
    # a probe that hangs until its time-out is followed by the next one only then
    interval = max(probe, timeout)
    found = rows(robot.windows, samples.answers, robot.requests, memory, samples.ended, interval)
    skipped = [entry for entry in entries if entry not in possible]
    found += [{"fault": entry.label, "place": entry.place, "skipped": missing} for entry in skipped]
    totals = {
        "requests": len(robot.requests),
        "answers": len(samples.answers),
        "silent": silent(robot.requests),
        "twice": twice(robot.requests),
        "contexts_unrecorded": unrecorded(robot.requests, out / "record"),
        **told_in_logs(out / "logs"),
    }
    chaos: dict[str, Any] = {
        "date": date,
        "asked": {**dataclasses.asdict(wanted), "longest_pause": probe, "probe_interval_s": interval},
        "machine": machine(),
        "versions": versions(),
        "load_average": os.getloadavg(),
        "seconds": round(samples.ended, 1),
        "rows": found,
        "totals": totals,
        "wrong": wrong(found, totals),
        "slow": slow(found),
        "answers": [round(at, 2) for at in samples.answers],
        "requests": [dataclasses.asdict(one) for one in robot.requests],
    }
    (out / "chaos.json").write_text(json.dumps(chaos) + "\n")
    table = markdown(found)
    (out / "chaos.md").write_text(table)
    draw_chaos(robot.windows, samples.answers, robot.requests, samples.ended, out / "chaos.png")
    print(f"\n{table}\n{json.dumps(totals)}")
    for said in chaos["slow"]:
        print(f"slow: {said}")
    for said in chaos["wrong"]:
        print(f"wrong: {said}")
    print(f"{shown(out / 'chaos.json')}, and beside it chaos.md, chaos.png, logs")
    return FAILED if chaos["wrong"] else OK


def _bar(seconds: float) -> Any:
    """In a terminal a live one; elsewhere a line now and then."""
    every = 0.5 if sys.stderr.isatty() else 30.0
    layout = "{desc} {bar}| {n:.0f}/{total:.0f} s{postfix}"
    return tqdm(total=seconds, bar_format=layout, mininterval=every, dynamic_ncols=True)


if __name__ == "__main__":
    sys.exit(main())
