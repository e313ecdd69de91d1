# SPDX-License-Identifier: Apache-2.0
"""Features in a chat request: a content part that stands where the picture would.

The part is named and placed as vLLM does it (multimodal inputs, "Embedding Inputs"): type `image_embeds`, the value in
base64. What is encoded differs: vLLM takes a pickled tensor of half precision, this is a safetensors file (features.py)
with what int8, pruning and the check of the model need. All the rest of the request is as with a picture.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from edgevlm_ros.cloud.features import MAX_BYTES, Features, FeaturesError, read_features

KIND = "image_embeds"
_MAX_CHARS = 4 * (MAX_BYTES // 3 + 1)
_ROLES = ("system", "user")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about features. system: what the model is told before; max_tokens: of the answer."""

    features: Features
    system: str
    question: str
    max_tokens: int


def part(data: bytes) -> dict[str, Any]:
    """The content part of features as bytes."""
    return {"type": KIND, KIND: base64.b64encode(data).decode("ascii")}


def read_part(value: dict[str, Any]) -> Features:
    """The features of a content part of this kind. Raises FeaturesError."""
    text = value.get(KIND)
    if not isinstance(text, str):
        raise FeaturesError(f"{KIND} is a safetensors file in base64")
    if len(text) > _MAX_CHARS:
        raise FeaturesError(f"features of a keyframe may have {MAX_BYTES} bytes")
    try:
        return read_features(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise error if isinstance(error, FeaturesError) else FeaturesError(f"{KIND} is not base64") from None


def asked(request: dict[str, Any], most_tokens: int = 256) -> Asked | None:
    """What a chat request with features asks; None for one without. Raises FeaturesError for what cannot be served.

    request: as the guard lets it through. It has at most a system message, and one of the user, with one view.
    """
    parts = [(message.get("role"), each) for message in request["messages"] for each in _parts(message)]
    views = [each for _, each in parts if each.get("type") == KIND]
    if not views:
        return None
    if request.get("stream"):
        raise FeaturesError("answers about features are not streamed: leave stream out")
    roles = [message.get("role") for message in request["messages"]]
    if len(views) != 1 or roles not in (["user"], ["system", "user"]) or len(parts) - 1 != _texts(parts):
        raise FeaturesError(f"with {KIND} a request has a system message at most, and one of the user with one view")
    system, question = (
        "\n".join(each["text"] for of, each in parts if of == role and "text" in each) for role in _ROLES
    )
    tokens = request.get("max_completion_tokens") or request.get("max_tokens") or most_tokens
    return Asked(read_part(views[0]), system, question, tokens)


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _texts(parts: list[tuple[Any, dict[str, Any]]]) -> int:
    return sum(each.get("type") == "text" for _, each in parts)
