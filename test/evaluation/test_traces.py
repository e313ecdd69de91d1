# SPDX-License-Identifier: Apache-2.0
"""Recorded networks: what is right in a file is read, what is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgevlm_ros.evaluation.traces import PACKET_BYTES, Sample, TraceError, bundled_traces, load_trace, read_trace

HEADER = "time,rtt_ms,up_kbps,loss\n"
one_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "mine.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_csv_starts_at_zero_and_its_last_row_lasts_as_long_as_the_one_before(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "# made up\n" + HEADER + "100,50,8000,0\n\n102,60,4000,0.5\n"))
    assert trace.samples == (Sample(0.0, 50.0, 8000.0, 0.0), Sample(2.0, 60.0, 4000.0, 0.5))
    assert (trace.name, trace.period, trace.problems) == ("mine", 4.0, ())


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "cell, loss ,up_kbps,rtt_ms,time\nA,0.1,900,40,0\n"))
    assert trace.samples == (Sample(0.0, 40.0, 900.0, 0.1),)


def test_a_csv_without_a_column_says_which(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"mine.csv, line 2: no column rtt_ms, loss; .*time,rtt_ms,up_kbps,loss"):
        read_trace(written(tmp_path, "# x\ntime,up_kbps\n0,1\n"))


def test_wrong_rows_are_skipped_and_named_with_their_line(tmp_path: Path) -> None:
    rows = [
        "0,50,8000,0",
        "1,-5,8000,0",
        "2,50,,0",
        "3,50,8000,0",
        "2.5,50,8000,0",
        "4,50,8000,0",
        "5,50,8000,2",
        "6,5",
    ]
    more = ["7,50,fast,0", "8,nan,8000,0", *(f"{time},50,8000,0" for time in range(9, 14))]
    trace = read_trace(written(tmp_path, HEADER + "\n".join(rows + more)))
    assert [sample.time for sample in trace.samples] == [0, 3, 4, 9, 10, 11, 12, 13]
    assert trace.problems == (
        "row skipped, rtt_ms is negative: once (line 3)",
        "row skipped, up_kbps is missing: 2 times (line 4, line 9)",
        "row skipped, its time is not after the one before: once (line 6)",
        "row skipped, loss is more than 1: once (line 8)",
        "row skipped, up_kbps is no number: once (line 10)",
        "row skipped, rtt_ms is no number: once (line 11)",
    )


def test_more_wrong_than_right_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        TraceError, match=r"2 rows are wrong and 1 right .*rtt_ms is negative: 2 times \(line 3, line 4\)"
    ):
        read_trace(written(tmp_path, HEADER + "0,1,1,0\n1,-1,1,0\n2,-1,1,0\n"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "nothing in it"),
        ("# only a comment\n", "nothing in it"),
        (HEADER, "0 rows are wrong and 0 right"),
        (b"\xff\xfe\x00", "no text"),
        ("0\n0\n", "0 s long"),
        (HEADER + "0,1,1,0\n0.001,1,1,0\n", "0.002 s long"),
        ("hello\nworld\n", "no whole number of milliseconds: 2 times"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(TraceError, match=said):
        read_trace(written(tmp_path, content))


def test_a_missing_file_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"cannot be read .*4g_drive"):
        load_trace(str(tmp_path / "no.csv"))


def test_mahimahi_packets_become_a_rate(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "0\n10\n10\n120\n250\n"))
    kbps = [sample.up_kbps for sample in trace.samples]
    assert kbps == [3 * PACKET_BYTES * 8 / 100, PACKET_BYTES * 8 / 100, PACKET_BYTES * 8 / 50]
    assert trace.period == 0.25


def test_a_day_without_a_packet_is_one_row(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "0\n86400000\n"))
    kbps = PACKET_BYTES * 8 / 100
    assert [(sample.time, sample.up_kbps) for sample in trace.samples] == [(0.0, kbps), (0.1, 0.0), (86399.9, kbps)]


def test_mahimahi_times_that_go_back_are_skipped(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "100\n50\n-3\n200\n300\n"))
    assert trace.problems == (
        "row skipped, its time is not after the one before: once (line 2)",
        "row skipped, its time is negative: once (line 3)",
    )
    assert trace.period == 0.3


@one_file
@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=200).map(sorted).filter(lambda times: times[-1] >= 100))
def test_mahimahi_loses_no_packet(tmp_path: Path, times: list[int]) -> None:
    trace = read_trace(written(tmp_path, "\n".join(map(str, times))))
    ends = [sample.time for sample in trace.samples[1:]] + [trace.period]
    bits = sum(s.up_kbps * 1000 * (end - s.time) for s, end in zip(trace.samples, ends, strict=True))
    assert bits == pytest.approx(len(times) * PACKET_BYTES * 8)


numbers = st.floats(0, 1e6, allow_nan=False)


@one_file
@given(st.lists(st.tuples(numbers, numbers, st.floats(0, 1)), min_size=1, max_size=30), st.floats(0.1, 10))
def test_csv_comes_back_as_it_was_written(tmp_path: Path, rows: list[tuple[float, float, float]], step: float) -> None:
    samples = tuple(Sample(index * step, *row) for index, row in enumerate(rows))
    text = HEADER + "".join(f"{s.time!r},{s.rtt_ms!r},{s.up_kbps!r},{s.loss!r}\n" for s in samples)
    trace = read_trace(written(tmp_path, text))
    assert (trace.samples, trace.problems) == (samples, ())


cells = st.one_of(st.integers(-3, 9).map(str), st.sampled_from(["", "nan", "-inf", "1e400", "x", '"', "0.5"]))
junk = st.lists(st.lists(cells, max_size=5).map(",".join), max_size=12).map("\n".join)


@one_file
@given(st.one_of(junk, junk.map(lambda rows: HEADER + rows), st.binary(max_size=80)))
def test_whatever_a_file_holds_a_trace_comes_out_that_can_be(tmp_path: Path, content: str | bytes) -> None:
    try:
        trace = read_trace(written(tmp_path, content))
    except TraceError as error:
        assert "mine.csv" in str(error)
        return
    times = [sample.time for sample in trace.samples]
    assert times[0] == 0
    assert times == sorted(set(times))
    assert trace.period >= times[-1]
    assert all(s.rtt_ms >= 0 and s.up_kbps >= 0 and 0 <= s.loss <= 1 for s in trace.samples)


def test_every_bundled_trace_is_whole_and_says_that_it_is_synthetic() -> None:
    assert bundled_traces() == ["4g_drive", "5g_edge", "tunnel", "wifi_roaming"]
    for name in bundled_traces():
        trace = load_trace(name)
        assert (trace.problems, trace.period, len(trace.samples)) == ((), 300.0, 600)
