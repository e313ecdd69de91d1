# SPDX-License-Identifier: Apache-2.0
"""Fuzzes the doors of the package one after the other, and writes what came of it as a table and as fuzz.json.

    PYTHONPATH=test .venv/bin/python -m fuzz --target reply --executions 1000000

It needs atheris: `.venv/bin/python -m pip install -r requirements/fuzz.txt`. A second run goes on from what the first
one found.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from fuzz import corpus

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def campaign(target: str, out: Path, executions: int, seconds: int) -> dict[str, Any]:
    """Run one target; its figures. The log is beside them in out."""
    folder = out / target
    figures = folder.with_suffix(".json")
    figures.unlink(missing_ok=True)
    words = [sys.executable, "-m", "fuzz.campaign", target, str(folder), str(executions), str(seconds)]
    with folder.with_suffix(".log").open("wb") as log:
        status = subprocess.run(words, stdout=log, stderr=log, env=os.environ | _ONE_THREAD, check=False).returncode
    told = folder.with_suffix(".log").read_text(errors="replace")
    coverage = re.findall(r"cov: (\d+)", told)
    crashes = sorted(path.name for path in out.glob(f"{target}.*-*"))
    known = json.loads(figures.read_text()) if figures.exists() else {"executions": 0, "seconds": 0.0, "slowest_s": 0.0}
    return {
        "target": target,
        **known,
        "per_second": round(known["executions"] / known["seconds"]) if known["seconds"] else 0,
        "coverage": int(coverage[-1]) if coverage else 0,
        "crashes": crashes if crashes or status == 0 else [f"exit status {status}, see {target}.log"],
    }


def row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def table(results: list[dict[str, Any]]) -> str:
    head = ("target", "executions", "a second", "branches reached", "slowest input", "crashes and hangs")
    lines = [row(*head), row("---", *["---:"] * 5)]
    for one in results:
        slowest = f"{one['slowest_s'] * 1000:.0f} ms"
        name, count = f"`{one['target']}`", f"{one['executions']:,}"
        lines.append(row(name, count, one["per_second"], one["coverage"], slowest, len(one["crashes"])))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--target", action="append", choices=corpus.TARGETS, help="one of them; may be given again")
    parser.add_argument("--executions", type=int, default=1_000_000, help="of each target; 1000000")
    parser.add_argument("--seconds", type=int, default=0, help="for each target at most; 0 for no limit")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="folder for what is found; runs/fuzz")
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.exit("fuzz: atheris is not installed: .venv/bin/python -m pip install -r requirements/fuzz.txt")
    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    for target in options.target or corpus.TARGETS:
        print(f"fuzz: {target} ...", flush=True)
        results.append(campaign(target, options.out, options.executions, options.seconds))
        (options.out / "fuzz.json").write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    if found := [crash for one in results for crash in one["crashes"]]:
        sys.exit(f"fuzz: look at {', '.join(found)} in {options.out}")


if __name__ == "__main__":
    main()
