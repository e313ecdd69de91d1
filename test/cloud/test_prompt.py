# SPDX-License-Identifier: Apache-2.0
import base64
import json

import pytest

from edgevlm_ros.cloud.grounding import convention
from edgevlm_ros.cloud.prompt import BOX_FORMATS, box_extent, chat_request, instruction, reply_schema, reply_tokens
from edgevlm_ros.cloud.reply import parse_reply


def test_the_image_comes_before_the_question_as_a_data_url() -> None:
    body = chat_request(system="be short", question="Where is the person?", jpeg=b"\xff\xd8jpeg", model="m")
    system, user = body["messages"]
    assert system == {"role": "system", "content": "be short"}
    image, text = user["content"]
    scheme, data = image["image_url"]["url"].split(",")
    assert scheme == "data:image/jpeg;base64"
    assert base64.b64decode(data) == b"\xff\xd8jpeg"
    assert text == {"type": "text", "text": "Where is the person?"}
    assert body["model"] == "m"


def test_without_a_model_the_choice_is_the_servers() -> None:
    assert "model" not in chat_request(system="", question="?", jpeg=b"")


def test_a_server_that_knows_no_thinking_is_told_nothing_of_it() -> None:
    body = chat_request(system="", question="?", jpeg=None)
    assert body["temperature"] == 0
    assert "reasoning_effort" not in body


def test_who_shall_not_think_is_told_so_and_who_shall_gets_no_temperature_and_room_for_thoughts() -> None:
    still = chat_request(system="", question="?", jpeg=None, reasoning_effort="none")
    assert (still["reasoning_effort"], still["temperature"]) == ("none", 0)
    thinking = chat_request(system="", question="?", jpeg=None, reasoning_effort="low")
    assert thinking["reasoning_effort"] == "low"
    assert "temperature" not in thinking
    assert reply_tokens("default") == reply_tokens("none") < reply_tokens("low")


def test_without_an_image_only_the_words_are_sent() -> None:
    content = chat_request(system="", question="?", jpeg=None)["messages"][1]["content"]
    assert [part["type"] for part in content] == ["text"]


@pytest.mark.parametrize("box_format", BOX_FORMATS)
def test_the_instruction_names_the_extent_that_boxes_are_read_with(box_format) -> None:
    text = instruction(box_format, 640, 480, max_regions=5)
    right, lower = box_extent(box_format, 640, 480)
    assert f"{right:g}" in text
    assert f"{lower:g}" in text
    assert "at most 5 boxes" in text


@pytest.mark.parametrize("box_format", BOX_FORMATS)
def test_the_instruction_and_the_schema_ask_for_the_same_that_is_read(box_format) -> None:
    boxes = convention(box_format, 640, 480)
    region = reply_schema(boxes, 5)["properties"]["regions"]["items"]
    assert list(region["properties"]) == ["label", boxes.member]
    assert f'"{boxes.member}": [{boxes.corners}]' in instruction(box_format, 640, 480, max_regions=5)
    all_of_it = [0, 0, *(boxes.extent[::-1] if boxes.rows_first else boxes.extent)]
    reply = json.dumps({"answer": "it", "regions": [{"label": "all", boxes.member: all_of_it}]})
    found = parse_reply(reply, width=640, height=480, extent=boxes.extent, rows_first=boxes.rows_first)
    assert [(r.x0, r.y0, r.x1, r.y1) for r in found.regions] == [(0, 0, 640, 480)]


def test_qwen2_5_is_told_the_size_that_its_processor_makes_of_the_upload() -> None:
    assert "which is 644 wide and 476 high" in instruction("pixels_qwen2_5", 640, 480, max_regions=5)


def test_the_schema_is_of_what_strict_mode_takes() -> None:
    def check(schema: dict) -> None:
        if schema["type"] == "object":
            assert schema["required"] == list(schema["properties"])
            assert schema["additionalProperties"] is False
            for member in schema["properties"].values():
                check(member)
        elif schema["type"] == "array":
            check(schema["items"])

    schema = reply_schema(convention("relative_1000", 640, 480), 5)
    check(schema)
    asked = chat_request(system="", question="?", jpeg=b"", schema=schema)["response_format"]
    assert asked["type"] == "json_schema"
    assert (asked["json_schema"]["strict"], asked["json_schema"]["schema"]) == (True, schema)
    assert "response_format" not in chat_request(system="", question="?", jpeg=b"")
