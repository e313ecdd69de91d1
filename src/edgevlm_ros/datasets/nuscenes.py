# SPDX-License-Identifier: Apache-2.0
"""nuScenes' tables as clips of one camera, and the questions of NuScenes-QA about them.

Schema: nutonomy/nuscenes-devkit, docs/schema_nuscenes.md. A scene is 20 s long; its keyframes (samples, 2 Hz) are what
questions are about, and the sweeps between them (12 Hz in all) are what makes a stream of it.

Questions: qiantianwen/NuScenes-QA, src/execution/result_eval.py: an object with `questions`, each with sample_token,
question, answer, template_type and num_hop.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.datasets.clip import Answer, Clip, DatasetError, read_picture
from edgevlm_ros.datasets.tables import Row, by_token, checked_rows, json_rows, read_json
from edgevlm_ros.evaluation.problems import Problems
from edgevlm_ros.nearest import suggestion
from edgevlm_ros.transfer.types import Image

HOLD = 500_000_000  # nanoseconds; from one keyframe to the next
_MICROSECOND = 1000


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture. stamp: nanoseconds. sample: token of the keyframe that it belongs to. key: it is the keyframe."""

    stamp: int
    file: Path
    sample: str
    key: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """name: scene-0061. shots: of one camera, in order. intrinsics: (3, 3) float64, of pictures as they are stored."""

    token: str
    name: str
    shots: tuple[Shot, ...]
    intrinsics: NDArray[np.float64] | None


def read_scenes(root: Path, version: str, camera: str, keyframes: bool) -> list[Scene]:
    """Of the tables in root/version. keyframes: leave the sweeps out. Raises DatasetError."""
    tables = root / version
    if not tables.is_dir():
        there = [each.name for each in root.glob("v1.0-*")] if root.is_dir() else []
        raise DatasetError(
            f"{tables}: no such folder; --version {suggestion(version, there)}: {root} has "
            f"{', '.join(sorted(there)) or 'no v1.0-* at all, so it is not where nuScenes was unpacked'}"
        )
    scenes = json_rows(tables / "scene.json", ["token", "name"])
    samples = by_token(json_rows(tables / "sample.json", ["token", "scene_token"]))
    sensors = by_token(json_rows(tables / "sensor.json", ["token", "channel"]))
    calibrated = by_token(json_rows(tables / "calibrated_sensor.json", ["token", "sensor_token", "camera_intrinsic"]))
    channels = {row["channel"] for row in sensors.values()}
    if camera not in channels:
        raise DatasetError(f"{tables}: no camera {suggestion(camera, channels)}; it has {', '.join(sorted(channels))}")
    columns = ["sample_token", "calibrated_sensor_token", "filename", "timestamp", "is_key_frame"]
    shots: dict[str, list[tuple[Shot, Row]]] = defaultdict(list)
    try:
        for row in json_rows(tables / "sample_data.json", columns):
            calibration = calibrated[row["calibrated_sensor_token"]]
            if sensors[calibration["sensor_token"]]["channel"] != camera or (keyframes and not row["is_key_frame"]):
                continue
            stamp, key = int(row["timestamp"]) * _MICROSECOND, bool(row["is_key_frame"])
            shot = Shot(stamp, root / row["filename"], row["sample_token"], key)
            shots[samples[row["sample_token"]]["scene_token"]].append((shot, calibration))
    except KeyError as error:
        raise DatasetError(
            f"{tables}: a table refers to {error}, which is not there; unpack all of {version}"
        ) from error
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{tables / 'sample_data.json'}: a row cannot be read ({error}); unpack it again") from error
    return [_scene(scene, shots[scene["token"]]) for scene in scenes if shots[scene["token"]]]


def _scene(scene: Row, found: list[tuple[Shot, Row]]) -> Scene:
    found.sort(key=lambda each: each[0].stamp)
    matrix = np.asarray(found[0][1]["camera_intrinsic"], np.float64)
    return Scene(
        scene["token"], scene["name"], tuple(shot for shot, _ in found), matrix if matrix.shape == (3, 3) else None
    )


def chosen_scenes(scenes: Sequence[Scene], names: Sequence[str]) -> list[Scene]:
    """Those of these names; all of them without names. Raises DatasetError."""
    known = {scene.name: scene for scene in scenes}
    for name in names:
        if name not in known:
            raise DatasetError(f"no scene {suggestion(name, known)} in these tables, which have {len(known)}")
    return [known[name] for name in names] if names else list(scenes)


def held_until(scene: Scene) -> dict[str, tuple[int, int]]:
    """From when until when an answer about a keyframe holds, by its sample's token: to the next, HOLD at most."""
    keys = [shot for shot in scene.shots if shot.key]
    following = [shot.stamp for shot in keys[1:]] + [keys[-1].stamp + HOLD] if keys else []
    return {
        shot.sample: (shot.stamp, min(after, shot.stamp + HOLD)) for shot, after in zip(keys, following, strict=True)
    }


def nuscenes_qa(path: Path, types: Sequence[str]) -> dict[str, list[Row]]:
    """NuScenes-QA's questions by sample token. types: of template_type, all if empty. Raises DatasetError."""
    whole = read_json(path)
    rows = whole.get("questions") if isinstance(whole, dict) else whole
    found: dict[str, list[Row]] = defaultdict(list)
    rows = checked_rows(path, rows, ["sample_token", "question", "answer", "template_type"])
    known = {str(row["template_type"]) for row in rows}
    check_types(path, types, known)
    for row in rows:
        if not types or row["template_type"] in types:
            found[row["sample_token"]].append(row)
    return found


def check_types(path: Path, types: Sequence[str], known: set[str]) -> None:
    """Raises DatasetError for a kind of question that the file has not."""
    for name in types:
        if name not in known:
            raise DatasetError(
                f"{path}: no questions of the type {suggestion(name, known)}; {', '.join(sorted(known))}"
            )


def clips(scenes: Sequence[Scene], questions: Mapping[str, Sequence[Row]], problems: Problems) -> Iterator[Clip]:
    """Scenes of which something is asked."""
    for scene in scenes:
        answers = [
            Answer(since, until, str(row["question"]), str(row["answer"]))
            for sample, (since, until) in held_until(scene).items()
            for row in questions.get(sample, ())
        ]
        if answers:
            yield clip(scene, answers, problems)


def clip(scene: Scene, answers: Sequence[Answer], problems: Problems) -> Clip:
    """nuscenes_0061 of scene-0061: bags whose names end in numbers are of one dataset."""

    def pictures() -> Iterator[tuple[int, Image]]:
        for shot in scene.shots:
            if not shot.key and not shot.file.exists():
                problems.add("sweep whose image is not there, left out", str(shot.file))
                continue
            image = read_picture(shot.file, "unpack the file blobs of this part of nuScenes, or choose other --scenes")
            if image is None:
                problems.add("image that cannot be decoded, left out", str(shot.file))
            else:
                yield shot.stamp, image

    name = scene.name.replace("scene-", "nuscenes_")
    return Clip(name, pictures, tuple(answers), len(scene.shots), scene.intrinsics)
