"""Sizes in the generated Python: where a free one is read from at run time, and shapes as comments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from netdsl.backends.torch_names import same
from netdsl.ir.dims import Dim, Expr, evaluate, symbol, symbols
from netdsl.ir.graph import Graph
from netdsl.ir.types import Tensor, Type

# What an axis is called whose size differs among the graphs that share a class.
_LETTERS: Final = {2: "NC", 3: "NCL", 4: "NCHW", 5: "NCDHW"}


class Place(NamedTuple):
    """A free dimension is `(size of axis of input - offset) // factor`."""

    input: int
    axis: int
    factor: int = 1
    offset: int = 0


def size_places(graph: Graph) -> dict[str, Place]:
    """Where each free dimension of `graph` can be read: an axis that is it, or else a multiple of it."""
    found: dict[str, Place] = {}
    for number, entry in enumerate(graph.inputs):
        if not isinstance(entry.type, Tensor):
            continue
        for axis, dim in enumerate(entry.type.shape):
            place = _place(dim, number, axis)
            if place is None:
                continue
            (name,) = symbols(dim)
            known = found.get(name)
            if known is None or (known.factor, known.offset) != (1, 0) == (place.factor, place.offset):
                found[name] = place
    return found


def _place(dim: Dim, number: int, axis: int) -> Place | None:
    names = symbols(dim)
    if len(names) != 1:
        return None
    (name,) = names
    at_zero, at_one = evaluate(dim, {name: 0}), evaluate(dim, {name: 1})
    factor = at_one - at_zero
    if factor < 1 or dim != symbol(name) * factor + at_zero:
        return None
    return Place(number, axis, factor, at_zero)


def read_sizes(places: Iterable[tuple[str, Place]], inputs: Sequence[str]) -> list[tuple[str, str]]:
    """Assignments, target and value, that read these free dimensions (by the names of their variables)."""
    by_input: dict[int, list[tuple[str, Place]]] = {}
    for name, place in sorted(places, key=lambda entry: entry[1]):
        by_input.setdefault(place.input, []).append((name, place))
    return [
        (
            ", ".join(name for name, _ in entries),
            ", ".join(_read(place, inputs[number]) for _, place in entries),
        )
        for number, entries in by_input.items()
    ]


def _read(place: Place, name: str) -> str:
    text = f"{name}.shape[{place.axis}]"
    if place.offset:
        text = f"{text} {'-' if place.offset > 0 else '+'} {abs(place.offset)}"
        text = f"({text})" if place.factor > 1 else text
    return f"{text} // {place.factor}" if place.factor > 1 else text


def named_axes(graphs: Sequence[Graph]) -> Iterator[tuple[str, tuple[Dim, ...]]]:
    """What the source calls the axes of the inputs of graphs that share a class, with the size in each graph."""
    for entries in zip(*(graph.inputs for graph in graphs), strict=True):
        names = entries[0].axes
        if names and all(entry.axes == names and isinstance(entry.type, Tensor) for entry in entries):
            shapes = zip(
                *(entry.type.shape for entry in entries if isinstance(entry.type, Tensor)), strict=True
            )
            yield from ((name, sizes) for name, sizes in zip(names, shapes, strict=True) if name)


def _is_usual(axes: Sequence[str]) -> bool:
    """Whether the source calls axes, where it does, as torch does."""
    return all(name in ("", letter) for name, letter in zip(axes, _LETTERS.get(len(axes), axes), strict=True))


class ShapeText:
    """Shapes for the reader, of graphs that share a class: what differs has the name of an argument, or a letter."""

    def __init__(self, graphs: Sequence[Graph], known: Mapping[tuple[Any, ...], str]) -> None:
        self.graphs = graphs
        self.known = dict(known)
        self.letters: dict[tuple[str, tuple[Any, ...]], str] = {}
        self.taken = {name for graph in graphs for name in graph.symbols} | set(known.values())
        self.axes: dict[tuple[Any, ...], list[str]] = {}
        for name, column in named_axes(graphs):
            if name not in self.taken and column not in self.known:
                self.axes.setdefault(column, []).append(name)
        self.usual = all(_is_usual(entry.axes) for graph in graphs for entry in graph.inputs)
        self.taken |= {name for names in self.axes.values() for name in names}

    def value(self, number: int) -> str:
        """The type of a value, as `[N, 10, 24, 24]`; nothing where it is not known."""
        return self.types([graph.types[number] for graph in self.graphs])

    def types(self, types: Sequence[Type]) -> str:
        first = types[0]
        if not isinstance(first, Tensor) or not all(
            isinstance(t, Tensor) and t.rank == first.rank for t in types
        ):
            return ""
        shapes = [t.shape for t in types if isinstance(t, Tensor)]
        columns = list(zip(*shapes, strict=True))
        dims = (
            self.dim(column, axis, first.rank, columns[:axis].count(column))
            for axis, column in enumerate(columns)
        )
        text = "[" + ", ".join(dims) + "]"
        dtypes = {t.dtype for t in types if isinstance(t, Tensor)}
        return text if dtypes != {first.dtype} or first.dtype == "float32" else first.dtype + text

    def dim(self, column: tuple[Dim, ...], axis: int, rank: int, before: int) -> str:
        """What to call the sizes of an axis, which `before` axes have as well."""
        if all(same(dim, column[0]) for dim in column):
            return str(column[0])
        letters = _LETTERS.get(rank, "") if self.usual else ""
        stem = letters[axis] if letters else "D"
        axes = {other: names[min(before, len(names) - 1)] for other, names in self.axes.items()}
        name = self.known.get(column) or axes.get(column) or self.letters.get((stem, column))
        name = name or self.related(stem, column, axes)
        if name is None:
            name = self.letters[stem, column] = self.free(stem)
        return name

    def related(self, stem: str, column: tuple[Dim, ...], axes: Mapping[tuple[Any, ...], str]) -> str | None:
        """`column` by one that has a name: a half, a double, some more or less of it."""
        letters = {name: other for other, name in axes.items()}
        letters |= {name: other for (letter, other), name in self.letters.items() if letter == stem}
        named = {name: other for other, name in self.known.items()} if stem == "C" or not self.usual else {}
        columns = {
            name: list(zip(column, other, strict=True))
            for name, other in {**letters, **named}.items()
            if all(isinstance(dim, int | Expr) for dim in (*column, *other))
        }
        # The smallest factor says most: `2*expand`, though it is `8*squeeze` too.
        for factor in (2, 3, 4, 8, 16, 32):
            for name, pairs in columns.items():
                if not name.isidentifier():
                    continue
                if all(dim == base // factor for dim, base in pairs):
                    return f"{name}//{factor}"
                if all(dim == factor * base for dim, base in pairs):
                    return f"{factor}*{name}"
        for name, pairs in columns.items():
            offset = pairs[0][0] - pairs[0][1]
            if not isinstance(offset, int) or any(dim - base != offset for dim, base in pairs):
                continue
            if not all(isinstance(base, int) and base < 2 * abs(offset) for _, base in pairs):
                return f"{name} {'+' if offset > 0 else '-'} {abs(offset)}"
        return None

    def free(self, stem: str) -> str:
        name, count = stem, 2
        while name in self.taken:
            name, count = f"{stem}{count}", count + 1
        self.taken.add(name)
        return name
