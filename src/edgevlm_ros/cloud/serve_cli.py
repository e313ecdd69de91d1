# SPDX-License-Identifier: Apache-2.0
"""`edgevlm serve`: a vision-language model of this machine with the OpenAI API: `transformers serve` behind a guard.

It listens on loopback; elsewhere it asks a key of whoever comes.
"""

from __future__ import annotations

import argparse
import sys
import time

from edgevlm_ros.assets import AssetError
from edgevlm_ros.cloud.server import DEFAULT_MODEL, LvlmServer, ServerError
from edgevlm_ros.endpoint import DEFAULT_PORT, EndpointError, load_api_key
from edgevlm_ros.stop_signal import StopSignal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    add = parser.add_argument
    add("--model", default=DEFAULT_MODEL, help="bundled model, folder or hub id (%(default)s)")
    add("--revision", default="main", help="of a hub id: branch, tag or commit (%(default)s)")
    add("--port", type=int, default=DEFAULT_PORT, help="port to listen on; 0: any (%(default)s)")
    add("--host", default="127.0.0.1", help="address to listen on; others need a key (%(default)s)")
    add("--api-key-env", default="", metavar="NAME", help="environment variable that holds the key")
    add("--api-key-file", default="", metavar="FILE", help="file that holds the key")
    add("--device", default="cpu", help="cpu, cuda or auto (%(default)s)")
    add("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code."""
    stop = StopSignal(raises=False)
    server = None
    try:
        stop.raises = True  # a model loads for a minute
        server = LvlmServer(
            arguments.model,
            port=arguments.port,
            host=arguments.host,
            api_key=load_api_key(arguments.api_key_env, arguments.api_key_file),
            device=arguments.device,
            threads=arguments.threads,
            revision=arguments.revision,
        )
        server.start()
        seconds = server.wait_ready()
        print(
            f"serving {arguments.model} at {server.base_url}, ready after {seconds:.1f} s; Ctrl-C ends it", flush=True
        )
        while True:
            stop.check()
            time.sleep(0.5)
            if not server.running:
                raise ServerError(f"the LVLM server has ended:\n{server.log_tail()}")
    except (AssetError, EndpointError, ServerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    finally:
        stop.raises = False
        if server is not None:
            server.stop()
        stop.ignore()
    return 0
