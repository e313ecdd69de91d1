# SPDX-License-Identifier: Apache-2.0
"""A key goes to the server it is for and nowhere else, even if that server shouts it at everybody.

A real graph with a canary for a key: edge node, bridge and recorder as processes. All that they leave is searched.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from edgevlm_msgs.msg import CloudContext
from edgevlm_ros.evaluation.metrics import summary
from edgevlm_ros.evaluation.recording import read_recording
from edgevlm_ros.evaluation.report import write_report
from edgevlm_ros.images import to_image
from edgevlm_ros.launch_arguments import BRIDGE, RECORDER, robot
from edgevlm_ros.machine import machine, versions
from edgevlm_ros.nodes import qos
from edgevlm_ros.nodes.conversions import to_time
from support.scripted_cloud import Reply, ScriptedCloud, completion

KEY = "sk-canary+0123/456789=abcdefghijklmnopqrstuvwxyz"
SPELT = {
    KEY,
    json.dumps(KEY).replace("/", r"\/").strip('"'),
    KEY.replace("+", r"\u002b"),
    KEY.replace("/", "%2F"),
    KEY[:30],
}
PICTURE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


def shouted() -> list[Reply]:
    """Whatever a server can say with the key in it."""
    answer = json.dumps({"answer": f"left {KEY}", "regions": [{"label": KEY, "bbox_2d": [0, 0, 500, 500]}]})
    escaped = json.dumps({"choices": [{"message": {"content": answer}}], "model": KEY}).replace("+", r"\u002b")
    return [
        completion(answer),
        Reply(escaped.encode()),
        Reply({"error": {"message": f"Incorrect API key provided: {KEY}"}}, status=401),
        Reply(("x" * 550 + KEY).encode(), status=403),
        Reply(f"<pre>{KEY}</pre>".encode(), status=500),
        Reply(KEY.replace("/", r"\/").encode(), status=400),
        Reply(b"", status=307, headers={"Location": "https://else/" + "x" * 170 + KEY}),
        Reply("", status=429, headers={"Retry-After": KEY}),
        Reply({"choices": [KEY]}),
        Reply([KEY]),
        Reply(f"no JSON, {KEY}".encode()),
        completion(f"{KEY} " * 80),
        Reply({"choices": None, "error": {"code": 429, "message": f"{'x' * 150}{KEY}"}}),
        Reply({"choices": [{"message": {"content": None, "refusal": KEY}}]}),
        Reply({"choices": [{"message": {"content": None, "reasoning": answer}}]}),
        Reply({"choices": [{"message": {"tool_calls": [{"function": {"arguments": answer}}]}}]}),
        Reply(gzip.compress(json.dumps({"error": KEY}).encode("utf-16"))),
        Reply({"detail": [{"loc": ["body", "temperature"], "input": KEY}]}, status=422),
    ]


def left_in(*folders: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file()}


def parameters(ros: Any, node: Any, name: str) -> bytes:
    """All of a node's parameters, as anybody in the graph gets them."""

    def asked(kind: Any, service: str, request: Any) -> Any:
        client = node.create_client(kind, f"/{name}/{service}")
        assert ros.spin_until(client.service_is_ready)
        future = client.call_async(request)
        assert ros.spin_until(future.done)
        return future.result()

    names = asked(ListParameters, "list_parameters", ListParameters.Request()).result.names
    return serialize_message(asked(GetParameters, "get_parameters", GetParameters.Request(names=names)))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kept", ["api_key_env", "api_key_file"])
def test_the_key_is_in_nothing_that_the_graph_leaves(
    ros: Any, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "logs"))
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text(KEY)
    monkeypatch.setenv("CANARY_KEY", KEY)
    source = {"api_key_env": "CANARY_KEY"} if kept == "api_key_env" else {"api_key_file": tmp_path / "secret" / "key"}
    node, heard, contexts = ros.node(), [], []
    node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: heard.append(serialize_message(m)), qos.EVENTS)
    node.create_subscription(Log, "/rosout", lambda m: heard.append(serialize_message(m)), 1000)
    node.create_subscription(CloudContext, "context", contexts.append, qos.EVENTS)
    camera, stamps = node.create_publisher(Image, "image", qos.EVENTS), count(10**9, 10**8)
    node.create_timer(
        0.1, lambda: camera.publish(to_image(Header(stamp=to_time(next(stamps)), frame_id="c"), PICTURE, "rgb8"))
    )
    replies, turn = shouted(), count()
    with ScriptedCloud(lambda request: replies[next(turn) % len(replies)]) as cloud:
        common = {"question": "Where?", "device": "cpu", "threads": 1, "max_new_tokens": 2}
        edge = ros.run_node("edge_node", model=str(tiny_model), **common)
        # record:=true of the launch file, beside a bridge that is told where the key is
        asked = defaultdict(str, record="true", record_to=str(tmp_path / "out"), cloud_key_env="CANARY_KEY")
        launched = {start.node: start.parameters for start in robot(asked)}
        recorder = ros.run_node("recorder_node", **launched[RECORDER])
        quick = {"base_url": cloud.base_url, "model": "m", "keyframe_period": 0.1, "breaker.failures": 100}
        bridge = ros.run_node("cloud_bridge_node", **quick, **source)
        processes = (edge, recorder, bridge)
        told = [process.output for process in processes]
        assert ros.spin_until(lambda: len(contexts) > 2 * len(replies)), told
        heard += [parameters(ros, node, name) for name in ("edge_node", "cloud_bridge_node", "recorder_node")]
        sent = [request.headers.get("Authorization") for request in cloud.chats]
        assert [process.interrupt() for process in processes] == [0, 0, 0]
    assert set(sent) == {f"Bearer {KEY}"}, "the server has got it"
    assert launched[BRIDGE]["api_key_env"] == "CANARY_KEY"
    assert launched[RECORDER] == {"folder": str(tmp_path / "out")}, "the recorder is told nothing of keys"
    recording = read_recording(tmp_path / "out" / "bag")
    result = {
        "source": {"name": "a camera", "seconds": 1.0, "start": 10**9, "image_topic": "/image"},
        **summary(recording),
        "models": {"edge": "tiny", "cloud": contexts[0].model},
        "note": "",
        "date": "today",
        "machine": machine(),
        "versions": versions(),
        "options": {},
        "parameters": {},
    }
    write_report(tmp_path / "out", recording, result)
    (tmp_path / "out" / "summary.json").write_text(json.dumps(result))
    everything = left_in(tmp_path / "out", tmp_path / "logs")
    everything |= {f"said {i}": process.output.encode() for i, process in enumerate(processes)}
    everything |= {f"heard {i}": data for i, data in enumerate(heard)}
    everything |= {f"context {i}": serialize_message(context) for i, context in enumerate(contexts)}
    assert len(everything) > 20
    spellings = [word.encode() for word in SPELT] + [base64.b64encode(KEY.encode())]
    assert [(name, word) for name, data in everything.items() for word in spellings if word in data] == []
    assert any(b"***" in data for data in everything.values()), "what was said of it can be read"
