# SPDX-License-Identifier: Apache-2.0
"""A place for one item, the newest: how frames reach a model that is slower than the camera without ever queueing."""

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestSlot(Generic[Item]):
    """Holds at most one item. Any thread may put and take; nobody waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: Item | None = None

    def put(self, item: Item) -> Item | None:
        """Leaves an item; returns the one whose place it took, if nobody had taken it."""
        with self._lock:
            replaced, self._item = self._item, item
            return replaced

    def take(self) -> Item | None:
        """Removes the item, if there is one."""
        with self._lock:
            item, self._item = self._item, None
            return item
