# SPDX-License-Identifier: Apache-2.0
"""What the LVLM is asked about a keyframe, as the body of an OpenAI chat request.

The reply goes into a small model's history and steers its eyes, so it must be short and it must ground: a few words
and boxes, as JSON. Models differ in how they were taught to count pixels, hence `BoxFormat`.
"""

import base64
from typing import Any, Literal, get_args

BoxFormat = Literal["relative_1000", "pixels"]
BOX_FORMATS: tuple[str, ...] = get_args(BoxFormat)

_INSTRUCTION = """\
You look at one frame of a robot's camera and answer a question about it.
Reply with one JSON object and nothing else:
{{"answer": "<at most a few words>", "regions": [{{"label": "<what>", "bbox_2d": [x0, y0, x1, y1]}}]}}
"regions" holds at most {max_regions} boxes around what the answer is about, most important first; [] if there are none.
{boxes}"""

_BOXES = {
    "relative_1000": "Boxes are integers from 0 to 1000, relative to the image: [0, 0, 1000, 1000] is all of it.",
    "pixels": "Boxes are pixels of the image, which is {width} wide and {height} high.",
}


def box_extent(box_format: BoxFormat, width: int, height: int) -> tuple[float, float]:
    """What the model calls the right and the lower edge of an image that was sent with this width and height."""
    return (1000.0, 1000.0) if box_format == "relative_1000" else (float(width), float(height))


def instruction(box_format: BoxFormat, width: int, height: int, max_regions: int) -> str:
    """The system message for an image of width x height pixels, as sent."""
    boxes = _BOXES[box_format].format(width=width, height=height)
    return _INSTRUCTION.format(max_regions=max_regions, boxes=boxes)


def chat_request(
    *, system: str, question: str, jpeg: bytes | None, model: str = "", max_tokens: int = 256
) -> dict[str, Any]:
    """Body of POST /chat/completions. jpeg: None asks without an image. model: empty leaves it to the server."""
    content: list[dict[str, Any]] = [{"type": "text", "text": question}]
    if jpeg is not None:
        url = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    body: dict[str, Any] = {
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": content}],
        "max_completion_tokens": max_tokens,
        "temperature": 0,
    }
    if model:
        body["model"] = model
    return body
