# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from edgevlm_ros.cloud.grounding import BOX_FORMATS, BoxFormat, convention, known_format, qwen2_5_size, resolved
from edgevlm_ros.cloud.jpeg import encode
from edgevlm_ros.cloud.reply import parse_reply

Box = tuple[float, float, float, float]
CONCRETE = [name for name in BOX_FORMATS if name != "auto"]


@st.composite
def keyframes(draw: st.DrawFn) -> tuple[int, int]:
    """Width and height: sides of 100 to 4000 pixels, aspect ratios from 1:4 to 4:1."""
    width = draw(st.integers(100, 4000))
    return width, draw(st.integers(max(100, math.ceil(width / 4)), min(4000, 4 * width)))


@st.composite
def drawn(draw: st.DrawFn) -> tuple[int, int, Box]:
    """A keyframe and a box on it, in its pixels, at least a twentieth of it in both directions."""
    width, height = draw(keyframes())
    edges = []
    for side in (width, height):
        low = draw(st.floats(0, 0.95 * side))
        edges.append((low, draw(st.floats(low + 0.05 * side, side))))
    (x0, x1), (y0, y1) = edges
    return width, height, (x0, y0, x1, y1)


def sent_size(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Of the upload, as jpeg.encode makes it."""
    scale = min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def said(box: Box, box_format: BoxFormat, source: tuple[int, int], sent: tuple[int, int], exact: bool) -> str:
    """The reply of a model that sees the box and counts in this way. exact: without rounding to its grid."""
    boxes = convention(box_format, *sent)
    numbers = [edge / source[at % 2] * boxes.extent[at % 2] for at, edge in enumerate(box)]
    if not exact:
        numbers = [round(number) if boxes.whole else round(number, 4) for number in numbers]
    if boxes.rows_first:
        numbers = [numbers[at] for at in (1, 0, 3, 2)]
    return json.dumps({"answer": "here", "regions": [{"label": "it", boxes.member: numbers}]})


def read_back(reply: str, box_format: BoxFormat, source: tuple[int, int], sent: tuple[int, int]) -> Box:
    boxes = convention(box_format, *sent)
    found = parse_reply(reply, width=source[0], height=source[1], extent=boxes.extent, rows_first=boxes.rows_first)
    assert found.regions_foreign == 0
    (region,) = found.regions
    return region.x0, region.y0, region.x1, region.y1


@pytest.mark.parametrize("box_format", CONCRETE)
@settings(max_examples=60, deadline=None)
@given(drawn(), st.integers(224, 4000))
def test_a_box_on_a_keyframe_comes_back_where_it_was_drawn(
    box_format: BoxFormat, case: tuple[int, int, Box], max_side: int
) -> None:
    width, height, box = case
    sent = sent_size(width, height, max_side)
    reply = said(box, box_format, (width, height), sent, exact=True)
    assert read_back(reply, box_format, (width, height), sent) == pytest.approx(box, abs=1e-6)


@pytest.mark.parametrize("box_format", CONCRETE)
@settings(max_examples=60, deadline=None)
@given(drawn(), st.integers(224, 2000))
def test_in_a_models_own_whole_numbers_it_comes_back_within_a_pixel_of_what_was_sent(
    box_format: BoxFormat, case: tuple[int, int, Box], max_side: int
) -> None:
    width, height, box = case
    sent = sent_size(width, height, max_side)
    reply = said(box, box_format, (width, height), sent, exact=False)
    back = read_back(reply, box_format, (width, height), sent)
    pixel = (width / sent[0], height / sent[1])  # of the image that the model saw, in pixels of the keyframe
    for at, (now, before) in enumerate(zip(back, box, strict=True)):
        assert abs(now - before) <= pixel[at % 2] * 1.01


@pytest.mark.parametrize(("width", "height"), [(100, 400), (400, 100), (641, 479), (1920, 1080), (3999, 1000)])
def test_the_upload_has_the_size_that_boxes_are_read_with(width: int, height: int) -> None:
    upload = encode(np.zeros((height, width, 3), np.uint8), max_side=640, quality=50)
    assert (upload.width, upload.height) == sent_size(width, height, 640)


@settings(max_examples=300, deadline=None)
@given(keyframes() | st.tuples(st.integers(2, 8192), st.integers(41, 400)))
def test_the_size_is_that_of_qwens_own_processor(size: tuple[int, int]) -> None:

    width, height = size
    if max(size) / min(size) > 200:  # which it refuses
        return
    high, wide = smart_resize(height, width, factor=28, min_pixels=3136, max_pixels=12845056)
    assert qwen2_5_size(width, height) == (wide, high)
    assert qwen2_5_size(wide, high) == (wide, high)


def test_no_size_is_too_odd_for_a_convention() -> None:
    for width, height in ((0, 0), (1, 1), (1, 8192), (8192, 1), (8192, 8192)):
        for box_format in CONCRETE:
            assert min(convention(box_format, width, height).extent) >= min(1, width, height)


@pytest.mark.parametrize(
    ("name", "box_format"),
    [
        ("Qwen/Qwen2.5-VL-72B-Instruct-AWQ", "pixels_qwen2_5"),
        ("qwen2.5vl:7b", "pixels_qwen2_5"),
        ("qwen/qwen2.5-vl-72b-instruct", "pixels_qwen2_5"),
        ("Qwen2_5_VL-3B", "pixels_qwen2_5"),
        ("Qwen/Qwen3-VL-235B-A22B-Instruct", "relative_1000"),
        ("Qwen/Qwen3.5-4B", "relative_1000"),
        ("Qwen/Qwen2-VL-7B-Instruct", "relative_1000"),
        ("zai-org/GLM-4.6V", "relative_1000"),
        ("google/gemini-2.5-flash", "relative_1000_yx"),
        ("OpenGVLab/InternVL3-38B", "relative_1000"),
        ("micro_lvlm", "relative_1000"),
    ],
)
def test_a_familys_name_tells_how_it_counts(name: str, box_format: str) -> None:
    assert known_format(name) == box_format
    assert resolved("auto", name) == box_format


def test_what_is_set_wins_over_the_name_and_a_name_that_tells_nothing_over_none() -> None:
    assert resolved("pixels", "Qwen/Qwen3-VL-4B") == "pixels"
    assert resolved("auto", "fleet", "Qwen2.5-VL-72B-Instruct") == "pixels_qwen2_5"
    assert resolved("auto", "fleet", "") == "relative_1000"
