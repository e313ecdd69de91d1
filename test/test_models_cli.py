# SPDX-License-Identifier: Apache-2.0
"""`edgevlm models` tells what fits, and the docs have the same table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgevlm_ros.cli import main
from edgevlm_ros.edge.catalogue import PREFERRED, catalogue
from edgevlm_ros.edge.room import MACHINES
from edgevlm_ros.models_cli import _CLASSES, classes

DOCS = Path(__file__).parents[1] / "docs" / "models.md"


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["models", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_preset_is_listed_with_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    models = listed(capsys, "--device", "cpu")["models"]
    assert {model["name"] for model in models} == {entry.name for entry in catalogue()}
    assert all(model["bytes"]["nf4"] < model["bytes"]["int8"] < model["bytes"]["none"] for model in models)


@pytest.mark.parametrize(
    ("machine", "take"),
    [
        ("orin-nano-8gb", "qwen3-vl-2b"),
        ("orin-nx-16gb", "qwen2.5-vl-7b"),
        ("cpu-16gb", "smolvlm2-256m"),
    ],
)
def test_what_to_begin_with_is_told_for_each_machine(
    machine: str, take: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listed(capsys, "--for", machine)["take"] == take
    assert main(["models", "--for", machine]) == 0
    assert f"Begin with edge_model:={take}" in capsys.readouterr().out


def test_a_device_that_is_not_here_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--device", "toaster"]) == 2
    assert "unknown device 'toaster'" in capsys.readouterr().err


def test_machines_and_preferences_are_those_there_are() -> None:
    assert tuple(MACHINES) == _CLASSES
    assert set(PREFERRED) <= {entry.name for entry in catalogue()}


def test_the_docs_have_the_table_of_presets_and_machines() -> None:
    assert classes() in DOCS.read_text()
