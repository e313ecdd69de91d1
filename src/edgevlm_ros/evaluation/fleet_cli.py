# SPDX-License-Identifier: Apache-2.0
"""`edgevlm fleet`: how many robots a server bears, by letting so many simulated ones ask it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import datetime
import json
import sys
from pathlib import Path
from typing import Any

from edgevlm_ros.arguments import number
from edgevlm_ros.program import BAD_INPUT, FAILED, INTERRUPTED, OK

_SECONDS = number(0.1, 3600.0)
_EPILOG = """
Without --url it is the bundled server on this machine, started for the run. Each robot has a client of its own, as the
bridge has, and sends frames of the bag by the bridge's period; what a frame costs on the robot's side is left out.
First one request after the other (how long one takes alone), then always --busy of them at once (what the server can do
at most), then each fleet for --seconds. Ask your own server for no longer than you may: every request is a real one.

In OUT: fleet.json (all figures), fleet.md (the tables), fleet.png.

  edgevlm fleet --robots 1,2,4,8 --period 2 --seconds 60
  edgevlm fleet --url https://my-server/v1 --api-key-env MY_KEY --robots 16,32,64
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, _EPILOG
    add = parser.add_argument
    add("--robots", type=_numbers, default=(1, 2, 4, 8), metavar="N,N", help="sizes of the fleets (1,2,4,8)")
    add("--period", type=_SECONDS, default=2.0, metavar="S", help="between two keyframes of a robot (%(default)g)")
    add("--seconds", type=_SECONDS, default=60.0, metavar="S", help="of each fleet (%(default)g)")
    add("--busy", type=int, default=8, choices=range(1, 257), metavar="N", help="requests at once to find the rate (8)")
    add("--bag", default="demo", metavar="BAG", help="bundled bag or a folder, with questions in it (%(default)s)")
    add("--question", default="", metavar="TEXT", help="asked throughout, instead of what the bag asks")
    add("--url", default="", metavar="URL", help="an OpenAI-compatible server; else the bundled one is started")
    add("--model", default="", metavar="NAME", help="the model's name at the server, or the one to serve here")
    add("--api-key-env", default="", metavar="NAME", help="environment variable that holds the key")
    add("--api-key-file", default="", metavar="FILE", help="file that holds the key")
    add("--allow-http", action="store_true", help="send frames to another machine unencrypted")
    add("--timeout", type=_SECONDS, default=20.0, metavar="S", help="for one request (%(default)g)")
    add("--seed", type=int, default=0, help="of when each robot begins (%(default)s)")
    add("--out", type=Path, default=Path("runs/fleet"), metavar="FOLDER", help="for the results (%(default)s)")
    parser.set_defaults(run=run)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(word) if word.strip().isdigit() else 0 for word in text.split(","))
    if not all(1 <= number <= 1000 for number in numbers) or list(numbers) != sorted(set(numbers)):
        raise argparse.ArgumentTypeError(f"{text}: it takes ascending numbers from 1 to 1000, such as 1,2,4,8")
    return numbers


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0, 1 for a server that does not answer, 2 for what cannot be asked for, 130 for Ctrl-C."""
    from edgevlm_ros.assets import AssetError, bag_path
    from edgevlm_ros.cloud.server import DEFAULT_MODEL, LvlmServer, ServerError
    from edgevlm_ros.endpoint import EndpointError, check_base_url, load_api_key
    from edgevlm_ros.evaluation.fleet import views
    from edgevlm_ros.evaluation.streams import StreamError, open_stream

    try:
        key = load_api_key(arguments.api_key_env, arguments.api_key_file)
        if arguments.url:
            check_base_url(arguments.url, "--url", allow_http=arguments.allow_http, permission="give --allow-http")
        stream = open_stream(bag_path(arguments.bag), question=arguments.question)
        seen = views(stream)
        with contextlib.ExitStack() as opened:
            url, model = arguments.url, arguments.model
            if not url:
                model = model or DEFAULT_MODEL
                url, model = opened.enter_context(LvlmServer(model)).base_url, ""
            return asyncio.run(_measure(arguments, url, model, key, seen, stream.period))
    except (AssetError, StreamError, EndpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except (ServerError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\nstopped: nothing is left running", file=sys.stderr)
        return INTERRUPTED


async def _measure(
    arguments: argparse.Namespace, url: str, model: str, key: str, seen: Any, frame_period: float
) -> int:
    from edgevlm_ros.cloud.client import CloudClient
    from edgevlm_ros.evaluation.fleet import Fleet, drive, keep_busy
    from edgevlm_ros.evaluation.fleet_figures import capacity, figures, markdown, server
    from edgevlm_ros.evaluation.fleet_plot import draw_fleet
    from edgevlm_ros.machine import machine, versions
    from edgevlm_ros.terminal import shown

    def connect() -> CloudClient:
        return CloudClient(
            url,
            model=model,
            api_key=key,
            timeout=arguments.timeout,
            box_format="auto",
            allow_http=arguments.allow_http,
        )

    out: Path = arguments.out.expanduser().resolve()
    out.mkdir(parents=True, exist_ok=True)
    spell = arguments.seconds / 4
    print(f"what {url} can do: {2 * spell:g} s", flush=True)
    alone = await keep_busy(1, spell, connect, seen)
    served = server(alone, await keep_busy(arguments.busy, spell, connect, seen), arguments.busy)
    rows = []
    for robots in arguments.robots:
        print(f"{robots} robots: {arguments.seconds:g} s", flush=True)
        fleet = Fleet(robots, arguments.period, arguments.seconds, frame_period=frame_period, seed=arguments.seed)
        rows.append(figures(await drive(fleet, connect, seen), served))
    report = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "server": {"bundled": not arguments.url, "model": arguments.model, **dataclasses.asdict(served)},
        "period": arguments.period,
        "seconds": arguments.seconds,
        "capacity": capacity(served.rate, arguments.period),
        "fleets": [dataclasses.asdict(row) for row in rows],
    }
    (out / "fleet.json").write_text(json.dumps(report, indent=1) + "\n")
    table = markdown(served, arguments.period, rows)
    (out / "fleet.md").write_text(table)
    draw_fleet(served, arguments.period, rows, out / "fleet.png")
    print(table)
    print(f"{shown(out / 'fleet.json')}, and beside it fleet.md, fleet.png")
    return OK
