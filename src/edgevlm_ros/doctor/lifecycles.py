# SPDX-License-Identifier: Apache-2.0
"""Which of our nodes run, and in which state of their lifecycle they are."""

from __future__ import annotations

from collections.abc import Iterator

from lifecycle_msgs.srv import GetState

from edgevlm_ros.doctor.finding import Finding, fail, ok, warn
from edgevlm_ros.doctor.participant import DISCOVERY_S, Participant, participant

NODES = ("edge_node", "cloud_bridge_node")
_CALL_S = 3.0


def check(namespace: str = "") -> Iterator[Finding]:
    """Nodes in this namespace and below it."""
    with participant(namespace) as here:
        here.wait(lambda: False, DISCOVERY_S)
        below = f"/{namespace.strip('/')}".rstrip("/") + "/"
        running = {
            f"{space.rstrip('/')}/{name}"
            for name, space in here.node.get_node_names_and_namespaces()
            if name in NODES and f"{space.rstrip('/')}/".startswith(below)
        }
        for name in NODES:
            paths = sorted(path for path in running if path.rpartition("/")[2] == name)
            if not paths:
                yield ok(name, f"does not run{f' below {below}' if namespace else ''}")
            for path in paths:
                yield lives(path, state_of(here, path))


def state_of(here: Participant, path: str) -> str | None:
    """The state that a node names; None if it does not answer."""
    client = here.node.create_client(GetState, f"{path}/get_state")
    try:
        if not here.wait(client.service_is_ready, _CALL_S):
            return None
        answer = client.call_async(GetState.Request())
        here.wait(answer.done, _CALL_S)
        result = answer.result() if answer.done() else None
        return str(result.current_state.label) if result is not None else None
    finally:
        here.node.destroy_client(client)


def lives(path: str, state: str | None) -> Finding:
    name = path.rpartition("/")[2]
    if state == "active":
        return ok(name, f"{path} is active")
    if state is None:
        return fail(name, f"{path} does not say its state", "it hangs, or another machine's ROS is in the way: its log")
    if state == "configuring":
        return warn(name, f"{path} is configuring", "it loads its model: wait; its log tells how far it is")
    steps = {"unconfigured": "configure", "inactive": "activate"}
    fix = f"ros2 lifecycle set {path} {steps[state]}" if state in steps else "see its log"
    return warn(name, f"{path} is {state}", fix)
