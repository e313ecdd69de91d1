# SPDX-License-Identifier: Apache-2.0
"""What every dataset comes down to: pictures in time, and answers that hold for a while.

The reader of a dataset knows its files and nothing of bags; the writer of bags knows nothing of datasets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.bag_types import BagError
from edgevlm_ros.transfer.types import Image, Region

EPOCH = 1_700_000_000 * 10**9
"""Stamp of the first frame, nanoseconds, where a dataset knows no date: the same files always give the same bag."""


class DatasetError(BagError):
    """Files that are not the dataset they should be; the message names the file and says what to do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """since <= stamp < until: nanoseconds in the pictures' clock. regions: pixels of the picture as it is stored."""

    since: int
    until: int
    question: str
    answer: str
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, slots=True)
class Clip:
    """One bag to be. name: its folder's. total: pictures at most, for the progress bar; None if nobody knows.

    pictures: gives (stamp in nanoseconds, image), stamps ascending. intrinsics: (3, 3) float64, of the picture as it is
    stored; None of a camera that nobody has calibrated.
    """

    name: str
    pictures: Callable[[], Iterator[tuple[int, Image]]]
    answers: tuple[Answer, ...]
    total: int | None = None
    intrinsics: NDArray[np.float64] | None = None
    frame_id: str = "camera"


def read_picture(path: Path, advice: str) -> Image | None:
    """None if it cannot be decoded. Raises DatasetError if it is not there. advice: what to do about that."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); {advice}") from error
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return None if bgr is None else np.ascontiguousarray(bgr[..., ::-1], np.uint8)
