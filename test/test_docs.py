# SPDX-License-Identifier: Apache-2.0
"""What the docs name exists: pages, commands, launch arguments, parameters, topics and fields.

Words in prose are not checked, but everything that a reader would copy into a terminal or a file is.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from edgevlm_ros.cli import COMMANDS, parser_for

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted(DOCS.glob("*.md"))]
INTERFACES = sorted((ROOT / "src" / "edgevlm_msgs").glob("*/*.*"))
SCRIPTS = re.findall(r'"(\w+) = edgevlm_ros', (ROOT / "setup.py").read_text())
REFERENCE = (DOCS / "reference.md").read_text()
QOS = {"image": "NEWEST_IMAGE", "event": "EVENTS", "latched": "LATCHED"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


# -- pages -------------------------------------------------------------------------------------------------------------


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    """Texts of the fenced blocks of these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def spans(page: Path) -> list[str]:
    """Inline code, on one line each."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", without_code(page.read_text()))]


def anchors(page: Path) -> set[str]:
    """Of the headings, as hosting sites make them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), flags=re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    seen: Counter[str] = Counter()
    result = set()
    for slug in slugs:
        result.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return result


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            lost.append(target)
    assert lost == []


def test_the_index_names_every_page() -> None:
    named = set(re.findall(r"\]\((\w+\.md)\)", (DOCS / "README.md").read_text()))
    assert named == {page.name for page in DOCS.glob("*.md")} - {"README.md"}


# -- commands ----------------------------------------------------------------------------------------------------------


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every command in a block for a shell or of what one saw there, and of every inline one that is whole."""
    texts = [re.sub(r"\\\n\s*", " ", text) for text in blocks(page, "bash", "")]
    for line in [line for text in texts for line in text.splitlines()] + spans(page):
        line = line.removeprefix("$ ")
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a quotation, not a command
            continue
        for command in " ".join(map(shlex.quote, words)).split("'&&'"):
            yield shlex.split(command)


def edgevlm_commands(page: Path) -> Iterator[list[str]]:
    """The words after `edgevlm`, however it is called."""
    for words in commands(page):
        for index, word in enumerate(words):
            called = word.endswith("bin/edgevlm") or (
                word == "edgevlm" and (index == 0 or words[index - 1] == "edgevlm_ros")
            )
            if called and words[index + 1 :]:
                yield words[index + 1 :]


def subcommands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return found[0] if found else {}


def unknown_word(words: Sequence[str]) -> str:
    """The first option or subcommand that `edgevlm` does not have; empty if it has them all."""
    if words[0].startswith("-"):
        return "" if words == ["--help"] else words[0]
    if words[0] not in COMMANDS:
        return words[0]
    try:
        parser = subcommands(parser_for(words))[words[0]]
    except ModuleNotFoundError:  # of an extra that is not installed here
        return ""
    for word in words[1:]:
        inner = subcommands(parser)
        if word.startswith("--"):
            if word.partition("=")[0] not in parser._option_string_actions:
                return word
        elif inner:
            if word not in inner:
                return word
            parser = inner[word]
    return ""


@each_page
def test_every_edgevlm_command_has_its_options(page: Path) -> None:
    assert [words for words in edgevlm_commands(page) if unknown_word(words)] == []


def test_an_edgevlm_command_that_does_not_exist_is_found() -> None:
    assert unknown_word(["doctr"]) == "doctr"
    assert unknown_word(["doctor", "--imagetopic", "/camera"]) == "--imagetopic"
    assert unknown_word(["bag", "convert", "a.mp4", "b", "--frames", "5"]) == "--frames"
    assert unknown_word(["bag", "inof", "a"]) == "inof"
    assert unknown_word(["bag", "convert", "a.mp4", "b", "--rate", "5"]) == ""


# -- launch ------------------------------------------------------------------------------------------------------------


def declared(name: str) -> dict[str, Any]:
    """The ARGUMENTS of a launch file: its arguments by name, read without launch."""
    for node in ast.parse((ROOT / "launch" / name).read_text()).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "ARGUMENTS":
            assert isinstance(node.value, ast.Dict)
            keys = [key for key in node.value.keys if isinstance(key, ast.Constant)]
            return {str(key.value): value for key, value in zip(keys, node.value.values, strict=True)}
    raise AssertionError(f"{name} has no ARGUMENTS")


ROBOT = set(declared("edgevlm.launch.py"))
LAUNCH = {"edgevlm.launch.py": ROBOT, "replay.launch.py": ROBOT | set(declared("replay.launch.py"))}


@each_page
def test_every_launch_command_has_its_arguments(page: Path) -> None:
    wrong = []
    for words in commands(page):
        if words[:3] == ["ros2", "launch", "edgevlm_ros"]:
            known = LAUNCH[words[3]]
            names = [word.partition(":=")[0] for word in words[4:] if ":=" in word]
            wrong += [name for name in names if name not in known]
    assert wrong == []


@each_page
def test_every_argument_in_a_sentence_is_one_of_a_launch_file(page: Path) -> None:
    everything = set().union(*LAUNCH.values())
    alone = [span for span in spans(page) if re.match(r"[a-z_]+:=", span)]
    names = {name for span in alone for name in re.findall(r"(?:^|\s)([a-z_]+):=", span)}
    assert names - everything == set()


@each_page
def test_every_file_that_is_named_is_here(page: Path) -> None:
    named = {
        path for span in spans(page) for path in re.findall(r"^(?:config|rviz|foxglove|docker|launch)/[\w./-]+", span)
    }
    assert [path for path in named if not (ROOT / path).exists()] == []


# -- parameters --------------------------------------------------------------------------------------------------------


class Given(NamedTuple):
    """A parameter as the docs show it."""

    node: str
    name: str
    value: Any


def tables() -> Mapping[str, Mapping[str, Any]]:
    """Every node's parameters by name."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
    from edgevlm_ros.nodes.parameter_reference import NODES

    return {node: {parameter.name: parameter for parameter in table} for node, table in NODES.items()}


def in_yaml(values: Any, node: str = "") -> Iterator[Given]:
    """Of parameter files."""
    for key, value in values.items() if isinstance(values, dict) else ():
        if key == "ros__parameters":
            yield from (Given(node, name, leaf) for name, leaf in flat(value))
        else:
            yield from in_yaml(value, key.rpartition("/")[2] if "*" not in key else node)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield from flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]


def in_commands(page: Path) -> Iterator[Given]:
    """Of `ros2 run ... -p name:=value` and `ros2 param set`."""
    for words in commands(page):
        if words[:3] == ["ros2", "run", "edgevlm_ros"]:
            for flag, word in pairwise(words):
                if flag == "-p":
                    name, _, value = word.partition(":=")
                    yield Given(words[3], name, yaml.safe_load(value))
        elif words[:3] == ["ros2", "param", "set"]:
            yield Given(words[3].rpartition("/")[2], words[4], yaml.safe_load(words[5]))


def refused(page: Path, one: Given) -> bool:
    """Whether the page shows that this is refused."""
    return f"{one.name} {one.value}\nSetting parameter failed" in page.read_text()


@each_page
def test_every_parameter_that_is_set_takes_its_value(page: Path) -> None:
    known = tables()
    given = [one for text in blocks(page, "yaml") for one in in_yaml(yaml.safe_load(text))]
    for one in [*given, *in_commands(page)]:
        if one.node.startswith("lifecycle_manager"):  # another's
            continue
        parameter = known[one.node][one.name]
        if not refused(page, one):
            parameter.check(one.value)


@each_page
def test_what_is_set_while_a_node_runs_is_live(page: Path) -> None:
    known = tables()
    for words in commands(page):
        if words[:3] == ["ros2", "param", "set"]:
            node, name, value = words[3].rpartition("/")[2], words[4], yaml.safe_load(words[5])
            assert known[node][name].live or refused(page, Given(node, name, value))


@each_page
def test_every_dotted_name_in_a_sentence_is_a_parameter(page: Path) -> None:
    names = {name for table in tables().values() for name in table}
    groups = {name.partition(".")[0] for name in names if "." in name}
    dotted = {
        match[0]
        for span in spans(page)
        if (match := re.match(r"([a-z]+)\.[a-z_]+\b(?!\.)", span)) and match[1] in groups
    }
    assert dotted - names == set()


# -- the reference -----------------------------------------------------------------------------------------------------


def section(title: str) -> str:
    """Text of the part of the reference whose heading names this."""
    parts = re.split(r"^### ", REFERENCE, flags=re.MULTILINE)[1:]
    (text,) = (part for part in parts if title in part.partition("\n")[0].split(", "))
    return text.partition("\n")[2]


def rows(text: str) -> list[list[str]]:
    """Cells of the rows of Markdown tables."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")
    ]


def fields(definition: str) -> list[tuple[str, str]]:
    """(name, type) of the fields of an interface, in its order."""
    lines = [line.partition("#")[0].split() for line in definition.splitlines()]
    return [(words[1], words[0]) for words in lines if len(words) == 2 and "=" not in words[1]]


def constants(definition: str) -> list[tuple[str, str]]:
    return re.findall(r"^\w+ ([A-Z_]+)=(\d+)", definition, flags=re.MULTILINE)


@pytest.mark.parametrize("file", INTERFACES, ids=lambda file: file.name)
def test_the_reference_has_every_field_of_every_interface_and_no_other(file: Path) -> None:
    text, definition = section(file.stem), file.read_text()
    if file.stem in ("Annotation", "Facts", "Fact"):  # these share a part
        text = next(part for part in text.split("\n\n") if part.startswith(f"| {file.stem} |"))
    told = [(row[0].strip("`"), row[1].strip("`")) for row in rows(text) if len(row) == 3 and row[1].startswith("`")]
    assert told == fields(definition)
    for name, value in constants(definition):
        assert f"`{name}` {value}" in text


class Topic(NamedTuple):
    """A row of the reference's topics."""

    name: str
    type: str
    qos: str
    publishers: str
    subscribers: str


TOPICS = {
    (topic := Topic(row[0].strip("`"), row[1].strip("`"), *row[2:])).name: topic
    for row in rows(REFERENCE.partition("## Topics")[2].partition("## Services")[0])
    if row[0].startswith("`")
}
OF_ROS = ("/rosout", "/parameter_events", "transition_event", "/_action/")


def test_the_reference_has_every_topic_of_the_running_nodes_with_its_qos(
    ros: Any, tiny_model: Path, tmp_path: Path
) -> None:
    from rclpy.parameter import Parameter

    from edgevlm_ros.nodes import qos
    from edgevlm_ros.nodes.cloud_bridge_node import CloudBridgeNode
    from edgevlm_ros.nodes.edge_node import EdgeNode
    from edgevlm_ros.nodes.recorder_node import RecorderNode

    def with_values(**values: Any) -> dict[str, Any]:
        return {
            "context": ros.context,
            "parameter_overrides": [Parameter(name, value=value) for name, value in values.items()],
        }

    edge = ros.add(EdgeNode(**with_values(model=str(tiny_model), threads=1, question="What is ahead?")))
    bridge = ros.add(CloudBridgeNode(**with_values(image_transport="compressed", base_url="http://127.0.0.1:9/v1")))
    ros.add(RecorderNode(**with_values(folder=str(tmp_path), overlay=True, images=True, min_free=0.0)))
    for node in (edge, bridge):
        node.trigger_configure()
        node.trigger_activate()

    def endpoints() -> set[tuple[str, str, str, str, str]]:
        """(topic, side, node, type, QoS as the reference names it)."""
        named = {profile_of(getattr(qos, name)): word for word, name in QOS.items()}
        found = set()
        for topic, _ in edge.get_topic_names_and_types():
            if not any(part in topic for part in OF_ROS):
                for side, infos in (
                    ("publishers", edge.get_publishers_info_by_topic(topic)),
                    ("subscribers", edge.get_subscriptions_info_by_topic(topic)),
                ):
                    for info in infos:
                        word = named[profile_of(info.qos_profile)]
                        found.add((topic, side, info.node_name, info.topic_type, word))
        return found

    def profile_of(profile: Any) -> tuple[Any, Any]:
        return profile.reliability, profile.durability

    assert ros.spin_until(lambda: {node for _, _, node, _, _ in endpoints()} >= {"recorder_node", "edge_node"})
    assert ros.spin_until(lambda: len([1 for topic, *_ in endpoints() if topic == "/metrics"]) == 3)
    for topic, side, node, kind, word in endpoints():
        told = TOPICS.get(topic) or TOPICS[topic.removeprefix("/")]
        assert told.type == kind, topic
        assert word in told.qos.split(", "), topic
        where = getattr(told, side)
        assert f"`{node}`" in where or (side == "subscribers" and where.startswith("both,")), (topic, node)
    seen = {topic for topic, *_ in endpoints()}
    other = {"facts", "/clock"}  # of bags
    assert {name for name in TOPICS if f"/{name.removeprefix('/')}" not in seen} == other
    services = {name for name, _ in edge.get_service_names_and_types_by_node("edge_node", "/")}
    assert "/set_question" in services
    assert "`set_question`" in REFERENCE


def test_the_reference_tells_the_depths_of_the_profiles() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
    from edgevlm_ros.nodes import qos

    for word, name in QOS.items():
        (row,) = (row for row in rows(REFERENCE) if row[0] == f"*{word}*")
        profile = getattr(qos, name)
        told = [profile.reliability.name, profile.durability.name, f"keep last {profile.depth}"]
        assert row[1:] == [policy.lower().replace("_", " ") for policy in told]


# -- ros2 --------------------------------------------------------------------------------------------------------------


def interface(name: str) -> list[list[tuple[str, str]]]:
    """Fields of each part of `edgevlm_msgs/srv/SetQuestion` and the like."""
    (file,) = (file for file in INTERFACES if f"edgevlm_msgs/{file.parent.name}/{file.stem}" == name)
    return [fields(part) for part in file.read_text().split("---")]


@each_page
def test_every_message_that_is_sent_has_the_fields_of_its_type(page: Path) -> None:
    for words in commands(page):
        kinds = [index for index, word in enumerate(words) if word.startswith("edgevlm_msgs/")]
        if words[0:1] != ["ros2"] or not kinds or len(words) <= kinds[0] + 1:
            continue
        request = yaml.safe_load(words[kinds[0] + 1])
        assert set(request) <= {name for name, _ in interface(words[kinds[0]])[0]}


@each_page
def test_every_topic_that_is_heard_is_in_the_reference(page: Path) -> None:
    known = {name.removeprefix("/") for name in TOPICS}
    for words in commands(page):
        if words[:3] in (["ros2", "topic", "echo"], ["ros2", "topic", "hz"]):
            heard = [word for word in words[3:] if word.startswith("/")]
            for topic in heard:
                parts = topic.strip("/").split("/")
                tails = {"/".join(parts[index:]) for index in range(len(parts))}
                assert tails & known or "camera" in topic, topic
                if "--field" in words and (kind := next((TOPICS[t].type for t in tails if t in TOPICS), "")).startswith(
                    "edgevlm"
                ):
                    field = words[words.index("--field") + 1]
                    assert field in dict(interface(kind)[0]), field


@each_page
def test_every_node_that_is_run_is_installed(page: Path) -> None:
    started = [words[3] for words in commands(page) if words[:3] == ["ros2", "run", "edgevlm_ros"] and words[3:]]
    assert set(started) <= set(SCRIPTS)
