"""The parameters of models, blocks and functions: their values, defaults and types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from netdsl.diagnostics import Label
from netdsl.elaborate.statements import Statements
from netdsl.elaborate.values import POISON, Argument, in_words, is_list, is_stage
from netdsl.ir.dims import Expr
from netdsl.source import Span
from netdsl.syntax import tree


class Parameters(Statements):
    """Declares the parameters of what is about to run."""

    def bind_arguments(
        self, parameters: Sequence[tree.Parameter], values: Mapping[str, Any], bound: Mapping[str, Argument]
    ) -> list[tuple[str, Any]]:
        """Declare the parameters: those given, and the defaults of the others, which may use those before them."""
        arguments: list[tuple[str, Any]] = []
        for parameter in parameters:
            name = parameter.name.id
            if name in values:
                value, place = values[name], bound[name].span if name in bound else parameter.span
            elif parameter.default is not None:
                value, place = self.value(parameter.default), parameter.default.span
            else:
                value, place = POISON, parameter.span
            value = self._typed(parameter, value, place)
            self.scope.declare(name, value, parameter.name.span, "parameter")
            arguments.append((name, value))
        return arguments

    def _typed(self, parameter: tree.Parameter, value: Any, place: Span) -> Any:
        if parameter.type is None or value is POISON:
            return value
        known = _TYPES.get(parameter.type.id)
        if known is None:
            return self.unknown_name(parameter.type.id, parameter.type.span, list(_TYPES), "type")
        words, fits = known
        if fits(value):
            return float(value) if parameter.type.id == "float" else value
        return self.error(
            "E0303",
            f"`{parameter.name.id}` takes {words}, found {in_words(value)}",
            place,
            also=[Label(parameter.span, "declared here")],
        )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | Expr) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


# The types of the language: in words, and what has them.
_TYPES: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "int": ("an integer", _is_integer),
    "float": ("a number", _is_number),
    "bool": ("`True` or `False`", _is_truth),
    "str": ("a string", _is_string),
    "list": ("a list", is_list),
    "layer": ("a layer", is_stage),
}
