# SPDX-License-Identifier: Apache-2.0
"""A ROS of its own for each test: real DDS, its own domain, nothing shared with a neighbour or another run.

Time-outs are generous, an order of magnitude above the expected time: a test that waits ends by an event, and one that
times out has found something.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pytest

TIMEOUT = 90.0
LIVE = {"chaos", "cloud", "doctor", "nodes", "security", "soak", "demo", "test_graph.py", "test_launch.py"}
_domains = itertools.count(os.getpid() * 7)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of real processes, sockets or DDS that fails is run once more, and the summary says so (RERUN): a machine
    that stands still for seconds is no fault of ours. What such a test finds, it finds twice."""
    for item in items:
        parts = item.path.relative_to(Path(__file__).parent).parts
        if parts[0] in LIVE or "ros" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.flaky(reruns=1))


class Process:
    """A node, or any command, as a process of its own whose output is collected line by line."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.popen = subprocess.Popen(
            command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        assert self.popen.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.popen.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Exit code of the process, once it has ended by itself and its output is all here."""
        code = self.popen.wait(timeout)
        self._reader.join(timeout)
        return code

    def interrupt(self, timeout: float = TIMEOUT) -> int:
        """Ctrl-C, and the exit code."""
        self.popen.send_signal(signal.SIGINT)
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL to it and its children: a crash."""
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(TIMEOUT)

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


@dataclass
class Ros:
    """One test's ROS: a context and an executor in this process, and processes in the same domain."""

    domain: int
    context: Any
    executor: Any
    _nodes: list[Any] = field(default_factory=list)
    _processes: list[Process] = field(default_factory=list)

    def node(self, name: str = "test", **options: Any) -> Any:
        """A plain node of the test's own, spun by spin_until."""
        import rclpy

        return self.add(rclpy.create_node(name, context=self.context, **options))

    def add(self, node: Any) -> Any:
        """Adopt a node: it is spun by spin_until and destroyed at the end. Construct it with context=ros.context."""
        self.executor.add_node(node)
        self._nodes.append(node)
        return node

    def spin_until(self, condition: Callable[[], object], timeout: float = TIMEOUT) -> bool:
        """Spin the test's nodes until the condition holds; whether it came to hold in time."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                return False
            self.executor.spin_once(timeout_sec=0.05)
        return True

    def env(self) -> dict[str, str]:
        return {**os.environ, "ROS_DOMAIN_ID": str(self.domain), "PYTHONUNBUFFERED": "1"}

    def run(self, *command: str) -> Process:
        """Start a command in this test's domain; ended at the end of the test at the latest."""
        process = Process(list(command), self.env())
        self._processes.append(process)
        return process

    def run_node(self, module: str, *remappings: str, **parameters: object) -> Process:
        """Start a node with parameters, as `ros2 run edgevlm_ros <module> --ros-args ...` would."""
        words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={_yaml(value)}")]
        words += [word for rule in remappings for word in ("-r", rule)]
        return self.run(sys.executable, "-m", "edgevlm_ros.nodes", module, "--ros-args", *words)

    def close(self) -> None:
        """Ends ROS here before it kills a process: where Fast DDS notices a killed peer while it closes the port that
        both listen on, it reads memory that is unmapped."""
        try:
            self.executor.shutdown(timeout_sec=TIMEOUT)
            for node in self._nodes:
                if hasattr(node, "close"):  # a node of ours: its threads end before what they publish on is gone
                    node.close()
                node.destroy_node()
            self.context.try_shutdown()
        finally:
            for process in self._processes:
                process.kill()


def _yaml(value: object) -> str:
    """A parameter's value as rcl reads it from a command line: strings are quoted, so that '5' stays a string."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, str | Path):
        return "'{}'".format(str(value).replace("'", "''"))
    return str(value)


@pytest.fixture(autouse=True)
def swept_shared_memory() -> None:
    """Fast DDS's segments of processes that were killed, of which some hundred make it lose messages, are gone.

    A living process holds a lock on each of its own.
    """
    memory = Path("/dev/shm")
    for name in {re.sub(r"^sem\.|_(el|sl|mutex)$", "", path.name) for path in memory.glob("*fastrtps_*")}:
        with contextlib.ExitStack() as locks, contextlib.suppress(BlockingIOError):
            for lock in filter(Path.exists, (memory / f"{name}_el", memory / f"{name}_sl")):
                fcntl.flock(locks.enter_context(lock.open()), fcntl.LOCK_EX | fcntl.LOCK_NB)
            for part in (name, f"{name}_el", f"{name}_sl", f"sem.{name}_mutex"):
                (memory / part).unlink(missing_ok=True)


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ros]:
    """Real ROS 2 in a domain of its own, on this machine only."""
    rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
    from rclpy.executors import SingleThreadedExecutor

    from edgevlm_ros.graph import free_domain

    domain = free_domain(next(_domains) % 100 + 1 for _ in range(100))
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    ros = Ros(domain, context, SingleThreadedExecutor(context=context))
    yield ros
    ros.close()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Qwen2.5-VL: the real architecture, without knowledge."""
    from support.tiny_svlm import make_tiny_svlm

    return make_tiny_svlm(tmp_path_factory.mktemp("tiny_qwen"))
