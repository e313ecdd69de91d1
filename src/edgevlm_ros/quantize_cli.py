# SPDX-License-Identifier: Apache-2.0
"""`edgevlm quantize`: save a model in four or eight bits, so that a robot does not do it at each start."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from edgevlm_ros.arguments import count

_EPILOG = """
The folder is taken as any other: edge_model:=FOLDER, and its quantisation is recognised. Eyes, projector and head stay
in full precision. It needs the memory of the quantised model and its largest layer, and no GPU.

  edgevlm quantize Qwen/Qwen2.5-VL-3B-Instruct nf4 --to ~/models/qwen2.5-vl-3b-nf4
  edgevlm quantize ~/models/SmolVLM2-2.2B int8 --to ~/models/smolvlm2-2.2b-int8
  edgevlm quantize micro_svlm --measure       what it costs and spares: memory, time to load and to answer, same tokens

--measure takes bundled models, folders, hub ids, and sizes of edgevlm bench, which get random weights; what those say
tells nothing of how a trained model bears quantisation.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, _EPILOG
    add = parser.add_argument
    add("model", help="a bundled model's name, a folder in Hugging Face layout, or a hub id")
    add("quantization", nargs="?", choices=("nf4", "int8"), default="nf4", help="(%(default)s)")
    add("--to", type=Path, metavar="FOLDER", help="a new folder for it")
    add("--revision", help="of a hub id: branch, tag or commit (what config/models pins for it, else main)")
    add("--device", default="cpu", help="where to quantise (%(default)s; cuda is untried)")
    add("--measure", action="store_true", help="measure all quantisations of the model instead, and keep none")
    add("--frames", type=count, default=30, metavar="N", help="--measure: of the bundled bag (%(default)s)")
    add("--threads", type=int, default=0, choices=range(257), metavar="N", help="--measure: of torch (its own choice)")
    add("--out", type=Path, default=Path("runs/quantize"), metavar="FOLDER", help="--measure: results (%(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0, or 2 for what cannot be quantised."""
    from edgevlm_ros.assets import AssetError
    from edgevlm_ros.edge.engine import EngineError

    try:
        if arguments.measure:
            _measure(arguments)
        else:
            _quantize(arguments)
    except (AssetError, EngineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _quantize(asked: argparse.Namespace) -> None:
    from edgevlm_ros.assets import model_path
    from edgevlm_ros.edge.catalogue import pinned_revision
    from edgevlm_ros.edge.engine import EngineError
    from edgevlm_ros.edge.loading import device_named
    from edgevlm_ros.edge.quantized_folder import quantize, size_of
    from edgevlm_ros.terminal import shown

    if asked.to is None:
        raise EngineError("where to? Give --to FOLDER, or --measure")
    device = str(device_named(asked.device))
    model = model_path(asked.model)
    revision = asked.revision or pinned_revision(model)
    folder = quantize(model, asked.quantization, asked.to.expanduser(), device, revision)
    print(f"{shown(folder)}: {size_of(folder) / 1e6:.0f} MB as {asked.quantization}; edge_model:={shown(folder)}")


def _measure(asked: argparse.Namespace) -> None:
    import torch

    from edgevlm_ros.assets import model_path
    from edgevlm_ros.edge.random_models import SIZES, save
    from edgevlm_ros.evaluation.quantization_cost import markdown, measure
    from edgevlm_ros.terminal import shown

    with tempfile.TemporaryDirectory() as scratch:
        if asked.model in SIZES:
            model = str(save(asked.model, Path(scratch) / "full", ends=False, dtype=torch.bfloat16))
        else:
            model = model_path(asked.model)
        result = measure(asked.model, model, Path(scratch), asked.frames, asked.threads)
    asked.out.mkdir(parents=True, exist_ok=True)
    name = Path(asked.model).name
    (asked.out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    table = markdown(result)
    (asked.out / f"{name}.md").write_text(table)
    print(table)
    print(f"{shown(asked.out / name)}.json and .md")
