# SPDX-License-Identifier: Apache-2.0
"""A node's parameters as one table: declared, described, checked, and refused with a reason."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

Value = bool | int | float | str

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


class ParameterError(ValueError):
    """A value that a parameter does not take; the message names the parameter, the value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. low, high: inclusive range of a number. choices: the strings allowed. live: may change while the
    node is configured."""

    name: str
    default: Value
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    def check(self, value: Any) -> None:
        """Raises ParameterError if the value is not allowed."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = number if isinstance(self.default, float) else type(value) is type(self.default)
        if not fits:
            raise ParameterError(f"{self.name} = {value!r}: it takes {_KINDS[type(self.default)]}")
        if self.choices and value not in self.choices:
            raise ParameterError(f"{self.name} = {value!r}: it takes one of {', '.join(self.choices)}")
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            raise ParameterError(f"{self.name} = {value!r}: it takes {self.low:g} to {self.high:g}")

    @property
    def descriptor(self) -> ParameterDescriptor:
        descriptor = ParameterDescriptor(name=self.name, description=self.description, dynamic_typing=True)
        if self.choices:
            descriptor.additional_constraints = f"one of {', '.join(self.choices)}"
        if self.low is not None and self.high is not None:
            if isinstance(self.default, float):
                descriptor.floating_point_range = [FloatingPointRange(from_value=self.low, to_value=self.high)]
            else:
                descriptor.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high), step=1)]
        return descriptor


class Parameters:
    """The declared parameters of a node, read by name.

    changed: called with the values after every accepted change of a live one. frozen: whether the others must keep
    their values now. Raises ParameterError for a bad override at start.
    """

    def __init__(
        self, node: Node, table: Sequence[Parameter], changed: Callable[[], None], frozen: Callable[[], bool]
    ) -> None:
        self._table = {parameter.name: parameter for parameter in table}
        self._values: dict[str, Any] = {}
        self._changed = changed
        self._frozen = frozen
        for parameter in table:
            # the range is told to people but checked here, where the message can say more than rclpy's does
            descriptor = parameter.descriptor
            descriptor.floating_point_range, descriptor.integer_range = [], []
            value = node.declare_parameter(parameter.name, parameter.default, descriptor).value
            parameter.check(value)
            self._values[parameter.name] = value
            node.set_descriptor(parameter.name, parameter.descriptor)
        node.add_on_set_parameters_callback(self._on_set)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def _on_set(self, changes: list[RosParameter]) -> SetParametersResult:
        ours = [change for change in changes if change.name in self._table]
        for change in ours:
            try:
                self._table[change.name].check(change.value)
            except ParameterError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if not self._table[change.name].live and self._frozen():
                reason = f"{change.name} can change only while the node is unconfigured: clean it up first"
                return SetParametersResult(successful=False, reason=reason)
        before = dict(self._values)
        self._values.update({change.name: change.value for change in ours})
        try:
            self._changed()
        except ValueError as error:
            self._values = before
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)
