# SPDX-License-Identifier: Apache-2.0
"""The parameters of the cloud bridge, and what they mean for its client, its keyframes and its budget.

One table declares, describes and bounds them all; `docs/parameters.md` and `config/edgevlm.yaml` are written from it.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from edgevlm_ros.assets import model_path
from edgevlm_ros.cloud.breaker import Breaker
from edgevlm_ros.cloud.budget import Limits
from edgevlm_ros.cloud.client import CloudClient
from edgevlm_ros.cloud.delay import DELAY_KINDS, EmulatedDelay
from edgevlm_ros.cloud.grounding import BOX_FORMATS
from edgevlm_ros.cloud.privacy import Privacy, read_privacy
from edgevlm_ros.cloud.prompt import REASONING_EFFORTS
from edgevlm_ros.cloud.selection import MODES, Rule
from edgevlm_ros.cloud.structured_output import STRUCTURED_OUTPUT_MODES
from edgevlm_ros.endpoint import BUNDLED_URL, load_api_key
from edgevlm_ros.nodes.camera_node import CAMERA_PARAMETERS
from edgevlm_ros.nodes.parameters import Parameter, ParameterError, Values

if TYPE_CHECKING:
    from edgevlm_ros.cloud.eyes import Eyes

UPLOADS = ("image", "features")

PARAMETERS = (
    *CAMERA_PARAMETERS,
    Parameter("base_url", BUNDLED_URL, "Of an OpenAI-compatible server; usually ends in /v1."),
    Parameter("allow_http", False, "Whether frames and the key may go to another machine unencrypted."),
    Parameter("model", "", "Name of the model at the server; empty takes the first that it lists."),
    Parameter("api_key_env", "", "Environment variable that holds the server's key; empty for none."),
    Parameter("api_key_file", "", "File that holds the server's key; empty for none."),
    Parameter("timeout", 10.0, "Seconds for one request, from connecting to the whole reply.", 0.1, 600.0),
    Parameter(
        "keyframe_period", 2.0, "Seconds between two keyframes, if their mode is period.", 0.05, 3600.0, live=True
    ),
    Parameter(
        "keyframes.mode",
        "period",
        "What makes a frame a keyframe: the time since the last one, or signs that the cloud would say something new.",
        choices=MODES,
        live=True,
    ),
    Parameter(
        "keyframes.min_period", 1.0, "adaptive: seconds between two keyframes at least.", 0.05, 3600.0, live=True
    ),
    Parameter(
        "keyframes.max_period", 10.0, "adaptive: seconds between two keyframes without a sign.", 0.05, 3600.0, live=True
    ),
    Parameter(
        "keyframes.min_confidence",
        0.93,
        "adaptive: of the small model's answers, below which a keyframe goes early; 0 never.",
        0.0,
        1.0,
        live=True,
    ),
    Parameter(
        "keyframes.min_similarity",
        0.5,
        "adaptive: of the frame to the last keyframe, below which it is another scene and goes early; 0 never looks.",
        0.0,
        1.0,
        live=True,
    ),
    Parameter(
        "keyframes.max_context_age",
        12.0,
        "adaptive: seconds after which what the small model is told is to be renewed early.",
        0.0,
        3600.0,
        live=True,
    ),
    Parameter("breaker.failures", 3, "Failures in a row after which only probes are sent.", 1, 100),
    Parameter("breaker.first_pause", 1.0, "Seconds until the first probe; each that fails doubles it.", 0.1, 3600.0),
    Parameter("breaker.longest_pause", 10.0, "Seconds between two probes at most.", 0.1, 3600.0),
    Parameter("budget.calls_per_minute", 0.0, "Requests that may be sent; 0 for no limit.", 0.0, 1e6),
    Parameter("budget.bytes_per_minute", 0.0, "Bytes of requests that may be sent; 0 for no limit.", 0.0, 1e12),
    Parameter("budget.money_per_hour", 0.0, "In the currency of the prices; 0 for no limit.", 0.0, 1e6),
    Parameter("price.prompt", 0.0, "What a million prompt tokens cost at the server.", 0.0, 1e6),
    Parameter("price.completion", 0.0, "What a million completion tokens cost at the server.", 0.0, 1e6),
    Parameter("max_in_flight", 2, "Keyframes that may wait for their reply at once.", 1, 64, live=True),
    Parameter("max_side", 640, "Longer side of what is uploaded, in pixels; larger frames are reduced.", 32, 8192),
    Parameter("jpeg_quality", 85, "Of frames that have to be encoded.", 10, 100),
    Parameter(
        "upload",
        "image",
        "What goes up of a keyframe: the picture, or the features that the large model's eyes make of it here; these "
        "only `edgevlm serve` takes.",
        choices=UPLOADS,
    ),
    Parameter(
        "features.model",
        "micro_lvlm",
        "Whose eyes make them: the model that the server runs, bundled, a folder or a hub id.",
    ),
    Parameter("features.revision", "main", "Of a hub id: branch, tag or commit, the one that the server runs."),
    Parameter("features.keep", 1.0, "Share of the visual tokens that goes up.", 0.01, 1.0),
    Parameter("features.device", "cpu", "What the eyes run on: auto, cpu, cuda, cuda:1, ..."),
    Parameter(
        "privacy.blur_areas",
        [],
        "Parts of every frame that nobody in the cloud may see: left, top, right and lower edge as fractions of the "
        "image, such as '0 0.8 1 1' for its lowest fifth.",
    ),
    Parameter(
        "privacy.blur_labels",
        [],
        "Things to hide, such as person, where the cloud has boxed them before: the frame that first shows one goes up "
        "whole.",
    ),
    Parameter("privacy.hold", 30.0, "Seconds for which such a thing stays hidden where it was.", 0.0, 3600.0),
    Parameter("box_format", "auto", "How the model counts a box's edges; auto goes by its name.", choices=BOX_FORMATS),
    Parameter(
        "structured_output",
        "auto",
        "Whether the reply is asked for by a JSON schema: auto until the server refuses or ignores it.",
        choices=STRUCTURED_OUTPUT_MODES,
    ),
    Parameter(
        "reasoning_effort",
        "default",
        "How long a model that can think may do so before it replies; default leaves it to the server.",
        choices=REASONING_EFFORTS,
    ),
    Parameter("max_regions", 8, "Regions of interest that are kept of a reply.", 0, 64),
    Parameter("max_answer_chars", 200, "Longest answer that is kept of a reply.", 1, 4000),
    Parameter("emulated_delay", "none", "A far cloud for demos: none turns all emulation off.", choices=DELAY_KINDS),
    Parameter("emulated_delay_s", 3.0, "Seconds added to each reply; the median, if log-normal.", 0.0, 600.0),
    Parameter("emulated_delay_sigma", 0.5, "Standard deviation of the logarithm of the delay.", 0.0, 3.0),
    Parameter("emulated_outage_period_s", 0.0, "Seconds from outage to outage; 0 for none.", 0.0, 86400.0),
    Parameter("emulated_outage_s", 0.0, "Seconds that an outage lasts, at the end of its period.", 0.0, 86400.0),
    Parameter("seed", 0, "Of the emulated delays.", 0, 2**31 - 1),
)


def client(value: Values) -> Callable[[], CloudClient]:
    """What connects to the server; reads the key now. Raises ValueError for one that cannot be had."""
    return partial(
        CloudClient,
        value["base_url"],
        model=value["model"],
        api_key=load_api_key(value["api_key_env"], value["api_key_file"]),
        timeout=value["timeout"],
        box_format=value["box_format"],
        max_regions=value["max_regions"],
        max_answer_chars=value["max_answer_chars"],
        structured_output=value["structured_output"],
        reasoning_effort=value["reasoning_effort"],
        allow_http=value["allow_http"],
    )


def eyes(value: Values) -> "Eyes | None":
    """What looks at keyframes before they go up; None if pictures do. Raises what Eyes does."""
    if value["upload"] == "image":
        return None
    model = model_path(value["features.model"])
    from edgevlm_ros.cloud.eyes import Eyes  # torch, which a bridge of pictures does without

    return Eyes(model, value["features.keep"], value["features.device"], value["features.revision"])


def key_from(value: Values) -> str:
    """Which parameter names the key, and what it is set to; empty if none does."""
    env, file = value["api_key_env"], value["api_key_file"]
    return f"api_key_env = {env!r}" if env else f"api_key_file = {file!r}" if file else ""


def rule(value: Values) -> Rule:
    """Raises ParameterError."""
    try:
        return Rule(
            mode=value["keyframes.mode"],
            period=value["keyframe_period"],
            min_period=value["keyframes.min_period"],
            max_period=value["keyframes.max_period"],
            min_confidence=value["keyframes.min_confidence"],
            min_similarity=value["keyframes.min_similarity"],
            max_context_age=value["keyframes.max_context_age"],
        )
    except ValueError as error:
        raise ParameterError(str(error)) from error


def limits(value: Values) -> Limits:
    return Limits(
        calls_per_minute=value["budget.calls_per_minute"],
        bytes_per_minute=value["budget.bytes_per_minute"],
        money_per_hour=value["budget.money_per_hour"],
        prompt_price=value["price.prompt"],
        completion_price=value["price.completion"],
    )


def breaker(value: Values) -> Breaker:
    return Breaker(value["breaker.failures"], value["breaker.first_pause"], value["breaker.longest_pause"])


def privacy(value: Values) -> Privacy:
    return read_privacy(value["privacy.blur_areas"], value["privacy.blur_labels"], value["privacy.hold"])


def emulated(value: Values) -> EmulatedDelay:
    return EmulatedDelay(
        kind=value["emulated_delay"],
        seconds=value["emulated_delay_s"],
        sigma=value["emulated_delay_sigma"],
        outage_period=value["emulated_outage_period_s"],
        outage=value["emulated_outage_s"],
        seed=value["seed"],
    )
