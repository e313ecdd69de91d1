# SPDX-License-Identifier: Apache-2.0
"""`transformers serve` behind a guard, as a process that ends with the one that started it.

A server that outlives a killed demo would hold its port and a core, and the next demo would talk to the old model.

Requests with features in place of a picture are answered beside it, on the same weights and in the same thread of
inference: one server for robots of both kinds, and no second copy of a model that may fill the GPU.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgevlm_ros.cloud.feature_handler import FeatureHandler
from edgevlm_ros.cloud.guard import Guard


def end_with(parent: int) -> None:
    """Terminate this process as soon as it is no longer a child of `parent`."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5.0)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def guarded(build: Callable[..., Any], key: str, name: str, path: str) -> Callable[..., Any]:
    """What builds the server's application, with the guard before it, and ears for features in it.

    name, path: of the model, see FeatureHandler.
    """

    def build_guarded(models: Any, chat_handler: Any, *, generation_state: Any, **named: Any) -> Any:
        listening = FeatureHandler(chat_handler, models, generation_state, name, path)
        application = build(models, listening, generation_state=generation_state, **named)
        application.add_middleware(Guard, key=key)
        return application

    return build_guarded


if __name__ == "__main__":
    end_with(int(os.environ["EDGEVLM_PARENT"]))
    from transformers.cli.serving import server
    from transformers.cli.transformers import app

    key, path = os.environ.pop("EDGEVLM_SERVE_KEY", ""), os.environ["EDGEVLM_SERVE_MODEL"]
    server.build_server = guarded(server.build_server, key, Path(path).name, path)

    app()
