# SPDX-License-Identifier: Apache-2.0
"""The ways to decode, beside plain `generate` and the device's floor: one frame, one history, short and long answers.

Ways take turns, so that a drift of the machine hits all alike. The first answer of each is not counted: in it libraries
choose their kernels.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch

from edgevlm_ros.edge.architectures.architecture import Architecture
from edgevlm_ros.edge.engine import Completion, Prompt
from edgevlm_ros.edge.transformers_engine import DECODINGS
from edgevlm_ros.evaluation.bench import WatchedEngine, words
from edgevlm_ros.evaluation.bench_floor import measured_device, prefill_operations, step_bytes
from edgevlm_ros.evaluation.bench_report import table
from edgevlm_ros.evaluation.plain_generate import answer_plainly
from edgevlm_ros.transfer.conversation import Exchange
from edgevlm_ros.transfer.types import Image

HISTORY = 512  # tokens
ANSWERS = (8, 32)  # tokens
TARGET = 3.0  # plain generate of the short answer over ours, on a GPU
GENERATE, DRAFTED = "generate", "drafted"
_MIB = 2**20

Times = dict[str, float]


class Paths:
    """A loaded model, a frame and a history. decodings: see transformers_engine.DECODINGS."""

    def __init__(
        self,
        architecture: Architecture,
        name: str,
        image: Image,
        decodings: Sequence[str] = DECODINGS[:2],
        history: int = HISTORY,
        answers: Sequence[int] = ANSWERS,
    ) -> None:
        self._architecture = architecture
        self._device = architecture.model.device
        self._image = image
        architecture.model.generation_config.eos_token_id = None  # every answer has all its tokens
        architecture.processor.tokenizer.eos_token = None
        self._engines = {way: WatchedEngine(architecture, name, True, max(answers), way) for way in decodings}
        engine = next(iter(self._engines.values()))
        self._question = engine.question.text
        self._history = (Exchange(self._question, words(engine, history)),)
        self._told = history
        self._answers = tuple(answers)
        self._said: dict[int, tuple[int, ...]] = {}
        self.last: Completion | None = None

    @property
    def ways(self) -> tuple[tuple[str, int], ...]:
        """What to measure: a way and an answer's length. Each draft comes after the answer that it repeats."""
        return tuple(product((*self._engines, DRAFTED, GENERATE), self._answers))

    def measure(self, way: str, length: int) -> tuple[Times, tuple[int, ...]]:
        """Milliseconds by name, peak_mib on a GPU, and the answer's tokens."""
        prompt = Prompt(self._history, (self._image.copy(),), self._question)  # never seen before
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
        times, tokens = self._plainly(prompt, length) if way == GENERATE else self._framed(way, prompt, length)
        times = {name: 1e3 * value for name, value in times.items()}
        if self._device.type == "cuda":
            times["peak_mib"] = torch.cuda.max_memory_allocated(self._device) / _MIB
        return times, tokens

    def _framed(self, way: str, prompt: Prompt, length: int) -> tuple[Times, tuple[int, ...]]:
        engine = next(reversed(self._engines.values())) if way == DRAFTED else self._engines[way]
        engine.prepare(self._history)
        asked: list[None] = []

        def stop() -> bool:
            asked.append(None)
            return len(asked) == length

        start = time.perf_counter()
        done = engine.complete(prompt, stop=stop, draft=self._said[length] if way == DRAFTED else ())
        seconds = time.perf_counter() - start
        self._said.setdefault(length, done.tokens)
        self.last = done
        timings = done.timings
        times = {"ttft_ms": done.first_token_time, "answer_ms": seconds, "prepare_ms": timings.prepare}
        times |= {"vision_ms": timings.vision, "prefill_ms": timings.prefill}
        return times | {"step_ms": timings.decode / (length - 1)}, done.tokens

    def _plainly(self, prompt: Prompt, length: int) -> tuple[Times, tuple[int, ...]]:
        answer = answer_plainly(self._architecture, prompt, length)
        step = (answer.total - answer.first_token) / (length - 1)
        times = {"ttft_ms": answer.first_token, "answer_ms": answer.total, "prepare_ms": answer.prepare}
        return times | {"vision_ms": answer.vision, "prefill_ms": answer.prefill, "step_ms": step}, answer.tokens

    def floors(self) -> dict[str, float]:
        """What the device measured, and the least milliseconds of a step and of a frame's prefill."""
        assert self.last is not None
        decoder, head = self._architecture.decoder, self._architecture.model.lm_head
        device = measured_device(self._device, self._architecture.model.dtype)
        new = self.last.prompt_tokens - self.last.reused_tokens
        read = step_bytes(decoder, head, self.last.prompt_tokens)
        operations = prefill_operations(decoder, head, new, self.last.reused_tokens)
        return {
            "bandwidth_gb_s": round(device.bandwidth / 1e9, 2),
            "throughput_gflop_s": round(device.throughput / 1e9, 1),
            "step_mb": round(read / 1e6, 1),
            "step_ms": round(1e3 * read / device.bandwidth, 4),
            "prefill_tokens": new,
            "prefill_gflop": round(operations / 1e9, 2),
            "prefill_ms": round(1e3 * operations / device.throughput, 4),
        }


def measure_paths(
    paths: Paths, seconds: float, repeats: int, tell: Callable[[int, int, str], None] | None = None
) -> dict[str, Any]:
    """bench.json's `paths` of a model: rows of medians, the floors, and what was left out for want of time."""
    start = time.perf_counter()
    found: dict[tuple[str, int], list[tuple[Times, tuple[int, ...]]]] = {}
    lasted: dict[tuple[str, int], float] = {}
    for round_ in range(repeats + 1):
        for number, way in enumerate(paths.ways):
            begun = time.perf_counter()
            if round_ > 0 and begun - start + lasted.get(way, 0.0) > seconds:
                continue
            found.setdefault(way, []).append(paths.measure(*way))
            lasted[way] = time.perf_counter() - begun
            if tell is not None:
                tell(round_ * len(paths.ways) + number + 1, (repeats + 1) * len(paths.ways), f"{way[0]} {way[1]}")
    last = paths.last
    assert last is not None
    return {
        "prompt_tokens": last.prompt_tokens,
        "visual_tokens": last.visual_tokens,
        "reused_tokens": last.reused_tokens,
        "floors": paths.floors(),
        "rows": _rows(found),
    }


def _rows(found: dict[tuple[str, int], list[tuple[Times, tuple[int, ...]]]]) -> list[dict[str, Any]]:
    rows = []
    for (way, length), measured in found.items():
        warm = measured[1:] or measured
        medians = {name: round(statistics.median(times[name] for times, _ in warm), 3) for name in warm[0][0]}
        plainly = found[GENERATE, length]
        plain = statistics.median(times["answer_ms"] for times, _ in plainly[1:] or plainly)
        said = {tokens for _, tokens in (*measured, *plainly)}
        rows.append(
            {
                "way": way,
                "answer_tokens": length,
                **medians,
                "frames_per_s": round(1e3 / medians["answer_ms"], 3),
                "faster_than_generate": round(plain / medians["answer_ms"], 3),
                "tokens_equal": len(said) == 1,
                "repeats": len(warm),
                "warm": len(measured) > 1,
            }
        )
    return rows


def paths_markdown(result: dict[str, Any]) -> str:
    """For people. result: what a process left of one model."""
    paths = result["paths"]
    floors, rows = paths["floors"], paths["rows"]
    floored = [row for row in rows if row["answer_tokens"] == max(row["answer_tokens"] for row in rows)]
    least = (f"{floors['step_ms']:.3g}", f"{floors['prefill_ms']:.3g}")
    head = ("way", "tokens", "first token", "vision", "prefill", "step", "answer", "frames/s", "peak MiB")
    parts = [
        f"## Ways to decode: {result['model']}, {result['dtype']} on {result['device']}",
        f"{result['frame']}, {paths['prompt_tokens']} tokens of prompt, {paths['visual_tokens']} of them visual and "
        f"{paths['reused_tokens']} prefilled ahead. Medians, milliseconds; *generate* without its processor, ours with "
        "it. *drafted*: the same answer as the frame before, verified with the prompt.",
        table(
            (*head, "generate / ours", "same tokens as generate"),
            [
                (
                    row["way"],
                    row["answer_tokens"],
                    *(
                        _milliseconds(row[name])
                        for name in ("ttft_ms", "vision_ms", "prefill_ms", "step_ms", "answer_ms")
                    ),
                    f"{row['frames_per_s']:.3g}",
                    f"{row['peak_mib']:.0f}" if "peak_mib" in row else "-",
                    f"{row['faster_than_generate']:.3g}",
                    "yes" if row["tokens_equal"] else "**no**",
                )
                for row in rows
            ],
        ),
        f"Measured of the device: {floors['bandwidth_gb_s']:.4g} GB/s, {floors['throughput_gflop_s']:.4g} GFLOP/s. A "
        f"step reads {floors['step_mb']:.4g} MB: at least {least[0]} ms. A frame's prefill of "
        f"{floors['prefill_tokens']} tokens takes {floors['prefill_gflop']:.4g} GFLOP: at least {least[1]} ms.",
        table(
            ("way", "step / floor", "prefill / floor"),
            [
                (
                    row["way"],
                    "-" if row["way"] == DRAFTED else f"{row['step_ms'] / floors['step_ms']:.3g}",
                    "-" if row["way"] in (GENERATE, DRAFTED) else f"{row['prefill_ms'] / floors['prefill_ms']:.3g}",
                )
                for row in floored
            ],
        ),
        _judged(result),
    ]
    return "\n\n".join(parts) + "\n"


def _milliseconds(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _judged(result: dict[str, Any]) -> str:
    rows = result["paths"]["rows"]
    short = [row for row in rows if row["way"] not in (GENERATE, DRAFTED) and row["answer_tokens"] == ANSWERS[0]]
    best = max(short, key=lambda row: row["faster_than_generate"], default=None)
    claim = f"Plain generate of {ANSWERS[0]} tokens over ours, at least {TARGET:g} on a GPU with the same tokens"
    if best is None or not result["device"].startswith("cuda"):
        return f"{claim}: not judged here."
    reached = best["faster_than_generate"] >= TARGET and best["tokens_equal"]
    return (
        f"{claim}: {best['faster_than_generate']:.3g} ({best['way']}), {'reached' if reached else '**not reached**'}."
    )
