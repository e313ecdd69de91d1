# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from edgevlm_ros.nodes import edge_parameters
from edgevlm_ros.nodes.edge_parameters import PARAMETERS
from edgevlm_ros.nodes.parameters import ParameterError
from edgevlm_ros.transfer.focus import Focus
from edgevlm_ros.transfer.history import Replacement


def values(**others: Any) -> dict[str, Any]:
    return {parameter.name: parameter.default for parameter in PARAMETERS} | others


def test_every_parameter_is_described_in_a_sentence() -> None:
    assert all(parameter.description.endswith(".") for parameter in PARAMETERS)


def test_the_defaults_are_those_of_the_method() -> None:
    assert edge_parameters.replacement(values()) == Replacement()
    assert edge_parameters.focus(values(**{"focus.beta": Focus().beta})) == Focus()


def test_no_name_is_the_camera_of_the_namespace() -> None:
    assert edge_parameters.camera_names(values()) == ("",)
    assert edge_parameters.camera_names(values(cameras=["front", "left/rear"])) == ("front", "left/rear")


@pytest.mark.parametrize("name", ["", "/front", "front/", "a b", "1st", "~", "a//b"])
def test_a_name_that_cannot_stand_before_a_topic_is_named(name: str) -> None:
    with pytest.raises(ParameterError, match="letters, digits and _"):
        edge_parameters.camera_names(values(cameras=["front", name]))


def test_a_server_is_not_asked_for_the_bundled_model() -> None:
    assert edge_parameters.served_settings(values(server_url="http://127.0.0.1:9/v1")).model == ""
    assert edge_parameters.served_settings(values(server_url="http://127.0.0.1:9/v1", model="big")).model == "big"


def test_how_long_a_server_may_take_is_a_parameter() -> None:
    assert edge_parameters.served_settings(values(server_timeout=30.0)).timeout == 30.0


def test_choices_that_cannot_be_are_refused_with_a_reason() -> None:
    assert edge_parameters.choices(values()) == ()
    assert edge_parameters.choices(values(choices=["left", "right"])) == ("left", "right")
    with pytest.raises(ParameterError, match="choices has 'left' twice"):
        edge_parameters.choices(values(choices=["left", "left"]))


def test_layers_are_all_or_indices() -> None:
    assert edge_parameters.engine_settings(values()).focus_layers == ()
    assert edge_parameters.engine_settings(values(**{"focus.layers": "2, 3"})).focus_layers == (2, 3)
    with pytest.raises(ParameterError, match="'all' or indices"):
        edge_parameters.engine_settings(values(**{"focus.layers": "some"}))
