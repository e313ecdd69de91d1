# SPDX-License-Identifier: Apache-2.0
"""`edgevlm demo`: a bag through the real graph, answers out.

Plays the bag once everything is up, shows how it goes, leaves figures and a report. What an earlier demo left in the
same folder is replaced; other files in it stay.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgevlm_ros.arguments import number
from edgevlm_ros.assets import bag_path, bundled, model_path
from edgevlm_ros.bags import Topic
from edgevlm_ros.demo.results import RESULTS, check_whole, clear, write_results
from edgevlm_ros.demo.source import CONVERTED, Source, open_source
from edgevlm_ros.program import OK, CommandError, ended
from edgevlm_ros.sources import Kind, convert, source_kind
from edgevlm_ros.terminal import Progress, print_table, shown

DEFAULT_QUESTION = "What is in front of the camera?"
_SECONDS = number(0.0, 3600.0)
# A micro model gains nothing from a second thread and loses much where something else wants that core. Inference on 2
# cores with 1 and 2 threads: p95 33 and 102 ms beside the LVLM server, p50 0.2 and 3.9 s beside a training as well
# (`edgevlm demo --set edge_node.threads=N`, 2026-11-22).
_MICRO_THREADS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    add = parser.add_argument
    add("--source", default="demo", metavar="PATH", help="rosbag2, video file or folder of images (the bundled bag)")
    add("--question", default="", metavar="TEXT", help="what to ask, instead of the bag's own questions")
    add("--image-topic", default="", metavar="NAME", help="the camera, in a bag with several")
    add("--out", type=Path, default=Path("runs/demo"), metavar="FOLDER", help="for the results (%(default)s)")
    add("--rate", type=number(0.0, 3600.0), default=1.0, metavar="X", help="speed of playing (%(default)s)")
    add("--model", default="micro_svlm", metavar="NAME", help="edge model: bundled, folder or hub id (%(default)s)")
    add(
        "--focus-mode",
        default="",
        metavar="MODE",
        help="how regions steer the edge model's eyes: none, crop, attention+crop, ...",
    )
    cloud = parser.add_mutually_exclusive_group()
    cloud.add_argument("--cloud-url", default="", metavar="URL", help="of an OpenAI-compatible server; else an own one")
    cloud.add_argument("--no-cloud", action="store_true", help="the edge model alone")
    add("--cloud-model", default="", metavar="NAME", help="bundled, folder or hub id; with --cloud-url its name there")
    add("--cloud-delay", type=_SECONDS, default=0.0, metavar="S", help="seconds added to each reply (%(default)s)")
    add("--outage", type=_outage, metavar="START,END", help="kill the own cloud server and start it again, bag seconds")
    add("--set", action="append", default=[], metavar="NODE.NAME=VALUE", help="a node's parameter; may be repeated")
    add("--domain", type=int, choices=range(102), metavar="0..101", help="ROS domain; else a free one")
    parser.set_defaults(run=run)


def _outage(text: str) -> tuple[float, float]:
    start, _, end = text.partition(",")
    span = _SECONDS(start), _SECONDS(end)
    if span[0] >= span[1]:
        raise argparse.ArgumentTypeError(f"{text}: it takes START,END, the end after the start")
    return span


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0 if all is well, 1 for what failed, 2 for what cannot be asked for, 130 for Ctrl-C."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an answer may have letters that the terminal has not
    return ended(lambda check: _demo(arguments, check))


def _demo(arguments: argparse.Namespace, check: Callable[[], None]) -> int:
    from edgevlm_ros.graph import Graph, Outage

    began = time.monotonic()
    out = arguments.out.expanduser().resolve()
    path = bag_path(arguments.source).resolve()
    settings = _settings(arguments)
    kind = _source_kind(path, out)
    source = _open(path, arguments) if kind is Kind.BAG else None
    clear(out)
    with Graph(out, settings, arguments.domain, check) as graph:
        print(f"starting the graph in ROS domain {graph.domain}, logs in {shown(out / 'logs')}", flush=True)
        cloud = _start(graph, arguments, source.images if source else CONVERTED, _question(arguments, source))
        if source is None:
            convert(path, out / "source")
            source = _open(out / "source", arguments, path.name)
        parameters = graph.wait_ready()
        limit = source.seconds / arguments.rate + 60.0
        outage = Outage(*arguments.outage) if arguments.outage else None
        print(f"playing {source.name}: {source.images.count} frames in {source.seconds:.0f} s", flush=True)
        progress = Progress(graph.observer, source.start, source.seconds)
        span = source.start, source.end
        graph.play(source.bag, source.topics, arguments.rate, limit, outage, span, progress.show)
        progress.end()
        graph.stop()
    options = {
        name: value for name, value in vars(arguments).items() if name not in ("run", "command", "source", "out")
    }
    models = {"edge": Path(arguments.model).name, "cloud": cloud}
    summary = write_results(out, source, models, options, parameters)
    print_table(summary, out, time.monotonic() - began)
    check_whole(summary, out)
    return OK


def _settings(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Parameters by node, as --set has them. Raises CommandError or AssetError for what cannot be."""
    from edgevlm_ros.graph import SETTABLE, UserValue

    settings: dict[str, dict[str, Any]] = {}
    for word in arguments.set:
        name, equals, value = word.partition("=")
        node, dot, parameter = name.partition(".")
        if not (equals and dot and parameter) or node not in SETTABLE:
            raise CommandError(f"--set {word}: it takes NODE.NAME=VALUE, where NODE is one of {', '.join(SETTABLE)}")
        settings.setdefault(node, {})[parameter] = UserValue(value)
    if not arguments.rate:
        raise CommandError("--rate 0: it takes more than 0")
    if arguments.outage and (arguments.no_cloud or arguments.cloud_url):
        raise CommandError("--outage kills the demo's own cloud server: it cannot go with --no-cloud or --cloud-url")
    model_path(arguments.model)
    if arguments.cloud_url:
        _check_cloud(arguments.cloud_url)
    elif not arguments.no_cloud:
        model_path(arguments.cloud_model or _own_cloud())
    return settings


def _own_cloud() -> str:
    from edgevlm_ros.cloud.server import DEFAULT_MODEL

    return DEFAULT_MODEL


def _check_cloud(url: str) -> None:
    import httpx

    try:
        httpx.get(f"{url.rstrip('/')}/models", timeout=5.0)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise CommandError(f"--cloud-url {url}: nothing answers there ({error or type(error).__name__})") from None


def _source_kind(path: Path, out: Path) -> Kind:
    if path == out or any(path.is_relative_to(out / name) for name in RESULTS):
        raise CommandError(f"--source {path} is what an earlier demo left in --out {out}: give another --out")
    return source_kind(path)


def _open(path: Path, arguments: argparse.Namespace, name: str = "") -> Source:
    return open_source(path, arguments.image_topic, arguments.question, name)


def _question(arguments: argparse.Namespace, source: Source | None) -> str:
    """The question that the edge node stands, or none if the bag asks its own."""
    asked = " ".join(arguments.question.split())
    return asked or ("" if source is not None and source.has_questions else DEFAULT_QUESTION)


def _start(graph: Any, arguments: argparse.Namespace, images: Topic, question: str) -> str:
    """Starts everything but the player, all at once; returns the cloud model's name, empty without a cloud."""
    from edgevlm_ros.graph import BRIDGE, EDGE

    edge: dict[str, object] = {"model": arguments.model}
    edge |= {"threads": _MICRO_THREADS} if arguments.model in bundled("models") else {}
    edge |= {"question": question} if question else {}
    edge |= {"focus.mode": arguments.focus_mode} if arguments.focus_mode else {}
    graph.start(EDGE, images, **edge)
    graph.start_recorder()
    if arguments.no_cloud:
        return ""
    own = arguments.cloud_model or _own_cloud()
    bridge: dict[str, object] = {"base_url": arguments.cloud_url or graph.start_cloud(own)}
    if arguments.cloud_url:
        bridge["model"] = own = arguments.cloud_model
    if arguments.cloud_delay:
        bridge |= {"emulated_delay": "fixed", "emulated_delay_s": arguments.cloud_delay}
    graph.start(BRIDGE, images, **bridge)
    return Path(own).name if own else arguments.cloud_url
