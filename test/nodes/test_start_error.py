# SPDX-License-Identifier: Apache-2.0
"""Whether a node that could not start is worth another start."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.assets import AssetError
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.nodes.parameters import ParameterError
from edgevlm_ros.nodes.run import BAD_START
from edgevlm_ros.nodes.start_error import passes
from edgevlm_ros.program import FAILED


def raised(error: Exception, before: Exception) -> Exception:
    try:
        try:
            raise before
        except type(before):
            raise error from None
    except type(error) as caught:
        return caught


def test_what_a_person_has_to_change_stays() -> None:
    for error in (ParameterError("x"), AssetError("x"), EngineError("x"), raised(EngineError("x"), KeyError("y"))):
        assert not passes(error)


def test_a_server_that_is_not_there_yet_and_memory_that_others_hold_pass() -> None:
    for error in (httpx.ConnectError("x"), httpx.ReadTimeout("x"), MemoryError()):
        assert passes(error)
        assert passes(raised(EngineError("x"), error))


@pytest.mark.parametrize(("parameters", "code"), [({"server_url": ""}, BAD_START), ({}, FAILED)])
def test_the_exit_code_tells_whether_to_start_again(ros: Any, parameters: dict[str, str], code: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # where nobody listens in a moment
    given = {"server_url": f"http://127.0.0.1:{port}/v1", "model": "no_such_model", **parameters}
    process = ros.run_node("edge_node", **given)
    assert process.wait() == code, process.output


def test_a_parameter_file_that_is_no_yaml_is_told_in_a_line(ros: Any, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("a: [1, 2")
    process = ros.run(
        sys.executable, "-m", "edgevlm_ros.nodes", "recorder_node", "--ros-args", "--params-file", str(file)
    )
    assert process.wait() == BAD_START
    assert "bad.yaml" in process.lines[-1]
    assert "Traceback" not in process.output
