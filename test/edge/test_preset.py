# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm_ros.edge.preset import Preset, load_preset, preset_file, save_preset


def test_a_preset_lies_beside_the_weights_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert save_preset(str(tmp_path), Preset(1.5, "measured so")) == tmp_path / "edgevlm.json"
    assert load_preset(str(tmp_path)) == Preset(1.5, "measured so")


def test_that_of_a_hub_id_lies_in_the_users_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load_preset("Some/Model") == Preset()
    file = save_preset("Some/Model", Preset(0.5))
    assert file == tmp_path / "edgevlm" / "presets" / "Some--Model.json"
    assert load_preset("Some/Model").beta == 0.5


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"beta": "much"}', '{"beta": null}', '{"beta": 1, "choice_temperature": 0}', '"beta"'],
)
def test_one_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    preset_file(str(tmp_path)).write_text(text)
    assert load_preset(str(tmp_path)) == Preset()
