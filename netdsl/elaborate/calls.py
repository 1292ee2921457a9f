"""Calls: of layers and blocks (which make templates), of tensor functions, of `fn`s and built-ins, and `fork`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from netdsl.elaborate import static
from netdsl.elaborate.arguments import Bound, bind, name_of, unknown_argument
from netdsl.elaborate.expressions import Expressions
from netdsl.elaborate.static import StaticError
from netdsl.elaborate.values import (
    POISON,
    Argument,
    Builtin,
    Declared,
    Fork,
    Function,
    Identity,
    Placeable,
    Template,
    holds_tensor,
    in_words,
    is_list,
    is_operation,
    is_stage,
    is_tensor,
)
from netdsl.ops.base import Op, operands_of, registry
from netdsl.source import Span
from netdsl.syntax import tree


class Calls(Expressions):
    """What a call is worth. `stage` position differs: there a function waits for the value that flows in."""

    def call(self, expr: tree.Call) -> Any:
        return self._call_of(expr, in_stage=False)

    def stage_call(self, expr: tree.Call) -> Any:
        return self._call_of(expr, in_stage=True)

    def _call_of(self, expr: tree.Call, *, in_stage: bool) -> Any:
        if (
            isinstance(expr.function, tree.Name)
            and expr.function.id == "fork"
            and self.scope.find("fork") is None
        ):
            return self._fork(expr)
        callee = self.value(expr.function)
        arguments = self.arguments(expr)
        if callee is POISON:
            return POISON
        if isinstance(callee, Function):
            return self._call_function(callee, arguments, expr)
        if isinstance(callee, Builtin):
            tensor = callee.tensor
            if tensor is None or not (in_stage or any(holds_tensor(a.value) for a in arguments)):
                return self._call_builtin(callee, arguments, expr)
            callee = tensor
        if isinstance(callee, Template | Declared) or is_operation(callee):
            return self._extend(callee, arguments, expr, in_stage=in_stage)
        if isinstance(callee, Identity) and not expr.arguments:
            return callee
        if is_tensor(callee):
            return self.error("E0307", "a tensor cannot be called", expr.function.span)
        return self.error("E0307", f"{in_words(callee)} cannot be called", expr.function.span)

    def arguments(self, expr: tree.Call) -> list[Argument]:
        """The arguments of a call, evaluated, lists after `*` spliced."""
        arguments: list[Argument] = []
        for argument in expr.arguments:
            if isinstance(argument, tree.Keyword):
                arguments.append(Argument(argument.name, self.value(argument.value), argument.span))
            elif isinstance(argument, tree.Splice):
                spliced: list[Any] = []
                if self.splice(argument, spliced):
                    arguments.extend(Argument(None, value, argument.span) for value in spliced)
                else:
                    arguments.append(Argument(None, POISON, argument.span))
            else:
                arguments.append(Argument(None, self.value(argument), argument.span))
        return arguments

    # -- templates and functions on tensors

    def _extend(self, callee: Any, arguments: list[Argument], expr: tree.Call, *, in_stage: bool) -> Any:
        """A template with the arguments added, or the result where a function has all its operands."""
        earlier: tuple[Argument, ...] = ()
        if isinstance(callee, Template):
            callee, earlier = callee.callee, callee.arguments
        merged = merge_arguments(earlier, arguments)
        if isinstance(callee, Declared):
            self._check_names(callee, merged)
            template = Template(callee, merged, expr.function.span, self.session.calls())
            return self.measured(template, expr.span)
        if in_stage or callee.is_layer or not self._has_operands(callee, merged):
            template = Template(callee, merged, expr.function.span, self.session.calls())
            return self.measured(template, expr.span) if self._fits(callee, template) else POISON
        bound = bind(self.session, callee, (), merged)
        return self.place_operation(callee, bound, expr.function.span, None)

    def _has_operands(self, cls: type[Op], arguments: Sequence[Argument]) -> bool:
        names = operands_of(cls)
        given = sum(1 for a in arguments if holds_tensor(a.value) or a.name in names.names)
        if cls.takes_scalars and given:
            given += sum(1 for a in arguments if a.name is None and not holds_tensor(a.value))
        if any(a.value is POISON and (a.name is None or a.name in names.names) for a in arguments):
            return True
        return given >= max(names.required, 1 if names.rest else 0) if names.names or names.rest else True

    def _fits(self, cls: type[Op], template: Template) -> bool:
        """Whether a template's argument names are right; wrong ones are reported where they are written."""
        before = len(self.session.report)
        if cls.is_layer:
            bind(self.session, cls, (), template.arguments)
        return len(self.session.report) == before

    def _check_names(self, declared: Declared, arguments: Sequence[Argument]) -> None:
        names = [p.name.id for p in declared.decl.parameters]
        for argument in arguments:
            if argument.name is not None and argument.name not in names:
                unknown_argument(self.session, declared.name, argument.name, name_of(argument), names)

    @abstractmethod
    def place_operation(self, cls: type[Op], bound: Bound, span: Span, label: str | None) -> Any:
        """Make a node of an operation and its operands; POISON where something does not fit."""

    def apply_operation(self, kind: str, operands: list[tuple[Any, Span]], span: Span) -> Any:
        """An operator, such as `+`, on operands of which at least one is a tensor."""
        return self.place_operation(registry[kind], Bound(operands=list(operands)), span, None)

    # -- fork

    def _fork(self, expr: tree.Call) -> Any:
        branches: list[Placeable] = []
        for argument in expr.arguments:
            if isinstance(argument, tree.Keyword):
                self.error(
                    "E0301",
                    f"`fork` has no argument `{argument.name}`",
                    argument.span,
                    help=f"a label takes a colon: `{argument.name}: {argument.value.span.text}`",
                )
                continue
            branches += self._branches(argument)
        if not branches:
            return self.error("E0302", "`fork` needs at least one branch", expr.span)
        if any(b.stage is POISON for b in branches):
            for branch in branches:
                self.forget(branch.stage)
            return POISON
        return self.measured(Fork(tuple(branches)), expr.span)

    def _branches(self, argument: tree.Expr) -> list[Placeable]:
        if not isinstance(argument, tree.Splice):
            return [Placeable(self.stage(argument), argument.span)]
        value = self.value(argument.value)
        if is_list(value) and is_stage(value):
            return [Placeable(item, argument.span) for item in value]
        if value is not POISON:
            self.error("E0307", f"`*` splices a list of stages, found {in_words(value)}", argument.span)
        return [Placeable(POISON, argument.span)]

    # -- static functions

    def _call_builtin(self, callee: Builtin, arguments: list[Argument], expr: tree.Call) -> Any:
        refused = is_tensor if callee.name in static.STRUCTURAL else holds_tensor
        for argument in arguments:
            if refused(argument.value):
                return self.error(
                    "E0307", f"`{callee.name}` works on static values, but this is a tensor", argument.span
                )
            self.measured(argument.value, argument.span)
        positional = [a.value for a in arguments if a.name is None]
        named = {a.name: a.value for a in arguments if a.name is not None}
        try:
            result = static.call_builtin(callee.name, callee.call, positional, named)
            return self.measured(result, expr.span)
        except StaticError as problem:
            return self.static_error(problem, expr.span)

    def _call_function(self, callee: Function, arguments: list[Argument], expr: tree.Call) -> Any:
        bound = bind_parameters(
            self, callee.decl.name.id, callee.decl.parameters, arguments, expr.function.span
        )
        if bound is None:
            return POISON
        for argument in arguments:
            if holds_tensor(argument.value):
                return self.error(
                    "E0307", f"`{callee}` computes static values, but this is a tensor", argument.span
                )
        return self.run_function(callee, bound, expr.span)

    @abstractmethod
    def run_function(self, callee: Function, bound: Mapping[str, Argument], span: Span) -> Any:
        """The value of an `fn` for these arguments, or POISON."""


def merge_arguments(earlier: Sequence[Argument], added: Sequence[Argument]) -> tuple[Argument, ...]:
    """The arguments of a template called again: positional ones follow, named ones replace."""
    names = {a.name for a in added if a.name is not None}
    return (*(a for a in earlier if a.name is None or a.name not in names), *added)


def bind_parameters(
    context: Expressions,
    callee: str,
    parameters: Sequence[tree.Parameter],
    arguments: Sequence[Argument],
    span: Span,
    *,
    partial: bool = False,
) -> dict[str, Argument] | None:
    """Arguments by parameter name, for an `fn`, block or model; None where they do not fit (reported).

    Parameters that are not given are left out: defaults are evaluated by the callee, in its own scope. With `partial`,
    those without a default may be missing too.
    """
    names = [p.name.id for p in parameters]
    bound: dict[str, Argument] = {}
    fits = True
    positional = [a for a in arguments if a.name is None]
    if len(positional) > len(names):
        takes = f"({', '.join(names)})" if names else ""
        context.error(
            "E0304",
            f"`{callee}` takes {len(names)} argument{'s' if len(names) != 1 else ''} {takes}".rstrip()
            + f", found {len(positional)}",
            positional[len(names)].span,
        )
        fits = False
    bound.update(zip(names, positional, strict=False))
    for argument in arguments:
        if argument.name is None:
            continue
        if argument.name not in names:
            unknown_argument(context.session, callee, argument.name, name_of(argument), names)
            fits = False
        elif argument.name in bound:
            context.error("E0306", f"`{argument.name}` of `{callee}` is given twice", argument.span)
            fits = False
        else:
            bound[argument.name] = argument
    missing = [p.name.id for p in parameters if p.default is None and p.name.id not in bound]
    if missing and not partial:
        listed = " and ".join(f"`{name}`" for name in missing)
        context.error(
            "E0302",
            f"`{callee}` needs {listed}",
            span,
            f"{listed} {'is' if len(missing) == 1 else 'are'} not given",
        )
        fits = False
    return bound if fits else None
