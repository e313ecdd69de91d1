# SPDX-License-Identifier: Apache-2.0
"""A process that records until it is killed or its disk takes no more, told what to do in one JSON argument.

`python recording_process.py '{"folder": ..., "storage": "mcap", "size": 2000, ...}'`. Messages are numbered by their
stamps. A line for each flush tells how many are on the disk; the last one, if the record stops, why and what is left.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from edgevlm_ros.bag_types import typestore
from edgevlm_ros.bags import BagReader
from edgevlm_ros.record import Limits, Record, RecordedTopic
from edgevlm_ros.unfinished_bag import whole_records

TOPIC = RecordedTopic("/said", "std_msgs/msg/String", False)


def main() -> None:
    told = json.loads(sys.argv[1])
    folder = Path(told["folder"])
    record = Record(folder, told["storage"], [TOPIC], ["said.txt"], Limits(0.02, told.get("min_free", 0.0)))
    if limit := told.get("file_limit"):  # bytes of any file: an error of the disk that needs no disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    text = typestore().types[TOPIC.type]("x" * told["size"])
    data = bytes(typestore().serialize_cdr(text, TOPIC.type))
    stamp = flushed = 0
    while not record.stopped:
        if stamp - record.written < 100 and stamp < told.get("most", sys.maxsize):
            record.write(TOPIC.name, TOPIC.type, stamp, data)
            record.write_text("said.txt", f"{stamp}\n")
            stamp += 1
        else:
            time.sleep(0.001)  # the disk's turn
        if record.written != flushed:
            flushed = record.written
            print(flushed, flush=True)
    record.close()
    left: list[int] = []
    unfinished, rest = None, 0
    if (folder / "bag").exists():
        with BagReader(folder / "bag") as bag:
            left, unfinished = [message.stamp for message in bag.records()], bag.unfinished
    for file in (folder / "bag").glob("*.mcap"):
        with file.open("rb") as mcap:
            rest = file.stat().st_size - whole_records(mcap, 8, file.stat().st_size)[-1].end
    result = {"stopped": record.stopped, "written": record.written, "left": left}
    print(json.dumps({**result, "unfinished": unfinished, "rest": rest}))


if __name__ == "__main__":
    main()
