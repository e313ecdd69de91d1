# SPDX-License-Identifier: Apache-2.0
"""What `edgevlm bag` says of a bag."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros import cli
from edgevlm_ros.bag_types import typestore
from edgevlm_ros.bag_writer import BagWriter

STRING = "std_msgs/msg/String"


def record(folder: Path) -> BagWriter:
    """A recorder's folder whose bag nobody has closed yet."""
    bag = BagWriter(folder / "bag")
    for stamp in range(3):
        bag.write_message("/said", typestore().types[STRING]("hello"), stamp * 10**9)
    bag.write_metadata()
    bag.flush()
    return bag


def test_a_bag_that_is_still_written_is_shown_and_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = record(tmp_path)
    assert cli.main(["bag", "info", str(tmp_path / "bag")]) == 0
    said = capsys.readouterr().out
    assert "2.0 s, 3 messages" in said
    assert "not closed: its writer was killed, ran out of disk, or still writes" in said
    writer.close()
    assert cli.main(["bag", "info", str(tmp_path / "bag")]) == 0
    assert "not closed" not in capsys.readouterr().out


def test_a_recorders_folder_stands_for_its_bag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path).close()
    assert cli.main(["bag", "info", str(tmp_path)]) == 0
    assert f"{tmp_path / 'bag'}: 2.0 s" in capsys.readouterr().out


def test_what_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path).close()
    metadata = tmp_path / "bag" / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("relative_file_paths:\n", "relative_file_paths:\n  - lost.mcap\n"))
    assert cli.main(["bag", "info", str(tmp_path / "bag")]) == 0
    assert "left out: lost.mcap is missing" in capsys.readouterr().out
