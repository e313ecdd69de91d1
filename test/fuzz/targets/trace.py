# SPDX-License-Identifier: Apache-2.0
"""A recorded network, in either format."""

from __future__ import annotations

import math
from itertools import pairwise

from edgevlm_ros.evaluation.traces import TraceError, read_trace
from fuzz.scratch import scratch

WORDS = (
    b"time,rtt_ms,up_kbps,loss\n",
    b"nan",
    b"-inf",
    b"1e400",
    b"0.5,",
    b'"',
    b"# ",
    b"\xef\xbb\xbf",
    b"86400000\n",
    b"\0",
)
LONGEST = 2048


def check(data: bytes) -> None:
    try:
        trace = read_trace(scratch("trace.csv", data))
    except TraceError as error:
        assert "trace.csv" in str(error)
        return
    times = [sample.time for sample in trace.samples]
    assert times[0] == 0
    assert all(first < second for first, second in pairwise(times))
    assert math.isfinite(trace.period)
    assert trace.period >= times[-1]
    for sample in trace.samples:
        assert math.isfinite(sample.rtt_ms)
        assert math.isfinite(sample.up_kbps)
        assert sample.rtt_ms >= 0
        assert sample.up_kbps >= 0
        assert 0 <= sample.loss <= 1
