# SPDX-License-Identifier: Apache-2.0
"""What the samples of a load run say: pace, age, memory, CPU, on and off, each beside what it must reach.

Pure functions; times are milliseconds in what they return. The first part of a stream is left out, since allocators,
caches and shared memory find their size in it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgevlm_ros.evaluation.load import CAMERA, NODE, Asked, Heard, Samples
from edgevlm_ros.evaluation.metrics import percentile
from edgevlm_ros.evaluation.process_use import Use, busiest

# The targets.
PACE = 0.95  # of the engine alone
AGE = 1.3  # inference times, and a period of the camera
SLOPE = 1.0  # MB a minute
OWN_CPU = 0.15  # of a core
FIRST_ANSWER_S = 1.0  # and an inference
QUIET_S = 0.2

_WARM_UP = 0.2  # of the stream, at most
_WARM_UP_S = 60.0
_DOUBT = 0.2  # of a core that others take
_MB = 1e6


def warm_up(seconds: float) -> float:
    """How much of the beginning of so long a stream is left out, seconds."""
    return min(_WARM_UP * seconds, _WARM_UP_S)


def figures(asked: Asked, samples: Samples) -> dict[str, Any]:
    """All figures, by name."""
    warm = samples.uses[0].at + warm_up(asked.seconds)
    answers = [heard for heard in samples.answers if heard.at >= warm]
    uses = [use for use in samples.uses if use.at >= warm]
    inference = float(np.median([heard.inference for heard in answers])) if answers else float("nan")
    alone = [seconds for spell in samples.alone for seconds in spell.seconds]
    rate, rate_alone = _rate([heard.at for heard in answers]), len(alone) / sum(alone)
    age_limit = AGE * inference + 1 / asked.rate
    own, besides = own_cpu(uses, answers, asked.threads or len(os.sched_getaffinity(0)))
    passed = samples.uses[-1].at - samples.uses[0].at
    others = samples.cpu["machine"] - samples.cpu[NODE] - samples.cpu[CAMERA] - samples.cpu["load"]
    return {
        "answers": len(answers),
        "camera_rate": _pace(samples.images),
        "rate": rate,
        "rate_alone": rate_alone,
        "rate_alone_before_and_after": [len(spell.seconds) / sum(spell.seconds) for spell in samples.alone],
        "pace": rate / rate_alone,
        "in_engine": sum(heard.inference for heard in answers[1:]) / (answers[-1].at - answers[0].at)
        if len(answers) > 1
        else None,
        "inference_ms": _spread([heard.inference for heard in answers]),
        "age_ms": _spread([heard.age for heard in answers]),
        "age_by_stamp_ms": _spread([heard.stamp_age for heard in answers]),
        "age_limit_ms": 1e3 * age_limit,
        "within_age_limit": _share([heard.stamp_age < age_limit for heard in answers]),
        "memory_mb": uses[-1].memory / _MB,
        "memory_slope_mb_per_min": slope([(use.at, use.memory) for use in uses]),
        "private_memory_slope_mb_per_min": slope([(use.at, use.private) for use in uses]),
        "cpu_per_answer_ms": 1e3 * (uses[-1].cpu - uses[0].cpu) / len(answers) if answers else None,
        "cpu_per_answer_alone_ms": 1e3 * sum(spell.cpu for spell in samples.alone) / len(alone),
        "own_cpu": own,
        "besides_on_inference_thread_cpu": besides,
        "first_answer_ms": [1e3 * cycle.first_answer for cycle in samples.cycles],
        "last_answer_ms": [1e3 * cycle.last_answer for cycle in samples.cycles],
        "deactivated_ms": [1e3 * cycle.deactivated for cycle in samples.cycles],
        "others_cpu": max(others, 0.0) / passed,
    }


def own_cpu(uses: Sequence[Use], answers: Sequence[Heard], threads: int) -> tuple[float, float]:
    """Of a core: what the process takes beside its busiest threads, which are the inference thread and torch's helpers;
    and what the inference thread does when it is not in the engine, as far as it had a core of its own all the time."""
    first, last = uses[0], uses[-1]
    passed = max(last.at - first.at, 1e-9)
    inferring = busiest(first, last, threads)
    in_engine = sum(heard.inference for heard in answers if heard.at <= last.at)
    besides = inferring - in_engine if threads == 1 else 0.0
    return (last.cpu - first.cpu - inferring) / passed, max(besides, 0.0) / passed


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """MB a minute of (seconds, bytes), by least squares; None of less than three points."""
    if len(points) < 3:
        return None
    at, held = np.array(points, np.float64).T
    return float(np.polyfit((at - at[0]) / 60, held / _MB, 1)[0])


def targets(asked: Asked, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Each demand: what, the value that was measured, its limit, and whether it is met; None if there is no value."""
    inference, limit = found["inference_ms"]["p50"], found["age_limit_ms"]
    rows: list[tuple[str, float | None, float, str, bool]] = [
        ("answers a second over those of the engine alone", found["pace"], PACE, "", True),
        ("age of a frame when its answer is sent, p95", found["age_ms"]["p95"], limit, "ms", False),
        ("age by its stamp when its answer is heard, p95", found["age_by_stamp_ms"]["p95"], limit, "ms", False),
        ("memory, growth a minute", found["memory_slope_mb_per_min"], SLOPE, "MB", False),
        ("the node's own CPU beside the inference thread, of a core", found["own_cpu"], OWN_CPU, "", False),
        (
            "from activate to the first answer, slowest",
            max(found["first_answer_ms"]),
            1e3 * FIRST_ANSWER_S + (inference or 0.0),
            "ms",
            False,
        ),
        ("from deactivate to the last answer heard, slowest", max(found["last_answer_ms"]), 1e3 * QUIET_S, "ms", False),
    ]
    return [
        {
            "what": what,
            "value": value,
            "limit": limit,
            "unit": unit,
            "at_least": least,
            "met": None if value is None else (value >= limit if least else value < limit),
        }
        for what, value, limit, unit, least in rows
    ]


def doubts(asked: Asked, found: dict[str, Any]) -> list[str]:
    """Why the figures may not be those of the node."""
    told = []
    if found["others_cpu"] > _DOUBT:
        told.append(f"other processes took {found['others_cpu']:.2f} cores meanwhile: measure again on a quiet machine")
    seen = found["camera_rate"]
    if seen is not None and seen < 0.95 * asked.rate:
        told.append(f"of {asked.rate:g} images a second the node got {seen:.1f}")
    if found["rate_alone"] > 0.5 * asked.rate:
        told.append("the model is about as fast as the camera: its pace cannot show")
    before, after = found["rate_alone_before_and_after"]
    if not 0.9 < before / after < 1.1:
        told.append(f"the engine alone made {before:.2f} answers a second before the stream and {after:.2f} after it")
    if asked.seconds < 300:
        told.append("memory wants --minutes 10: in a short run allocators are still finding their size")
    return told


def markdown(load: dict[str, Any]) -> str:
    """load.json as a table. load: with "targets", "figures", "doubts", "asked"."""
    asked, found = load["asked"], load["figures"]
    lines = [
        f"{asked['rate']:g} Hz, {asked['width']}x{asked['height']} raw, {asked['seconds']:g} s; {load['model']}, "
        f"{asked['tokens']} tokens, {asked['threads'] or 'own choice of'} threads, "
        f"{found['inference_ms']['p50']:.0f} ms an answer; {load['machine']['cpu']}, load average "
        f"{load['load_average'][0]:.1f} before, {load['load_average'][1]:.1f} after",
        "",
        "| | measured | must be | |",
        "|---|---|---|---|",
    ]
    for row in load["targets"]:
        sign, verdict = (">=" if row["at_least"] else "<"), {True: "yes", False: "**no**", None: "-"}[row["met"]]
        unit = f" {row['unit']}" if row["unit"] else ""
        lines.append(
            f"| {row['what']} | {_told(row['value'])}{unit} | {sign} {_told(row['limit'])}{unit} | {verdict} |"
        )
    lines += [
        "",
        "| | |",
        "|---|---|",
        f"| images a second that the node got | {_told(found['camera_rate'])} |",
        f"| answers a second, the engine alone | {found['rate']:.3f}, {found['rate_alone']:.3f} |",
        f"| share of the time in the engine | {_told(found['in_engine'])} |",
        f"| inference p50, p95 | {_pair(found['inference_ms'])} |",
        f"| age p50, p95; by stamps | {_pair(found['age_ms'])}; {_pair(found['age_by_stamp_ms'])} |",
        f"| answers within the age's limit, by stamps | {_told(found['within_age_limit'])} |",
        f"| memory at the end; growth of the private part | {found['memory_mb']:.0f} MB; "
        f"{_told(found['private_memory_slope_mb_per_min'])} MB a minute |",
        f"| CPU of an answer, the node with all that it does; the engine alone | {_told(found['cpu_per_answer_ms'])}, "
        f"{_told(found['cpu_per_answer_alone_ms'])} ms |",
        f"| the inference thread outside the engine, of a core | {found['besides_on_inference_thread_cpu']:.3f} |",
        f"| from activate to the first answer | {_list(found['first_answer_ms'])} |",
        f"| from deactivate to the last answer | {_list(found['last_answer_ms'])} |",
        f"| from deactivate to the node's reply that it is done | {_list(found['deactivated_ms'])} |",
        f"| other processes, cores | {found['others_cpu']:.2f} |",
        "",
        *(f"Note: {doubt}." for doubt in load["doubts"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _rate(moments: Sequence[float]) -> float:
    return (len(moments) - 1) / (moments[-1] - moments[0]) if len(moments) > 1 else 0.0


def _pace(images: Sequence[tuple[float, int]]) -> float | None:
    if len(images) < 2:
        return None
    (began, first), (end, last) = images[0], images[-1]
    return (last - first) / (end - began)


def _spread(seconds: Sequence[float]) -> dict[str, float | None]:
    values = [1e3 * value for value in seconds]
    return {"p50": percentile(values, 50), "p95": percentile(values, 95), "max": max(values, default=None)}


def _share(true: Sequence[bool]) -> float | None:
    return sum(true) / len(true) if true else None


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if abs(value) >= 20 else f"{value:.2f}"


def _pair(spread: dict[str, float | None]) -> str:
    return f"{_told(spread['p50'])}, {_told(spread['p95'])} ms"


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values) + " ms"
