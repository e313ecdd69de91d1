# SPDX-License-Identifier: Apache-2.0
"""The shipped traces are what their generator makes, and they differ as their names say."""

from pathlib import Path
from statistics import median

import pytest

from edgevlm_ros.evaluation.synthetic_traces import LINKS, main, make
from edgevlm_ros.evaluation.traces import traces_dir


def test_the_committed_files_are_what_the_generator_writes(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in traces_dir().iterdir())
    for made in tmp_path.iterdir():
        assert made.read_text() == (traces_dir() / made.name).read_text(), f"write {made.name} anew"


@pytest.mark.parametrize("name", LINKS)
def test_each_file_says_that_it_was_not_recorded(name: str) -> None:
    assert (traces_dir() / f"{name}.csv").read_text().startswith("# synthetic, not recorded")


def test_an_edge_server_is_nearer_than_one_behind_4g() -> None:
    assert median(s.rtt_ms for s in make("5g_edge")) < 30 < median(s.rtt_ms for s in make("4g_drive"))


def test_a_tunnel_cuts_the_link_for_longer_than_a_handover() -> None:
    def longest(name: str) -> int:
        run = most = 0
        for sample in make(name):
            run = run + 1 if sample.loss == 1.0 else 0
            most = max(most, run)
        return most

    assert longest("tunnel") > 28 > 8 >= longest("wifi_roaming") > longest("4g_drive") > longest("5g_edge") == 0
