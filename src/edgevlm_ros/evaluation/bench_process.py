# SPDX-License-Identifier: Apache-2.0
"""The process in which one model is measured, started by bench_cli.

Its memory is given back whatever happens, and what had been measured before a crash is kept in its result file.
"""

import argparse
import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from edgevlm_ros.assets import bag_path, model_path
from edgevlm_ros.edge import random_models
from edgevlm_ros.edge.architectures.architecture import Architecture
from edgevlm_ros.edge.architectures.registry import architecture_of
from edgevlm_ros.edge.loading import EngineSettings, device_named, load_engine
from edgevlm_ros.edge.room import room_of
from edgevlm_ros.edge.transformers_engine import DECODINGS
from edgevlm_ros.evaluation.annotated_frames import annotated_frames
from edgevlm_ros.evaluation.bench import Bench, Point, Results, measure_all, rounds, rows
from edgevlm_ros.evaluation.bench_paths import Paths, measure_paths
from edgevlm_ros.evaluation.bench_stream import FEWEST_FRAMES, stream
from edgevlm_ros.machine import available_memory
from edgevlm_ros.transfer.types import Image

CPU = torch.device("cpu")
DTYPES = ("float32", "bfloat16", "float16")
_LARGE = 1_000_000_000  # parameters from which on a small frame is shown: minutes otherwise
_MICRO = 50_000_000  # parameters up to which a second thread gains nothing and suffers from whatever else runs
_WIDTH, _SMALL_WIDTH = 640, 224
_MARGIN = 1.5 * 2**30  # bytes beside the weights: libraries, activations, caches
_STREAM_SHARE = 0.4  # of a model's time


def too_large(parameters: int, available: int, size: int = 4) -> str:
    """Why a model of so many parameters of so many bytes does not fit into those available, or ""."""
    need = parameters * size + _MARGIN
    if need <= available:
        return ""
    return f"{parameters / 1e9:.1f} B parameters need {need / 2**30:.1f} GiB, {available / 2**30:.1f} GiB are free"


def parameters_of(model: str) -> int:
    """How many numbers a model holds. model: of random_models.SIZES, or as for assets.model_path."""
    if model in random_models.SIZES:
        return random_models.parameters(model)
    with torch.device("meta"):
        empty = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(model_path(model)))
    return sum(parameter.numel() for parameter in empty.parameters())


def load(model: str, device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> Architecture:
    """model: as for parameters_of."""
    if model not in random_models.SIZES:
        loaded = load_engine(EngineSettings(model_path(model), device=str(device))).architecture
        loaded.model.to(dtype)
        return loaded
    weights, processor = random_models.build(model, dtype=dtype)
    weights.to(device)
    family = architecture_of(weights.config.model_type)
    assert family is not None
    return family(weights, processor)


def shrunk(image: Image, width: int) -> Image:
    """The image at most so wide."""
    if image.shape[1] <= width:
        return image
    size = width, round(image.shape[0] * width / image.shape[1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures one model; what came of it is in the result file at any time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", type=device_named, default=torch.device("cpu"))
    parser.add_argument("--dtype", choices=DTYPES, default="")
    parser.add_argument("--ways", nargs="+", choices=DECODINGS)
    asked = parser.parse_args(arguments)
    _protect_others()
    start, parameters = time.perf_counter(), parameters_of(asked.model)
    threads = asked.threads or (1 if parameters < _MICRO else 0)
    if threads:
        torch.set_num_threads(threads)
    dtype = getattr(torch, asked.dtype or ("bfloat16" if asked.device.type == "cuda" else "float32"))
    about = {"model": asked.model, "parameters": parameters, "dtype": str(dtype).removeprefix("torch.")}
    about |= {"device": _device(asked.device), "threads": torch.get_num_threads()}
    free = min(available_memory(), room_of(asked.device).free)
    reason = too_large(parameters, free, dtype.itemsize)
    if reason:
        _write(asked.result, {**about, "reason": reason})
        return
    architecture = load(asked.model, asked.device, dtype)
    small = parameters > _LARGE and asked.device.type == "cpu" and not asked.ways
    width = _SMALL_WIDTH if small else _WIDTH
    images = [shrunk(one.frame.image, width) for one in annotated_frames(bag_path("demo"), 60)]
    about["frame"] = f"{images[0].shape[1]}x{images[0].shape[0]}"
    about["load_s"] = round(time.perf_counter() - start, 1)
    if asked.ways:
        paths = Paths(architecture, asked.model, images[0], asked.ways)
        left = asked.seconds - (time.perf_counter() - start)
        _write(asked.result, {**about, "paths": measure_paths(paths, left, asked.repeats, _told)})
        return
    bench = Bench(architecture, asked.model, images[0])
    pixels: dict[Point, int] = {}

    def tell(results: Results, kind: str, point: Point) -> None:
        pixels.setdefault(point, bench.pixels(point))
        _write(asked.result, _result(about, results, pixels))
        done = sum(map(len, results.measured.values()))
        _told(done, total, f"{kind} {point.mode} {point.history}")

    total = sum(map(len, rounds(bench.engine.capabilities, asked.repeats)))
    _told(0, total, "first frame")
    streaming = 0.0
    if parameters < _LARGE:
        frame = bench.measure("reuse", Point("none", 0)).seconds
        left = asked.seconds - (time.perf_counter() - start)
        if frame * FEWEST_FRAMES < 2 * _STREAM_SHARE * left:  # the first one is slow
            frame = min(bench.measure("reuse", Point("none", 0)).seconds for _ in range(2))
        if frame * FEWEST_FRAMES < _STREAM_SHARE * left:
            streaming = _STREAM_SHARE * left
    left = asked.seconds - (time.perf_counter() - start)
    results = measure_all(bench, left - streaming, asked.repeats, tell)
    result = _result(about, results, pixels)
    if streaming:
        _told(total, total, "stream")
        result["stream"] = stream(bench.engine, images, streaming)
    else:
        result["left_out"]["stream"] = f"{FEWEST_FRAMES} frames would take too long"
    _write(asked.result, result)


def _told(done: int, total: int, what: str) -> None:
    """A line for the process that started this one."""
    print(json.dumps([done, total, what]), flush=True)


def _device(device: torch.device) -> str:
    return f"{device}: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def _protect_others() -> None:
    """If memory runs out, this process is the one to go."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _result(about: dict[str, Any], results: Results, pixels: dict[Point, int]) -> dict[str, Any]:
    left_out = {
        f"{kind}, {point.mode}, history {point.history}": reason for (kind, point), reason in results.left_out.items()
    }
    return {**about, "rows": rows(about["model"], results, pixels.__getitem__), "left_out": left_out}


def _write(path: Path, result: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result))
    os.replace(part, path)


if __name__ == "__main__":
    main()
