# SPDX-License-Identifier: Apache-2.0
"""A few seconds of a bag as a bag of its own."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from edgevlm_ros.bag_writer import BagWriter
from edgevlm_ros.bags import BagReader

_QUESTION = "edgevlm_msgs/msg/Question"


def cut(source: Path, out: Path, begin: float, end: float, without: Collection[str] = ()) -> Path:
    """From `begin` to `end` seconds of its recording, with the question that stands then. without: types left out."""
    with BagReader(source) as bag, BagWriter(out) as part:
        start, stop = (bag.start + round(seconds * 1e9) for seconds in (begin, end))
        standing = [record for record in bag.records(types=[_QUESTION]) if record.stamp <= start]
        if standing:
            part.write(standing[-1].topic, _QUESTION, start, standing[-1].data)
        for record in bag.records(start=start, stop=stop):
            if record.type not in without and (record.stamp > start or record.type != _QUESTION):
                part.write(record.topic, record.type, record.stamp, record.data)
    return out
