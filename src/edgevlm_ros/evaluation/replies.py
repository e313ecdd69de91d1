# SPDX-License-Identifier: Apache-2.0
"""What the LVLM said about frames, kept on the disk: asked once for all policies, delays, seeds and sweeps.

A reply depends on the model, the prompt, the frame and the question. The model and the prompt name the folder, the bag
names the file, each line has the frame's stamp and the question.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgevlm_ros.assets import model_path
from edgevlm_ros.cloud.prompt import instruction
from edgevlm_ros.evaluation.large_model import Spoken
from edgevlm_ros.evaluation.robot import Bridge
from edgevlm_ros.evaluation.streams import Stream

Asked = tuple[int, str]
"""The stamp of a frame, and a question."""
Replies = Mapping[Asked, Spoken]

_WHOLE_BYTES = 64 << 20  # a larger file is known by its size and its first bytes


def fingerprint(model: str) -> str:
    """What a model is known by: 12 hex digits of its files' contents, or a hub id as it is."""
    folder = Path(model_path(model))
    if not folder.is_dir():
        return model
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".safetensors", ".json", ".jinja", ".txt") and file.name != "metrics.json":
            size = file.stat().st_size
            digest.update(f"{file.name} {size}\n".encode())
            with file.open("rb") as content:
                digest.update(content.read(_WHOLE_BYTES))
    return digest.hexdigest()[:12]


def replies_file(folder: Path, cloud_model: str, bridge: Bridge, stream: Stream) -> Path:
    """Where the replies about a bag lie. The bag goes by its name, length and first frame."""
    prompt = instruction(bridge.box_format, 0, 0, bridge.max_regions) + f" {bridge.max_side} {bridge.jpeg_quality}"
    asked = hashlib.sha256(prompt.encode()).hexdigest()[:8]
    first = hashlib.sha256(stream.upload(stream.stamps[0]).jpeg).hexdigest()[:8]
    model = fingerprint(cloud_model).replace("/", "--")
    return folder / f"{Path(cloud_model).name}-{model}-{asked}" / f"{stream.name}-{len(stream.stamps)}-{first}.jsonl"


def read_replies(file: Path) -> dict[Asked, Spoken]:
    """The replies of a file; none if there is no file. Torn lines are left out."""
    found: dict[Asked, Spoken] = {}
    for line in file.read_text(encoding="utf-8").split("\n") if file.exists() else ():
        try:
            values = json.loads(line)
            found[values["stamp"], values["question"]] = Spoken(values["text"], tuple(values["tokens"]))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def append_replies(file: Path, replies: Replies) -> None:
    """Adds replies to a file, each as a line of JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    torn = file.exists() and not file.read_bytes().endswith(b"\n")
    with file.open("a", encoding="utf-8") as lines:
        lines.write("\n" * torn)
        lines.writelines(_line(*asked, spoken) for asked, spoken in replies.items())


def missing(wanted: Iterable[Asked], replies: Replies) -> list[Asked]:
    """What has not been answered yet, in order and once."""
    return [asked for asked in dict.fromkeys(wanted) if asked not in replies]


def _line(stamp: int, question: str, spoken: Spoken) -> str:
    values = {"stamp": stamp, "question": question, "text": spoken.text, "tokens": spoken.tokens}
    return json.dumps(values, ensure_ascii=False) + "\n"
