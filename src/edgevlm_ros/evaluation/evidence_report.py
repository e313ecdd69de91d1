# SPDX-License-Identifier: Apache-2.0
"""All that an evaluation leaves behind, from its runs: results.json, results.md, report.html and its plots.

The same runs, streams and header give the same bytes: there is no date but one that the header brings. Words of models,
bags and servers are untrusted; the templates escape them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from edgevlm_ros.evaluation import agreement, call_plot, delay_plots, evidence_plots
from edgevlm_ros.evaluation.agreement import Words
from edgevlm_ros.evaluation.evidence_strip import draw_strip, find_strips
from edgevlm_ros.evaluation.evidence_table import NOTHING, Table, header_rows, markdown, tables
from edgevlm_ros.evaluation.outcomes import Run
from edgevlm_ros.evaluation.regime_plot import regime_map
from edgevlm_ros.evaluation.regimes import Cell, Part, cells
from edgevlm_ros.evaluation.results import (
    ABLATIONS,
    BY_PERIOD,
    BY_SIGNS,
    CEILING,
    FLOOR,
    LIMIT,
    OURS,
    Results,
    cloud_label,
    delay_label,
    differences,
    policy_label,
    seconds_of,
    shares,
    telling_delay,
)
from edgevlm_ros.evaluation.streams import Stream
from edgevlm_ros.images import to_jpeg

_LOOKS = 48  # frames of each stream on the page to look through
_THUMB = 240  # pixels, width
_CAPTIONS = {
    "accuracy_over_delay": "Streaming accuracy: the share of moments at which the newest published answer is right for "
    "that moment, so that a late answer costs as much as a wrong one (after sAP, Li et al., ECCV 2020). The limit of "
    "transfer is computed from what each model can resolve: the edge now in the whole frame, the cloud on its last "
    "returned keyframe. Who has a second view or a memory may come above it.",
    "regimes": "Each moment is sorted by how long the facts of its answer live around it. Left, by the part that lives "
    "longest: as long as that lasts, a late answer can still tell something. Right, by the part that ends first: so "
    "long a late answer stays right as a whole. Each cell has an edge only of its own.",
    "saves": "The stretch in which the late answer helped most plainly, found by a search over all scenes.",
    "misleads": "The stretch in which it did most harm, found in the same way.",
    "ablations": "Another scene's context and random regions ask whether it is the content that helps.",
    "accuracy_over_calls": "The same method, the same streams; only which frames are sent differs. A sign is that the "
    "small model is unsure of its answers, that they have nothing in common with the last keyframe's, that what it was "
    "told is suspended or old, or that the scene is another one.",
    "accuracy_over_bytes": "",
    "accuracy_by_dataset": "",
    "agreement": "Agreement is not accuracy: where the two differ, one of them is wrong.",
}


def write_evidence(
    runs: Sequence[Run], streams: Sequence[Stream], out: Path, *, header: Mapping[str, Any], notes: Sequence[str] = ()
) -> None:
    """Writes results.json, results.md, report.html and plots/*.png; look.html too if a stream has no ground truth.

    runs: of any policies, delays and seeds, at least one. streams: those that the runs were on. header: what is to be
    known of the run (command, models, machine, date), values of which JSON can be made. notes: what has to be known
    before the figures are believed.
    """
    if not runs:
        raise ValueError("no runs to report on: evaluate at least one policy on one bag")
    results = Results(runs)
    problems = [f"{stream.name}: {problem}" for stream in streams for problem in stream.problems]
    maps: dict[Part, list[Cell]] = {part: cells(results, streams, part) for part in ("longest", "shortest")}
    unjudged = [stream for stream in streams if not stream.truths]
    words = {stream.name: agreement.words_of(stream, results, telling_delay(results)) for stream in unjudged}
    words = {name: each for name, each in words.items() if each}
    pictures = _pictures(results, streams, maps, words)
    found = [*tables(results), *_tables_without_truth(results, words)]

    (out / "plots").mkdir(parents=True, exist_ok=True)
    for old in (*(out / "plots" / f"{name}.png" for name in _CAPTIONS), out / "look.html"):
        old.unlink(missing_ok=True)
    for name, picture in pictures.items():
        (out / "plots" / f"{name}.png").write_bytes(picture)
    _write(out / "results.json", _json(results, maps, header, notes, problems, words))
    _write(out / "results.md", markdown(header, found, problems, notes))
    page = {
        "cards": _cards(results),
        "pictures": {
            name: {"png": base64.b64encode(picture).decode("ascii"), "caption": _CAPTIONS[name]}
            for name, picture in pictures.items()
        },
        "tables": found,
        "header": header_rows(header),
        "notes": notes,
        "problems": problems,
        "judged": results.judged,
        "look": bool(words),
    }
    _write(out / "report.html", _render("evidence.html.j2", page))
    if words:
        _write(out / "look.html", _render("look.html.j2", {"streams": _looks(unjudged, words, results)}))


def _pictures(
    results: Results, streams: Sequence[Stream], maps: Mapping[Part, Sequence[Cell]], words: Mapping[str, list[Words]]
) -> dict[str, bytes]:
    """In the order in which the page shows them; those that there is nothing to draw in are left out."""
    found: dict[str, bytes] = {}
    if results.judged:
        found["accuracy_over_delay"] = delay_plots.accuracy_over_delay(results)
        if any(maps.values()):
            found["regimes"] = regime_map(maps)
        for name, strip in find_strips(results, streams).items():
            found[name] = draw_strip(name, strip)
        if FLOOR in results.policies and any(policy in ABLATIONS for policy in results.policies):
            found["ablations"] = evidence_plots.ablations(results)
        if any(policy in (*BY_PERIOD, *BY_SIGNS) for policy in results.policies):
            found["accuracy_over_calls"] = call_plot.accuracy_over_calls(results)
        found["accuracy_over_bytes"] = evidence_plots.accuracy_over_bytes(results)
        if len(results.datasets) > 2:
            found["accuracy_by_dataset"] = delay_plots.accuracy_by_dataset(results)
    lines = {
        name: {policy: agreement.over_time(each, policy) for policy in (FLOOR, OURS)} for name, each in words.items()
    }
    if any(points for policies in lines.values() for points in policies.values()):
        found["agreement"] = evidence_plots.agreement(lines)
    return found


def _json(
    results: Results,
    maps: Mapping[Part, Sequence[Cell]],
    header: Mapping[str, Any],
    notes: Sequence[str],
    problems: Sequence[str],
    words: Mapping[str, list[Words]],
) -> str:
    values = {
        "header": dict(header),
        "notes": list(notes),
        "rows": results.rows(),
        "shares_of_gap": shares(results) if results.judged else [],
        "differences": differences(results) if results.judged else [],
        "regimes": [{"lifetime": part, **_cell(cell)} for part, each in maps.items() for cell in each],
        "latency": [asdict(latency) for latency in agreement.latencies(results)],
        "agreement": {
            name: {policy: agreement.share(each, policy) for policy in (FLOOR, OURS)} for name, each in words.items()
        },
        "problems": list(problems),
    }
    return "{\n" + ",\n".join(f"{_dumps(name)}: {_lines(value)}" for name, value in values.items()) + "\n}\n"


def _lines(value: Any) -> str:
    """JSON with a line for each element of a list, for people and for diff."""
    if not isinstance(value, list) or not value:
        return _dumps(value)
    return "[\n" + ",\n".join(f" {_dumps(each)}" for each in value) + "\n]"


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "bin": cell.bin,
        "delay": cell.delay,
        "truths": cell.truths,
        "winner": cell.winner,
        "winner_over_edge_only": round(cell.lead.value, 4) if cell.lead else None,
        "edgevlm_over_edge_only": round(cell.transfer.value, 4) if cell.transfer else None,
        "transfer_helps": cell.transfer_helps,
    }


def _cards(results: Results) -> list[dict[str, str]]:
    """The figures that one takes along."""
    if not results.judged:
        return []
    delay = telling_delay(results)
    late = "without delay" if seconds_of(delay) == 0 else f"at {delay_label(delay)}"
    cards = []
    for policy, name in ((FLOOR, policy_label(FLOOR)), (OURS, f"edgeVLM {late}"), (CEILING, policy_label(CEILING))):
        if found := results.accuracy(policy, delay):
            cards.append((f"{100 * found.value:.1f} %", f"streaming accuracy, {name}", policy == OURS))
    if gap := results.share_of_gap(OURS, delay):
        cards.append((f"{100 * gap.value:.0f} %", f"of the gap from edge to cloud closed {late}", True))
    if limit := results.share_of_gap(OURS, delay, ceiling=LIMIT):
        cards.append(
            (f"{100 * limit.value:.0f} %", "of what transfer with one view and no memory could gain there", True)
        )
    return [{"value": value, "label": label, "ours": "ours" if ours else ""} for value, label, ours in cards]


def _tables_without_truth(results: Results, words: Mapping[str, list[Words]]) -> list[Table]:
    if not words:
        return []
    late = Table(
        "How late answers are",
        f"From a frame's capture to the publication of what was said of it; {cloud_label(telling_delay(results))}.",
        ("policy", "answers", "p50, ms", "p95, ms"),
        tuple(
            (policy_label(x.policy), str(x.answers), f"{1e3 * x.p50:.0f}", f"{1e3 * x.p95:.0f}")
            for x in agreement.latencies(results)
            if x.delay == telling_delay(results)
        ),
    )
    agreed = {name: [agreement.share(each, policy) for policy in (FLOOR, OURS)] for name, each in words.items()}
    same = Table(
        "Agreement with the cloud",
        f"Percent of the frames of which both spoke; {cloud_label(telling_delay(results))}.",
        ("stream", "frames", policy_label(FLOOR), policy_label(OURS)),
        tuple(
            (name, str(len(words[name])), *(NOTHING if part is None else f"{100 * part:.1f}" for part in parts))
            for name, parts in agreed.items()
        ),
    )
    return [late, same]


def _looks(streams: Sequence[Stream], words: Mapping[str, list[Words]], results: Results) -> list[dict[str, Any]]:
    """What look.html shows: frames of each stream with what was said of them."""
    return [
        {
            "name": stream.name,
            "delay": delay_label(telling_delay(results)),
            "frames": [_look(stream, each) for each in agreement.worth_a_look(words[stream.name], _LOOKS)],
        }
        for stream in streams
        if stream.name in words
    ]


def _look(stream: Stream, words: Words) -> dict[str, Any]:
    return {
        "jpeg": base64.b64encode(_thumb(stream, words.stamp)).decode("ascii"),
        "time": f"{(words.stamp - stream.stamps[0]) / 1e9:.1f} s",
        "question": words.question.text,
        "said": [
            *((policy_label(policy), text, words.agrees(policy) is False) for policy, text in words.said.items()),
            *([("cloud", words.cloud, False)] if words.cloud is not None else []),
        ],
        "differs": words.agrees(FLOOR) is False,
    }


def _thumb(stream: Stream, stamp: int) -> bytes:
    image = stream.frame(stamp).image
    height = max(1, round(_THUMB * image.shape[0] / image.shape[1]))
    return to_jpeg(np.asarray(cv2.resize(image, (_THUMB, height), interpolation=cv2.INTER_AREA), np.uint8), 80)


def _render(template: str, values: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**values)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
