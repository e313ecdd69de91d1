# SPDX-License-Identifier: Apache-2.0
"""`edgevlm doctor`: looks at everything between a camera and an answer, and says what to fix.

It changes nothing, asks no question that costs money, and works where half of the rest is missing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from edgevlm_ros.doctor import dds, hardware, installation, model
from edgevlm_ros.doctor.finding import Finding, fail, findings
from edgevlm_ros.doctor.report import as_json, as_text, summary
from edgevlm_ros.doctor.trial import attempt

SUBJECTS = ("python", "machine", "model", "dds", "nodes", "camera", "cloud")

_EXAMPLES = """\
examples:
  edgevlm doctor                                        is all installed, and can this machine run it?
  edgevlm doctor --model Qwen/Qwen2.5-VL-3B-Instruct --quantization nf4
                                                        is this model here, whole, and small enough?
  edgevlm doctor --only camera --image-topic /camera/image_raw
                                                        who publishes, how fast, with whose time?
  edgevlm doctor --cloud-url https://my-server/v1 --cloud-key-env MY_KEY
                                                        does the server answer, and does it take the key?

After `colcon build` it is `ros2 run edgevlm_ros edgevlm doctor`. Before, from the sources:
PYTHONPATH=src python3 -m edgevlm_ros.cli doctor

Each line is ok, warn (works, but look at it) or fail (does not work), and says below what to do.
The exit code is 1 if something failed, else 0.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, _EXAMPLES
    node = parser.add_argument_group("what the nodes are started with")
    node.add_argument("--model", default="micro_svlm", help="the edge model: bundled, folder or hub id (%(default)s)")
    node.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    node.add_argument("--quantization", default="none", choices=sorted(model.BYTES_EACH), help="(%(default)s)")
    node.add_argument("--image-topic", default="", metavar="TOPIC", help="the camera's, to be listened to for 2 s")
    node.add_argument("--namespace", default="", help="of the nodes")
    node.add_argument("--cloud-url", default="", metavar="URL", help="of the OpenAI-compatible server")
    node.add_argument("--cloud-model", default="", metavar="NAME", help="at that server; empty for the first it lists")
    node.add_argument("--cloud-key-env", default="", metavar="NAME", help="environment variable of its key")
    node.add_argument("--cloud-allow-http", action="store_true", help="http to another machine, in a trusted network")
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=SUBJECTS, metavar="SUBJECT", help=_subjects())
    parser.add_argument("--json", action="store_true", help="for programs: the same as one JSON object")
    parser.set_defaults(run=run)


def _subjects() -> str:
    return f"check these alone: {', '.join(SUBJECTS)}"


def run(arguments: argparse.Namespace) -> int:
    checks, unchecked = _checks(arguments)
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    found: dict[str, list[Finding]] = {}
    for subject, check in checks.items():
        found[subject] = []
        if not arguments.json:
            print(f"{subject}", flush=True)
        for finding in findings(subject, check):
            found[subject].append(finding)
            if not arguments.json:
                print(as_text(finding, width, colours), flush=True)
    every = [finding for several in found.values() for finding in several]
    print(as_json(found) if arguments.json else f"\n{summary(every, unchecked)}")
    return int(any(finding.level == "fail" for finding in every))


_Check = Callable[[], Iterator[Finding]]


def _checks(arguments: argparse.Namespace) -> tuple[Mapping[str, _Check], list[str]]:
    """What to check, by subject, and the options without which something is left out."""
    asked = arguments
    gpu = _Once(hardware.look)
    topic, url = asked.image_topic, asked.cloud_url
    every: dict[str, _Check | None] = {
        "python": installation.check,
        "machine": lambda: hardware.check(gpu()),
        "model": lambda: model.check(asked.model, asked.device, asked.quantization, gpu()),
        "dds": dds.check,
        "nodes": partial(_with_ros, "lifecycles", asked.namespace),
        "camera": partial(_with_ros, "camera", topic, asked.namespace) if topic else None,
        "cloud": partial(_cloud, url, asked.cloud_model, asked.cloud_key_env, asked.cloud_allow_http) if url else None,
    }
    missing = {"camera": "the camera (--image-topic)", "cloud": "the cloud (--cloud-url)"}
    wanted = {subject: every[subject] for subject in SUBJECTS if subject in asked.only}
    return (
        {subject: check for subject, check in wanted.items() if check},
        [missing[subject] for subject, check in wanted.items() if not check],
    )


def _with_ros(module: str, *words: str) -> Iterator[Finding]:
    """A check that imports rclpy here, once that has been seen to work."""
    trial = attempt("import rclpy, sensor_msgs.msg, lifecycle_msgs.srv; say(True)")
    if trial.error:
        yield fail("ROS", f"rclpy does not import: {trial.error}", "see `edgevlm doctor --only python`")
        return
    yield from importlib.import_module(f"edgevlm_ros.doctor.{module}").check(*words)


def _cloud(url: str, name: str, key_env: str, allow_http: bool) -> Iterator[Finding]:
    try:
        from edgevlm_ros.doctor import cloud

        yield from cloud.check(url, name, key_env, allow_http)
    except ModuleNotFoundError as error:
        yield fail("endpoint", f"the Python module {error.name!r} is missing", "pip install -r requirements/robot.txt")


class _Once:
    """A value that takes seconds to find, found when it is first asked for."""

    def __init__(self, find: Callable[[], hardware.Gpu | None]) -> None:
        self._find = find
        self._found: list[hardware.Gpu | None] = []

    def __call__(self) -> hardware.Gpu | None:
        if not self._found:
            self._found.append(self._find())
        return self._found[0]
