# SPDX-License-Identifier: Apache-2.0
"""The robot that is evaluated: the nodes' own parameters, from the file that documents their defaults.

A figure from a bag is one about the robot only if both run with the same settings, so there is no second set of
defaults here. A parameter file of one's own is evaluated in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edgevlm_ros.assets import share_dir
from edgevlm_ros.cloud.budget import Limits
from edgevlm_ros.cloud.grounding import BOX_FORMATS, BoxFormat, resolved
from edgevlm_ros.cloud.selection import Rule
from edgevlm_ros.edge.choices import checked_choices
from edgevlm_ros.edge.loading import EngineSettings
from edgevlm_ros.edge.preset import load_preset
from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.history import Replacement

_EDGE, _BRIDGE = "edge_node", "cloud_bridge_node"
_RULE = "keyframes."


class RobotError(ValueError):
    """A parameter file that cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """How keyframes go to the cloud; see the parameters of cloud_bridge_node. Times are seconds.

    limits: of calls and bytes; nobody counts a reply's tokens here, so money is no limit.
    """

    keyframes: Rule = field(default_factory=Rule)
    limits: Limits = field(default_factory=Limits)
    max_in_flight: int = 2
    timeout: float = 10.0
    max_side: int = 640
    jpeg_quality: int = 85
    box_format: BoxFormat = "relative_1000"
    max_regions: int = 8
    max_answer_chars: int = 200


@dataclass(frozen=True, slots=True)
class Robot:
    """engine: of the small model, with its name as people give it. cloud_model: the large one, likewise.

    choices: the answers that the small model is allowed, to every question; empty for any.
    """

    engine: EngineSettings
    replacement: Replacement
    focus: Focus
    bridge: Bridge
    cloud_model: str
    choices: tuple[str, ...] = ()


def defaults_file() -> Path:
    """Every parameter of the nodes, with its default."""
    return share_dir() / "config" / "edgevlm.yaml"


def robot(file: Path | None = None, edge_model: str = "", cloud_model: str = "micro_lvlm", device: str = "") -> Robot:
    """The robot that a parameter file describes; what it leaves out is as in defaults_file. Raises RobotError.

    edge_model, device: instead of the file's, if given.
    """
    edge, bridge = _parameters(defaults_file())
    if file is not None:
        for values, own in zip((edge, bridge), _parameters(file), strict=True):
            values |= own
    if edge.get("server_url"):
        raise RobotError(
            f"{file}: server_url is set; the evaluation runs the small model itself, by transformers: name it as model"
        )
    model = edge_model or str(edge["model"])
    try:
        focus = {name.removeprefix("focus."): value for name, value in edge.items() if name.startswith("focus.")}
        layers = str(focus.pop("layers"))
        preset = load_preset(model)
        if focus["beta"] < 0:
            focus["beta"] = preset.beta
        return Robot(
            engine=EngineSettings(
                model=model,
                device=device or edge["device"],
                quantization=edge["quantization"],
                threads=1,
                system_prompt=edge["system_prompt"],
                max_new_tokens=edge["max_new_tokens"],
                focus_layers=() if layers.strip() == "all" else tuple(int(part) for part in layers.split(",")),
                reuse=edge["prompt_reuse"],
                image_splitting=edge["image_splitting"],
                revision=edge["revision"],
                choice_temperature=preset.choice_temperature,
            ),
            replacement=Replacement(
                **{name.removeprefix("replacement."): v for name, v in edge.items() if name.startswith("replacement.")}
            ),
            focus=Focus(**focus),
            bridge=_bridge(bridge, cloud_model),
            cloud_model=cloud_model,
            choices=checked_choices(edge["choices"]),
        )
    except (TypeError, ValueError) as error:
        raise RobotError(f"{file or defaults_file()}: {error}") from error


def _bridge(values: Mapping[str, Any], cloud_model: str) -> Bridge:
    if values["box_format"] not in BOX_FORMATS:
        raise ValueError(f"box_format {values['box_format']!r} is none of {', '.join(BOX_FORMATS)}")
    return Bridge(
        keyframes=Rule(
            period=values["keyframe_period"],
            **{name.removeprefix(_RULE): value for name, value in values.items() if name.startswith(_RULE)},
        ),
        limits=Limits(values["budget.calls_per_minute"], values["budget.bytes_per_minute"]),
        max_in_flight=values["max_in_flight"],
        timeout=values["timeout"],
        max_side=values["max_side"],
        jpeg_quality=values["jpeg_quality"],
        box_format=resolved(values["box_format"], cloud_model),
        max_regions=values["max_regions"],
        max_answer_chars=values["max_answer_chars"],
    )


def _parameters(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The edge node's and the bridge's parameters by their dotted names, whatever namespaces stand around them."""
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RobotError(f"parameter file {file} cannot be read: {error}") from error
    found: dict[str, dict[str, Any]] = {_EDGE: {}, _BRIDGE: {}}
    _collect(tree, found, (_EDGE, _BRIDGE))
    return found[_EDGE], found[_BRIDGE]


def _collect(tree: Any, found: dict[str, dict[str, Any]], nodes: tuple[str, ...]) -> None:
    """nodes: whom the parameters at this place of the tree are for."""
    if not isinstance(tree, Mapping):
        return
    for name, value in tree.items():
        if name == "ros__parameters":
            for node in nodes:
                found[node] |= _dotted(value)
        else:
            last = str(name).strip("/").rpartition("/")[2]
            _collect(value, found, (last,) if last in found else nodes if last in ("", "*", "**") else ())


def _dotted(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {}
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _dotted(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
