# SPDX-License-Identifier: Apache-2.0
"""The parameters of the edge node, and what they mean for its model, its history and its focus.

One table declares, describes and bounds them all; `docs/parameters.md` and `config/edgevlm.yaml` are written from it.
"""

import re
from collections.abc import Sequence

from edgevlm_ros.assets import model_path
from edgevlm_ros.edge.choices import checked_choices
from edgevlm_ros.edge.loading import QUANTIZATION_CHOICES, EngineSettings
from edgevlm_ros.edge.preset import load_preset
from edgevlm_ros.edge.served import ServedSettings
from edgevlm_ros.edge.transformers_engine import DECODINGS
from edgevlm_ros.nodes.camera_node import CAMERA_PARAMETERS
from edgevlm_ros.nodes.parameters import Parameter, ParameterError, Values
from edgevlm_ros.transfer.focus import CARRY_MODES, FOCUS_MODES, Focus
from edgevlm_ros.transfer.history import Replacement

_PRESET = -1.0
_BUNDLED = "micro_svlm"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")

PARAMETERS = (
    *CAMERA_PARAMETERS,
    Parameter(
        "cameras",
        [],
        "Names of the cameras that share this node's model, each with its topics below its name, such as front/image; "
        "empty for the one camera of the node's namespace.",
    ),
    Parameter("model", _BUNDLED, "A bundled model's name, a folder in Hugging Face layout, or a hub id."),
    Parameter("device", "auto", "auto, cpu, cuda or cuda:N."),
    Parameter("revision", "main", "Of a hub id: branch, tag or commit. A commit never changes under a robot."),
    Parameter(
        "quantization",
        "none",
        "Weights of the language model, by bitsandbytes; auto for nf4 where the memory needs it.",
        choices=QUANTIZATION_CHOICES,
    ),
    Parameter("threads", 0, "CPU threads of torch; 0 leaves the choice to it.", 0, 256),
    Parameter(
        "server_url",
        "",
        "An OpenAI-compatible server on the robot (such as http://localhost:8080/v1) that runs 'model' "
        "instead of transformers; empty for none.",
    ),
    Parameter(
        "server_timeout",
        10.0,
        "Seconds for a whole answer of that server; below 'watchdog', which takes a longer silence for a hang.",
        0.1,
        600.0,
    ),
    Parameter("api_key_env", "", "Environment variable that holds that server's key; empty for none."),
    Parameter("api_key_file", "", "File that holds that server's key; empty for none."),
    Parameter("allow_http", False, "Whether frames and that key may go to another machine unencrypted."),
    Parameter("system_prompt", "", "Told to the model before everything else, if not empty."),
    Parameter(
        "watchdog",
        30.0,
        "Seconds without progress after which an inference step hangs, or ten times the longest of the last ones; the "
        "node then replaces its own process and goes on. 0 for never.",
        0.0,
        3600.0,
    ),
    Parameter("max_new_tokens", 32, "Longest answer, in tokens.", 1, 1024),
    Parameter("prompt_reuse", True, "Whether the text before the image is prefilled once for all frames."),
    Parameter(
        "decoding",
        DECODINGS[0],
        "On a cache that grows with each token; graph: the passes of one CUDA graph; compiled: by torch.compile too, "
        "which takes a minute and a C++ compiler at the start.",
        choices=DECODINGS,
    ),
    Parameter("image_splitting", False, "SmolVLM, Idefics3: cut a frame into many tiles; finer, many times slower."),
    Parameter("question", "", "The standing question; empty to wait for one on 'question'.", live=True),
    Parameter(
        "choices",
        [],
        "The answers allowed to the standing question, whatever it is, until changed: one forward pass weighs them all "
        "and the confidence is the answer's probability among them, at the temperature of the model's preset; empty "
        "for any answer.",
        live=True,
    ),
    Parameter("ask.queue", 4, "Questions of the action 'ask' that may wait, for each camera.", 1, 64),
    Parameter("ask.deadline", 10.0, "Seconds that 'ask' waits for the cloud, unless a goal says it.", 0.1, 600.0),
    Parameter("replacement.enabled", True, "Whether cloud answers are told to the model.", live=True),
    Parameter("replacement.max_turns", 1, "Turns of history in the prompt.", 0, 64, live=True),
    Parameter(
        "replacement.later_turns",
        "drop",
        "Edge turns after a corrected keyframe.",
        choices=("drop", "keep"),
        live=True,
    ),
    Parameter("replacement.own_turns", False, "Whether the edge's own answers are told to it too.", live=True),
    Parameter("replacement.provenance", True, "Whether turns say who spoke and how long ago.", live=True),
    Parameter(
        "replacement.max_context_age",
        15.0,
        "Seconds after which a cloud answer is no longer told.",
        0.0,
        3600.0,
        live=True,
    ),
    Parameter("replacement.max_tokens", 64, "Longest cloud answer told, in tokens.", 1, 4096, live=True),
    Parameter("replacement.max_history_tokens", 1024, "All turns in the prompt together.", 0, 65536, live=True),
    Parameter(
        "replacement.min_similarity",
        Replacement().min_similarity,
        "Below it the scene has changed and the context is suspended; 0 never suspends.",
        0.0,
        1.0,
        live=True,
    ),
    Parameter(
        "focus.mode",
        "crop",
        f"How regions steer the model's eyes: none, or some of {', '.join(FOCUS_MODES)}, joined by +.",
        live=True,
    ),
    Parameter(
        "focus.beta",
        _PRESET,
        "attention: strength of the bias; -1 takes the value that 'edgevlm calibrate' found for the model.",
        -1.0,
        10.0,
        live=True,
    ),
    Parameter("focus.layers", "all", "attention: decoder layers to steer, 'all' or indices such as '2,3'."),
    Parameter("focus.keep", 0.5, "prune: share of the frame's visual tokens that stay.", 0.01, 1.0, live=True),
    Parameter("focus.dim", 0.35, "overlay: brightness left outside the regions.", 0.0, 1.0, live=True),
    Parameter(
        "focus.crop_margin",
        Focus().crop_margin,
        "crop: size of the second view over that of the regions.",
        1.0,
        10.0,
        live=True,
    ),
    Parameter(
        "focus.crop_min_fraction", 0.3, "crop: smallest second view, of the frame's width.", 0.01, 1.0, live=True
    ),
    Parameter(
        "focus.pixel_budget",
        2.0,
        "crop: pixels of both views together over those of a whole frame; 2 shows each in full.",
        0.05,
        2.0,
        live=True,
    ),
    Parameter(
        "focus.carry",
        Focus().carry,
        "How regions follow the scene from the keyframe to the frame.",
        choices=CARRY_MODES,
        live=True,
    ),
    Parameter(
        "focus.half_life",
        Focus().half_life,
        "Seconds in which the confidence in a region halves.",
        0.01,
        3600.0,
        live=True,
    ),
    Parameter("focus.min_confidence", Focus().min_confidence, "A region below it is forgotten.", 0.0, 1.0, live=True),
)


def camera_names(value: Values) -> tuple[str, ...]:
    """The names of the cameras; one empty name for the camera of the node's namespace. Raises ParameterError."""
    names: Sequence[str] = value["cameras"]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ParameterError(
                f"cameras has {name!r}: a camera's name stands before its topics, as in front/image, so it is made of "
                "letters, digits and _, and begins and ends without a slash"
            )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ParameterError(f"cameras has {', '.join(twice)} twice: give each camera a name of its own")
    return tuple(names) or ("",)


def choices(value: Values) -> tuple[str, ...]:
    """The allowed answers, empty for any. Raises ParameterError."""
    try:
        return checked_choices(value["choices"])
    except ValueError as error:
        raise ParameterError(str(error)) from None


def served_settings(value: Values) -> ServedSettings:
    """Of the model behind `server_url`."""
    return ServedSettings(
        value["server_url"],
        # the default names a bundled model, which no server knows: it serves one of its own
        model="" if value["model"] == _BUNDLED else value["model"],
        api_key_env=value["api_key_env"],
        api_key_file=value["api_key_file"],
        system_prompt=value["system_prompt"],
        max_new_tokens=value["max_new_tokens"],
        timeout=value["server_timeout"],
        allow_http=value["allow_http"],
    )


def engine_settings(value: Values) -> EngineSettings:
    """Of the model in this process. Raises ParameterError."""
    return EngineSettings(
        model=model_path(value["model"]),
        device=value["device"],
        quantization=value["quantization"],
        threads=value["threads"],
        system_prompt=value["system_prompt"],
        max_new_tokens=value["max_new_tokens"],
        focus_layers=_layers(value["focus.layers"]),
        reuse=value["prompt_reuse"],
        image_splitting=value["image_splitting"],
        decoding=value["decoding"],
        revision=value["revision"],
        choice_temperature=load_preset(value["model"]).choice_temperature,
    )


def replacement(value: Values) -> Replacement:
    return Replacement(
        enabled=value["replacement.enabled"],
        max_turns=value["replacement.max_turns"],
        later_turns=value["replacement.later_turns"],
        own_turns=value["replacement.own_turns"],
        provenance=value["replacement.provenance"],
        max_context_age=value["replacement.max_context_age"],
        max_tokens=value["replacement.max_tokens"],
        max_history_tokens=value["replacement.max_history_tokens"],
        min_similarity=value["replacement.min_similarity"],
    )


def focus(value: Values) -> Focus:
    """Raises ValueError for a mode that does not exist."""
    beta = value["focus.beta"]
    if beta < 0:
        beta = Focus().beta if value["server_url"] else load_preset(value["model"]).beta
    return Focus(
        mode=value["focus.mode"],
        beta=beta,
        keep=value["focus.keep"],
        dim=value["focus.dim"],
        pixel_budget=value["focus.pixel_budget"],
        carry=value["focus.carry"],
        half_life=value["focus.half_life"],
        min_confidence=value["focus.min_confidence"],
        crop_margin=value["focus.crop_margin"],
        crop_min_fraction=value["focus.crop_min_fraction"],
    )


def _layers(text: str) -> tuple[int, ...]:
    if text.strip() == "all":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ParameterError(f"focus.layers = {text!r}: it takes 'all' or indices such as '2,3'") from None
