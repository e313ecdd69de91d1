# SPDX-License-Identifier: Apache-2.0
"""The command that serves a model, as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from support.tiny_lvlm import make_tiny_lvlm


@pytest.mark.timeout(300)
def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    folder = make_tiny_lvlm(tmp_path / "tiny_lvlm")
    command = [sys.executable, "-m", "edgevlm_ros.cli", "serve", "--model", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "serving" in line
        port = int(line.split("127.0.0.1:")[1].split("/")[0])
        assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=60).status_code == 200
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        while process.poll() is None:  # whatever it is in the middle of, to its last moment
            process.send_signal(signal.SIGINT)
            time.sleep(0.001)
        assert process.wait() == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/health", timeout=60)


@pytest.mark.timeout(300)
def test_the_command_says_in_one_line_what_is_wrong() -> None:
    command = [sys.executable, "-m", "edgevlm_ros.cli", "serve", "--model", "no_such_lvlm", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    assert done.stderr.startswith("error: model 'no_such_lvlm'")
    assert "Traceback" not in done.stderr
