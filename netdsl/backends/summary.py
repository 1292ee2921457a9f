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
from textwrap import fill
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

    def text(self, depth: int | None = None, at: Mapping[str, int] | None = None) -> str:
        """A table for people, indented as blocks lie inside each other; a block's figures are those of all in it.

        With `depth`, blocks below that level are closed. `at` has sizes for the figures where those are free, whose
        formulas would be long; shapes stay symbolic.
        """
        cells = [_HEADER, *_input_lines(self.inputs, at or {}), *_lines(self.rows, depth, at or {})]
        widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADER))]
        lines = [_aligned(line, widths) for line in cells]
        rule = "─" * max(map(len, lines))
        totals = _total_lines(self.totals, at or {})
        title = captions.constructor(self.model, dict(self.arguments), _WIDEST)
        kept = title.replace(" = ", "\xa0=\xa0")  # where no line ends
        kept = fill(kept, max(len(rule), _TITLE), subsequent_indent=" " * (len(self.model) + 1))
        title = kept.replace("\xa0", " ")
        return "\n".join([title, rule, lines[0], rule, *lines[1:], rule, *totals]) + "\n"

    def fitting_depth(self, most: int = 60) -> int | None:
        """The deepest level that is shown in `most` rows; None where all of them are."""
        depths = [row.depth for row in self.rows]
        if len(depths) <= most:
            return None
        return max((d for d in range(max(depths)) if sum(e <= d for e in depths) <= most), default=0)

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
    rows = tuple(_Measure(graph.tied()).rows(graph, _Place(meaning)))
    inputs = tuple((entry.name, outside(entry.type, meaning)) for entry in graph.inputs)
    return Summary(graph.name, graph.arguments, inputs, rows, _totals(graph, rows, inputs, frozen))


def _totals(
    graph: Graph, rows: Sequence[Row], inputs: Sequence[tuple[str, Type]], frozen: Sequence[str]
) -> Totals:
    tied = graph.tied()
    state = {name: entry for name, entry in graph.state() if name not in tied}
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

    def __init__(self, tied: Iterable[str] = ()) -> None:
        self._counted: set[str] = set(tied)  # a second name does not count

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
        own = {name: entry for name, entry in state.items() if f"{path}.{name}" not in self._counted}
        shared = shared or len(own) < len(state)
        outputs = tuple(outside(type, place.meaning) for type in node.types)
        return Row(
            path,
            op.kind,
            place.depth,
            outputs,
            sum(prod(entry.shape) for entry in own.values() if entry.learned),
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
_TITLE = 100  # characters of a line of the title, where the table is not wider
_WIDEST = 44  # characters of a symbolic figure; the data has all of it


def _input_lines(inputs: Sequence[tuple[str, Type]], at: Mapping[str, Dim]) -> Iterator[tuple[str, ...]]:
    for name, type in inputs:
        yield name, "input", str(type), "", "", memory(substitute(_type_bytes(type), at))


def _lines(rows: Sequence[Row], depth: int | None, at: Mapping[str, Dim]) -> Iterator[tuple[str, ...]]:
    around: list[str] = []  # the paths of the blocks that a row is in
    for row in rows:
        del around[row.depth :]
        outer = around[-1] if around else ""
        around.append(row.path or outer)
        if depth is not None and row.depth > depth:
            continue
        own = row.path.removeprefix(f"{outer}.") if outer else row.path
        shape = captions.shorten(", ".join(map(str, row.outputs)), _WIDEST)
        yield "  " * row.depth + own, row.kind, shape, *_figures(row, at)


def _figures(row: Row, at: Mapping[str, Dim]) -> tuple[str, str, str]:
    work, size = substitute(row.multiply_adds, at), substitute(row.memory, at)
    shown = amount(work) if work != 0 else ""
    return (
        "shared" if row.shared else number(row.parameters) if row.parameters else "",
        "in training only" if row.training_only else captions.shorten(shown, _WIDEST),
        captions.shorten(memory(size), _WIDEST) if size != 0 else "",
    )


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if column < _LEFT else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _total_lines(totals: Totals, at: Mapping[str, Dim]) -> Iterator[str]:
    yield f"parameters     {number(totals.parameters)} ({number(totals.trainable)} trainable)"
    if totals.buffers:
        yield f"buffers        {number(totals.buffers)}"
    yield f"multiply-adds  {amount(substitute(totals.multiply_adds, at))}"
    parts = (
        ("input", totals.input_memory),
        ("forward", totals.forward_memory),
        ("parameters", totals.state_memory),
    )
    yield "memory         " + ", ".join(f"{what} {memory(substitute(size, at))}" for what, size in parts)


def amount(dim: Dim) -> str:
    """A count, symbolic or not: `144,000*N`."""
    factor, rest = _factored(dim)
    return rest[1:] if rest and factor == 1 else number(factor) + rest


def memory(dim: Dim) -> str:
    """Bytes in a unit that suits them, of 1000 each: `23.0 kB*N`, or `71.3 MB*N + 0.7 MB`."""
    parts = _parts(dim)
    if parts:
        return " + ".join(map(memory, parts))
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


def _parts(dim: Dim) -> list[Dim]:
    """What is there for each example and what is there once; nothing for sizes that are no such sum."""
    if not isinstance(dim, Expr) or len(dim.terms) != 2 or min(factor for _, factor in dim.terms) < 0:
        return []
    return [Expr((term,)) if term[0] else term[1] for term in dim.terms]


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
