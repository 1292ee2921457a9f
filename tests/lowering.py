"""What a lowering to torch (`netdsl.ops.target`) is worth, with torch at hand."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from netdsl.ir.dims import Expr, evaluate
from netdsl.ops.target import AllArgs, Arg, Call, Index, Infix, Method, Prefix, Stride, Symbol

NAMESPACES: dict[str, Any] = {"torch": torch, "nn": nn, "F": F, "torchvision": torchvision}

INFIX = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow, "@": operator.matmul, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "&": operator.and_,
    "|": operator.or_, "^": operator.xor,
}  # fmt: skip
PREFIX = {"-": operator.neg, "~": operator.invert, "+": operator.pos}


def evaluated(expression: Any, operands: Sequence[Any], sizes: Mapping[str, int]) -> Any:
    """What a lowering (`ops.target`) is worth, with torch at hand."""

    def value(part: Any) -> Any:
        return evaluated(part, operands, sizes)

    def named(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        return {name: value(part) for name, part in pairs}

    def listed(parts: Sequence[Any]) -> list[Any]:
        spread = [list(operands) if isinstance(p, AllArgs) and p.star else [value(p)] for p in parts]
        return [part for parts in spread for part in parts]

    match expression:
        case Arg(index):
            return operands[index]
        case AllArgs():
            return list(operands)
        case Symbol(name):
            return resolved(name)
        case Call(function, args, kwargs):
            return resolved(function)(*listed(args), **named(kwargs))
        case Method(receiver, name, args, kwargs):
            return getattr(value(receiver), name)(*listed(args), **named(kwargs))
        case Infix(op, left, right):
            return INFIX[op](value(left), value(right))
        case Prefix(op, operand):
            return PREFIX[op](value(operand))
        case Index(inner, indices):
            return value(inner)[tuple(value(index) for index in indices)]
        case Stride(start, stop, step):
            return slice(value(start), value(stop), step)
        case Expr():
            return evaluate(expression, sizes)
        case tuple() | list():
            return type(expression)(listed(expression))
        case _:
            return expression


def resolved(name: str) -> Any:
    first, *rest = name.split(".")
    found: Any = NAMESPACES[first]
    for part in rest:
        found = getattr(found, part)
    return found
