# SPDX-License-Identifier: Apache-2.0
"""Why a model is not to be had, as a hub says it: one that runs here and answers as the real one does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgevlm_ros.edge.hub import why

ASKED = """
import sys
from transformers import AutoConfig
from edgevlm_ros.edge.hub import why
for model, revision in [word.split("@") for word in sys.argv[1:]]:
    try:
        AutoConfig.from_pretrained(model, revision=revision)
    except Exception as error:
        print(why(error, model, revision))
"""
COMMIT = "66285546d2b821cf421d4f5eb2576359d3770cd3"
CODES = {"there": "RevisionNotFound", "gone": "RepoNotFound", "gated": "GatedRepo"}


class Hub(BaseHTTPRequestHandler):
    """Has nothing of what it is asked for, and says why in the header that huggingface_hub reads."""

    def do_HEAD(self) -> None:
        code = CODES[self.path.split("/")[1]]
        self.send_response(403 if code == "GatedRepo" else 404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def told(tmp_path: Path, asked: list[str], **environ: str) -> list[str]:
    """Lines, one for each."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= {"HF_HOME": str(tmp_path), "no_proxy": "127.0.0.1", **environ}
    done = subprocess.run([sys.executable, "-c", ASKED, *asked], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_the_hub_does_not_have_is_told_in_a_line_each(hub: str, tmp_path: Path) -> None:
    asked = ["there/model@v1", f"there/model@{COMMIT}", "gone/model@main", "gated/model@main"]
    revision, commit, model, gated = told(tmp_path, asked, HF_ENDPOINT=hub)
    assert f"no revision '{COMMIT}' of there/model (any more)" in commit
    assert "no revision 'v1' of there/model (any more)" in revision
    assert "https://huggingface.co/there/model/commits/main" in revision
    assert "the hub has no model gone/model" in model
    assert "accept its licence" in gated


def test_offline_it_says_what_to_fetch_with_the_revision(tmp_path: Path) -> None:
    (line,) = told(tmp_path, ["some/model@abc123"], HF_HUB_OFFLINE="1")
    assert "revision 'abc123'" in line
    assert line.endswith("hf download some/model --revision abc123")


def test_an_error_of_many_lines_becomes_one_that_can_be_read(tmp_path: Path) -> None:
    assert why(ValueError("first\n\n   second"), str(tmp_path), "main") == "first second"
