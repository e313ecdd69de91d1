# SPDX-License-Identifier: Apache-2.0
"""The written reference tells what the nodes' tables tell."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.assets import share_dir
from edgevlm_ros.nodes import parameter_reference
from edgevlm_ros.nodes.parameter_reference import NODES, files, markdown_text

FILES = [path.relative_to(share_dir()) for path in files()]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_what_is_written_is_what_the_nodes_declare(path: Path) -> None:
    written, wanted = (share_dir() / path).read_text(), files()[share_dir() / path]
    assert written == wanted, f"write {path} anew: python -m {parameter_reference.__name__}"


def test_the_table_has_a_row_for_each_parameter_of_each_node() -> None:
    rows = [line for line in markdown_text().splitlines() if line.startswith("| `")]
    assert len(rows) == sum(map(len, NODES.values()))
    assert all(row.replace("\\|", "").count("|") == 7 for row in rows)


def test_every_parameter_is_described_and_named_once() -> None:
    for table in NODES.values():
        assert all(parameter.description.endswith(".") for parameter in table)
        assert len({parameter.name for parameter in table}) == len(table)
