# SPDX-License-Identifier: Apache-2.0
"""The record of a run on the disk: a bag and lines of text, there up to the last flush whatever happens.

A disk is slow, fills up, turns read-only or goes away, and a robot that records goes on all the same. So a thread of
its own writes, a bounded number of messages waits for it, and what goes wrong ends the record and nothing else: what
was flushed can be read. It also ends, in good order, before the disk is full: the robot needs that for other things.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, TextIO

from edgevlm_ros.bag_types import BagError
from edgevlm_ros.bag_writer import BagDiskError, BagWriter

_WAITING = 2000  # messages: half a minute of a 30 Hz camera with its answers
_METADATA_S = 10.0  # between two metadata.yaml, which take 17 ms (2 cores of an AMD EPYC, 2026-11-22)
_MB = 1e6


class RecordedTopic(NamedTuple):
    """latched: see bags.Topic."""

    name: str
    type: str
    latched: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """flush_period: seconds. min_free: MB of the disk that stay free. max_size: MB of the bag; 0 for any."""

    flush_period: float = 1.0
    min_free: float = 500.0
    max_size: float = 0.0


class Record:
    """`bag` and text files in a folder.

    Raises BagError for a folder that has a record already. stopped: why it ended early, for people; empty as long as it
    did not. written: messages that a flush brought to the disk. lost: messages that found no place to wait. size: bytes
    of the bag at the last flush.
    """

    def __init__(
        self, folder: Path, storage: str, topics: Sequence[RecordedTopic], texts: Collection[str], limits: Limits,
        on_stop: Callable[[str], None] = lambda reason: None,
    ) -> None:  # fmt: skip
        """texts: names of text files. on_stop: called with the reason, in the thread that writes."""
        self.folder = folder
        self.stopped = ""
        self.written = self.lost = self.size = 0
        self._storage, self._topics, self._limits, self._on_stop = storage, topics, limits, on_stop
        self._taken = 0
        self._files: dict[str, TextIO] = {}
        self._bag: BagWriter | None = None
        self._last_flush = time.monotonic()
        self._metadata_due = 0.0
        self._readable = ""
        self._works: queue.Queue[Callable[[], None] | None] = queue.Queue(_WAITING)
        began: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(texts, began), name="record", daemon=True)
        self._thread.start()
        began.result()

    # -- any thread ---------------------------------------------------------------------------------------------------

    def write(self, topic: str, type: str, stamp: int, data: bytes) -> None:
        """At once. stamp: nanoseconds. data: CDR."""
        self._put(partial(self._write, topic, type, stamp, data))

    def write_text(self, name: str, text: str) -> None:
        """At once, to the end of one of the texts."""
        self._put(partial(self._write_text, name, text))

    def unflushed(self) -> float:
        """Seconds for which the disk has taken nothing."""
        return time.monotonic() - self._last_flush

    def close(self) -> None:
        """Finishes the files, and returns when they are whole or given up."""
        if self._thread.is_alive():
            self._works.put(None)
            self._thread.join()

    def _put(self, work: Callable[[], None]) -> None:
        try:
            self._works.put_nowait(work)
        except queue.Full:
            self.lost += 1

    # -- the thread that writes ----------------------------------------------------------------------------------------

    def _run(self, texts: Collection[str], began: Future[None]) -> None:
        try:
            self._open(texts)
        except (BagDiskError, OSError) as error:
            self._give_up(error)
        except Exception as error:  # a folder that has a record already is the caller's mistake
            began.set_exception(error)
            return
        began.set_result(None)
        while (work := self._next()) is not None:
            if not self.stopped:
                self._guarded(work)
        if not self.stopped:
            self._guarded(self._finish)

    def _next(self) -> Callable[[], None] | None:
        """What to do: a flush if it is time, else what waits; None at the end."""
        if self.stopped:
            return self._works.get()
        wait = self._last_flush + self._limits.flush_period - time.monotonic()
        if wait <= 0:
            return self._flush
        try:
            return self._works.get(timeout=wait)
        except queue.Empty:
            return self._flush

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if self._bag is not None:
            self._bag.abandon()
        self._close_texts()
        self._stop(str(error) or repr(error))

    def _open(self, texts: Collection[str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if reason := self._beyond_limits():
            self._stop(reason)
            return
        if there := [name for name in texts if (self.folder / name).exists()]:
            raise BagError(f"{self.folder / there[0]} is there already: name another folder")
        self._bag = BagWriter(self.folder / "bag", self._storage)
        for topic in self._topics:
            self._bag.add_topic(*topic)
        for name in texts:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[name] = path.open("x", encoding="utf-8", buffering=1)
        self._bag.write_metadata()
        self._flush()

    def _write(self, topic: str, type: str, stamp: int, data: bytes) -> None:
        assert self._bag is not None
        self._bag.write(topic, type, max(0, stamp), data)
        self._taken += 1

    def _write_text(self, name: str, text: str) -> None:
        self._files[name].write(text)

    def _flush(self) -> None:
        assert self._bag is not None
        if self.written != self._taken or not self._readable:
            self._bag.flush()
            self.written, self._readable = self._taken, time.strftime("%H:%M:%S")
        now = self._last_flush = time.monotonic()
        if self.written and now >= self._metadata_due:
            self._bag.write_metadata()
            self._metadata_due = now + _METADATA_S
        if reason := self._beyond_limits():
            self._finish()
            self._stop(reason)

    def _beyond_limits(self) -> str:
        """Why the record has to end here; empty if it has not."""
        limits = self._limits
        self.size = sum(file.stat().st_size for file in self._bag.path.iterdir()) if self._bag else 0
        free = shutil.disk_usage(self.folder).free / _MB
        if free < limits.min_free:
            return f"only {free:.0f} MB of the disk are free, and min_free is {limits.min_free:g} MB"
        if limits.max_size and self.size / _MB >= limits.max_size:
            return f"the bag has {self.size / _MB:.0f} MB, and max_size is {limits.max_size:g} MB"
        return ""

    def _finish(self) -> None:
        assert self._bag is not None
        self._bag.close()
        self._close_texts()
        self.written = self._taken

    def _close_texts(self) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()

    def _stop(self, reason: str) -> None:
        kept = f"what came until {self._readable} can be read in {self.folder / 'bag'}" if self._readable else ""
        self.stopped = f"{reason}; {kept or 'nothing is recorded'}"
        self._on_stop(self.stopped)
