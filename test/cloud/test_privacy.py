# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.cloud.privacy import Area, Privacy, PrivacyError, hide, read_privacy
from edgevlm_ros.transfer.types import Region

LEFT = Area(0.0, 0.0, 0.5, 1.0)
fractions = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted).filter(lambda pair: pair[0] < pair[1])


def noise(width: int = 64, height: int = 48) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def box(label: str, x0: float = 16, y0: float = 12, x1: float = 32, y1: float = 24) -> Region:
    return Region(label, 1.0, x0, y0, x1, y1)


def test_of_a_hidden_area_sixteen_colours_are_left_and_the_rest_stays() -> None:
    before = noise()
    after = hide(before, [LEFT])
    np.testing.assert_array_equal(after[:, 32:], before[:, 32:])
    assert after[:, :32].astype(float).std() < before[:, :32].astype(float).std() / 3
    again = noise()
    again[:, :32] = again[:, :32].reshape(4, 12, 4, 8, 3)[:, ::-1, :, ::-1].reshape(48, 32, 3)
    np.testing.assert_allclose(
        hide(again, [LEFT]).astype(int), after.astype(int), atol=1, err_msg="order within a cell"
    )


def test_the_frame_itself_is_not_touched() -> None:
    before = noise()
    hide(before, [LEFT])
    np.testing.assert_array_equal(before, noise())


@given(fractions, fractions, st.integers(1, 40), st.integers(1, 40))
def test_any_area_of_any_image_can_be_hidden(x, y, width: int, height: int) -> None:
    area = Area(x[0], y[0], x[1], y[1])
    assert hide(noise(width, height), [area, area]).shape == (height, width, 3)


def test_every_pixel_that_an_area_touches_is_hidden() -> None:
    black = np.zeros((10, 10, 3), np.uint8)
    black[5, 5] = 255
    assert hide(black, [Area(0.59, 0.59, 0.99, 0.99)])[5, 5].max() < 20


def test_rules_are_read_from_parameters() -> None:
    rule = read_privacy(["0 0.8 1 1"], ["Person", "number  plate"], 5.0)
    assert rule == Privacy((Area(0.0, 0.8, 1.0, 1.0),), ("person", "number plate"), 5.0)


@pytest.mark.parametrize(
    "text", ["", "0 0 1", "0 0 1 1 1", "0 0 640 480", "0.5 0 0.5 1", "a b c d", "nan 0 1 1", "0,0,1,1"]
)
def test_an_area_that_is_none_is_named_with_an_example(text: str) -> None:
    with pytest.raises(PrivacyError, match=r"privacy.blur_areas: .*'0 0.8 1 1'"):
        read_privacy([text], [], 5.0)


def test_a_label_without_words_is_named() -> None:
    with pytest.raises(PrivacyError, match=r"privacy.blur_labels"):
        read_privacy([], ["person", " ."], 5.0)


@pytest.mark.parametrize(
    ("label", "named"),
    [
        ("person", True),
        ("Person in red", True),
        ("a number-plate", True),
        ("personal bag", False),
        ("plate", False),
        ("", False),
    ],
)
def test_a_label_is_found_word_for_word(label: str, named: bool) -> None:
    assert read_privacy([], ["person", "number plate"], 5.0).names(label) is named


def test_a_boxed_thing_is_hidden_with_a_margin_while_it_is_held() -> None:
    rule = read_privacy(["0 0.8 1 1"], ["person"], 5.0)
    seen = rule.seen((), [box("person"), box("cart")], (64, 48), now=100.0)
    assert rule.hidden(seen, 104.9) == (Area(0.0, 0.8, 1.0, 1.0), Area(12 / 64, 9 / 48, 36 / 64, 27 / 48))
    assert rule.hidden(seen, 105.1) == rule.areas


def test_a_reply_that_no_longer_names_a_hidden_thing_does_not_show_it() -> None:
    rule = read_privacy([], ["person"], 5.0)
    seen = rule.seen((), [box("person")], (64, 48), now=0.0)
    assert rule.seen(seen, [], (64, 48), now=3.0) == seen
    later = rule.seen(seen, [box("person")], (64, 48), now=3.0)
    assert [one.until for one in later] == [8.0]


def test_what_is_remembered_stays_bounded() -> None:
    rule = read_privacy([], ["person"], 1000.0)
    seen = ()
    for step in range(500):
        seen = rule.seen(seen, [box("person", step / 10, 0, 40 + step / 10, 20)], (640, 480), now=step)
    assert len(seen) == 64


def test_without_rules_nothing_is_hidden() -> None:
    rule = read_privacy([], [], 5.0)
    assert rule.hidden(rule.seen((), [box("person")], (64, 48), 0.0), 0.0) == ()
