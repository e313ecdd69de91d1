# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from rclpy.parameter import Parameter as RosParameter

from edgevlm_ros.nodes.parameters import Parameter, ParameterError, Parameters

TABLE = (
    Parameter("rate", 1.0, "Speed.", 0.1, 10.0, live=True),
    Parameter("mode", "slow", "Way.", choices=("slow", "fast")),
    Parameter("count", 3, "How many.", 1, 5, live=True),
)


@pytest.mark.parametrize(
    ("index", "value", "reason"),
    [
        (0, 0.0, "rate = 0.0: it takes 0.1 to 10"),
        (0, float("nan"), "rate = nan: it takes 0.1 to 10"),
        (0, "quick", "rate = 'quick': it takes a number"),
        (0, True, "rate = True: it takes a number"),
        (1, "medium", "mode = 'medium': it takes one of slow, fast"),
        (2, 2.5, "count = 2.5: it takes a whole number"),
        (2, 9, "count = 9: it takes 1 to 5"),
    ],
)
def test_a_bad_value_is_told_with_what_is_allowed(index: int, value: object, reason: str) -> None:
    with pytest.raises(ParameterError) as error:
        TABLE[index].check(value)
    assert str(error.value) == reason


def test_a_whole_number_serves_as_a_float() -> None:
    TABLE[0].check(2)


def test_live_parameters_change_and_others_wait_until_they_are_free(ros: Any) -> None:
    node = ros.node()
    frozen, changes = [True], []
    parameters = Parameters(node, TABLE, lambda: changes.append(1), lambda: frozen[0])
    assert parameters["rate"] == 1.0
    (result,) = node.set_parameters([RosParameter("rate", value=2.0)])
    assert result.successful
    assert parameters["rate"] == 2.0
    assert changes == [1]
    (result,) = node.set_parameters([RosParameter("mode", value="fast")])
    assert "unconfigured" in result.reason
    frozen[0] = False
    (result,) = node.set_parameters([RosParameter("mode", value="fast")])
    assert result.successful
    assert node.describe_parameter("rate").floating_point_range[0].to_value == 10.0
    assert node.describe_parameter("mode").additional_constraints == "one of slow, fast"


def test_a_change_that_the_owner_refuses_is_taken_back(ros: Any) -> None:
    def refuse() -> None:
        raise ParameterError("not now")

    node = ros.node()
    parameters = Parameters(node, TABLE, refuse, lambda: False)
    (result,) = node.set_parameters([RosParameter("count", value=5)])
    assert result.reason == "not now"
    assert parameters["count"] == 3


def test_a_bad_override_at_start_is_an_error(ros: Any) -> None:
    node = ros.node(parameter_overrides=[RosParameter("rate", value=99.0)])
    with pytest.raises(ParameterError, match=r"rate = 99.0: it takes 0.1 to 10"):
        Parameters(node, TABLE, lambda: None, lambda: True)
