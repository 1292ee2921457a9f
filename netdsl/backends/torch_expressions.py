"""Expressions of the generated Python: the trees of `ops.target` over values, and their text."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Final

from netdsl.backends.torch_names import dotted, identifier, is_plain, literal, plain
from netdsl.ir.dims import Expr, symbols
from netdsl.ops.target import AllArgs, Arg, Call, Index, Infix, Method, Prefix, Stride, Symbol

WIDTH: Final = 100

COMPARE, OR, XOR, AND, SHIFT, SUM, PRODUCT, UNARY, POWER, ATOM = range(1, 11)
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
# Names that begin so are written in full; anything else is imported by its last name.
TORCH_ROOTS: Final = ("torch", "nn", "F", "self")
_SIMPLE: Final = re.compile(r"-?[\w.]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the graph, by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class Code:
    """Text that this backend made, as a variable."""

    text: str
    level: int = ATOM


@dataclass(frozen=True, slots=True)
class Slot:
    """A literal that differs among the graphs that share a class: its value in each, and what torch calls it."""

    values: tuple[Any, ...]
    hint: str
    owner: str = ""  # the label of the layer it belongs to


@dataclass(frozen=True, slots=True)
class Make:
    """A layer's constructor call. The first `positional` arguments stand without their names.

    Where a name is "", all that can be said is what it would be called: `hints`.
    """

    function: Any  # a dotted name, or something with a `name`
    arguments: tuple[tuple[str, Any], ...] = ()
    positional: int = 0
    hints: tuple[str, ...] = field(default=(), compare=False)
    defaults: tuple[tuple[str, Any], ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Use:
    """A module applied: `callee` is the text that reaches it."""

    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    callee: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """`nn.Sequential(...)` of layers with labels."""

    labels: tuple[str, ...]
    items: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """A dictionary with strings for keys."""

    keys: tuple[str, ...]
    items: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same item `count` times, made anew each time."""

    item: Any
    count: int
    alone: bool = False  # all of a list


def on_values(tree: Any, operands: tuple[Any, ...]) -> Any:
    """`tree` with `operands` (Values and literals) for its `Arg`s."""
    if isinstance(tree, Arg):
        return operands[tree.index]
    if isinstance(tree, AllArgs):
        return list(operands)
    if isinstance(tree, Call | Method | Use):
        args: list[Any] = []
        for arg in tree.args:
            args.extend(operands if isinstance(arg, AllArgs) and arg.star else [on_values(arg, operands)])
        kwargs = tuple((name, on_values(arg, operands)) for name, arg in tree.kwargs)
        changed = replace(tree, args=tuple(args), kwargs=kwargs)
        if isinstance(changed, Method):
            changed = replace(changed, receiver=on_values(changed.receiver, operands))
        return changed
    return transform(tree, lambda part: on_values(part, operands))


def transform(tree: Any, change: Callable[[Any], Any]) -> Any:
    """`tree` with `change` applied to its direct parts."""
    if isinstance(tree, tuple | list):
        return type(tree)(change(part) for part in tree)
    if isinstance(tree, Call | Method | Use):
        kwargs = tuple((name, change(part)) for name, part in tree.kwargs)
        tree = replace(tree, args=tuple(change(part) for part in tree.args), kwargs=kwargs)
        return replace(tree, receiver=change(tree.receiver)) if isinstance(tree, Method) else tree
    if isinstance(tree, Infix):
        return Infix(tree.op, change(tree.left), change(tree.right))
    if isinstance(tree, Prefix):
        return Prefix(tree.op, change(tree.operand))
    if isinstance(tree, Index):
        return Index(change(tree.value), tuple(change(part) for part in tree.indices))
    if isinstance(tree, Stride):
        return Stride(change(tree.start), change(tree.stop), change(tree.step))
    if isinstance(tree, Make):
        return replace(tree, arguments=tuple((name, change(part)) for name, part in tree.arguments))
    if isinstance(tree, Chain | Pairs):
        return replace(tree, items=tuple(change(part) for part in tree.items))
    return tree


def parts(tree: Any) -> Iterator[Any]:
    """The direct parts of `tree`, in reading order."""
    if isinstance(tree, tuple | list):
        yield from tree
    elif isinstance(tree, Call | Method | Use):
        if isinstance(tree, Method):
            yield tree.receiver
        yield from tree.args
        yield from (part for _, part in tree.kwargs)
    elif isinstance(tree, Make):
        yield from (part for _, part in tree.arguments)
    elif isinstance(tree, Chain | Pairs):
        yield from tree.items
    elif isinstance(tree, Infix | Prefix | Index | Stride) and is_dataclass(tree):
        for entry in fields(tree):
            if entry.name != "op":
                part = getattr(tree, entry.name)
                yield from part if isinstance(part, tuple) else (part,)


def values_in(tree: Any) -> Iterator[int]:
    """The numbers of the graph's values in `tree`, in reading order, with repeats."""
    if isinstance(tree, Value):
        yield tree.number
    for part in parts(tree):
        yield from values_in(part)


def sizes_in(tree: Any) -> Iterator[str]:
    """The free dimensions that `tree` needs at run time."""
    if isinstance(tree, Expr):
        yield from sorted(symbols(tree))
    for part in parts(tree):
        yield from sizes_in(part)


def slots_in(tree: Any) -> Iterator[Slot]:
    if isinstance(tree, Slot):
        yield tree
    for part in parts(tree):
        yield from slots_in(part)


def imports_in(tree: Any) -> Iterator[str]:
    """The dotted names of the functions and classes in `tree` that are not torch's."""
    function = tree.function if isinstance(tree, Call | Make) else ""
    if isinstance(function, str) and "." in function and function.split(".")[0] not in TORCH_ROOTS:
        yield function
    for part in parts(tree):
        yield from imports_in(part)


def weight(tree: Any) -> int:
    """How much there is to read in `tree`."""
    return 1 + sum(map(weight, parts(tree)))


@dataclass
class Writer:
    """Trees to text. `sizes` names the variable of each free dimension, `slots` says what stands for a slot.

    `imported` names what is not torch's. `used` collects the dotted names of what was written, and `classes` the
    classes of this file.
    """

    sizes: Mapping[str, str] = field(default_factory=dict)
    slots: Callable[[Slot], Code] | None = None
    values: Callable[[int], str] | None = None
    imported: Mapping[str, str] = field(default_factory=dict)
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
        left = self.text(tree.left, level + 1 if level == COMPARE else level)
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

    def _list(self, tree: list[Any]) -> tuple[str, int]:
        return f"[{', '.join(map(self.text, tree))}]", ATOM


def split(tree: Make) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]:
    """The positional and the named arguments of a constructor call."""
    positional = tuple(value for _, value in tree.arguments[: tree.positional])
    return positional, tree.arguments[tree.positional :]


def chain_call(tree: Chain) -> Call:
    """`nn.Sequential` as a call: its layers, or an `OrderedDict` of them where they have names."""
    if tree.labels == tuple(map(str, range(len(tree.items)))):
        return Call("nn.Sequential", runs(tree.items))
    if all(identifier(label) == label for label in tree.labels):
        named = Call("OrderedDict", (), tuple(zip(tree.labels, tree.items, strict=True)))
    else:
        named = Call("OrderedDict", ([*zip(tree.labels, tree.items, strict=True)],))
    return Call("nn.Sequential", (named,))


def runs(items: tuple[Any, ...], at_least: int = 3) -> tuple[Any, ...]:
    """`items` with those that are equal and follow each other written once."""
    found: list[Any] = []
    place = 0
    while place < len(items):
        end = place + 1
        while end < len(items) and items[end] == items[place]:
            end += 1
        count = end - place
        found.extend([Repeat(items[place], count)] if count >= at_least else items[place:end])
        place = end
    return tuple(found)


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
    Symbol: Writer._symbol,
    Expr: Writer._size,
    Chain: Writer._chain,
    Pairs: Writer._pairs,
    Repeat: Writer._repeat,
    tuple: Writer._tuple,
    list: Writer._list,
}
