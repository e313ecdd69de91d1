# SPDX-License-Identifier: Apache-2.0
"""Do images come on the camera's topic, of a kind that the edge node takes, at what rate and with whose time?

The images are taken as the nodes take them, and what is wrong is said in the nodes' own words.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

from edgevlm_ros.doctor.finding import Finding, fail, ok, warn
from edgevlm_ros.doctor.participant import DISCOVERY_S, Participant, participant
from edgevlm_ros.nodes.camera_health import NO_IMAGE_AFTER_S, base_name
from edgevlm_ros.nodes.camera_input import CameraInput

_LISTEN_S = 2.0
_A_LITTLE_S = 0.2


def check(topic: str, namespace: str = "") -> Iterator[Finding]:
    """topic: the camera's, with or without /compressed; every transport that somebody publishes is looked at."""
    topic = base_name(topic)
    with participant(namespace) as here:
        name = here.node.resolve_topic_name(topic)
        transports = {"raw": name, "compressed": f"{name}/compressed"}
        here.wait(lambda: any(map(here.node.count_publishers, transports.values())), DISCOVERY_S)
        here.wait(lambda: all(map(here.node.count_publishers, transports.values())), _A_LITTLE_S)
        published = [kind for kind, each in transports.items() if here.node.count_publishers(each)]
        for transport in published or ["raw"]:
            yield from _listened(here, topic, transport)


def _listened(here: Participant, topic: str, transport: str) -> Iterator[Finding]:
    """What is found within two seconds of the first image."""
    newest: list[Any] = []

    def take(message: Any, now: float) -> None:
        newest[:] = [message]

    camera = CameraInput(here.node, topic, transport, take)
    try:
        if here.wait(lambda: newest, NO_IMAGE_AFTER_S + _A_LITTLE_S):
            here.wait(lambda: False, _LISTEN_S)
        ill = camera.ill(time.monotonic())
        sources = [
            f"{info.node_namespace.rstrip('/')}/{info.node_name}"
            for info in here.node.get_publishers_info_by_topic(camera.topic)
        ]
        if not newest:
            yield fail(transport, ill[1] if ill else f"no image on {camera.topic}", "")
            return
        yield source(transport, camera.topic, sources)
        yield readable(transport, newest[0])
        name = f"{transport} timing"
        yield warn(name, ill[1], "") if ill else pace(name, camera.rate, camera.stamp_age)
    finally:
        camera.close()


def source(transport: str, topic: str, nodes: Sequence[str]) -> Finding:
    """nodes: that publish on the topic."""
    words = f"{topic} from {', '.join(sorted(nodes)) or 'a node that has just gone'}"
    if len(nodes) > 1:
        return warn(transport, words, "several publish on it: their frames get mixed up; leave one")
    return ok(transport, words)


def readable(transport: str, message: Any) -> Finding:
    """Whether the nodes can read this image."""
    from edgevlm_ros.images import ImageError, to_rgb

    name = f"{transport} images"
    try:
        height, width, _ = to_rgb(message).shape
    except ImageError as error:
        return fail(name, str(error), "")  # what to do is in it
    encoding = message.format if hasattr(message, "format") else message.encoding
    return ok(name, f"{width}x{height} {encoding}")


def pace(name: str, rate: float, age: float) -> Finding:
    """rate: images per second. age: seconds from a stamp to its arrival."""
    if rate <= 0.0 or math.isnan(age):
        return warn(name, f"one image in {_LISTEN_S:g} s", "fine for a slow camera; else see `raw images` above")
    return ok(name, f"{rate:.1f} Hz, stamped {age * 1e3:.0f} ms before they come")
