# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.cloud.marked_boxes import MarkedBox, marked_boxes


@pytest.mark.parametrize(
    ("text", "boxes", "rest"),
    [
        ("no box at all", [], "no box at all"),
        (
            "a <ref>cart</ref><box>[[1, 2, 3, 4], [5, 6, 7, 8]]</box>!",
            [MarkedBox("cart", (1, 2, 3, 4), None), MarkedBox("cart", (5, 6, 7, 8), None)],
            "a  cart !",
        ),
        ("<box>(1,2),(3,4)</box>", [MarkedBox("", (1, 2, 3, 4), None)], "  "),
        ("at <|begin_of_box|>[[1,2,3,4]]<|end_of_box|>.", [MarkedBox("", (1, 2, 3, 4), None)], "at   ."),
        ("<|begin_of_box|>red<|end_of_box|>", [], "<|begin_of_box|>red<|end_of_box|>"),
        ("<loc0001><loc0002><loc0003><loc0004>", [MarkedBox("", (2, 1, 4, 3), 1024.0)], "  "),
        (
            "<loc0001><loc0002><loc0003><loc0004> cart ; <loc0005><loc0006><loc0007><loc0008> man",
            [MarkedBox("cart", (2, 1, 4, 3), 1024.0), MarkedBox("man", (6, 5, 8, 7), 1024.0)],
            " cart ;  man ",
        ),
        (
            "car<loc_1><loc_2><loc_3><loc_4>door<loc_5><loc_6><loc_7><loc_8>",
            [MarkedBox("car", (1, 2, 3, 4), 1000.0), MarkedBox("door", (5, 6, 7, 8), 1000.0)],
            " car  door ",
        ),
        ("<box>[[1, 2, 3]]</box>", [], "  "),
    ],
    ids=["none", "internvl", "qwen-vl", "glm", "glm without", "paligemma", "paligemma twice", "florence-2", "cut"],
)
def test_markup_becomes_boxes_and_leaves_its_labels(text: str, boxes: list[MarkedBox], rest: str) -> None:
    assert marked_boxes(text) == (boxes, rest)


@given(st.lists(st.sampled_from(["<box>", "</box>", "<ref>", "</ref>", "<loc0001>", "<loc_1>", "[1, 2", "a", "\n"])))
def test_any_markup_is_read_to_its_end(pieces: list[str]) -> None:
    boxes, rest = marked_boxes("".join(pieces))
    assert len(boxes) <= len(pieces)
    assert len(rest) <= len("".join(pieces)) + 2 * len(pieces)
