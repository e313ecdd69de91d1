# SPDX-License-Identifier: Apache-2.0
import base64

import pytest

from edgevlm_ros.cloud.prompt import BOX_FORMATS, box_extent, chat_request, instruction


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
