# SPDX-License-Identifier: Apache-2.0
"""What a sweep was made with: told beside its results, and compared before it goes on.

Runs of other models, settings or knobs must not stand beside new ones in one table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgevlm_ros.evaluation.calibrated import Calibrated
    from edgevlm_ros.evaluation.streams import Stream
    from edgevlm_ros.evaluation.sweep import Means

DELAYS, CLOUD_MODEL = "0,1,3,6,9", "micro_lvlm"  # the command's defaults
FILE, RUNS = "made_with.json", "runs.jsonl"
_BAGS = "bags"
_NAMED = 5  # of what has changed


class EvaluateError(ValueError):
    """What was asked for cannot be evaluated; the message says what to do."""


def model_names(means: Means) -> dict[str, dict[str, str]]:
    """Of both models: the name, without the folders of this machine, and the fingerprint."""
    from edgevlm_ros.evaluation.replies import fingerprint

    names = {"edge_model": means.robot.engine.model, "cloud_model": means.robot.cloud_model}
    return {kind: {"name": Path(name).name, "fingerprint": fingerprint(name)} for kind, name in names.items()}


def ingredients(means: Means, calibrated: Calibrated, judge: str, question: str) -> dict[str, str]:
    """All that decides on what a run says of any bag, in a few letters each."""
    from edgevlm_ros.machine import versions

    return {
        **{kind.replace("_", " "): model["fingerprint"] for kind, model in model_names(means).items()},
        "robot": _digest(repr(means.robot)),
        "knobs": _digest(json.dumps(dict(calibrated.chosen), sort_keys=True)),
        "timings": _digest(json.dumps(dict(means.timings.samples), sort_keys=True)),
        "judge": judge,
        "question": question,
        "version of edgevlm_ros": versions().get("edgevlm_ros", "unknown"),
    }


def bag_ingredients(streams: Sequence[Stream]) -> dict[str, dict[str, str]]:
    """The same of each bag, by its name: where it lies, what it shows, and what is asked and true."""
    return {
        stream.name: {
            "path": _digest(str(stream.path.resolve())),
            "frames": _digest(repr(stream.stamps), stream.frame(stream.stamps[0]).image.tobytes()),
            "truths": _digest(repr((stream.questions, stream.truths, sorted(stream.facts.items())))),
        }
        for stream in streams
    }


def same_as_before(out: Path, now: Mapping[str, str], bags: Mapping[str, Mapping[str, str]]) -> None:
    """Notes the ingredients beside the runs. Raises EvaluateError if there are runs of others.

    bags: as of bag_ingredients. Bags may be added to those that were evaluated before.
    """
    file = out / FILE
    known: dict[str, Mapping[str, str]] = {}
    if (out / RUNS).exists():
        try:
            before = dict(json.loads(file.read_text(encoding="utf-8")))
            known = dict(before.get(_BAGS, {}))
        except (OSError, ValueError, TypeError):
            before = {}
        changed = [name for name in now if before.get(name) != now[name]]
        changed += [
            f"{kind} of {name}"
            for name, values in bags.items()
            for kind, value in values.items()
            if name in known and known[name].get(kind) != value
        ]
        if changed:
            rest = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
            raise EvaluateError(
                f"{out} holds runs that were made before these changed: {', '.join(changed[:_NAMED])}{rest}. Give "
                f"another --out, or remove its {RUNS}: what the large model said is kept"
            )
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**now, _BAGS: {**known, **bags}}, indent=1) + "\n", encoding="utf-8")


def command(asked: argparse.Namespace) -> str:
    """The command line of evaluate_cli, as far as it decides on the results: nothing of how fast."""
    words = ["edgevlm evaluate", *map(_given, asked.bags)]
    if asked.calibrate:
        words.append("--calibrate")
    values = {
        "policies": asked.policies,
        "delays": asked.delays if asked.delays != DELAYS else "",
        "seeds": ",".join(map(str, asked.seeds)) if asked.seeds != (0,) else "",
        "split": asked.split,
        "scenes": asked.scenes,
        "question": shlex.quote(asked.question) if asked.question else "",
        "annotations": asked.annotations and _given(asked.annotations),
        "image-topic": asked.image_topic,
        "edge-model": asked.edge_model and _given(asked.edge_model),
        "cloud-model": _given(asked.cloud_model) if asked.cloud_model != CLOUD_MODEL else "",
        "device": asked.device if asked.device != "auto" else "",
        "params": asked.params and _given(asked.params),
        "judge-model": asked.judge_model,
        "judge-reasoning-effort": asked.judge_reasoning_effort if asked.judge_reasoning_effort != "default" else "",
    }
    return " ".join([*words, *(f"--{name} {value}" for name, value in values.items() if value)])


def _given(path: str | Path) -> str:
    """As it was typed, before the shell put a home directory in the place of ~."""
    path, home = Path(path), Path.home()
    return f"~/{shlex.quote(str(path.relative_to(home)))}" if path.is_relative_to(home) else shlex.quote(str(path))


def _digest(text: str, data: bytes = b"") -> str:
    return hashlib.sha256(text.encode() + data).hexdigest()[:12]
