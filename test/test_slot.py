# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

from edgevlm_ros.slot import NewestSlot


def test_the_newest_item_takes_the_place_of_the_one_before() -> None:
    slot: NewestSlot[int] = NewestSlot()
    assert slot.put(1) is None
    assert slot.put(2) == 1
    assert slot.take() == 2


def test_closing_wakes_a_waiting_taker() -> None:
    slot: NewestSlot[int] = NewestSlot()
    taken: list[int | None] = []
    taker = threading.Thread(target=lambda: taken.append(slot.take()))
    taker.start()
    slot.close()
    taker.join(timeout=10.0)
    assert taken == [None]
