# SPDX-License-Identifier: Apache-2.0
"""One page that shows what a run was: report.html, self-contained, made of the recording and its summary.

Whatever came from a model, a bag or a server is untrusted text: the template escapes it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from edgevlm_ros.evaluation import plots
from edgevlm_ros.evaluation.recording import AnswerRecord, Recording
from edgevlm_ros.evaluation.streaming import matches
from edgevlm_ros.evaluation.video import frames
from edgevlm_ros.images import to_jpeg

_STRIP = 8  # frames
_JPEG_QUALITY = 80
_FRESH_S = 2.5  # a context whose boxes are still where things are


def write_report(folder: Path, recording: Recording, summary: dict[str, Any]) -> Path:
    """Writes report.html and, where there is a video, overlay.jpg, its most telling frame. Returns the report's path.

    folder: a run's, with overlay.mp4 in it or not. summary: what summary.json holds.
    """
    start = int(summary["source"]["start"])
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        summary=summary,
        accuracy=summary["streaming_accuracy"],
        cards=_cards(summary),
        tables=_tables(summary),
        machine=_machine(summary),
        plots={name: Markup(svg) for name, svg in _plots(recording, summary, start).items()},
        strip=_strip(folder, recording.answers, start),
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def most_telling(answers: Sequence[AnswerRecord]) -> AnswerRecord | None:
    """The answer to show if there is room for one: right where that is known, with the cloud's help, and sure of it."""
    return max(answers, key=_telling, default=None)


def _telling(answer: AnswerRecord) -> tuple[bool, bool, bool, bool, float]:
    right = answer.truth is not None and matches(answer.text, answer.truth)
    helped = answer.context_age is not None and answer.focus_mode != "none"
    fresh = answer.context_age is not None and answer.context_age <= _FRESH_S
    return right, helped, "," in answer.text, fresh, answer.confidence or 0.0


def _plots(recording: Recording, summary: dict[str, Any], start: int) -> dict[str, str]:
    answers, contexts = recording.answers, recording.contexts
    end = start + int(float(summary["source"]["seconds"]) * 1e9)
    return {
        "timeline": plots.timeline(recording, start) if answers else "",
        "rate": plots.rate(answers, start, end, summary["options"].get("outage")),
        "cloud_delay": plots.cloud_delay(contexts, start),
        "answer_age": plots.answer_age(answers),
        "inference_time": plots.inference_time(answers, start),
    }


def _strip(folder: Path, answers: Sequence[AnswerRecord], start: int) -> list[dict[str, str]]:
    """The most telling frame of each stretch of the run."""
    video = folder / "overlay.mp4"
    if not answers or not video.exists():
        return []
    size = -(-len(answers) // _STRIP)
    stretches = [answers[at : at + size] for at in range(0, len(answers), size)]
    chosen = {answer.stamp: answer for stretch in stretches if (answer := most_telling(stretch)) is not None}
    best = most_telling(list(chosen.values()))
    strip = []
    for stamp, rgb in frames(video, chosen):
        jpeg = to_jpeg(rgb, _JPEG_QUALITY)
        if best is not None and stamp == best.stamp:
            (folder / "overlay.jpg").write_bytes(to_jpeg(rgb, 92))
        caption = f"{(stamp - start) / 1e9:.1f} s: {chosen[stamp].text}"
        strip.append({"jpeg": base64.b64encode(jpeg).decode("ascii"), "caption": caption})
    return strip


def _cards(summary: dict[str, Any]) -> list[dict[str, str]]:
    frames_, cloud, accuracy = summary["frames"], summary["cloud"], summary["streaming_accuracy"]["overall"]
    cards = [
        (_percent(frames_["answered_share_of_seen"]), f"of {frames_['seen']} frames answered"),
        (_ms(summary["answer_age_ms"]["p95"]), "from image to published answer, p95"),
        (_ms(summary["overhead_ms"]["p95"]), "of that not inference, p95"),
        (str(cloud["replies"]["ok"]), f"cloud answers to {cloud['requests']} keyframes"),
    ]
    if accuracy is not None:
        cards.append((_percent(accuracy["exact"]), "streaming accuracy (exact)"))
    return [{"value": value, "label": label} for value, label in cards]


def _tables(summary: dict[str, Any]) -> dict[str, list[tuple[str, Any]]]:
    frames_, cloud, contexts = summary["frames"], summary["cloud"], summary["contexts"]
    age, inference, overhead = summary["answer_age_ms"], summary["inference_time_ms"], summary["overhead_ms"]
    replies = [(f"replies: {name}", count) for name, count in cloud["replies"].items() if count or name == "ok"]
    return {
        "Edge": [
            ("frames in the source", _plain(frames_["in_source"])),
            ("frames seen", frames_["seen"]),
            ("frames answered", frames_["answered"]),
            ("frames dropped for a newer one", frames_["dropped"]),
            ("frames that could not be read", frames_["bad"]),
            ("answers per second", _plain(summary["answers_per_second"])),
            ("answer age p50 / p95", f"{_ms(age['p50'])} / {_ms(age['p95'])}"),
            ("inference time p50 / p95", f"{_ms(inference['p50'])} / {_ms(inference['p95'])}"),
            ("overhead p50 / p95", f"{_ms(overhead['p50'])} / {_ms(overhead['p95'])}"),
        ],
        "Cloud": [
            ("requests", cloud["requests"]),
            *replies,
            ("delay p50 / p95", f"{_ms(cloud['delay_ms']['p50'])} / {_ms(cloud['delay_ms']['p95'])}"),
            ("sent", f"{cloud['bytes_up'] / 1e6:.2f} MB"),
            ("contexts applied", contexts["applied"]),
            ("contexts ignored", contexts["ignored"]),
            ("answers with context", _percent(contexts["share_of_answers_with_context"])),
        ],
    }


def _machine(summary: dict[str, Any]) -> list[tuple[str, Any]]:
    options = {name: value for name, value in summary["options"].items() if value not in (None, "", [])}
    return [
        *summary["machine"].items(),
        ("versions", ", ".join(f"{name} {version}" for name, version in summary["versions"].items())),
        ("options", ", ".join(f"{name}={value}" for name, value in options.items())),
    ]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _plain(value: Any) -> str:
    return "–" if value is None else str(value)
