"""What a graph read from text or JSON is made of: operations, initialisers and the values that stand among arguments.

from_json(text, VOCABULARY)
"""

from __future__ import annotations

from typing import Any, Final

from netdsl.ir.formulas import Formula
from netdsl.ir.values import Vocabulary
from netdsl.ops.base import Op, initialisers, registry
from netdsl.ops.target import Arg, Stride, Symbol

_VALUES: Final[dict[str, type[Any]]] = {"Stride": Stride, "Arg": Arg, "Symbol": Symbol, "Formula": Formula}


def _operation(kind: str, arguments: dict[str, Any]) -> Op:
    return registry[kind](**arguments)


def _initialiser(kind: str, arguments: dict[str, Any]) -> Any:
    return initialisers[kind](**arguments)


def _value(kind: str, arguments: dict[str, Any]) -> Any:
    return _VALUES[kind](**arguments)


VOCABULARY: Final = Vocabulary(_operation, _initialiser, _value)
