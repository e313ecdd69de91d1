# SPDX-License-Identifier: Apache-2.0
"""What is taken by name, at which commit."""

from __future__ import annotations

import re

import pytest

from edgevlm_ros.edge.catalogue import Entry, catalogue, pinned_revision


@pytest.mark.parametrize("entry", catalogue(), ids=lambda entry: entry.name)
def test_every_preset_pins_a_commit_which_never_moves_under_a_robot(entry: Entry) -> None:
    assert re.fullmatch("[0-9a-f]{40}", entry.revision)
    assert pinned_revision(entry.model) == entry.revision


def test_no_two_presets_pin_the_same_commit() -> None:
    revisions = [entry.revision for entry in catalogue()]
    assert len(set(revisions)) == len(revisions)


def test_a_hub_id_without_a_preset_is_taken_from_its_branch() -> None:
    assert pinned_revision("llava-hf/llava-1.5-7b-hf") == "main"
