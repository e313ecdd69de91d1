# SPDX-License-Identifier: Apache-2.0
"""What was measured for one model and holds for it alone: the strength of attention focus, how sure it is of choices.

`edgevlm calibrate` and evaluation.choice_calibration write it: beside the weights for a folder, else into the user's
configuration.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgevlm_ros.assets import model_path

FILE_NAME = "edgevlm.json"


@dataclass(frozen=True, slots=True)
class Preset:
    """beta: see transfer.focus.Focus. choice_temperature: above 1 where the model is surer of choices than it is right.
    measured, choices_measured: when and with which result, for people.
    """

    beta: float = 1.0
    measured: str = ""
    choice_temperature: float = 1.0
    choices_measured: str = ""


def preset_file(model: str) -> Path:
    """Where the preset of a model lies. model: as for assets.model_path."""
    path = model_path(model)
    if Path(path).is_dir():
        return Path(path) / FILE_NAME
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "edgevlm" / "presets" / f"{path.replace('/', '--')}.json"


def load_preset(model: str) -> Preset:
    """The model's preset, or the defaults if it has none that can be read."""
    try:
        values: dict[str, Any] = json.loads(preset_file(model).read_text())
        beta = float(values["beta"])
        temperature = float(values.get("choice_temperature", 1.0))
        if not 0.0 < temperature < float("inf"):
            raise ValueError(temperature)
        return Preset(
            beta=beta,
            measured=str(values.get("measured", "")),
            choice_temperature=temperature,
            choices_measured=str(values.get("choices_measured", "")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return Preset()


def save_preset(model: str, preset: Preset) -> Path:
    """Writes the preset of a model; where it went."""
    file = preset_file(model)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(preset), indent=2) + "\n")
    return file
