"""`expect parameters <= 5e6`, `expect macs(H = 224, W = 224) <= 1e9`: budgets that `check` verifies."""

from __future__ import annotations

from typing import Any

from netdsl.elaborate.blocks import Evaluator
from netdsl.elaborate.static import StaticError
from netdsl.elaborate.values import Builtin, in_words
from netdsl.ir.dims import Expr, substitute, symbols
from netdsl.ir.graph import Graph
from netdsl.ir.measure import multiply_adds, parameter_count
from netdsl.ir.types import Tensor
from netdsl.syntax import tree


def check_expectations(runner: Evaluator, graph: Graph) -> None:
    """Hold the budgets of a model against its graph."""
    if not runner.expectations:
        return
    scope = runner.scope.child()
    scope.declare("parameters", parameter_count(graph), None)

    def macs(**sizes: Any) -> Any:
        return _macs(graph, sizes)

    scope.declare("macs", Builtin("macs", macs), None)
    runner.scope = scope
    for expectation in runner.expectations:
        _check(runner, expectation)


def _check(runner: Evaluator, expectation: tree.Expect) -> None:
    condition = expectation.condition
    if not isinstance(condition, tree.Compare):
        runner.error("E0513", "`expect` takes a comparison, as `parameters <= 5e6`", condition.span)
        return
    truth = runner.condition(condition)
    if truth is not False:
        return
    parts = [condition.first, *(operand for _, operand in condition.rest)]
    shown = [
        f"`{part.span.text}` is {_number(runner.value(part))}"
        for part in parts
        if not isinstance(part, tree.Number)
    ]
    runner.error("E0512", f"the budget `{condition.span.text}` is exceeded", condition.span, ", ".join(shown))


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _macs(graph: Graph, sizes: dict[str, Any]) -> Any:
    """Multiply-adds at these sizes; the first axis of the first input, the batch, is 1 unless it is given."""
    total = multiply_adds(graph)
    for name, size in sizes.items():
        if name not in graph.symbols:
            raise StaticError("E0513", f"`{graph.name}` has no free dimension `{name}`")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise StaticError("E0513", f"`{name}` of `macs` is a size of at least 1, found {in_words(size)}")
    types = [entry.type for entry in graph.inputs if isinstance(entry.type, Tensor)]
    first = types[0].shape[0] if types and types[0].shape else 1
    batch = {str(first): 1} if isinstance(first, Expr) and str(first) not in sizes else {}
    total = substitute(total, {**batch, **sizes})
    missing = sorted(symbols(total))
    if missing:
        raise StaticError(
            "E0513", f"`macs` depends on `{missing[0]}`", f"say at which size: `macs({missing[0]} = 224)`"
        )
    return total
