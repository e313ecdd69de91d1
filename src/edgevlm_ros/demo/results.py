# SPDX-License-Identifier: Apache-2.0
"""What a demo leaves in its folder: the figures, the report, and whether the run was whole."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgevlm_ros.assets import bundled
from edgevlm_ros.demo.source import Source
from edgevlm_ros.program import FAILED, CommandError

RESULTS = ("answers.jsonl", "bag", "logs", "overlay.jpg", "overlay.mp4", "report.html", "source", "summary.json")
_NEEDED = ("answers.jsonl", "bag/metadata.yaml", "overlay.mp4", "report.html", "summary.json")
_OUT_OF_WORLD = (
    "The bundled micro models know only the rendered world that they were trained in. This source has no ground truth "
    "and is most likely not from there: these answers show the machinery, not understanding."
)


def clear(out: Path) -> None:
    """Makes room for the results; other files stay. Raises CommandError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in RESULTS:
            if (out / name).is_dir():
                shutil.rmtree(out / name)
            else:
                (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"--out {out}: cannot be written ({error.strerror})") from None


def write_results(
    out: Path,
    source: Source,
    models: Mapping[str, str],
    options: Mapping[str, Any],
    parameters: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Writes summary.json and report.html; returns the summary. models: names of the edge's and the cloud's.
    parameters: by node."""
    from edgevlm_ros.evaluation.metrics import summary
    from edgevlm_ros.evaluation.recording import read_recording
    from edgevlm_ros.evaluation.report import write_report
    from edgevlm_ros.machine import machine, versions

    recording = read_recording(out / "bag")
    result = {
        "source": {
            "name": source.name,
            "seconds": round(source.seconds, 2),
            "start": source.start,
            "image_topic": source.images.name,
        },
        **summary(recording, source.images.count),
        "models": models,
        "note": _OUT_OF_WORLD if models["edge"] in bundled("models") and not source.has_truth else "",
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "machine": machine(),
        "versions": versions(),
        "options": options,
        "parameters": parameters,
    }
    write_report(out, recording, result)
    (out / "summary.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def check_whole(summary: Mapping[str, Any], out: Path) -> None:
    """Raises CommandError if frames or files are missing."""
    frames = summary["frames"]
    if not frames["answered"]:
        raise CommandError(f"no frame was answered ({frames['seen']} seen); logs in {out / 'logs'}", FAILED)
    lost = frames["seen"] - frames["answered"] - frames["dropped"] - frames["bad"]
    if lost > 1:  # one may have been in the engine when the graph was stopped
        raise CommandError(f"{lost} of {frames['seen']} frames seen are not accounted for", FAILED)
    if missing := [name for name in _NEEDED if not (out / name).exists()]:
        raise CommandError(f"{', '.join(missing)} was not written; logs in {out / 'logs'}", FAILED)
