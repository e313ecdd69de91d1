# SPDX-License-Identifier: Apache-2.0
"""The faults that a schedule may name: where each one happens, what it does, and what can be set about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CLOUD, NETWORK, ADDRESS, KERNEL = "cloud", "network", "address", "kernel"
CAMERA, EDGE, PROCESS = "camera", "edge", "process"

Settings = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Fault:
    """place: who makes it. words: what happens. settings: what can be set, with what it is otherwise.

    lasts: has an end of its own time; one that does not is a moment, after which things should be well. paced: frames
    come and the edge is there to answer them, so that its rate says something.
    """

    place: str
    words: str
    settings: Settings = field(default_factory=dict)
    lasts: bool = True
    paced: bool = True


FAULTS: dict[str, Fault] = {
    # what a server says, or a gateway in its place
    "status": Fault(CLOUD, "every request is refused with this HTTP status", {"code": 500, "retry_after": 0}),
    "truncated_json": Fault(CLOUD, "half of the reply's JSON, as if it were the whole"),
    "not_json": Fault(CLOUD, "HTTP 200, and bytes that are no JSON"),
    "wrong_shape": Fault(CLOUD, "JSON of another API"),
    "huge_body": Fault(CLOUD, "a body without end in sight", {"bytes": 100_000_000}),
    "dripping_body": Fault(CLOUD, "the reply byte by byte", {"seconds": 0.2}),
    "cut_stream": Fault(CLOUD, "the connection ends in the middle of the reply"),
    "out_of_order": Fault(CLOUD, "of two requests under way, the later one is answered first", {"seconds": 1.5}),
    "twice": Fault(CLOUD, "every reply comes twice on its connection"),
    "late": Fault(CLOUD, "replies come after the request was given up", {"seconds": 4.0}),
    # what the way there does: a proxy on real sockets
    "refused": Fault(NETWORK, "nobody listens"),
    "silent": Fault(NETWORK, "connections are accepted, and then nothing"),
    "reset": Fault(NETWORK, "connections are reset in the middle of the reply", {"after_bytes": 60}),
    "delayed": Fault(NETWORK, "every piece comes later", {"seconds": 0.3}),
    "stalling": Fault(NETWORK, "loss: some pieces come again after a time-out", {"share": 0.3, "seconds": 0.5}),
    "throttled": Fault(NETWORK, "a thin line", {"bytes_per_s": 8000}),
    "partition": Fault(NETWORK, "packets go nowhere: neither a connection nor a word on one that is there"),
    # what an address leads to: the bridge is configured with it and back
    "unknown_host": Fault(ADDRESS, "base_url names a host that no DNS knows"),
    "no_tls": Fault(ADDRESS, "base_url is https, and what answers does not speak TLS"),
    "untrusted_tls": Fault(ADDRESS, "base_url is https, with a certificate that nobody vouches for"),
    # what the kernel does to packets: tc netem, in a network namespace
    "netem_loss": Fault(KERNEL, "packets are lost", {"percent": 30}),
    "netem_delay": Fault(KERNEL, "packets are late, and not all alike", {"milliseconds": 300, "jitter": 100}),
    "netem_partition": Fault(KERNEL, "all packets are lost"),
    # what else happens on a robot
    "camera_gone": Fault(CAMERA, "no images", paced=False),
    "camera_restarted": Fault(CAMERA, "the driver is started anew", lasts=False, paced=False),
    "damaged_frames": Fault(CAMERA, "so many images in a row are broken", {"count": 10}, lasts=False, paced=False),
    "stamps_back": Fault(CAMERA, "the images' stamps jump back, and forth again", {"seconds": 30}),
    "question_changed": Fault(EDGE, "another standing question, and the first one again"),
    "edge_inactive": Fault(EDGE, "the edge node is deactivated, and activated again", paced=False),
    "bridge_inactive": Fault(EDGE, "the bridge is deactivated, and activated again"),
    "bridge_killed": Fault(PROCESS, "kill -9 of the bridge, and a new one"),
    "server_killed": Fault(PROCESS, "kill -9 of the model's server, and a new one"),
}
