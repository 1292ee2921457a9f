"""The text of expressions of the generated Python: parentheses where they are needed, literals as literals."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from netdsl.backends.torch_names import dotted, is_plain, literal, plain
from netdsl.backends.torch_trees import (
    AND,
    ATOM,
    COMPARE,
    OR,
    POWER,
    PRODUCT,
    SHIFT,
    SUM,
    UNARY,
    XOR,
    Chain,
    Code,
    Device,
    Make,
    Numbered,
    Pairs,
    Repeat,
    Slot,
    Use,
    Value,
    chain_call,
    split,
)
from netdsl.ir.dims import Expr, symbols
from netdsl.ops.target import Call, Index, Infix, Method, Prefix, Stride, Symbol

WIDTH: Final = 100

_DIGITS: Final = 15
_SMALLEST, _LARGEST = 1e-3, 1e3

_LEVELS: Final = {
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), COMPARE),
    "|": OR,
    "^": XOR,
    "&": AND,
    **dict.fromkeys(("<<", ">>"), SHIFT),
    **dict.fromkeys("+-", SUM),
    **dict.fromkeys(("*", "/", "//", "%", "@"), PRODUCT),
    "**": POWER,
}
_SIMPLE: Final = re.compile(r"-?[\w.]+", re.ASCII)


@dataclass
class Writer:
    """Trees to text. `sizes` names the variable of each free dimension, `slots` says what stands for a slot.

    `device` is where the inputs are, `imported` names what is not torch's. `used` collects the dotted names of what
    was written, and `classes` the classes of this file.
    """

    sizes: Mapping[str, str] = field(default_factory=dict)
    slots: Callable[[Slot], Code] | None = None
    values: Callable[[int], str] | None = None
    imported: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    used: set[str] = field(default_factory=set)
    classes: set[Any] = field(default_factory=set)

    def text(self, tree: Any, level: int = 0) -> str:
        """The text of `tree`, in parentheses where it binds less than `level`."""
        text, own = self._text(tree)
        return text if own >= level else f"({text})"

    def _text(self, tree: Any) -> tuple[str, int]:
        writer = _WRITERS.get(type(tree))
        if writer is not None:
            return writer(self, tree)
        if type(tree) is float:
            text, level = self._float(abs(tree))
            return (f"-{text}", UNARY) if tree < 0 else (text, level)
        if type(tree) in (int, float):
            return literal(tree), UNARY if tree < 0 else ATOM
        return literal(tree), ATOM

    def function(self, function: Any) -> str:
        """The text of what is called: a class of this file, an access that this backend wrote, or torch's name."""
        if isinstance(function, str):
            self.used.add(dotted(function))
            return self.imported.get(function, function)
        self.classes.add(function)
        return function.name

    def arguments(self, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]) -> list[str]:
        named = [f"{plain(name)}={self.text(value)}" for name, value in kwargs]
        return [self.text(arg) for arg in args] + named

    def _float(self, number: float) -> tuple[str, int]:
        """A positive number; one of many digits as the root or logarithm of an integer, where it is exactly that."""
        text = literal(number)
        if len(text) < _DIGITS or not _SMALLEST < number < _LARGEST:
            return text, ATOM
        power, root = ("0.5", round(number**2)) if number > 1 else ("-0.5", round(number**-2))
        if math.isqrt(root) ** 2 != root and number == root ** float(power):
            return f"{root}**{power}", POWER
        base = round(math.exp(min(number, 10)))
        if base > 1 and number == math.log(base):
            return f"{self.function('math.log')}({base})", ATOM
        return text, ATOM

    def _call(self, tree: Call) -> tuple[str, int]:
        return f"{self.function(tree.function)}({', '.join(self.arguments(tree.args, tree.kwargs))})", ATOM

    def _use(self, tree: Use) -> tuple[str, int]:
        return f"{tree.callee}({', '.join(self.arguments(tree.args, tree.kwargs))})", ATOM

    def _method(self, tree: Method) -> tuple[str, int]:
        inside = ", ".join(self.arguments(tree.args, tree.kwargs))
        return f"{self.text(tree.receiver, ATOM)}.{dotted(tree.name)}({inside})", ATOM

    def _make(self, tree: Make) -> tuple[str, int]:
        args, kwargs = split(tree)
        return f"{self.function(tree.function)}({', '.join(self.arguments(args, kwargs))})", ATOM

    def _infix(self, tree: Infix) -> tuple[str, int]:
        level = _LEVELS[tree.op]
        if tree.op == "**":
            left, right = self.text(tree.left, ATOM), self.text(tree.right, UNARY)
            simple = _SIMPLE.fullmatch(left) and _SIMPLE.fullmatch(right)
            return (f"{left}**{right}" if simple else f"{left} ** {right}"), level
        left = self.text(tree.left, level + 1 if level == COMPARE or _is_mixed(tree) else level)
        return f"{left} {tree.op} {self.text(tree.right, level + 1)}", level

    def _prefix(self, tree: Prefix) -> tuple[str, int]:
        return f"{tree.op}{self.text(tree.operand, UNARY)}", UNARY

    def _index(self, tree: Index) -> tuple[str, int]:
        return f"{self.text(tree.value, ATOM)}[{', '.join(map(self.text, tree.indices))}]", ATOM

    def _stride(self, tree: Stride) -> tuple[str, int]:
        bounds = ["" if part is None else self.text(part) for part in (tree.start, tree.stop)]
        if tree.step is not None:
            bounds.append(self.text(tree.step))
        if all(not bound or _SIMPLE.fullmatch(bound) for bound in bounds):
            return ":".join(bounds), ATOM
        text = bounds[0]
        for bound in bounds[1:]:
            text = f"{text} :" if text else ":"
            text = f"{text} {bound}" if bound else text
        return text, ATOM

    def _slot(self, tree: Slot) -> tuple[str, int]:
        if self.slots is None:
            raise ValueError(f"{tree.hint} differs where it cannot")
        code = self.slots(tree)
        return code.text, code.level

    def _value(self, tree: Value) -> tuple[str, int]:
        if self.values is None:
            raise ValueError("a value where there is none")
        return self.values(tree.number), ATOM

    def _code(self, tree: Code) -> tuple[str, int]:
        return tree.text, tree.level

    def _device(self, _tree: Device) -> tuple[str, int]:
        return self.device, ATOM

    def _symbol(self, tree: Symbol) -> tuple[str, int]:
        self.used.add(tree.name)
        return dotted(tree.name), ATOM

    def _size(self, tree: Expr) -> tuple[str, int]:
        if not all(is_plain(name) for name in symbols(tree)):
            raise ValueError(f"not the name of a dimension: {sorted(symbols(tree))}")
        parsed = ast.parse(str(tree), mode="eval")
        for node in ast.walk(parsed):
            if isinstance(node, ast.Name):
                node.id = self.sizes[node.id]
        text = ast.unparse(parsed)
        return re.sub(r"\b(\w+) \*\* (\w+)\b", r"\1**\2", text), _level(parsed.body)

    def _tuple(self, tree: tuple[Any, ...]) -> tuple[str, int]:
        inside = ", ".join(map(self.text, tree))
        return (f"({inside},)" if len(tree) == 1 else f"({inside})"), ATOM

    def _chain(self, tree: Chain) -> tuple[str, int]:
        return self._text(chain_call(tree))

    def _pairs(self, tree: Pairs) -> tuple[str, int]:
        inside = (
            f"{literal(key)}: {self.text(item)}" for key, item in zip(tree.keys, tree.items, strict=True)
        )
        return f"{{{', '.join(inside)}}}", ATOM

    def _repeat(self, tree: Repeat) -> tuple[str, int]:
        text = f"{self.text(tree.item)} for _ in range({tree.count})"
        return (text if tree.alone else f"*[{text}]"), ATOM

    def _numbered(self, tree: Numbered) -> tuple[str, int]:
        stem = literal(tree.stem.replace("{", "{{").replace("}", "}}"))[:-1]
        bounds = f"{tree.start}, {tree.start + tree.count}" if tree.start else str(tree.count)
        return f'(f{stem}{{i}}", {self.text(tree.item)}) for i in range({bounds})', ATOM

    def _list(self, tree: list[Any]) -> tuple[str, int]:
        return f"[{', '.join(map(self.text, tree))}]", ATOM


def _is_mixed(tree: Infix) -> bool:
    """Whether only a reader needs parentheses, as in `(a * b) @ c`."""
    ops = (tree.op, tree.left.op) if isinstance(tree.left, Infix) else ()
    return "@" in ops and len({*ops}) == 2 and all(_LEVELS[op] == PRODUCT for op in ops)


def _level(node: ast.expr) -> int:
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Add | ast.Sub):
            return SUM
        return POWER if isinstance(node.op, ast.Pow) else PRODUCT
    return UNARY if isinstance(node, ast.UnaryOp) else ATOM


_WRITERS: Final[dict[type, Callable[[Writer, Any], tuple[str, int]]]] = {
    Call: Writer._call,
    Method: Writer._method,
    Use: Writer._use,
    Make: Writer._make,
    Infix: Writer._infix,
    Prefix: Writer._prefix,
    Index: Writer._index,
    Stride: Writer._stride,
    Slot: Writer._slot,
    Value: Writer._value,
    Code: Writer._code,
    Device: Writer._device,
    Symbol: Writer._symbol,
    Expr: Writer._size,
    Chain: Writer._chain,
    Pairs: Writer._pairs,
    Repeat: Writer._repeat,
    Numbered: Writer._numbered,
    tuple: Writer._tuple,
    list: Writer._list,
}
