# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

from rcl_interfaces.msg import ParameterType
from rclpy.parameter import Parameter as RosParameter

from edgevlm_ros.nodes.parameters import Parameter, ParameterError, Parameters

TABLE = (
    Parameter("rate", 1.0, "Speed.", 0.1, 10.0, live=True),
    Parameter("mode", "slow", "Way.", choices=("slow", "fast")),
    Parameter("count", 3, "How many.", 1, 5, live=True),
    Parameter("names", [], "Of whom."),
    Parameter("kinds", ("a",), "Of what.", choices=("a", "b")),
    Parameter("seed", 0, "Of chance.", 0, 2**31 - 1),
    Parameter("deep.strength", 1.0, "How much."),
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
        (3, "front", "names = 'front': it takes a list of texts"),
        (3, [1, 2], "names = [1, 2]: it takes a list of texts"),
        (3, b"", "names = b'': it takes a list of texts"),
        (4, ["a", "c"], "kinds = ['a', 'c']: it takes some of a, b"),
        (5, -1, "seed = -1: it takes 0 to 2147483647"),
    ],
)
def test_a_bad_value_is_told_with_what_is_allowed(index: int, value: object, reason: str) -> None:
    with pytest.raises(ParameterError) as error:
        TABLE[index].check(value)
    assert str(error.value) == reason


def test_a_whole_number_serves_as_a_float_and_leaves_the_parameters_type(ros: Any) -> None:
    node = ros.node(parameter_overrides=[RosParameter("rate", value=2), RosParameter("deep.strength", value=2)])
    parameters = Parameters(node, TABLE, lambda: None, lambda: False)
    assert node.get_parameter("rate").type_ == RosParameter.Type.DOUBLE
    (result,) = node.set_parameters([RosParameter("deep.strength", value=8)])
    assert result.successful
    assert node.get_parameter("deep.strength").type_ == RosParameter.Type.DOUBLE
    assert (parameters["rate"], parameters["deep.strength"]) == (2.0, 8.0)
    assert isinstance(parameters["deep.strength"], float)


def test_an_empty_list_leaves_the_parameters_type(ros: Any) -> None:
    node = ros.node()
    parameters = Parameters(node, TABLE, lambda: None, lambda: False)
    (result,) = node.set_parameters([RosParameter("names", value=[])])
    assert result.successful
    assert node.get_parameter("names").type_ == RosParameter.Type.STRING_ARRAY
    assert parameters["names"] == []


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


@pytest.mark.parametrize("name", [parameter.name for parameter in TABLE])
def test_no_parameter_can_be_deleted(ros: Any, name: str) -> None:
    node = ros.node()
    changes: list[int] = []
    parameters = Parameters(node, TABLE, lambda: changes.append(1), lambda: False)
    before = parameters[name]
    (result,) = node.set_parameters([RosParameter(name)])
    assert not result.successful
    assert node.has_parameter(name)
    assert (parameters[name], changes) == (before, [])


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


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], []),
        (["-p", "names:=[]"], []),
        (["-p", "names:=[front]"], ["front"]),
        (["-p", "names:=[front, rear]"], ["front", "rear"]),
    ],
)
def test_an_array_of_texts_is_one_for_everybody_even_when_empty(ros: Any, words: list[str], value: list[str]) -> None:
    node = ros.node(cli_args=["--ros-args", *words] if words else None)
    parameters = Parameters(node, TABLE, lambda: None, lambda: False)
    assert parameters["names"] == value
    assert parameters["kinds"] == ["a"]
    for name in ("names", "kinds"):
        assert node.get_parameter(name).type_ is RosParameter.Type.STRING_ARRAY
        assert node.describe_parameter(name).type == ParameterType.PARAMETER_STRING_ARRAY
    (result,) = node.set_parameters([RosParameter("names", value=["left"])])
    assert result.successful
    assert parameters["names"] == ["left"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ratee", r"test has no parameter 'ratee' \(did you mean 'rate'\?\)"),
        ("Mode", r"'Mode' \(did you mean 'mode'\?\)"),
        ("strength", r"'strength' \(did you mean 'deep.strength'\?\)"),
        ("deep.strenght", r"did you mean 'deep.strength'"),
        ("use_simtime", r"did you mean 'use_sim_time'"),
        ("zzz", r"no parameter 'zzz'; what is meant for another node goes below"),
    ],
)
def test_a_misspelt_name_ends_the_start_and_the_nearest_is_told(ros: Any, name: str, told: str) -> None:
    node = ros.node(cli_args=["--ros-args", "-p", f"{name}:=1.0"])
    with pytest.raises(ParameterError, match=told):
        Parameters(node, TABLE, lambda: None, lambda: True)


def test_what_ros_itself_owns_is_no_misspelt_name(ros: Any) -> None:
    names = {
        "use_sim_time": "false",
        "start_type_description_service": "false",
        "qos_overrides./parameter_events.publisher.depth": "10",
    }
    words = [word for name, value in names.items() for word in ("-p", f"{name}:={value}")]
    Parameters(ros.node(cli_args=["--ros-args", *words]), TABLE, lambda: None, lambda: True)


def test_the_value_it_has_may_be_set_to_a_frozen_parameter(ros: Any) -> None:
    node = ros.node()
    Parameters(node, TABLE, lambda: None, lambda: True)
    (same, other) = node.set_parameters([RosParameter("mode", value="slow"), RosParameter("mode", value="fast")])
    assert same.successful
    assert not other.successful


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-p", "count:=4", "-p", "mode:=slow"], "2 of 7 parameters are set from outside; not the default: count"),
        (["-r", "__ns:=/left"], "no parameter file or option sets one of /left/test"),
    ],
)
def test_the_log_tells_what_came_from_outside(ros: Any, capfd: Any, words: list[str], told: str) -> None:
    Parameters(ros.node(cli_args=["--ros-args", *words]), TABLE, lambda: None, lambda: True)
    assert told in capfd.readouterr().err
