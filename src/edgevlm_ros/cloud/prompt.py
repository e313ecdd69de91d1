# SPDX-License-Identifier: Apache-2.0
"""What the LVLM is asked about a keyframe, as the body of an OpenAI chat request.

The reply goes into a small model's history and steers its eyes, so it must be short and it must ground: a few words
and boxes, as JSON. The words ask for that; where a server can hold a model to a schema, the schema does too.
"""

import base64
from typing import Any, Literal, get_args

from edgevlm_ros.cloud.grounding import BOX_FORMATS as BOX_FORMATS
from edgevlm_ros.cloud.grounding import BoxFormat, Convention, convention
from edgevlm_ros.cloud.image_embeds import part

ReasoningEffort = Literal["default", "none", "minimal", "low", "medium", "high"]
REASONING_EFFORTS: tuple[str, ...] = get_args(ReasoningEffort)

_REPLY_TOKENS, _THOUGHT_TOKENS = 256, 2048
_INSTRUCTION = """\
You look at one frame of a robot's camera and answer a question about it.
Reply with one JSON object and nothing else:
{{"answer": "<at most a few words>", "regions": [{{"label": "<what>", "{member}": [{corners}]}}]}}
"regions" holds at most {max_regions} boxes around what the answer is about, most important first; [] if there are none.
{boxes}"""


def box_extent(box_format: BoxFormat, width: int, height: int) -> tuple[float, float]:
    """What the model calls the right and the lower edge of an image that was sent with this width and height."""
    return convention(box_format, width, height).extent


def instruction(box_format: BoxFormat, width: int, height: int, max_regions: int) -> str:
    """The system message for an image of width x height pixels, as sent."""
    return instructed(convention(box_format, width, height), max_regions)


def instructed(boxes: Convention, max_regions: int) -> str:
    """The same for a convention."""
    return _INSTRUCTION.format(member=boxes.member, corners=boxes.corners, max_regions=max_regions, boxes=boxes.words)


def reply_schema(boxes: Convention, max_regions: int) -> dict[str, Any]:
    """JSON schema of the reply, of what strict mode of the OpenAI API takes: all is required, nothing else is there."""
    number = {"type": "integer" if boxes.whole else "number"}
    box = {"type": "array", "items": number, "minItems": 4, "maxItems": 4}
    region = _object({"label": {"type": "string"}, boxes.member: box})
    regions = {"type": "array", "items": region, "maxItems": max_regions}
    return _object({"answer": {"type": "string"}, "regions": regions})


def thinks(effort: ReasoningEffort) -> bool:
    """Whether a model is told to think before it replies."""
    return effort not in ("default", "none")


def reply_tokens(effort: ReasoningEffort, words: int = _REPLY_TOKENS) -> int:
    """How long a reply with so many tokens of words may be; a model that spent all on thoughts says nothing."""
    return words + _THOUGHT_TOKENS * thinks(effort)


def thinking(effort: ReasoningEffort) -> dict[str, Any]:
    """What a chat request says of it. default says nothing; while they think, OpenAI's models refuse a temperature (its
    guide to the latest model, parameters)."""
    temperature: dict[str, Any] = {} if thinks(effort) else {"temperature": 0}
    return temperature | ({} if effort == "default" else {"reasoning_effort": effort})


def chat_request(
    *,
    system: str,
    question: str,
    jpeg: bytes | None,
    model: str = "",
    max_tokens: int = _REPLY_TOKENS,
    schema: dict[str, Any] | None = None,
    reasoning_effort: ReasoningEffort = "default",
    features: bytes = b"",
) -> dict[str, Any]:
    """Body of POST /chat/completions. jpeg: None asks without an image. model: empty leaves it to the server.

    schema: of the reply, for servers that can hold a model to one. reasoning_effort: see thinking. features: of
    the picture, in place of it.
    """
    content: list[dict[str, Any]] = [{"type": "text", "text": question}]
    if features:
        content.insert(0, part(features))
    elif jpeg is not None:
        url = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    body: dict[str, Any] = {
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": content}],
        "max_completion_tokens": max_tokens,
    }
    body |= thinking(reasoning_effort)
    if model:
        body["model"] = model
    if schema is not None:
        named = {"name": "answer_about_a_frame", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    return body


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    required = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
