# SPDX-License-Identifier: Apache-2.0
"""`edgevlm calibrate`: measure how strongly attention focus may pull on a model, and write that into its preset."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from tqdm import tqdm

from edgevlm_ros.arguments import count
from edgevlm_ros.evaluation.plots import FAINT, INK, STYLE
from edgevlm_ros.terminal import shown

_EPILOG = """
On frames of the bag, each with a region (the bag's own, else a random box) and the cloud's words in the history, the
model answers with beta from 0 to 5. Measured is where its answer's attention goes: to the region, elsewhere into the
frame, or to the words. Chosen is the strongest beta at which the words keep --keep-text of what they have without
focus: beyond it the model looks where it should and no longer knows what it was asked.

The value goes into the model's preset (edgevlm.json in its folder, else ~/.config/edgevlm/presets), from which an edge
node takes it when focus.beta is -1, its default. OUT gets the curve as a picture and as JSON.

  edgevlm calibrate micro_svlm --dry-run                     look, and leave the preset alone
  edgevlm calibrate ~/models/SmolVLM --bag ~/bags/yard       your own model, your own robot's frames
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, _EPILOG
    add = parser.add_argument
    add("model", help="a bundled model's name, a folder in Hugging Face layout, or a hub id")
    add("--bag", default="demo", metavar="PATH", help="rosbag2 whose frames are taken (default: the bundled one)")
    add("--frames", type=count, default=60, metavar="N", help="spread over the bag (%(default)s)")
    add("--question", default="", metavar="TEXT", help="what to ask, instead of the bag's own questions")
    add("--keep-text", type=_share, default=0.8, metavar="SHARE", help="of its attention (%(default)s)")
    add("--layers", type=_layers, default=(), metavar="I,J", help="decoder layers to steer, as focus.layers (all)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    add("--out", type=Path, default=Path("runs/calibrate"), metavar="FOLDER", help="for the curve (%(default)s)")
    add("--dry-run", action="store_true", help="do not write the preset")
    parser.set_defaults(run=run)


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text}: it takes a share above 0, 1 at most")
    return value


def _layers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0, or 2 for what cannot be calibrated."""
    from edgevlm_ros.assets import AssetError
    from edgevlm_ros.bag_types import BagError
    from edgevlm_ros.edge.engine import EngineError
    from edgevlm_ros.images import ImageError

    try:
        _calibrate(arguments)
    except (AssetError, BagError, EngineError, ImageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _calibrate(asked: argparse.Namespace) -> None:
    from edgevlm_ros.assets import bag_path, model_path
    from edgevlm_ros.bag_types import BagError
    from edgevlm_ros.edge.loading import EngineSettings, load_engine
    from edgevlm_ros.edge.preset import load_preset, save_preset
    from edgevlm_ros.evaluation.annotated_frames import annotated_frames
    from edgevlm_ros.evaluation.calibration import calibrate, cases

    settings = EngineSettings(model_path(asked.model), device=asked.device, max_new_tokens=8, focus_layers=asked.layers)
    engine = load_engine(settings)
    made = cases(engine, annotated_frames(bag_path(asked.bag), asked.frames, spread=True), asked.question)
    if not made:
        raise BagError(f"bag {asked.bag}: no region of its frames has a score above 0, so there is nothing to look at")
    with tqdm(total=len(made), desc="calibrating", unit="frame") as bar:
        found = calibrate(engine, made, asked.keep_text, asked.layers, tell=bar.update)
    print(table(found))
    reason = why(found, asked.keep_text)
    print(reason)
    name, date = Path(asked.model).name, datetime.date.today().isoformat()
    command = f"edgevlm calibrate {name} --bag {Path(asked.bag).name} --frames {asked.frames}"
    command += f" --keep-text {asked.keep_text:g}"
    if asked.layers:
        command += f" --layers {','.join(map(str, asked.layers))}"
    asked.out.mkdir(parents=True, exist_ok=True)
    figures = {"command": command, "date": date, **asdict(found)}
    (asked.out / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    draw(found, asked.keep_text, name, asked.out / f"{name}.png")
    print(f"the curve: {shown(asked.out / name)}.png and .json")
    if not asked.dry_run:
        preset = replace(load_preset(asked.model), beta=found.beta, measured=f"{command}, {date}: {reason}")
        print(f"the preset: {shown(save_preset(asked.model, preset))}")


def table(found: Any) -> str:
    """The curve for a terminal. found: a Calibration."""
    lines = ["beta   region  elsewhere   text"]
    lines += [
        f"{s.beta:4.2f}   {s.region:6.3f}     {s.elsewhere:6.3f}  {s.text:5.3f}{'  <-' * (s.beta == found.beta)}"
        for s in found.curve
    ]
    return "\n".join(lines)


def why(found: Any, keep_text: float) -> str:
    """What was chosen and for what, in a sentence or two."""
    first, chosen = found.curve[0], found.chosen
    kept = chosen.text / first.text if first.text else 1.0
    last = " (the strongest that was tried)" if chosen is found.curve[-1] else ""
    words = (
        f"beta {found.beta:g}{last}: the text keeps {100 * kept:.0f} % of its attention (asked for: "
        f"{100 * keep_text:g} %), the region gets {chosen.region:.3f} instead of {first.region:.3f}; "
        f"{100 * found.changed:.0f} % of {found.frames} answers change"
    )
    if found.right is not None:
        words += f", {100 * found.right:.0f} % are right instead of {100 * found.right_before:.0f} %"
    return words


def draw(found: Any, keep_text: float, name: str, path: Path) -> None:
    """The curve as a picture."""
    betas: Sequence[float] = [shares.beta for shares in found.curve]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.5, 3.2), layout="constrained")
        axes = figure.subplots()
        for part, colour in (("region", "#dc2626"), ("elsewhere", "#94a3b8"), ("text", "#2563eb")):
            axes.plot(betas, [getattr(shares, part) for shares in found.curve], color=colour, lw=1.6, label=part)
        axes.axhline(keep_text * found.curve[0].text, color="#2563eb", lw=0.7, ls=":")
        axes.axvline(found.beta, color=INK, lw=0.7, ls=":")
        axes.annotate(f"beta {found.beta:g}", (found.beta, 1.0), xytext=(4, -8), textcoords="offset points")
        axes.set_ylim(0, 1.0)
        axes.set_title(f"{name}: where the answer's attention goes")
        axes.set_xlabel("beta")
        axes.set_ylabel("share of attention")
        axes.grid(color=FAINT, lw=0.4)
        axes.legend()
        figure.savefig(path, dpi=150)
