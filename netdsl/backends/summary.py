"""The table of a model: what each layer and function gives, has and costs, and the totals.

Sizes that are free stay symbolic; `sizes` fixes them. Costs are those of evaluation mode: what only outputs
`when training` need has its parameters counted and its work not. A layer used twice is counted once and works
twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import gcd, prod
from typing import Any

from netdsl.backends import captions
from netdsl.backends.captions import number
from netdsl.backends.meaning import inside, outside
from netdsl.ir.decide import Assumptions
from netdsl.ir.dims import Dim, Expr, exact_div, product, substitute
from netdsl.ir.graph import Graph, Node, Operation
from netdsl.ir.measure import live_values
from netdsl.ir.types import State, Tensor, Type

_BYTES = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2, "int16": 2}


@dataclass(frozen=True)
class Row:
    """One layer, function or block. A block's figures are those of all that it holds.

    `path` is the module's, empty for what has none; `memory` is the bytes of the results. Bytes and
    multiply-adds of what runs in training only are 0.
    """

    path: str
    kind: str
    depth: int
    outputs: tuple[Type, ...]
    parameters: int
    multiply_adds: Dim
    memory: Dim
    is_block: bool = False
    shared: bool = False
    training_only: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "kind": self.kind,
            "depth": self.depth,
            "outputs": [_type_data(type) for type in self.outputs],
            "parameters": self.parameters,
            "multiply_adds": _plain(self.multiply_adds),
            "memory_bytes": _plain(self.memory),
            "is_block": self.is_block,
            "shared": self.shared,
            "training_only": self.training_only,
        }


@dataclass(frozen=True)
class Totals:
    """Numbers of parameters and buffer elements, multiply-adds of one run, and bytes."""

    parameters: int
    trainable: int
    buffers: int
    multiply_adds: Dim
    input_memory: Dim
    forward_memory: Dim
    state_memory: int

    def to_json(self) -> dict[str, Any]:
        return {
            "parameters": self.parameters,
            "trainable_parameters": self.trainable,
            "buffer_elements": self.buffers,
            "multiply_adds": _plain(self.multiply_adds),
            "input_bytes": _plain(self.input_memory),
            "forward_bytes": _plain(self.forward_memory),
            "state_bytes": self.state_memory,
        }


@dataclass(frozen=True)
class Summary:
    """The rows in order of execution, blocks before what they hold."""

    model: str
    arguments: tuple[tuple[str, Any], ...]
    inputs: tuple[tuple[str, Type], ...]
    rows: tuple[Row, ...]
    totals: Totals

    def to_json(self) -> dict[str, Any]:
        """Plain data; symbolic sizes are strings."""
        return {
            "model": self.model,
            "arguments": {name: _plain(value) for name, value in self.arguments},
            "inputs": {name: _type_data(type) for name, type in self.inputs},
            "rows": [row.to_json() for row in self.rows],
            "totals": self.totals.to_json(),
        }

    def text(self, depth: int | None = None) -> str:
        """A table for people. With `depth`, blocks below that level are one row each."""
        cells = [_HEADER, *_input_lines(self.inputs), *_lines(self.rows, depth)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADER))]
        lines = [_aligned(line, widths) for line in cells]
        rule = "─" * max(map(len, lines))
        title = self.model + _given(self.arguments)
        return "\n".join([title, rule, lines[0], rule, *lines[1:], rule, *_total_lines(self.totals)]) + "\n"

    def __str__(self) -> str:
        return self.text()


def summary(graph: Graph, sizes: Mapping[str, int] | None = None, frozen: Sequence[str] = ()) -> Summary:
    """Measure `graph`; `sizes` fixes free dimensions, `frozen` has patterns of parameters that are not
    trained.

    >>> from netdsl.compiler import check
    >>> from netdsl.source import Source
    >>> checked = check(Source("model M { input x: [N, 3]\\n output x -> fc: Linear(2) }"))
    >>> summary(checked.graphs["M"], {"N": 4}).rows[0].multiply_adds
    24
    """
    meaning: dict[str, Dim] = dict(sizes or {})
    rows = tuple(_Measure().rows(graph, _Place(meaning)))
    inputs = tuple((entry.name, outside(entry.type, meaning)) for entry in graph.inputs)
    return Summary(graph.name, graph.arguments, inputs, rows, _totals(graph, rows, inputs, frozen))


def _totals(
    graph: Graph, rows: Sequence[Row], inputs: Sequence[tuple[str, Type]], frozen: Sequence[str]
) -> Totals:
    state = dict(graph.state())
    learned = {name: prod(entry.shape) for name, entry in state.items() if entry.learned}
    top = [row for row in rows if row.depth == 0]
    return Totals(
        parameters=sum(learned.values()),
        trainable=sum(n for name, n in learned.items() if not any(fnmatchcase(name, p) for p in frozen)),
        buffers=sum(prod(entry.shape) for entry in state.values() if not entry.learned),
        multiply_adds=_total(row.multiply_adds for row in top),
        input_memory=_total(_type_bytes(type) for _, type in inputs),
        forward_memory=_total(row.memory for row in top),
        state_memory=sum(_state_bytes(entry) for entry in state.values()),
    )


@dataclass(frozen=True)
class _Place:
    """Where a body stands: what its sizes are, its path, its level, and whether evaluation runs it."""

    meaning: Mapping[str, Dim]
    prefix: str = ""
    depth: int = 0
    live: bool = True

    def path(self, label: str | None) -> str:
        return self.prefix + label if label else ""

    def within(self, node: Node, *, live: bool) -> _Place:
        prefix = f"{self.prefix}{node.label}." if node.label else self.prefix
        return _Place(inside(node, self.meaning), prefix, self.depth + 1, live)


class _Measure:
    """Walks a model body by body; knows which tensors have been counted."""

    def __init__(self) -> None:
        self._counted: set[str] = set()

    def rows(self, graph: Graph, place: _Place) -> Iterator[Row]:
        """The rows of one body."""
        yield from self._tensors(graph, place)
        needed = live_values(graph) if place.live else set[int]()
        with_training = live_values(graph, training=True)
        assumptions = Assumptions(place.meaning)
        for node in graph.nodes:
            runs = not needed.isdisjoint(node.results)
            if isinstance(node.op, Graph):
                yield from self._block(node, node.op, place, runs)
                continue
            training_only = place.live and not runs and not with_training.isdisjoint(node.results)
            with assumptions:
                row = self._operation(graph, node, node.op, place, runs)
            yield replace(row, training_only=training_only)

    def _tensors(self, graph: Graph, place: _Place) -> Iterator[Row]:
        """The rows of a body's own params and buffers."""
        params = [(entry.name, "param", entry.type) for entry in graph.parameters]
        buffers = [(entry.name, "buffer", entry.type) for entry in graph.buffers]
        for name, kind, type in params + buffers:
            shared = self._seen(place.prefix + name)
            owned = _size(type) if kind == "param" and not shared else 0
            yield Row(place.prefix + name, kind, place.depth, (type,), owned, 0, 0, shared=shared)

    def _operation(self, graph: Graph, node: Node, op: Operation, place: _Place, runs: bool) -> Row:
        operands = graph.operand_types(node)
        path = place.path(node.label)
        shared = bool(path) and self._seen(path)
        state: Mapping[str, State] = op.state(*operands) if path and not shared else {}
        outputs = tuple(outside(type, place.meaning) for type in node.types)
        return Row(
            path,
            op.kind,
            place.depth,
            outputs,
            sum(prod(entry.shape) for entry in state.values() if entry.learned),
            substitute(op.multiply_adds(*operands), place.meaning) if runs else 0,
            _total(map(_type_bytes, outputs)) if runs else 0,
            shared=shared,
        )

    def _block(self, node: Node, block: Graph, place: _Place, runs: bool) -> Iterator[Row]:
        path = place.path(node.label)
        shared = bool(path) and self._seen(path)
        held = list(self.rows(block, place.within(node, live=runs)))
        direct = [row for row in held if row.depth == place.depth + 1]
        yield Row(
            path,
            "Sequential" if block.kind == "sequential" else block.name,
            place.depth,
            tuple(outside(type, place.meaning) for type in node.types),
            sum(row.parameters for row in direct),
            _total(row.multiply_adds for row in direct),
            _total(row.memory for row in direct),
            is_block=True,
            shared=shared,
        )
        yield from held

    def _seen(self, path: str) -> bool:
        """Whether the layer or tensor at `path` has been counted; it has now."""
        seen = path in self._counted
        self._counted.add(path)
        return seen


def _size(type: Tensor) -> int:
    """The number of elements of a param or buffer, whose sizes are fixed."""
    return prod(dim for dim in type.shape if isinstance(dim, int))


def _type_bytes(type: Type) -> Dim:
    return product(type.shape) * _BYTES.get(type.dtype, 1) if isinstance(type, Tensor) else 0


def _state_bytes(state: State) -> int:
    return prod(state.shape) * _BYTES.get(state.dtype, 1)


def _total(dims: Iterable[Dim]) -> Dim:
    total: Dim = 0
    for dim in dims:
        total = total + dim
    return total


# Text

_HEADER = ("layer", "kind", "output", "parameters", "multiply-adds", "memory")
_LEFT = 3  # columns of words; the others are figures
_WIDEST = 44  # characters of a symbolic figure; the data has all of it


def _input_lines(inputs: Sequence[tuple[str, Type]]) -> Iterator[tuple[str, ...]]:
    for name, type in inputs:
        yield name, "input", str(type), "", "", memory(_type_bytes(type))


def _lines(rows: Sequence[Row], depth: int | None) -> Iterator[tuple[str, ...]]:
    for row in rows:
        if depth is not None and row.depth > depth:
            continue
        shape = ", ".join(map(str, row.outputs))
        open_block = row.is_block and (depth is None or row.depth < depth)
        if open_block:
            yield row.path, row.kind, shape, "", "", ""
            continue
        own = "shared" if row.shared else number(row.parameters) if row.parameters else ""
        work = (
            "in training only"
            if row.training_only
            else amount(row.multiply_adds)
            if row.multiply_adds != 0
            else ""
        )
        size = memory(row.memory) if row.memory != 0 else ""
        yield row.path, row.kind, shape, own, captions.shorten(work, _WIDEST), captions.shorten(size, _WIDEST)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if column < _LEFT else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _given(arguments: Sequence[tuple[str, Any]]) -> str:
    inside = ", ".join(f"{name} = {value}" for name, value in arguments)
    return f"({inside})" if inside else ""


def _total_lines(totals: Totals) -> Iterator[str]:
    yield f"parameters     {number(totals.parameters)} ({number(totals.trainable)} trainable)"
    if totals.buffers:
        yield f"buffers        {number(totals.buffers)}"
    yield f"multiply-adds  {amount(totals.multiply_adds)}"
    parts = (
        ("input", totals.input_memory),
        ("forward", totals.forward_memory),
        ("parameters", totals.state_memory),
    )
    yield "memory         " + ", ".join(f"{what} {memory(size)}" for what, size in parts)


def amount(dim: Dim) -> str:
    """A count, symbolic or not: `144,000*N`."""
    factor, rest = _factored(dim)
    return rest[1:] if rest and factor == 1 else number(factor) + rest


def memory(dim: Dim) -> str:
    """Bytes in a unit that suits them, of 1000 each: `23.0 kB*N`."""
    factor, rest = _factored(dim)
    if factor < 1000:
        return f"{factor} B{rest}"
    size, units = factor / 1000, iter(("kB", "MB", "GB", "TB"))
    unit = next(units)
    while size >= 1000 and (larger := next(units, None)):
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}{rest}"


def _factored(dim: Dim) -> tuple[int, str]:
    """The number in front of a size, and the rest with its sign of multiplication."""
    if not isinstance(dim, Expr):
        return dim, ""
    factor = gcd(*(factor for _, factor in dim.terms))
    rest = exact_div(dim, factor)
    text = str(dim if rest is None else rest)
    return factor if rest is not None else 1, f"*({text})" if _is_sum(text) else f"*{text}"


def _is_sum(text: str) -> bool:
    """Whether a sign of addition stands outside all parentheses of `text`."""
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth == 0 and character in "+-%":
            return True
    return False


# Data


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return str(value)


def _type_data(type: Type) -> dict[str, Any] | None:
    if not isinstance(type, Tensor):
        return None
    return {"shape": [_plain(dim) for dim in type.shape], "dtype": type.dtype}
