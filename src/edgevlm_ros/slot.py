# SPDX-License-Identifier: Apache-2.0
"""A place for one item, the newest: how frames reach a model that is slower than the camera without ever queueing."""

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestSlot(Generic[Item]):
    """Holds at most one item. Any number of threads may put; one takes."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._closed = False

    def put(self, item: Item) -> Item | None:
        """Leaves an item; returns the one whose place it took, if nobody had taken it."""
        with self._condition:
            replaced, self._item = self._item, item
            self._condition.notify()
            return replaced

    def take(self) -> Item | None:
        """Waits for an item and removes it; None once the slot is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._item is not None)
            if self._closed:
                return None
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Wakes the taker for good; an item still in the slot is gone."""
        with self._condition:
            self._closed = True
            self._item = None
            self._condition.notify_all()
