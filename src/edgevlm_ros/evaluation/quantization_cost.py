# SPDX-License-Identifier: Apache-2.0
"""What quantisation costs and spares on this machine: memory, time to load, time to answer, and the same words or not.

Each way to load a model is measured in a process of its own, which starts with nothing and whose memory is all its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from edgevlm_ros.assets import bag_path
from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.edge.loading import EngineSettings, give_back_memory, load_engine
from edgevlm_ros.edge.memory_need import memory_need
from edgevlm_ros.edge.model_shape import shape_of_model
from edgevlm_ros.edge.quantized_folder import quantize, size_of
from edgevlm_ros.evaluation.annotated_frames import annotated_frames
from edgevlm_ros.machine import machine, versions

_QUESTION = "What is ahead?"
_TOKENS = 8
_MIB = 2**20


def measure(name: str, model: str, scratch: Path, frames: int, threads: int) -> dict[str, Any]:
    """All ways to load a model. name: for people. model: folder or hub id. scratch: for folders, not kept."""
    ways = [("none", model, "none"), ("nf4", model, "nf4"), ("int8", model, "int8")]
    for quantization in ("nf4", "int8"):
        ways.append((f"{quantization}, saved", str(quantize(model, quantization, scratch / quantization)), "none"))
    shape, rows = shape_of_model(model), []
    for way, folder, quantization in ways:
        row = _in_a_process(folder, quantization, frames, threads)
        need = memory_need(shape, way.partition(",")[0], "cpu", history=0, views=1)
        row["formula"] = dataclasses.asdict(need) | {"total": need.total}
        row["disk"] = size_of(Path(folder)) if Path(folder).is_dir() else None
        rows.append({"way": way, **row})
    full = rows[0].pop("tokens")
    for row in rows[1:]:
        row["agreement"] = agreement(full, row.pop("tokens"))
    return {
        "command": f"edgevlm quantize {Path(name).name} --measure --frames {frames}"
        + (f" --threads {threads}" if threads else ""),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "model": Path(name).name,
        "parameters": shape.parameters,
        "rows": rows,
    }


def agreement(full: Sequence[Sequence[int]], other: Sequence[Sequence[int]]) -> dict[str, float]:
    """Of answers to the same prompts. answers: share that is the same whole; tokens: share before the first other."""
    pairs = list(zip(full, other, strict=True))
    same = [sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(a, b, strict=False))) for a, b in pairs]
    return {
        "answers": sum(tuple(a) == tuple(b) for a, b in pairs) / len(pairs),
        "tokens": sum(same) / max(1, sum(map(len, full))),
    }


def markdown(result: Mapping[str, Any]) -> str:
    """The table of a measurement."""
    head = "| loaded as | on disk [MB] | weights, formula [MiB] | process, formula [MiB] | measured | load [s] | "
    lines = [
        f"`{result['command']}`, {result['machine']['cpu']}, {result['date']}; {result['parameters'] / 1e6:.1f} M "
        "parameters, fp32 where not quantised",
        "",
        head + "answer [ms] | same answers | tokens before the first other |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        formula, same = row["formula"], row.get("agreement")
        agreed = f"{100 * same['answers']:.0f} % | {100 * same['tokens']:.0f} %" if same else "- | -"
        disk = f"{row['disk'] / 1e6:.0f}" if row["disk"] else "-"
        lines.append(
            f"| {row['way']} | {disk} | {formula['weights'] / _MIB:.0f} | {formula['total'] / _MIB:.0f} | "
            f"{row['resident'] / _MIB:.0f} | {row['load_s']:.1f} | {row['answer_ms']:.0f} | {agreed} |"
        )
    return "\n".join([*lines, ""])


def _in_a_process(folder: str, quantization: str, frames: int, threads: int) -> dict[str, Any]:
    command = [sys.executable, "-m", __name__, folder, "--quantization", quantization]
    command += ["--frames", str(frames), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no word"]
        raise EngineError(f"measuring {folder} as {quantization} ended with {done.returncode}: {last[0]}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures one way to load a model, and prints it as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--quantization", default="none")
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args(arguments)
    start = time.perf_counter()
    engine = load_engine(
        EngineSettings(
            asked.folder,
            device="cpu",
            quantization=asked.quantization,
            threads=asked.threads,
            max_new_tokens=_TOKENS,
        )
    )
    loaded = time.perf_counter() - start
    tokens, times = [], []
    for one in annotated_frames(bag_path("demo"), asked.frames, spread=True):
        prompt = Prompt((), (one.frame.image,), one.question.text if one.question else _QUESTION)
        begun = time.perf_counter()
        tokens.append(engine.complete(prompt, draft=()).tokens)
        times.append(time.perf_counter() - begun)
    give_back_memory()
    forget_what_was_read()
    engine.complete(prompt, draft=())
    give_back_memory()
    row = {
        "load_s": round(loaded, 2),
        "answer_ms": round(1e3 * statistics.median(times[1:] or times), 1),
        "resident": used(),
        "tokens": tokens,
    }
    print(json.dumps(row), flush=True)


def forget_what_was_read() -> None:
    """From here on the system notes which pages are used."""
    Path("/proc/self/clear_refs").write_text("1")


def used() -> int:
    """Bytes of this process in memory; of mapped files of weights only the pages that were used since then.

    A file whose numbers were converted or quantised stays mapped, and the system takes such pages back at any time.
    """
    total, counted = 0, "Rss"
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            total += int(value.split()[0]) * 1024 if name == counted else 0
        elif "-" in line.split()[0]:
            counted = "Referenced" if line.endswith(".safetensors") else "Rss"
    return total


if __name__ == "__main__":
    main()
