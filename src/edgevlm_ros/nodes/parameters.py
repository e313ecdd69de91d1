# SPDX-License-Identifier: Apache-2.0
"""A node's parameters as one table: declared, described, checked, and refused with a reason.

ROS itself takes any key of a parameter file and says nothing of those that no node has: here a misspelt one ends the
start, and a file that names another node shows in the log.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from edgevlm_ros.nearest import suggestion

Value = bool | int | float | str | Sequence[str]

_KINDS = {
    ParameterType.PARAMETER_BOOL: "true or false",
    ParameterType.PARAMETER_INTEGER: "a whole number",
    ParameterType.PARAMETER_DOUBLE: "a number",
    ParameterType.PARAMETER_STRING: "text",
    ParameterType.PARAMETER_STRING_ARRAY: "a list of texts",
}
_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
    list: ParameterType.PARAMETER_STRING_ARRAY,
    tuple: ParameterType.PARAMETER_STRING_ARRAY,
}
# What a parameter file may set of any node although not every distribution declares it.
_OF_ROS = ("use_sim_time", "start_type_description_service")
_OF_ROS_PREFIX = "qos_overrides."


class ParameterError(ValueError):
    """A value that a parameter does not take; the message names the parameter, the value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. default: a list or tuple makes it a string array. low, high: inclusive range of a number.
    choices: the strings allowed, in an array too. live: may change while the node is configured."""

    name: str
    default: Value
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    @property
    def type(self) -> int:
        """One of the constants of rcl_interfaces/msg/ParameterType."""
        return _TYPES[type(self.default)]

    def check(self, value: Any) -> Any:
        """The value as it is kept. Raises ParameterError if it is not allowed."""
        if self.type == ParameterType.PARAMETER_STRING_ARRAY:
            return self._check_array(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = number if isinstance(self.default, float) else type(value) is type(self.default)
        if not fits:
            raise self._refusal(value, _KINDS[self.type])
        if self.choices and value not in self.choices:
            raise self._refusal(value, self.range)
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            raise self._refusal(value, self.range)
        return float(value) if isinstance(self.default, float) else value

    def _check_array(self, value: Any) -> list[str]:
        values = [] if value is None else value  # an empty list in a parameter file has no type and comes as nothing
        if isinstance(values, str | bytes) or not isinstance(values, Sequence):
            raise self._refusal(value, _KINDS[self.type])
        if not all(isinstance(item, str) for item in values):
            raise self._refusal(value, _KINDS[self.type])
        if self.choices and not set(values) <= set(self.choices):
            raise self._refusal(value, self.range)
        return list(values)

    def _refusal(self, value: Any, allowed: str) -> ParameterError:
        return ParameterError(f"{self.name} = {value!r}: it takes {allowed}")

    def as_ros(self, value: Any) -> RosParameter:
        """A checked value, of this type: a whole number comes as an integer, and rclpy takes an empty list for bytes
        (ros2/rclpy#912) or for no value at all."""
        return RosParameter(self.name, RosParameter.Type(self.type), value)

    @property
    def range(self) -> str:
        """What is allowed besides the type, in words; empty if anything is."""
        if self.choices:
            some = "some" if self.type == ParameterType.PARAMETER_STRING_ARRAY else "one"
            return f"{some} of {', '.join(self.choices)}"
        if self.low is not None and self.high is not None:
            return f"{_number(self.low)} to {_number(self.high)}"
        return ""

    @property
    def descriptor(self) -> ParameterDescriptor:
        # dynamic typing lets a whole number serve as a float; the type is told to people
        descriptor = ParameterDescriptor(
            name=self.name, type=self.type, description=self.description, dynamic_typing=True
        )
        if self.choices:
            descriptor.additional_constraints = self.range
        if self.low is not None and self.high is not None:
            if isinstance(self.default, float):
                descriptor.floating_point_range = [FloatingPointRange(from_value=self.low, to_value=self.high)]
            else:
                descriptor.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high), step=1)]
        return descriptor


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


class Values(Protocol):
    """Parameters by name: those of a node, or a plain mapping."""

    def __getitem__(self, name: str) -> Any: ...


class Parameters:
    """The declared parameters of a node, read by name.

    changed: called with the values after every accepted change of a live one. frozen: whether the others must keep
    their values now. Raises ParameterError for a bad override at start, and for one of a parameter that the node does
    not have.
    """

    def __init__(
        self, node: Node, table: Sequence[Parameter], changed: Callable[[], None], frozen: Callable[[], bool]
    ) -> None:
        self._table = {parameter.name: parameter for parameter in table}
        self._values: dict[str, Any] = {}
        self._changed = changed
        self._frozen = frozen
        given = node._parameter_overrides  # rclpy has no public way to them that would not declare what is unknown
        self._check_names(node, given)
        for parameter in table:
            # the range is told to people but checked here, where the message can say more than rclpy's does
            descriptor = parameter.descriptor
            descriptor.floating_point_range, descriptor.integer_range = [], []
            found = node.declare_parameter(parameter.name, parameter.default, descriptor)
            value = parameter.check(found.value)
            if found.type_.value != parameter.type:
                node.set_parameters([parameter.as_ros(value)])
            self._values[parameter.name] = value
            node.set_descriptor(parameter.name, parameter.descriptor)
        node.get_logger().info(self._told(node, [name for name in self._table if name in given]))
        node.add_on_set_parameters_callback(self._on_set)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def _check_names(self, node: Node, given: Collection[str]) -> None:
        known = {*self._table, *_OF_ROS, *(name for name in given if node.has_parameter(name))}
        strange = [name for name in given if name not in known and not name.startswith(_OF_ROS_PREFIX)]
        unknown = [suggestion(name, known) for name in strange]
        if unknown:
            raise ParameterError(
                f"{node.get_name()} has no parameter {', '.join(unknown)}; "
                "what is meant for another node goes below that node's name"
            )

    def _told(self, node: Node, given: Sequence[str]) -> str:
        """What was set from outside, in a line: silence of a file that names another node is not success."""
        if not given:
            name = node.get_fully_qualified_name()
            return f"all parameters have their defaults: no parameter file or option sets one of {name}"
        changed = [name for name in given if self._values[name] != self._table[name].check(self._table[name].default)]
        # names only: a value may be a key that stands in the wrong place
        others = f"not the default: {', '.join(changed)}" if changed else "all are the defaults"
        return f"{len(given)} of {len(self._table)} parameters are set from outside; {others}"

    def _on_set(self, changes: list[RosParameter]) -> SetParametersResult:
        taken: dict[str, Any] = {}
        for index, change in enumerate(changes):
            if change.name not in self._table:
                continue
            if change.type_ == RosParameter.Type.NOT_SET:  # rclpy would forget the parameter, whatever its type
                reason = f"{change.name} cannot be deleted: set it to another value"
                return SetParametersResult(successful=False, reason=reason)
            try:
                taken[change.name] = self._table[change.name].check(change.value)
                changes[index] = self._table[change.name].as_ros(taken[change.name])  # rclpy keeps what the list holds
            except ParameterError as error:
                return SetParametersResult(successful=False, reason=str(error))
            same = taken[change.name] == self._values[change.name]
            if not same and not self._table[change.name].live and self._frozen():
                reason = f"{change.name} can change only while the node is unconfigured: clean it up first"
                return SetParametersResult(successful=False, reason=reason)
        before = dict(self._values)
        self._values.update(taken)
        try:
            self._changed()
        except ValueError as error:
            self._values = before
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)
