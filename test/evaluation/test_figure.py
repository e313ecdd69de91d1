# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from edgevlm_ros.evaluation.figure import draw, main
from edgevlm_ros.evaluation.moment import best_moment
from support.late_reply import QUESTION, REPLY, Model, stream


def picture(said: str) -> bytes:
    moment = best_moment(Model(said, told="gas, left"), Model(REPLY), stream(), QUESTION, delay_s=0.6)
    assert moment is not None
    return draw(moment)


def test_the_figure_is_a_small_png_that_fits_a_page_and_always_the_same() -> None:
    png = picture("fuel, left")
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert image.size == (1400, 850)
    assert len(png) < 400_000
    assert png == picture("fuel, left")


def test_a_models_words_are_drawn_whatever_they_are() -> None:
    assert picture("$x^{2$ <b> \n \\frac étage слева " * 20)


def test_a_bag_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bag", str(tmp_path / "none"), "--out", str(tmp_path / "out.png")]) == 1
    assert "none" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()
