# SPDX-License-Identifier: Apache-2.0
"""`edgevlm bench`: how fast frames are answered, stage by stage, with and without what this package does."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edgevlm_ros.arguments import count
from edgevlm_ros.machine import machine, versions
from edgevlm_ros.terminal import shown

MODELS = ("micro_svlm", "smolvlm-256m", "smolvlm-256m-tiles", "qwen2.5-vl-3b")
# Shares of the time. A mosaic is there for the sake of pruning; of the largest one a single answer takes a minute.
_WEIGHTS = {"smolvlm-256m-tiles": 2.0, "qwen2.5-vl-3b": 2.0}
QUICK_MODELS = ("micro_svlm",)
_MINUTES, _QUICK_MINUTES = 20.0, 1.0
_REPEATS, _QUICK_REPEATS = 25, 5
_GRACE_S = 120.0  # to load, and to end what was begun in time
_EPILOG = """
Each model answers frames of the bundled bag through the pipeline that runs on a robot: every focus mode, histories of
0 to 1024 tokens, with prompt reuse and without, with no draft, a right one and a wrong one, and beside each the stock
model.generate on the same prompt. Then a stream in which contexts come in while frames are answered. Models are bundled
ones (micro_svlm), folders or hub ids, or published sizes with random weights, for the time that a model takes does not
depend on them: smolvlm-256m, smolvlm-256m-tiles (cut into 13 tiles, as it is published), qwen2.5-vl-3b. One that does
not fit into memory is skipped, and what does not fit into the time is left out; bench.json says why.

In OUT: bench.json (all figures, and the ratios that the project claims, reached or not), bench.md (the same as tables),
first_token.png, stages.png. A missed ratio is no failure: the exit code is 0. Figures want a machine that does nothing
else.

With --ways it measures instead how answers of 8 and 32 tokens are decoded, with 512 tokens of history: on a growing
cache, as a CUDA graph, compiled, beside model.generate and the least that the device would need, measured too.

  edgevlm bench --quick                            the bundled model alone, a minute
  edgevlm bench --models ~/models/SmolVLM-256M     your own model
  edgevlm bench --models qwen2.5-vl-3b --device cuda --ways growing graph     the fast path on a GPU
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, _EPILOG
    add = parser.add_argument
    add("--models", nargs="+", metavar="MODEL", help=f"what to measure (default: {' '.join(MODELS)})")
    add("--out", type=Path, default=Path("runs/bench"), metavar="FOLDER", help="for the results (%(default)s)")
    add("--repeats", type=count, metavar="N", help=f"most measurements of each row (default: {_REPEATS})")
    add("--minutes", type=_minutes, help=f"for all models together; what is left over goes on ({_MINUTES:g})")
    add(
        "--threads",
        type=int,
        default=0,
        choices=range(257),
        metavar="N",
        help="of torch (its own choice; a micro model gets 1)",
    )
    add("--quick", action="store_true", help=f"the bundled model, {_QUICK_REPEATS} repeats, {_QUICK_MINUTES:g} minute")
    add("--device", default="cpu", metavar="NAME", help="cpu, cuda or cuda:N (%(default)s)")
    add("--dtype", default="", help="float32, bfloat16 or float16 (float32 on the CPU, bfloat16 on a GPU)")
    add("--ways", nargs="+", metavar="WAY", help="compare ways to decode: growing, graph, compiled")
    parser.set_defaults(run=run)


def _minutes(text: str) -> float:
    value = float(text)
    if not 0.0 < value <= 1440.0:
        raise argparse.ArgumentTypeError(f"{text}: it takes minutes above 0, a day at most")
    return value


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0 whatever the figures say, 2 for a model that there is none of."""
    from edgevlm_ros.assets import AssetError, bag_path, model_path
    from edgevlm_ros.edge.random_models import SIZES

    quick = arguments.quick
    models = tuple(arguments.models or (QUICK_MODELS if quick else MODELS))
    minutes = arguments.minutes or (_QUICK_MINUTES if quick else _MINUTES)
    repeats = arguments.repeats or (_QUICK_REPEATS if quick else _REPEATS)
    try:
        for model in models:
            if model not in SIZES:
                model_path(model)
    except AssetError as error:
        print(f"error: {error}\nSizes with random weights: {', '.join(SIZES)}", file=sys.stderr)
        return 2
    from edgevlm_ros.evaluation.bench_paths import paths_markdown
    from edgevlm_ros.evaluation.bench_plots import draw_first_token, draw_stages
    from edgevlm_ros.evaluation.bench_report import markdown, ratios
    from edgevlm_ros.evaluation.message_cost import decode_image_ms, publish_ms

    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    begun, results = time.monotonic(), []
    more = ["--device", arguments.device]
    more += ["--dtype", arguments.dtype] if arguments.dtype else []
    more += ["--ways", *arguments.ways] if arguments.ways else []
    around = {"decode_image_ms": decode_image_ms(bag_path("demo")), "publish_ms": publish_ms()}
    # a background job of a shell is deaf to Ctrl-C, and a terminated run must not leave its child
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for index, model in enumerate(models):
            left = 60 * minutes - (time.monotonic() - begun)
            weights = [_WEIGHTS.get(other, 1.0) for other in models[index:]]
            seconds = left * weights[0] / sum(weights)
            results.append(measured(model, out, seconds, repeats, arguments.threads, more))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for result in results:
        for row in result.get("rows", []):
            row.update(around)
    bench = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": f"edgevlm bench --models {' '.join(models)} --repeats {repeats} --minutes {minutes:g}"
        + (f" --threads {arguments.threads}" if arguments.threads else "")
        + f" {' '.join(more)}",
        "machine": machine(),
        "versions": versions(),
        "seconds": round(time.monotonic() - begun, 1),
        "messages": around,
        "models": [{key: value for key, value in result.items() if key != "rows"} for result in results],
        "rows": [row for result in results for row in result.get("rows", [])],
        "ratios": ratios(results),
    }
    (out / "bench.json").write_text(json.dumps(bench, indent=1) + "\n")
    table = markdown(bench)
    if ways := [paths_markdown(result) for result in results if "paths" in result]:
        table = "\n".join([table.partition(" Medians")[0] + "\n", *ways])
    (out / "bench.md").write_text(table)
    print(table)
    if arguments.ways:
        print(f"{shown(out / 'bench.json')}, and beside it bench.md")
        return 0
    draw_first_token(results, out / "first_token.png")
    draw_stages(results, out / "stages.png")
    print(f"{shown(out / 'bench.json')}, and beside it bench.md, first_token.png, stages.png")
    return 0


def measured(
    model: str, out: Path, seconds: float, repeats: int, threads: int, more: Sequence[str] = ()
) -> dict[str, Any]:
    """What a process of its own measured of a model; its `reason`, if it has one, says what went wrong.

    more: arguments of that process.
    """
    name = Path(model).name
    result_file, log = out / f".{name}.json", out / f"{name}.log"
    result_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "edgevlm_ros.evaluation.bench_process", model, "--result", str(result_file)]
    command += ["--seconds", str(max(seconds, 1.0)), "--repeats", str(repeats), "--threads", str(threads), *more]
    with log.open("w") as errors, tqdm(desc=name, unit="frame", total=1) as bar:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        watchdog = threading.Timer(1.5 * seconds + _GRACE_S, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                _show(bar, line)
            code = process.wait()
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()
    result: dict[str, Any] = {"model": model}
    with contextlib.suppress(OSError, ValueError):
        result = json.loads(result_file.read_text())
    result_file.unlink(missing_ok=True)
    if code:
        result["reason"] = _why(code, log)
        print(f"{model}: {result['reason']}", file=sys.stderr)
    else:
        log.unlink()
    return result


def _show(bar: Any, line: str) -> None:
    try:
        done, total, what = json.loads(line)
    except ValueError:  # a library's own words
        return
    bar.total = total
    bar.set_postfix_str(what, refresh=False)
    bar.update(done - bar.n)


def _why(code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed: no memory left, or far more time than it had"
    last: Sequence[str] = log.read_text(errors="replace").strip().splitlines()[-1:]
    return f"its process ended with {code}: {last[0] if last else 'no word'} (see {shown(log)})"
