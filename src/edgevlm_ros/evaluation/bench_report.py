# SPDX-License-Identifier: Apache-2.0
"""What the benchmark's rows say: the ratios that are claimed, and tables for people.

Pure functions of bench.json's parts, so that a run can be judged again without being run again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgevlm_ros.evaluation.bench import LONGEST, SMALL_CROP, USUAL

Row = Mapping[str, Any]

_FULL_SIZE = 200_000_000  # parameters of a model that is no toy
_MANY = 256  # visual tokens: below, the words are most of what is prefilled


@dataclass(frozen=True, slots=True)
class Found:
    """A ratio of one model. value: None if it was not measured. note: why not, or what is to be known about it."""

    value: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A ratio that has to be reached. applies: to which models; others are measured all the same."""

    name: str
    what: str
    bound: float
    at_most: bool
    find: Callable[[Row], Found]
    applies: Callable[[Row], bool] = lambda result: True

    def judged(self, result: Row) -> dict[str, Any]:
        """An entry of bench.json's `ratios`. result: what bench left of one model."""
        found = self.find(result)
        reached = None
        if found.value is not None and self.applies(result):
            reached = found.value <= self.bound if self.at_most else found.value >= self.bound
            reached = reached and not found.note.startswith("other tokens")
        return {
            "claim": self.name,
            "what": self.what,
            "model": result["model"],
            "value": None if found.value is None else round(found.value, 4),
            "target": f"{'<=' if self.at_most else '>='} {self.bound}" if self.applies(result) else None,
            "reached": reached,
            "note": found.note,
        }


def ratios(results: Sequence[Row]) -> list[dict[str, Any]]:
    """Every claim for every model that was measured."""
    return [claim.judged(result) for claim in CLAIMS for result in results if result.get("rows")]


def find_row(result: Row, mode: str, history: int, reuse: bool = True, draft: str = "off") -> Row | None:
    wanted, columns = (mode, history, reuse, draft), ("mode", "history_tokens", "reuse", "draft")
    return next((row for row in result["rows"] if tuple(row[column] for column in columns) == wanted), None)


def _over(above: Row | None, below: Row | None, column: str, per: str = "") -> Found:
    """The ratio of two rows' columns."""
    if above is None or below is None or above[column] is None or not below[per or column]:
        return Found(None, "its rows were left out")
    return Found(above[column] / below[per or column])


def _first_token(result: Row, draft: str) -> Found:
    longest, none = (find_row(result, "none", history, draft=draft) for history in (LONGEST, 0))
    return _over(longest, none, "ttft_ms")


def _against_generate(result: Row, column: str, ours: str, draft: str = "off") -> Found:
    row = find_row(result, "none", LONGEST, draft=draft)
    found = _over(row, row, column, ours)
    if row is not None and row["tokens_equal"] is False:
        return Found(found.value, "other tokens than plain generate's")
    if found.value is not None and row is not None and row["draft_accepted"] is not None:
        return Found(found.value, f"{row['draft_accepted']:.0%} of {row['drafted_tokens']} drafted tokens right")
    return found


def _streamed(result: Row, find: Callable[[Row], float]) -> Found:
    stream = result.get("stream")
    if stream is None or not stream["taking_in_frames"] or not stream["quiet_frames"]:
        return Found(None, result.get("left_out", {}).get("stream", "no stream"))
    return Found(find(stream), f"{stream['taking_in_frames']} and {stream['quiet_frames']} frames")


def _prefill(result: Row) -> Found:
    found = _against_generate(result, "generate_prefill_ms", "prefill_ms")
    tokens = _visual_tokens(result)
    return found if found.note or tokens < _MANY else Found(found.value, f"{tokens} visual tokens are new each frame")


def _crop(result: Row) -> Found:
    small = find_row(result, SMALL_CROP, USUAL)
    if small is None and not any(SMALL_CROP in what for what in result["left_out"]):
        return Found(None, "its views cannot be smaller")
    return _over(find_row(result, "none", USUAL), small, "vision_ms")


def _prune(result: Row) -> Found:
    whole = find_row(result, "none", USUAL)
    found = _over(whole, find_row(result, "prune", USUAL), "prefill_ms")
    if whole is not None and whole["visual_tokens"] < _MANY:
        return Found(found.value, f"only {whole['visual_tokens']} visual tokens to prune")
    return found


def _prunable(result: Row) -> bool:
    return result["parameters"] >= _FULL_SIZE and _visual_tokens(result) >= _MANY


def _visual_tokens(result: Row) -> int:
    return max((row["visual_tokens"] for row in result["rows"] if row["mode"] == "none"), default=0)


CLAIMS = (
    Claim(
        "first token",
        f"frame to first token with {LONGEST} tokens of history, over that with none",
        1.15,
        True,
        lambda result: _first_token(result, "off"),
    ),
    Claim(
        "first token drafted",
        "the same, with a draft behind both prompts",
        1.15,
        True,
        lambda result: _first_token(result, "accepted"),
    ),
    Claim(
        "taking in",
        f"p95 of frames that come while a context of {LONGEST} tokens is taken in, over that of the others",
        1.2,
        True,
        lambda result: _streamed(result, lambda s: float(s["taking_in_p95_ms"] / s["quiet_p95_ms"])),
    ),
    Claim(
        "prefill",
        f"language prefill inside generate, over ours, at {LONGEST} tokens of history",
        5.0,
        False,
        _prefill,
        lambda result: _visual_tokens(result) < _MANY,
    ),
    *(
        Claim(
            name,
            f"plain generate of 8 tokens, over our whole answer {what}, at {LONGEST} tokens of history",
            2.0,
            False,
            partial(_against_generate, column="generate_ms", ours="answer_ms", draft=draft),
            lambda result: result["model"] == "smolvlm-256m",
        )
        for name, what, draft in (
            ("answer same", "where it is the last frame's again", "accepted"),
            ("answer changed", "where the last frame's was all wrong", "rejected"),
            ("answer", "without a draft", "off"),
        )
    ),
    Claim(
        "crop",
        "vision of the whole frame, over vision of both views within half its pixels",
        1.8,
        False,
        _crop,
    ),
    Claim(
        "prune",
        "decoder prefill of all visual tokens, over that of a quarter of them",
        2.3,
        False,
        _prune,
        _prunable,
    ),
    Claim(
        "focus",
        "carrying regions and building the map, over the frame's time",
        0.05,
        True,
        lambda result: _streamed(result, lambda s: float(s["focus_share"])),
    ),
)


# -- for people ------------------------------------------------------------------------------------------------------


def markdown(bench: Row) -> str:
    """bench.md: the ratios, then the rows. bench: what bench.json holds."""
    machine, versions = bench["machine"], bench["versions"]
    parts = [
        f"# Benchmark, {bench['date']}",
        f"{machine['cpu']}, {machine['memory']}, {machine['system']}; torch {versions.get('torch')}, "
        f"transformers {versions.get('transformers')}. Medians, milliseconds; every answer has 8 "
        "tokens. *generate* is the stock `model.generate` on the same prompt in the same run, without its processor. "
        "*draft* is what the last frame has left: nothing was tried (off), the same answer (accepted), another one "
        "(rejected).",
        "## What is claimed",
        table(
            ("claim", "model", "measured", "target", "reached", ""),
            [
                (
                    ratio["what"],
                    ratio["model"],
                    "-" if ratio["value"] is None else f"{ratio['value']:.3g}",
                    ratio["target"] or "-",
                    {True: "yes", False: "**no**", None: "-"}[ratio["reached"]],
                    ratio["note"],
                )
                for ratio in bench["ratios"]
            ],
        ),
        "## Models",
        table(
            ("model", "parameters", "numbers", "device", "frame", "threads", ""),
            [
                (
                    result["model"],
                    f"{result['parameters'] / 1e6:.1f} M" if result.get("parameters") else "-",
                    result.get("dtype", "-"),
                    result.get("device", "-"),
                    result.get("frame", "-"),
                    result.get("threads", "-"),
                    f"skipped: {result['reason']}" if result.get("reason") else _remarks(result),
                )
                for result in bench["models"]
            ],
        ),
        "## Rows",
        table(tuple(_COLUMNS), [tuple(_cell(row.get(c)) for c in _COLUMNS.values()) for row in bench["rows"]]),
    ]
    left_out = [f"- {one['model']}: {'; '.join(one['left_out'])}" for one in bench["models"] if one.get("left_out")]
    if left_out:
        parts += ["## Left out for want of time, as bench.json says", "\n".join(left_out)]
    return "\n\n".join(parts) + "\n"


def _remarks(result: Row) -> str:
    accepted = result.get("stream", {}).get("draft_accepted")
    drafts = "" if accepted is None else f"; {accepted:.0%} of what was drafted on the stream was right"
    return f"loaded in {result['load_s']} s{drafts}"


_COLUMNS = {
    "model": "model",
    "mode": "mode",
    "reuse": "reuse",
    "draft": "draft",
    "history": "history_tokens",
    "visual": "visual_tokens",
    "first token": "ttft_ms",
    "prepare": "prepare_ms",
    "vision": "vision_ms",
    "prefill": "prefill_ms",
    "decode": "decode_ms",
    "answer": "answer_ms",
    "generate": "generate_ms",
    "its prefill": "generate_prefill_ms",
    "same tokens": "tokens_equal",
}


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}" if value < 100 else f"{value:.0f}"
    return str(value)


def table(head: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    """In columns that line up, for the terminal too."""
    lines = [tuple(map(str, line)) for line in (head, *body)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    drawn = ["| " + " | ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([drawn[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *drawn[1:]])
