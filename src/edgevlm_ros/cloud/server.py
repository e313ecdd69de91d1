# SPDX-License-Identifier: Apache-2.0
"""An LVLM on this machine, for a demo without a cloud: `transformers serve` on a model folder, behind a guard.

It listens on loopback; elsewhere it asks a key of whoever comes. What the guard lets through is in cloud.guard.

It is a real OpenAI-compatible server, so that the bridge's client is the same as for vLLM or OpenAI. It stands for a
computer elsewhere and must not take the robot's: it runs on one thread and, once it is up, at a low priority. It loads
the model before it listens and is asked once before it counts as ready, so that the first keyframe is no slower than
the next.
"""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import httpx
import numpy as np

from edgevlm_ros.assets import model_path
from edgevlm_ros.cloud.jpeg import encode
from edgevlm_ros.cloud.prompt import chat_request
from edgevlm_ros.endpoint import is_loopback

DEFAULT_MODEL = "micro_lvlm"
_LOG_LINES = 15
_NOT_SERVED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.gguf", "*.onnx", "original/*")
"""Of a hub's model: other forms of its weights, as large as those that are read."""
_NICENESS = 5
"""A third of the processor time of a process that wants it as much; what nobody else wants is still the server's."""


class ServerError(RuntimeError):
    """The server did not start, or died; the message holds the end of its log."""


class LvlmServer:
    """One server process. model: a bundled model's name, a folder, or a hub id that is in the local cache.

    revision: of a hub id, a branch, tag or commit; with HF_HUB_OFFLINE=0 what the cache lacks is fetched.
    port: 0 takes a free one, which a restart keeps. host: the address to listen on; one that other machines reach needs
    an api_key, and its http is as open as the network is. log: a file that what the server writes is added to; None for
    one that goes with this object. A context manager: started and ready inside, stopped outside.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        api_key: str = "",
        device: str = "cpu",
        threads: int = 1,
        revision: str = "main",
        log: Path | None = None,
    ) -> None:
        if not is_loopback(host) and not api_key:
            raise ServerError(
                f"host = {host!r} lets other machines in: name a key, with --api-key-env or --api-key-file"
            )
        self._model, self._revision = model_path(model), revision
        self._host, self._key = host, api_key
        self._device = device
        self._threads = threads
        self._scratch = tempfile.TemporaryDirectory(prefix="edgevlm-lvlm-")
        self._log = log or Path(self._scratch.name) / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port(host, port)

    @property
    def base_url(self) -> str:
        return f"{self._address}/v1"

    @property
    def _address(self) -> str:
        """As this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process, without waiting for it. Raises ServerError if the hub's cache lacks the model."""
        if self.running:
            return
        folder = self._folder()
        arguments = [folder.name, "--device", self._device, "--host", self._host, "--port", str(self.port)]
        if self._device == "cpu":
            arguments += ["--dtype", "float32"]  # half precision is emulated on most CPUs
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edgevlm_ros.cloud.lvlm_process", "serve", *arguments],
                cwd=folder.parent,
                env=self._environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, timeout: float = 180.0) -> float:
        """Wait until it has answered a question about an image; returns the seconds it took. Raises ServerError."""
        began = time.monotonic()
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        with httpx.Client(base_url=self._address, headers=headers, timeout=timeout, trust_env=False) as http:
            while not self._healthy(http):
                if not self.running:
                    raise ServerError(f"the LVLM server ended while it started:\n{self.log_tail()}")
                if time.monotonic() - began > timeout:
                    raise ServerError(f"the LVLM server did not start within {timeout:g} s:\n{self.log_tail()}")
                time.sleep(0.1)
            self._check_guarded(http)
            if self._ask(http, with_image=True) <= self._ask(http, with_image=False):
                raise ServerError(f"{self._model} answers without looking: its processor has no image part")
        self._give_way()
        return time.monotonic() - began

    def stop(self, timeout: float = 5.0) -> None:
        """End it, by force if it takes longer than the time-out. May be called again, and before start()."""
        self._end(signal.SIGTERM, timeout)
        self._end(signal.SIGKILL, 10.0)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL, 10.0)

    def log_tail(self) -> str:
        """The last lines it has written."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-_LOG_LINES:]) or "(it wrote nothing)"

    def __enter__(self) -> "LvlmServer":
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _folder(self) -> Path:
        """Where the model lies, under its own name: that is in every reply, and no path of this machine is."""
        if (folder := Path(self._model)).is_dir():
            return folder.absolute()
        from huggingface_hub import snapshot_download

        from edgevlm_ros.edge.hub import why

        offline = os.environ.get("HF_HUB_OFFLINE", "1") != "0"
        try:
            snapshot = snapshot_download(
                self._model, revision=self._revision, local_files_only=offline, ignore_patterns=list(_NOT_SERVED)
            )
        except Exception as error:
            raise ServerError(f"cannot serve {self._model}: {why(error, self._model, self._revision)}") from error
        link = Path(self._scratch.name) / "models" / folder.name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(snapshot)
        return link

    def _environment(self, folder: Path) -> dict[str, str]:
        """The server would list the hub cache's models, and fails if there is none; it has a hub of its own."""
        threads, hub = str(self._threads), Path(self._scratch.name) / "hub"
        hub.mkdir(exist_ok=True)
        ours = {
            "EDGEVLM_PARENT": str(os.getpid()),
            "EDGEVLM_SERVE_KEY": self._key,
            "EDGEVLM_SERVE_MODEL": str(folder),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(hub.parent),
            "HF_HUB_CACHE": str(hub),
        }
        return {**os.environ, **ours}

    def _give_way(self) -> None:
        """Lower its priority: of its threads and, where the kernel groups processes by session, of its session."""
        process = Path(f"/proc/{self.pid}")
        with contextlib.suppress(OSError):
            for thread in (process / "task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(thread.name), _NICENESS)
            (process / "autogroup").write_text(str(_NICENESS))

    def _healthy(self, http: httpx.Client) -> bool:
        try:
            return http.get("/health").status_code == 200 and self.running
        except httpx.HTTPError:
            return False

    def _check_guarded(self, http: httpx.Client) -> None:
        """Raises ServerError if what the guard hides is there."""
        try:
            hidden = http.get("/openapi.json").status_code == 404
        except httpx.HTTPError as error:
            raise ServerError(f"the LVLM server does not answer ({error}):\n{self.log_tail()}") from error
        if not hidden:
            raise ServerError(
                "the server runs without its guard: the installed transformers starts it in another way than is known "
                "here; install the release that requirements/run.txt names"
            )

    def _ask(self, http: httpx.Client, *, with_image: bool) -> int:
        """Ask for a few tokens about a gray image, or without one; returns the tokens of the prompt."""
        jpeg = encode(np.full((48, 64, 3), 128, np.uint8), max_side=64, quality=80).jpeg if with_image else None
        request = chat_request(system="", question="?", jpeg=jpeg, max_tokens=4)
        try:
            response = http.post("/v1/chat/completions", json=request)
            return int(response.raise_for_status().json()["usage"]["prompt_tokens"])
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise ServerError(f"the LVLM server does not answer ({error}):\n{self.log_tail()}") from error

    def _end(self, how: signal.Signals, timeout: float) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        os.killpg(self._process.pid, how)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            if how is signal.SIGKILL:
                raise


def _free_port(host: str, port: int) -> int:
    """The port itself if it is free, or any free one for 0."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ServerError(f"host = {host!r}, port = {port}: cannot listen there ({error.strerror})") from error
            raise ServerError(f"port {port} is taken ({error.strerror}): give another one, or 0 for any") from error
        return int(probe.getsockname()[1])
