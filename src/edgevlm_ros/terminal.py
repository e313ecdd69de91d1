# SPDX-License-Identifier: Apache-2.0
"""The demo in a terminal: a live line while it runs, a table at its end."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

_LIVE_EVERY_S = 0.5
_LINE_EVERY_S = 10.0  # where nobody watches


class Progress:
    """A live line in a terminal; a line now and then elsewhere. start: of the bag, nanoseconds; seconds: its length."""

    def __init__(self, observer: Any, start: int, seconds: float) -> None:
        self._observer = observer
        self._start = start
        self._length = seconds
        self._live = sys.stdout.isatty()
        self._next = 0.0

    def show(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_LIVE_EVERY_S if self._live else _LINE_EVERY_S)
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{self._line()[:width]:<{width}}", end="", flush=True)
        else:
            print(self._line(), flush=True)

    def end(self) -> None:
        self._next = 0.0
        self.show()
        if self._live:
            print()

    def _line(self) -> str:
        heard, length = self._observer, self._length
        second = min(max((heard.stamp - self._start) / 1e9, 0.0), length)
        answer = "no answer yet"
        if heard.answer is not None:
            text = " ".join(heard.answer.text.split())[:40]
            text = "".join(letter for letter in text if letter.isprintable())
            answer = f'"{text}" after {heard.answer.frame_age * 1e3:.0f} ms'
        cloud = f"cloud {heard.replies['ok']} ok, {heard.replies['failed']} failed"
        return f"{second:5.1f} / {length:.1f} s  {heard.rate:4.1f} answers/s  {cloud}  {answer}"


def print_table(summary: dict[str, Any], out: Path, seconds: float) -> None:
    frames, cloud, accuracy = summary["frames"], summary["cloud"], summary["streaming_accuracy"]
    age, inference, overhead = summary["answer_age_ms"], summary["inference_time_ms"], summary["overhead_ms"]
    overall = accuracy["overall"]
    rows = {
        "frames": f"{frames['answered']} answered of {frames['seen']} seen, {frames['dropped']} dropped",
        "answer age": f"p50 {_ms(age['p50'])}, p95 {_ms(age['p95'])}",
        "inference": f"p50 {_ms(inference['p50'])}, p95 {_ms(inference['p95'])}; overhead p95 {_ms(overhead['p95'])}",
        "cloud": f"{cloud['requests']} requests, {cloud['replies']['ok']} answered, "
        f"{summary['contexts']['applied']} contexts applied",
        "streaming accuracy": f"{100 * overall['exact']:.1f} % exact, {100 * overall['parts']:.1f} % of the parts"
        if overall
        else f"not scored: {accuracy['reason']}",
        "report": shown(out / "report.html"),
    }
    print(f"done in {seconds:.0f} s")
    for name, text in rows.items():
        print(f"  {name:<20}{text}")
    if summary["note"]:
        print(f"  {'note':<20}{summary['note']}")


def shown(path: Path) -> str:
    """Relative to where one is, if that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
