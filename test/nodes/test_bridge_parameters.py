# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.cloud.budget import Limits
from edgevlm_ros.cloud.delay import EmulatedDelay
from edgevlm_ros.cloud.selection import Rule
from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.nodes import bridge_parameters
from edgevlm_ros.nodes.bridge_parameters import PARAMETERS
from edgevlm_ros.nodes.parameters import ParameterError


def values(**others: Any) -> dict[str, Any]:
    return {parameter.name: parameter.default for parameter in PARAMETERS} | others


def test_every_parameter_is_described_in_a_sentence() -> None:
    assert all(parameter.description.endswith(".") for parameter in PARAMETERS)


def test_the_defaults_are_those_of_the_parts() -> None:
    assert bridge_parameters.rule(values()) == Rule()
    assert bridge_parameters.limits(values()) == Limits()
    assert bridge_parameters.emulated(values()).kind == EmulatedDelay().kind == "none"


def test_everything_about_keyframes_changes_live() -> None:
    assert all(parameter.live for parameter in PARAMETERS if parameter.name.startswith("keyframe"))


def test_periods_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"keyframes\.min_period = 11 is longer"):
        bridge_parameters.rule(values(**{"keyframes.min_period": 11.0}))


def test_eyes_are_those_of_the_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"revision 'v0' of it is not .*hf download org/none --revision v0"):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        bridge_parameters.eyes(values(upload="features", **{"features.model": "org/none", "features.revision": "v0"}))


def test_where_the_key_comes_from_is_told_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVLM_TEST_KEY", "sk-secret")
    assert bridge_parameters.key_from(values()) == ""
    assert bridge_parameters.key_from(values(api_key_env="EDGEVLM_TEST_KEY")) == "api_key_env = 'EDGEVLM_TEST_KEY'"
    assert bridge_parameters.key_from(values(api_key_file="/key")) == "api_key_file = '/key'"


def test_a_key_that_is_not_there_is_told_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="EDGEVLM_NO_SUCH_KEY"):
        bridge_parameters.client(values(api_key_env="EDGEVLM_NO_SUCH_KEY"))
