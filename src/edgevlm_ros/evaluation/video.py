# SPDX-License-Identifier: Apache-2.0
"""Overlay frames as an H.264 file, written by a thread that never makes the graph wait.

Each picture is shown when it was captured: its time in the file is its stamp less the first one's, and the first one's
stamp stands in the file's comment, so that a frame can be found again by its stamp.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

_TICKS = 1000  # of the file's clock, per second
_WAITING = 4  # pictures; more would only hide that the encoder is too slow
_COMMENT = "first frame's stamp [ns]: "
_CODECS = {"libx264": {"preset": "veryfast", "crf": "21"}, "libopenh264": {}, "mpeg4": {"qscale:v": "3"}}

Picture = Callable[[], tuple[int, NDArray[np.uint8]]]
"""Gives a stamp in nanoseconds and an (H, W, 3) uint8 RGB image; called in the writer's thread."""


class VideoWriter:
    """path: of the file, which exists once the first picture was written. dropped: pictures that came too fast,
    or were none. error: what ended the writing early, if anything did."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        self.error: str | None = None
        self._queue: queue.Queue[Picture | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._write, name="video", daemon=True)
        self._thread.start()

    def put(self, picture: Picture) -> None:
        """Any thread, at once: a picture that finds no place is dropped."""
        try:
            self._queue.put_nowait(picture)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Finishes the file."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _write(self) -> None:
        file: _File | None = None
        while (picture := self._queue.get()) is not None:
            if self.error is not None:
                continue
            try:
                stamp, image = picture()
            except Exception:
                self.dropped += 1
                continue
            try:
                file = file or _File(self.path, stamp, image)
                file.add(stamp, image)
            except Exception as error:
                self.error = f"{self.path.name} ends early: {error}"
        if file is not None:
            try:
                file.close()
            except Exception as error:
                self.error = self.error or f"{self.path.name} could not be finished: {error}"


class _File:
    """An open video file, of the size of its first picture (less an odd row or column, which yuv420p cannot hold)."""

    def __init__(self, path: Path, stamp: int, image: NDArray[np.uint8]) -> None:
        codec = next((name for name in _CODECS if name in av.codecs_available), "mpeg4")
        self._first, self._last = stamp, -1
        self._container = av.open(str(path), "w")
        self._container.metadata["comment"] = f"{_COMMENT}{stamp}"
        stream: Any = self._container.add_stream(codec, rate=_TICKS, options=_CODECS[codec])
        stream.height, stream.width = (side - side % 2 for side in image.shape[:2])
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.thread_count = 1
        self._stream = stream

    def add(self, stamp: int, image: NDArray[np.uint8]) -> None:
        """Pictures of another size, or from before the last one, are left out."""
        time = (stamp - self._first) * _TICKS // 1_000_000_000
        height, width = self._stream.height, self._stream.width
        if time <= self._last or not (0 <= image.shape[0] - height <= 1 and 0 <= image.shape[1] - width <= 1):
            return
        self._last = time
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
        frame.pts, frame.time_base = time, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


def frames(path: Path, stamps: Collection[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The pictures of these stamps (nanoseconds) that are in the file, in order: (H, W, 3) uint8 RGB."""
    with av.open(str(path)) as container:
        comment = container.metadata.get("comment", "")
        if not comment.startswith(_COMMENT):
            return
        first = int(comment.removeprefix(_COMMENT))
        wanted = {(stamp - first) * _TICKS // 1_000_000_000: stamp for stamp in stamps}
        for frame in container.decode(video=0):
            time = round(float(frame.time or 0.0) * _TICKS)
            if time in wanted:
                yield wanted[time], frame.to_ndarray(format="rgb24")
