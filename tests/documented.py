"""The examples in the docstrings of operations, as `Conv2d(8, 3) : [N, 3, 8, 8] -> [N, 8, 6, 6]`, and what they claim."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from typing import Any

from netdsl.ir.decide import same
from netdsl.ir.dims import Dim, symbol
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops import registry
from netdsl.ops.base import Op
from tests.lowering import INFIX


@dataclass(frozen=True)
class Example:
    """`Conv2d(8, 3) : [N, 3, H, W] -> [N, 8, H - 2, W - 2]` of a docstring."""

    text: str
    op: Op
    operands: tuple[Any, ...]
    results: tuple[Any, ...]


def examples_of(kind: str) -> list[Example]:
    """The examples in the docstring of `kind`."""
    lines = inspect.getdoc(registry[kind]) or ""
    pattern = re.compile(rf"^{re.escape(kind)}(\(.*\))? :(?: (.+))? -> (.+)$", re.MULTILINE)
    return [
        Example(m[0], applied(kind, m[1] or "()"), types_in(m[2] or ""), types_in(m[3]))
        for m in pattern.finditer(lines)
    ]


def example_holds(example: Example) -> None:
    """The documented types are the inferred ones, symbols and all."""
    results = example.op.result_types(*example.operands)
    fits = len(results) == len(example.results) and all(
        ours.dtype == theirs.dtype
        and ours.rank == theirs.rank
        and all(same(a, b) for a, b in zip(ours.shape, theirs.shape, strict=True))
        for ours, theirs in zip(results, example.results, strict=True)
    )
    assert fits, f"{example.text}: it gives {', '.join(map(str, results))}"


def applied(kind: str, arguments: str) -> Op:
    """The operation of a call as the language writes it, without operands."""
    parsed = ast.parse(f"f{arguments}", mode="eval").body
    assert isinstance(parsed, ast.Call)
    given: dict[str, Any] = {k.arg or "": static(k.value) for k in parsed.keywords}
    positional = list(registry[kind].positional)
    values = [static(argument) for argument in parsed.args]
    if positional and positional[-1].startswith("*"):
        rest = positional.pop()[1:]
        if len(values) > len(positional):
            given[rest] = tuple(values[len(positional) :])
            values = values[: len(positional)]
    given.update(zip(positional, values, strict=False))
    assert len(values) <= len(positional), f"too many arguments by position: {kind}{arguments}"
    return registry[kind](**given)


def static(node: ast.expr) -> Any:
    """A static value: a literal, a list as a tuple, or arithmetic over free dimensions."""
    match node:
        case ast.Name(id=name):
            return symbol(name)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return tuple(map(static, items))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -static(operand)
        case ast.BinOp(left=left, op=op, right=right):
            symbols_of = {
                ast.Add: "+",
                ast.Sub: "-",
                ast.Mult: "*",
                ast.FloorDiv: "//",
                ast.Mod: "%",
                ast.Pow: "**",
            }
            return INFIX[symbols_of[type(op)]](static(left), static(right))
        case _:
            return ast.literal_eval(node)


def types_in(text: str) -> tuple[Any, ...]:
    """The types in `int64[N, 4], [3], 2`."""
    found: list[Any] = []
    for match in re.finditer(r"(\w*)(\[[^\]]*\])|(-?[\d.]+)", text):
        dtype, shape, number = match.groups()
        if number is not None:
            found.append(Scalar(ast.literal_eval(number)))
            continue
        dims: tuple[Dim, ...] = static(ast.parse(shape, mode="eval").body)
        found.append(Tensor(dims, dtype or "float32"))
    return tuple(found)
