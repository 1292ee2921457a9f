"""What a file declares and a `train` block names: a `block` as the loss or a metric, elaborated for the types that it
compares, and a `fn` of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from netdsl.diagnostics import Report
from netdsl.elaborate.blocks import Evaluator
from netdsl.elaborate.body import Body
from netdsl.elaborate.calls import bind_parameters
from netdsl.elaborate.program import Program, deep
from netdsl.elaborate.scope import Scope
from netdsl.elaborate.session import LimitReached
from netdsl.elaborate.settings import Choice
from netdsl.elaborate.values import POISON, Argument, Declared, Function
from netdsl.ir.dims import DimTooLarge
from netdsl.ir.graph import Graph
from netdsl.ir.types import Tensor
from netdsl.source import Span
from netdsl.syntax import tree


def block_of(program: Program, name: str) -> Declared | None:
    """The block that `name` stands for in the program's main file, its own or an imported one."""
    binding = program.main.scope.find(name)
    declared = binding.value if binding is not None else None
    if (
        isinstance(declared, Declared)
        and isinstance(declared.decl, tree.GraphDecl)
        and declared.decl.kind == "block"
    ):
        return declared
    return None


def inputs_of(declared: Declared) -> dict[str, str | None]:
    """The inputs of a block in their order, with the dtype that each declares."""
    found: dict[str, str | None] = {}
    for statement in declared.decl.body:
        if isinstance(statement, tree.Input):
            shape = statement.shape
            declares = "float32" if shape is not None else None
            found[statement.name.id] = (
                shape.dtype.id if shape is not None and shape.dtype is not None else declares
            )
    return found


def criterion(
    program: Program, choice: Choice, types: Mapping[str, Tensor], report: Report
) -> tuple[Graph, dict[str, Any]] | None:
    """The block that `choice` names for inputs of these types, with all its arguments by name; None after reporting
    why there is none.
    """
    declared = block_of(program, choice.name)
    if declared is None:
        return None
    at = choice.span or declared.decl.name.span
    given = [Argument(None, _kept(v), _place(choice, n, at)) for n, v in enumerate(choice.positional)]
    given += [Argument(k, _kept(v), _place(choice, k, at)) for k, v in choice.arguments.items()]
    before, program.session.report = len(report.errors), report
    evaluator = Evaluator(program.session, declared.scope, None)
    try:
        with deep():
            graph = _elaborated(evaluator, declared, given, types, at)
    except (LimitReached, DimTooLarge):
        graph = None
    finally:
        program.session.report = program.report
    if graph is None or len(report.errors) > before:
        return None
    return graph, dict(graph.arguments)


def _elaborated(
    evaluator: Evaluator, declared: Declared, given: list[Argument], types: Mapping[str, Tensor], at: Span
) -> Graph | None:
    bound = bind_parameters(evaluator, declared.name, declared.decl.parameters, given, at)
    if bound is None:
        return None
    with evaluator.entered(declared, bound, at, None):
        scope = Scope(declared.scope, evaluator.session.usage, root=True)
        runner = Evaluator(evaluator.session, scope, Body(evaluator.session, "model", declared.name))
        runner.operands = [types[name] for name in inputs_of(declared)]
        with runner.assuming({}):
            values = {name: argument.value for name, argument in bound.items()}
            arguments = runner.bind_arguments(declared.decl.parameters, values, bound)
            return runner.finish(declared, arguments, at)


def function_of(program: Program, name: str) -> Function | None:
    """The `fn` that `name` stands for in the program's main file, its own or an imported one."""
    binding = program.main.scope.find(name)
    return binding.value if binding is not None and isinstance(binding.value, Function) else None


def called_with(program: Program, function: Function, number: int, at: Span, report: Report) -> Any:
    """What a `fn` gives for one number; POISON after reporting, with the call at `at`, why it gives nothing."""
    session = program.session
    before, steps, session.report = session.report, session.steps, report
    evaluator = Evaluator(session, function.scope, None)
    parameters, name = function.decl.parameters, function.decl.name.id
    try:
        with deep():
            bound = bind_parameters(evaluator, name, parameters, [Argument(None, number, at)], at)
            return POISON if bound is None else evaluator.run_function(function, bound, at)
    except LimitReached:
        return POISON
    finally:
        session.report, session.steps = before, steps


def _place(choice: Choice, argument: str | int, at: Span) -> Span:
    return choice.place(argument) or at


def _kept(value: Any) -> Any:
    return (
        tuple(_kept(item) for item in cast("list[Any]", value)) if isinstance(value, (list, tuple)) else value
    )
