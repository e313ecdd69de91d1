# SPDX-License-Identifier: Apache-2.0
"""The robot of the soak, put under the faults of a schedule: who makes each of them, and who undoes it.

Between its bridge and the model's server stand a proxy (`wire`) and an HTTP server that spoils replies (`cloud`).
"""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos import netem
from chaos.cloud import SpoiltCloud
from chaos.faults import ADDRESS, CLOUD, KERNEL, NETWORK
from chaos.figures import Request, Window, recovery
from chaos.schedule import Entry
from chaos.wire import Wire
from edgevlm_msgs.msg import CloudContext
from edgevlm_ros.assets import share_dir
from edgevlm_ros.bags import BagReader
from edgevlm_ros.evaluation.process_use import process_use
from edgevlm_ros.graph import GraphError, yaml_scalar
from edgevlm_ros.processes import module_command
from edgevlm_ros.transfer.types import Status
from soak.figures import Sample
from soak.robot import CAMERA, Asked, Check, Robot
from soak.schedule import BRIDGE, EDGE, VALUES, Step
from support.raw_cloud import RawCloud

_UNKNOWN_HOST = "https://cloud.invalid/v1"  # RFC 2606: a name that never is one
_ACTIVE = "sending keyframes of"  # says the bridge once it does
_RECOVERED = "recovered"
_ANSWERS_S, _READY_S = 60.0, 180.0


class ChaosRobot(Robot):
    """A context manager, as Robot. probe: the bridge's longest_pause, seconds."""

    def __init__(self, asked: Asked, out: Path, check: Check, probe: float) -> None:
        super().__init__(asked, out, check)
        self.requests: list[Request] = []
        self.windows: list[Window] = []
        self.lives = 1  # of the bridge
        self._out, self._probe = out, probe
        self._entries: Sequence[Entry] = ()

    def suffer(self, entries: Sequence[Entry], seconds: float, tell: Any) -> None:
        """Goes through the schedule; what it came to is in samples, requests and windows."""
        self._entries, self.windows = entries, []
        self.requests.clear()
        steps = [Step(entry.begin, entry.place, str(number)) for number, entry in enumerate(entries)]
        steps += [
            Step(entry.end, entry.place, str(number), False) for number, entry in enumerate(entries) if entry.lasts
        ]
        steps.append(Step(seconds, _RECOVERED, "", False))
        self.live(sorted(steps, key=lambda step: step.at), seconds, tell)

    # -- the graph ---------------------------------------------------------------------------------------------------

    def _start(self, stack: contextlib.ExitStack) -> None:
        self._spoilt = stack.enter_context(SpoiltCloud(lambda: self._cloud.base_url))
        self._wire_to_cloud = stack.enter_context(Wire(self._spoilt.port))
        self._untrusted = stack.enter_context(contextlib.ExitStack())
        super()._start(stack)
        if not self.wait(lambda: any(request.status == "ok" for request in self.requests), _ANSWERS_S):
            said = self.requests[-1].error if self.requests else "no context has come"
            raise GraphError(f"the cloud does not answer before anything is broken: {said}")

    def _parameters(self) -> dict[str, dict[str, object]]:
        parameters = super()._parameters()
        parameters[BRIDGE] |= {
            "base_url": self._base_url(),
            "breaker.first_pause": self._probe / 2,
            "breaker.longest_pause": self._probe,
        }
        return parameters

    def _base_url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self._wire_to_cloud.port}/v1"

    def _on_context(self, message: CloudContext) -> None:
        super()._on_context(message)
        now, sent = self._passed, message.sent.sec * 10**9 + message.sent.nanosec
        status = Status(message.status).name.lower()
        self.requests.append(
            Request(now, now - message.delay, message.keyframe_id, self.lives, status, message.error_msg, sent)
        )

    def _look(self) -> None:
        """As the soak does, of the processes that live."""
        now = time.monotonic()
        if not self._watching or now - self._sampled < self._asked.sample_s:
            return
        self._sampled = now
        for name in (EDGE, BRIDGE, CAMERA):
            with contextlib.suppress(KeyError, OSError):
                pid = self._processes.pid(name)
                use = process_use(pid)
                sample = Sample(self._passed, name, pid, use.memory, use.private, len(use.threads), 0, use.cpu)
                self.samples.uses.append(sample)

    # -- faults ------------------------------------------------------------------------------------------------------

    def _do(self, step: Step) -> None:
        if step.kind == _RECOVERED:  # or so late that it never will
            last, soon = self.windows[-1], float("inf")
            self.wait(lambda: recovery(last, self.requests, soon) is not None, _ANSWERS_S)
            return
        entry = self._entries[int(step.value)]
        if step.begins:
            self.windows.append(Window(entry, self._passed, self._passed))
        place = entry.place
        if place == CLOUD:
            self._spoilt.fail(entry.fault, entry.settings) if step.begins else self._spoilt.recover()
        elif place == NETWORK:
            wire = self._wire_to_cloud
            wire.fail(entry.fault, entry.settings) if step.begins else wire.recover()
        elif place == KERNEL:
            netem.apply(entry.fault, entry.settings, self._wire_to_cloud.port) if step.begins else netem.clear()
        elif place == ADDRESS:
            self._readdress(self._wrong_url(entry.fault) if step.begins else self._base_url())
        else:
            getattr(self, f"_make_{entry.fault}")(entry, step.begins)
        self.windows[-1].end = self._passed

    def _wrong_url(self, fault: str) -> str:
        if fault == "unknown_host":
            return _UNKNOWN_HOST
        if fault == "no_tls":
            return self._base_url("https")
        context = self_signed(self._out / "tls")
        return self._untrusted.enter_context(RawCloud(lambda caller: None, tls=context)).base_url

    def _readdress(self, url: str) -> None:
        self._change(BRIDGE, "deactivate", "cleanup")
        self._set(BRIDGE, "base_url", url)
        self._change(BRIDGE, "configure", "activate")

    def _make_camera_gone(self, entry: Entry, begins: bool) -> None:
        self._do_pause("", begins)

    def _make_camera_restarted(self, entry: Entry, begins: bool) -> None:
        self._do_camera("", begins)

    def _make_damaged_frames(self, entry: Entry, begins: bool) -> None:
        self._do_bad(f"{entry.settings['count']:.0f}", begins)

    def _make_stamps_back(self, entry: Entry, begins: bool) -> None:
        self._do_stamps(f"{-entry.settings['seconds'] if begins else 0:.0f}", begins)

    def _make_question_changed(self, entry: Entry, begins: bool) -> None:
        self._do_question(VALUES["question"][begins], begins)

    def _make_edge_inactive(self, entry: Entry, begins: bool) -> None:
        self._do_cycle(EDGE, begins)

    def _make_bridge_inactive(self, entry: Entry, begins: bool) -> None:
        self._do_cycle(BRIDGE, begins)

    def _make_bridge_killed(self, entry: Entry, begins: bool) -> None:
        if begins:
            self._processes.kill(BRIDGE)
            return
        self.lives += 1  # it counts its keyframes from 1
        words = ["--params-file", str(share_dir() / "config" / "edgevlm.yaml")]
        # by itself: a service call may still go to the dead one, which DDS takes for alive for a while
        parameters = {**self._parameters()[BRIDGE], "autostart": True}
        words += [word for name, value in parameters.items() for word in ("-p", f"{name}:={yaml_scalar(value)}")]
        log = self._processes.log(BRIDGE)
        before = log.read_text(errors="replace").count(_ACTIVE)
        self._processes.start(BRIDGE, module_command("edgevlm_ros.nodes", BRIDGE, "--ros-args", *words))
        # until it has loaded the fault lasts
        self.wait(lambda: log.read_text(errors="replace").count(_ACTIVE) > before, _READY_S)

    def _make_server_killed(self, entry: Entry, begins: bool) -> None:
        if self._server is None:  # the scripted one is a thread of this process: its port is closed
            self._cloud.fail("refused") if begins else self._cloud.recover()
        elif begins:
            self._server.kill()
        else:
            self._server.start()
            loading = threading.Thread(target=self._server.wait_ready, daemon=True)
            loading.start()
            self.wait(lambda: not loading.is_alive(), _READY_S)  # until it has loaded the fault lasts


def self_signed(folder: Path) -> ssl.SSLContext:
    """Of a server whose certificate nobody vouches for. Wants the command openssl."""
    folder.mkdir(parents=True, exist_ok=True)
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    shutil.rmtree(folder)
    return context


def unrecorded(requests: Sequence[Request], folder: Path) -> int:
    """How many contexts that were heard are not in the record, between the first and the last that are."""
    recorded: set[tuple[int, int]] = set()
    for bag in sorted(path.parent for path in folder.rglob("metadata.yaml")):
        with BagReader(bag) as reader:
            for record in reader.records(types=["edgevlm_msgs/msg/CloudContext"]):
                message = reader.deserialize(record)
                recorded.add((message.sent.sec * 10**9 + message.sent.nanosec, message.keyframe_id))
    heard = 0
    for life in {one.life for one in requests}:
        keys = [(one.stamp, one.id) for one in requests if one.life == life]
        known = [at for at, key in enumerate(keys) if key in recorded]
        # the recorder may find a new bridge a moment later than we do, and is stopped while the last one comes
        heard += sum(key not in recorded for key in keys[known[0] : known[-1]]) if known else len(keys)
    return heard
