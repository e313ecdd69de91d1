# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from edgevlm_ros.slot import NewestSlot


def test_the_newest_item_takes_the_place_of_the_one_before() -> None:
    slot: NewestSlot[int] = NewestSlot()
    assert slot.put(1) is None
    assert slot.put(2) == 1
    assert slot.take() == 2


def test_an_item_can_be_taken_once() -> None:
    slot: NewestSlot[int] = NewestSlot()
    assert slot.take() is None
    slot.put(1)
    assert [slot.take(), slot.take()] == [1, None]
