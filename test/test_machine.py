# SPDX-License-Identifier: Apache-2.0
"""Where a figure was measured."""

from __future__ import annotations

from edgevlm_ros.machine import machine, versions


def test_the_machine_is_told_in_words() -> None:
    about = machine()
    assert "cores to use" in about["cpu"]
    assert about["memory"].endswith(" GiB")


def test_versions_of_what_matters_are_told() -> None:
    assert {"edgevlm_ros", "numpy"} <= set(versions())
