"""Trees of the generated Python: those of `ops.target` over values, and what torch's modules need besides."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Final

from netdsl.backends.torch_names import identifier
from netdsl.ir.dims import Expr, symbols
from netdsl.ops.target import AllArgs, Arg, Call, Index, Infix, Method, Prefix, Stride

# How tightly the text of a tree holds together.
COMPARE, OR, XOR, AND, SHIFT, SUM, PRODUCT, UNARY, POWER, ATOM = range(1, 11)

# Names that begin so are written in full; anything else is imported by its last name.
TORCH_ROOTS: Final = ("torch", "nn", "F", "self")


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the graph, by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class Code:
    """Text that this backend made, as a variable. `base` is the variable that it is computed of, where that is kept."""

    text: str
    level: int = ATOM
    base: str = ""

    def on(self, base: str) -> Code:
        """The same computed of another variable."""
        text = re.sub(rf"\b{self.base}\b", base, self.text)
        return Code(text, self.level, base)


@dataclass(frozen=True, slots=True)
class Device:
    """Where the inputs are: tensors made on the way must be there too."""


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


@dataclass(frozen=True, slots=True)
class Numbered:
    """Pairs of a label that ends in a number and the same item, made anew each time."""

    stem: str
    start: int
    item: Any
    count: int


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


def on_device(tree: Any) -> Any:
    """`tree` with the tensors that it makes from numbers alone, as `torch.arange(t)`, made where the inputs are."""
    tree = transform(tree, on_device)
    if not isinstance(tree, Call) or not tree.function.startswith("torch."):
        return tree
    if (
        any(isinstance(part, Call | Method) for part in parts(tree))
        or next(values_in(tree), None) is not None
    ):
        return tree
    return replace(tree, kwargs=(*tree.kwargs, ("device", Device())))


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


def makes_in(tree: Any) -> Iterator[Make]:
    """The constructor calls in `tree`, outer ones first."""
    if isinstance(tree, Make):
        yield tree
    for part in parts(tree):
        yield from makes_in(part)


def weight(tree: Any) -> int:
    """How much there is to read in `tree`."""
    if tree is None or isinstance(tree, Stride):
        return 1
    return 1 + sum(map(weight, parts(tree)))


def split(tree: Make) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]:
    """The positional and the named arguments of a constructor call."""
    positional = tuple(value for _, value in tree.arguments[: tree.positional])
    return positional, tree.arguments[tree.positional :]


def chain_call(tree: Chain) -> Call:
    """`nn.Sequential` as a call: its layers, or an `OrderedDict` of them where they have names."""
    if tree.labels == tuple(map(str, range(len(tree.items)))):
        return Call("nn.Sequential", runs(tree.items))
    numbered = _numbered(tree)
    if numbered is not None:
        named = Call("OrderedDict", (numbered,))
    elif all(identifier(label) == label for label in tree.labels):
        named = Call("OrderedDict", (), tuple(zip(tree.labels, tree.items, strict=True)))
    else:
        named = Call("OrderedDict", (Pairs(tree.labels, tree.items),))
    return Call("nn.Sequential", (named,))


def _numbered(tree: Chain) -> Numbered | None:
    """Items that are all the same, under labels that differ in a running number at their end."""
    first, count = tree.labels[0], len(tree.labels)
    stem = first.rstrip("0123456789")
    start = first.removeprefix(stem)
    if count < 3 or not start or any(item != tree.items[0] for item in tree.items):
        return None
    if tree.labels != tuple(f"{stem}{int(start) + place}" for place in range(count)):
        return None
    return Numbered(stem, int(start), tree.items[0], count)


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
