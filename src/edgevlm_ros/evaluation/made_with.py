# SPDX-License-Identifier: Apache-2.0
"""What a sweep was made with: told beside its results, and compared before it goes on.

Runs of other models, settings or knobs must not stand beside new ones in one table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgevlm_ros.evaluation.calibrated import Calibrated
    from edgevlm_ros.evaluation.sweep import Means

DELAYS, CLOUD_MODEL = "0,1,3,6,9", "micro_lvlm"  # the command's defaults
FILE, RUNS = "made_with.json", "runs.jsonl"


class EvaluateError(ValueError):
    """What was asked for cannot be evaluated; the message says what to do."""


def model_names(means: Means) -> dict[str, dict[str, str]]:
    """Of both models: the name, without the folders of this machine, and the fingerprint."""
    from edgevlm_ros.evaluation.replies import fingerprint

    names = {"edge_model": means.robot.engine.model, "cloud_model": means.robot.cloud_model}
    return {kind: {"name": Path(name).name, "fingerprint": fingerprint(name)} for kind, name in names.items()}


def ingredients(means: Means, calibrated: Calibrated, judge: str, question: str) -> dict[str, str]:
    """All that decides on what a run says, in a few letters each."""
    return {
        **{kind.replace("_", " "): model["fingerprint"] for kind, model in model_names(means).items()},
        "robot": _digest(repr(means.robot)),
        "knobs": _digest(json.dumps(dict(calibrated.chosen), sort_keys=True)),
        "timings": _digest(json.dumps(dict(means.timings.samples), sort_keys=True)),
        "judge": judge,
        "question": question,
    }


def same_as_before(out: Path, now: Mapping[str, str]) -> None:
    """Notes the ingredients beside the runs. Raises EvaluateError if there are runs of others."""
    file = out / FILE
    if file.exists() and (out / RUNS).exists():
        try:
            before = dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            before = {}
        changed = [name for name in now if before.get(name) != now[name]]
        if changed:
            raise EvaluateError(
                f"{out} holds runs that were made with another {', '.join(changed)}: "
                f"give another --out, or remove its {RUNS}"
            )
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dict(now), indent=1) + "\n", encoding="utf-8")


def command(asked: argparse.Namespace) -> str:
    """The command line of evaluate_cli, as far as it decides on the results: nothing of where and how fast."""
    words = ["edgevlm evaluate", *(Path(bag).name for bag in asked.bags)]
    if asked.calibrate:
        words.append("--calibrate")
    values = {
        "policies": asked.policies,
        "delays": asked.delays if asked.delays != DELAYS else "",
        "seeds": ",".join(map(str, asked.seeds)) if asked.seeds != (0,) else "",
        "split": asked.split,
        "scenes": asked.scenes,
        "question": f"'{asked.question}'" if asked.question else "",
        "annotations": asked.annotations and asked.annotations.name,
        "edge-model": Path(asked.edge_model).name,
        "cloud-model": Path(asked.cloud_model).name if asked.cloud_model != CLOUD_MODEL else "",
        "device": asked.device if asked.device != "auto" else "",
        "params": asked.params and asked.params.name,
        "judge-model": asked.judge_model,
        "judge-reasoning-effort": asked.judge_reasoning_effort if asked.judge_reasoning_effort != "default" else "",
    }
    return " ".join([*words, *(f"--{name} {value}" for name, value in values.items() if value)])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
