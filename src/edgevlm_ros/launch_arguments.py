# SPDX-License-Identifier: Apache-2.0
"""What the launch files' arguments mean for each node: plain text in, parameters and remappings out.

An argument that is not given is empty and says nothing, so that the parameter file stands. Launch files run in ROS's
own Python, which may have none of the nodes' libraries: the standard library and launch's own YAML are enough here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from edgevlm_ros.assets import settings_files, share_dir
from edgevlm_ros.nearest import nearest

Value = bool | str | list[str]

EDGE, BRIDGE, RECORDER = "edge_node", "cloud_bridge_node", "recorder_node"

TRUTH = ["true", "false", "True", "False"]
BUNDLED_PORT = "bundled_port"
"""Argument that replay.launch.py sets: the port of the server that it starts."""

_NODES = (EDGE, BRIDGE, RECORDER, "bag_player_node")
_PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # until Jazzy, from Kilted on
_PROFILES_HERE = (Path("DEFAULT_FASTRTPS_PROFILES.xml"), Path("DEFAULT_FASTDDS_PROFILES.xml"))
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # of a part between two slashes (design.ros2.org, topic names)
_TRUTH = {"true": True, "false": False}
_TRUTHS = ("use_sim_time", "autostart")


class LaunchArgumentError(ValueError):
    """An argument that cannot be followed; the message names it, its value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Start:
    """One node to start. files: parameter files, the later wins. parameters: over the files. remappings: from, to."""

    node: str
    namespace: str
    files: tuple[Path, ...]
    parameters: Mapping[str, Value]
    remappings: tuple[tuple[str, str], ...]


def robot(given: Mapping[str, str]) -> list[Start]:
    """The edge node, the bridge of each camera, and the recorder. given: arguments by name, empty where not given.

    Raises LaunchArgumentError.
    """
    top, names = namespace(given["namespace"]), cameras(given["cameras"])
    topic, transport = image_topic(given["image_topic"], given["image_transport"])
    if names and topic.startswith("/"):
        raise LaunchArgumentError(
            f"image_topic = {topic!r} with cameras: give it relative to each camera's namespace, "
            f"such as {topic.rsplit('/', 1)[-1]!r} for {_below(top, names[0])}/{topic.rsplit('/', 1)[-1]}"
        )
    shared: dict[str, Value] = {name: _truth(name, given[name]) for name in _TRUTHS if given[name]}
    shared |= _given(image_transport=transport)
    files = _params_file(given["params_file"])
    own, edge = _edge(given, names)
    remappings = tuple(pair for name in names or [""] for pair in _remapping(name, topic))
    starts = [Start(EDGE, top, (*files, *own), {**shared, **edge}, remappings)]
    if wanted(given, "use_cloud", otherwise=True):
        own, bridge = _bridge(given)
        for name in names or [""]:
            beside = tuple(_remapping("", topic))
            starts.append(Start(BRIDGE, _below(top, name), (*files, *own), {**shared, **bridge}, beside))
    if wanted(given, "record"):
        starts.append(Start(RECORDER, top, tuple(files), _recorder(given, names), remappings))
    return starts


def wanted(given: Mapping[str, str], name: str, otherwise: bool = False) -> bool:
    """What an argument of true or false says. otherwise: what holds if it is not given."""
    return _truth(name, given[name]) if given[name] else otherwise


def _edge(given: Mapping[str, str], names: list[str]) -> tuple[list[Path], dict[str, Value]]:
    """A file of config/models and the parameters of the edge node alone."""
    model, file = _text_or_file("models", given["edge_model"])
    parameters = _given(model=model, quantization=given["edge_quantization"], question=given["question"])
    parameters |= {"focus.mode": given["focus_mode"]} if given["focus_mode"] else {}
    return file, {**parameters, **({"cameras": names} if names else {})}


def _bridge(given: Mapping[str, str]) -> tuple[list[Path], dict[str, Value]]:
    """A file of config/clouds and the parameters of a bridge alone."""
    url, file = _text_or_file("clouds", given["cloud_url"])
    if url and "://" not in url:
        close = nearest(url, settings_files("clouds"))  # the text is not repeated: it may be a key in the wrong place
        raise LaunchArgumentError(
            f"cloud_url is neither a URL such as https://my-server/v1 nor one of {', '.join(settings_files('clouds'))}"
            f"{f'; did you mean {close[0]}?' if close else ''}"
        )
    parameters = _given(base_url=url, model=given["cloud_model"], api_key_env=given["cloud_key_env"])
    if port := given.get(BUNDLED_PORT):
        parameters["base_url"] = f"http://127.0.0.1:{port}/v1"
    parameters |= _given(upload=given["cloud_upload"])
    parameters |= {"features.model": given["cloud_eyes"]} if given["cloud_eyes"] else {}
    if allow := given["cloud_allow_http"]:
        parameters["allow_http"] = _truth("cloud_allow_http", allow)
    return file, parameters


def _recorder(given: Mapping[str, str], names: list[str]) -> dict[str, Value]:
    parameters = _given(folder=given["record_to"])
    for argument, parameter in (("use_sim_time", "use_sim_time"), ("record_images", "images")):
        parameters |= {parameter: _truth(argument, given[argument])} if given[argument] else {}
    return {**parameters, **({"cameras": names} if names else {})}


def namespace(text: str) -> str:
    """An absolute namespace: a slash too many is left out. Raises LaunchArgumentError for what cannot be one."""
    return "/" + "/".join(_parts("namespace", text))


def cameras(text: str) -> list[str]:
    """Names separated by commas; empty for one camera without a name. Raises LaunchArgumentError."""
    names = [name for word in text.split(",") if (name := "/".join(_parts("cameras", word)))]
    if doubles := {name for name in names if names.count(name) > 1}:
        raise LaunchArgumentError(f"cameras = {text!r}: {', '.join(sorted(doubles))} is there more than once")
    return names


def image_topic(text: str, transport: str) -> tuple[str, str]:
    """The topic without /compressed, and the transport, which that ending gives too. Raises LaunchArgumentError."""
    compressed = text.endswith("/compressed")
    if compressed and transport == "raw":
        raise LaunchArgumentError(f"image_topic = {text!r} with image_transport = 'raw': leave one of them out")
    parts = _parts("image_topic", text.removesuffix("/compressed"))
    return ("/" if text.startswith("/") else "") + "/".join(parts), "compressed" if compressed else transport


def views(starts: list[Start], names: list[str]) -> list[Start]:
    """RViz for each camera, for its configuration names topics relative to one. names: of the cameras, if several."""
    edge = next(start for start in starts if start.node == EDGE)
    return [
        Start("rviz2", _below(edge.namespace, name), (), {}, _both(_relative(edge.remappings, name)))
        for name in names or [""]
    ]


def _relative(remappings: tuple[tuple[str, str], ...], name: str) -> tuple[tuple[str, str], ...]:
    """Of several cameras' remappings those of one, as its own namespace has them."""
    prefix = f"{name}/" if name else ""
    return tuple(
        (old.removeprefix(prefix), new.removeprefix(prefix)) for old, new in remappings if old.startswith(prefix)
    )


def _both(remappings: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """For raw images and for compressed ones."""
    return (*remappings, *((f"{old}/compressed", f"{new}/compressed") for old, new in remappings))


def _parts(argument: str, text: str) -> list[str]:
    parts = [part for part in text.strip().split("/") if part]
    if bad := [part for part in parts if not _NAME.fullmatch(part)]:
        raise LaunchArgumentError(
            f"{argument} = {text!r}: {bad[0]!r} is no name; it takes letters, digits and _, and begins with no digit"
        )
    return parts


def _below(top: str, name: str) -> str:
    return f"{top.rstrip('/')}/{name}" if name else top


def _remapping(camera: str, topic: str) -> list[tuple[str, str]]:
    prefix = f"{camera}/" if camera else ""
    return [(f"{prefix}image", f"{prefix}{topic}")] if topic not in ("", "image") else []


def _truth(argument: str, text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise LaunchArgumentError(f"{argument} = {text!r}: it takes true or false")
    return _TRUTH[text.lower()]


def _given(**parameters: str) -> dict[str, Value]:
    return {name: text for name, text in parameters.items() if text}


def _params_file(text: str) -> list[Path]:
    file = Path(text).expanduser()
    if text and not file.is_file():  # launch would warn and go on without it
        raise LaunchArgumentError(f"params_file = {text!r}: there is no such file")
    if text:
        _loaded(file)
    return [file] if text else []


def _loaded(file: Path) -> object:
    """Raises LaunchArgumentError for a parameter file that is no YAML."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LaunchArgumentError(
            f"params_file = {str(file)!r} cannot be read: {' '.join(str(error).split())}"
        ) from None


def dds_profile(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that give Fast DDS the profile of config/fastdds.xml; none where the user has chosen something else."""
    ours = environment.get("RMW_IMPLEMENTATION", "") in ("", "rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp")
    # Humble's ROS_LOCALHOST_ONLY makes transports of its own, beside which those of a profile would be open to all
    chosen = environment.get("FASTDDS_BUILTIN_TRANSPORTS") or environment.get("ROS_LOCALHOST_ONLY") == "1"
    if not ours or chosen or any(environment.get(name) for name in _PROFILES) or any(map(Path.exists, _PROFILES_HERE)):
        return {}
    return dict.fromkeys(_PROFILES, str(share_dir() / "config" / "fastdds.xml"))


def unmatched(starts: Sequence[Start]) -> list[str]:
    """Warnings of parameter files: ROS says nothing of a section that names no node."""
    names = {f"{start.namespace.rstrip('/')}/{start.node}" for start in starts}
    warnings = []
    for file in dict.fromkeys(file for start in starts for file in start.files):
        sections = {section: re.compile(_pattern(section)) for section in _sections(_loaded(file))}
        strange = [section for section, pattern in sections.items() if not any(map(pattern.fullmatch, names))]
        hints = {section: _hint(section, names) for section in strange}
        told = [f"{file}: {section!r} names no node here; {hint}" for section, hint in hints.items() if hint]
        if not told and len(strange) == len(sections):
            told = [f"{file} has no section for any of {', '.join(sorted(names))}"]
        warnings += told
    return warnings


def _sections(tree: object, above: str = "") -> Iterator[str]:
    """The nodes' names in a parameter file, as patterns: nested keys are joined by slashes."""
    for key, value in tree.items() if isinstance(tree, dict) else ():
        if key == "ros__parameters":
            yield above
        else:
            yield from _sections(value, f"{above}/{key}" if above else str(key))


def _pattern(section: str) -> str:
    """The regular expression of a name in a parameter file: ** stands for any namespaces, * for a part of a name."""
    parts = ("(/[^/]+)*" if part == "**" else f"/{re.escape(part)}" for part in section.split("/") if part)
    return "".join(parts).replace(r"\*", "[^/]*")


def _hint(section: str, names: Collection[str]) -> str:
    """What may be meant; empty for the section of another node, and of one of ours that does not start."""
    last = section.rsplit("/", 1)[-1]
    starting = {name.rsplit("/", 1)[-1] for name in names}
    close = [last] if last in starting else [] if last in _NODES else nearest(last, starting)
    return f"did you mean '/**/{close[0]}'?" if close else ""


def _text_or_file(kind: str, text: str) -> tuple[str, list[Path]]:
    """The parameter file of that name if there is one, else the text itself."""
    file = settings_files(kind).get(text)
    return ("", [file]) if file else (text, [])
