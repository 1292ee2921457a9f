"""Graphs that differ in numbers only: what is the same in them, and the slots where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from netdsl.backends.torch_names import same
from netdsl.backends.torch_sizes import size_places
from netdsl.backends.torch_sketch import Applied, Fixed, Learned, Sketch
from netdsl.backends.torch_trees import Chain, Device, Make, Slot, Use, Value, transform
from netdsl.ir.dims import Expr, symbols
from netdsl.ir.graph import Graph
from netdsl.ops.target import Call, Index, Infix, Method, Prefix, Stride, Symbol

Place: TypeAlias = tuple[int, str]
Arguments: TypeAlias = tuple[tuple[str, Any], ...]


class Walk:
    """One way through all trees of a sketch: `key` is what it says apart from literals, `literals` what those are."""

    def __init__(self) -> None:
        self.key: list[Any] = []
        self.literals: dict[Place, Any] = {}
        self.makes: dict[int, Make] = {}
        self.count = 0
        self.owner = ""
        self.places: dict[str, Any] = {}

    def sketch(self, sketch: Sketch) -> Sketch:
        graph = sketch.graph
        self.places = size_places(graph)
        self.key.append((tuple(entry.name for entry in graph.inputs), graph.outputs))
        learned = tuple(self.learned(entry) for entry in sketch.learned)
        fixed = tuple(self.fixed(entry) for entry in sketch.fixed)
        nodes = tuple(self.applied(entry) for entry in sketch.nodes)
        for rule in graph.inits:
            self.key.append((rule.pattern, rule.init.kind, repr(rule.init.arguments())))
        self.key.append(graph.ties)
        self.key.append(sketch.passed)
        return Sketch(graph, nodes, learned, fixed, sketch.passed)

    def applied(self, entry: Applied) -> Applied:
        node = entry.node
        kind = node.op.name if isinstance(node.op, Graph) else node.op.kind
        self.key.append(
            (kind if entry.make is None else "", node.label, node.names, node.results, entry.gives)
        )
        if entry.make is None and not isinstance(node.op, Graph):
            self.key.append(tuple(_structural(node.op.arguments())))
        self.owner = node.label or kind
        return Applied(node, self.tree(entry.make), self.tree(entry.use), entry.gives)

    def learned(self, entry: Learned) -> Learned:
        self.owner = entry.parameter.name
        self.key.append(("param", entry.parameter.name, entry.parameter.value))
        return Learned(entry.parameter, self.tree(entry.make), self.tree(entry.fill))

    def fixed(self, entry: Fixed) -> Fixed:
        self.key.append(("buffer", entry.buffer.name, entry.buffer.value, entry.buffer.saved))
        return Fixed(entry.buffer, self.sketch(entry.make))

    def tree(self, tree: Any, hint: str = "size") -> Any:
        self.count += 1
        place = (self.count, hint)
        if type(tree) in (bool, int, float):
            self.key.append("bool" if isinstance(tree, bool) else "number")
            return self.literal(place, tree)
        if isinstance(tree, Make):
            optional = {name for name, _ in tree.defaults} if all(name for name, _ in tree.arguments) else ()
            self.key.append((tree.function, *(name for name, _ in tree.arguments if name not in optional)))
            return self.make(tree)
        self.key.append(_token(tree))
        if isinstance(tree, Expr):
            self.key.append(tuple(self.places.get(name) for name in sorted(symbols(tree))))
        hints = iter(_hints(tree))
        return transform(tree, lambda part: self.tree(part, next(hints, "size")))

    def make(self, tree: Make) -> Make:
        ordinal = self.count
        self.makes[ordinal] = tree
        arguments: list[tuple[str, Any]] = []
        for place, (name, value) in enumerate(self.completed(ordinal, tree.arguments)):
            if name:
                arguments.append((name, self.named((ordinal, name), value)))
            else:
                arguments.append((name, self.tree(value, tree.hints[place] if tree.hints else "size")))
        return replace(tree, arguments=tuple(arguments), positional=self.positional(ordinal))

    def named(self, place: Place, value: Any) -> Any:
        """An argument with a name: a literal of any kind, or a tree."""
        if _is_literal(value):
            return self.literal(place, value)
        self.key.append(place)
        return self.tree(value, place[1])

    # what `Fill` does otherwise

    def literal(self, place: Place, value: Any) -> Any:
        self.literals[place] = value
        return value

    def completed(self, _ordinal: int, given: Arguments) -> Arguments:
        return given

    def positional(self, ordinal: int) -> int:
        return self.makes[ordinal].positional


class Fill(Walk):
    """The same way through the first of several sketches with one key: slots where their literals differ."""

    def __init__(self, walks: Sequence[Walk]) -> None:
        super().__init__()
        self.walks = walks

    def literal(self, place: Place, _value: Any) -> Any:
        values = tuple(self._at(walk, place) for walk in self.walks)
        if all(same(value, values[0]) for value in values):
            return values[0]
        return Slot(values, place[1], self.owner)

    def _at(self, walk: Walk, place: Place) -> Any:
        if place in walk.literals:
            return walk.literals[place]
        return dict(walk.makes[place[0]].defaults)[place[1]]

    def completed(self, ordinal: int, given: Arguments) -> Arguments:
        """The arguments that any of the graphs gives, those without their names first."""
        makes = [walk.makes[ordinal] for walk in self.walks]
        known = dict(given)
        if "" in known:
            return given
        longest = max(makes, key=lambda make: make.positional)
        names = dict.fromkeys(name for name, _ in longest.arguments[: longest.positional])
        for make in makes:
            names.update(dict.fromkeys(name for name, _ in make.arguments))
        return tuple((name, known.get(name)) for name in names)

    def positional(self, ordinal: int) -> int:
        return max(walk.makes[ordinal].positional for walk in self.walks)


def _structural(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What says what a function does, not at which sizes: words, patterns, and axes, in whose names torch has `dim`."""
    for name, value in arguments.items():
        if isinstance(value, str) or "dim" in name:
            yield name, value


def _is_literal(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_literal, value))
    return value is None or type(value) in (bool, int, float, str)


def _token(tree: Any) -> Any:
    """What `tree` is apart from its parts."""
    name = type(tree).__name__
    if isinstance(tree, Call):
        return name, tree.function, len(tree.args), tuple(key for key, _ in tree.kwargs)
    if isinstance(tree, Method):
        return name, tree.name, len(tree.args), tuple(key for key, _ in tree.kwargs)
    if isinstance(tree, Use):
        return name, len(tree.args), tuple(key for key, _ in tree.kwargs)
    if isinstance(tree, Infix | Prefix):
        return name, tree.op
    if isinstance(tree, Index):
        return name, len(tree.indices)
    if isinstance(tree, list | tuple):
        return name, len(tree)
    if isinstance(tree, Chain):
        return name, tree.labels
    if isinstance(tree, Stride):
        return name
    if isinstance(tree, Value | Symbol | Expr | Device):
        return name, tree
    if tree is None or tree is Ellipsis or isinstance(tree, str):
        return name, tree
    raise TypeError(f"an operation gave torch a {name}")


def _hints(tree: Any) -> list[str]:
    """What the parts of `tree` would be called, in the order of `transform`."""
    if isinstance(tree, Call | Method | Use):
        named = [name for name, _ in tree.kwargs]
        return [*named, *("size" for _ in tree.args)]
    if isinstance(tree, Infix):
        factor = "scale" if tree.op in ("*", "/") else "power" if tree.op == "**" else "offset"
        return [factor, factor]
    if isinstance(tree, Stride):
        return ["start", "stop", "step"]
    if isinstance(tree, Index):
        return ["size", *("index" for _ in tree.indices)]
    return []
