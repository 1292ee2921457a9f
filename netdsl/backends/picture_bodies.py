"""Bodies drawn into frames: a box for each operation and closed block, a frame for each open one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

from netdsl.backends import captions
from netdsl.backends.meaning import inside, outside
from netdsl.backends.picture_parts import Arrow, Box, Frame, Row
from netdsl.backends.repetition import Run, contents, family, joins, only_run, runs
from netdsl.ir.dims import Dim
from netdsl.ir.graph import Graph, Literal, Node, Operand
from netdsl.ir.measure import parameter_count
from netdsl.ir.types import Tensor, Type


@dataclass
class Value:
    """A value where it is drawn: the box it comes from, and its shape until an arrow has shown it.

    Of inputs, params and buffers the box itself shows the shape.
    """

    box: str
    text: str = ""
    in_box: bool = False


@dataclass(frozen=True, eq=False)
class Closed:
    """A block that is not drawn open, at its place in the model."""

    block: Graph
    path: str
    meaning: Mapping[str, Dim]


class Drawer:
    """Draws bodies into frames and collects the arrows between them."""

    def __init__(self, multiples: Mapping[str, int]) -> None:
        self.arrows: list[Arrow] = []
        self.closed: list[Closed] = []
        self._multiples = multiples
        self._ids: dict[str, int] = {}
        self._layers: set[str] = set()

    def whole(self, graph: Graph, frame: Frame, depth: int, place: Closed | None = None) -> None:
        """A body with its inputs and outputs: the model, or the block at `place` beside it."""
        prefix, meaning = (f"{frame.id}:", place.meaning) if place else ("", {})
        sources: list[Value] = []
        for entry in graph.inputs:
            box = Box(self.new_id(prefix + entry.name), "input", entry.name, self.shape(entry.type, meaning))
            frame.items.append(box)
            sources.append(Value(box.id, in_box=True))
        values = _Body(self, graph, frame, prefix, depth, meaning).draw(sources)
        for number, output in enumerate(graph.outputs):
            name = output.name or ("output" if len(graph.outputs) == 1 else f"out{number}")
            shape = self.shape(graph.types[output.value], meaning)
            box = Box(self.new_id(prefix + name), "output", name, shape)
            if output.when_training:
                box.note, box.dashed = "in training only", True
            frame.items.append(box)
            self.arrows.append(Arrow(values[output.value].box, box.id))

    def shape(self, type: Type, meaning: Mapping[str, Dim]) -> str:
        return captions.shape(outside(type, meaning), self._multiples)

    def first(self, path: str) -> bool:
        """Whether the layer at `path` has not been drawn yet; its parameters are counted where it is."""
        new = path not in self._layers
        self._layers.add(path)
        return new

    def new_id(self, wanted: str) -> str:
        count = self._ids[wanted] = self._ids.get(wanted, 0) + 1
        return wanted if count == 1 else self.new_id(f"{wanted} {count}")


class _Body:
    """One body on its way into a frame."""

    def __init__(
        self, drawer: Drawer, graph: Graph, frame: Frame, prefix: str, depth: int, meaning: Mapping[str, Dim]
    ) -> None:
        self.drawer = drawer
        self.graph = graph
        self.frame = frame
        self.prefix = prefix
        self.depth = depth
        self.meaning = meaning
        self.values: dict[int, Value] = {}
        self._boxes: dict[int, Box] = {}  # of operations, by result

    def draw(self, sources: Sequence[Value]) -> dict[int, Value]:
        """Draw all nodes; where each value comes from."""
        self.values.update(enumerate(sources))
        for run in runs(self.graph):
            if run.period > 1:
                self._repeated(run)
            else:
                self._node(run.nodes[0], run.nodes[-1], run.times)
        return self.values

    def _repeated(self, run: Run) -> None:
        """Several blocks that alternate, in a frame of their own."""
        first, last = run.nodes[0], run.nodes[-1]
        around, start = self.frame, len(self.drawer.arrows)
        each = sum(parameter_count(node.op) for node in run.drawn if isinstance(node.op, Graph))
        note = captions.count(each, "parameter") + " each" if each else ""
        self.frame = Frame(self._box_id(first, "repeated"), _labels(first, last), f"× {run.times}", note)
        for node in run.drawn:
            self._node(node, node, 1)
        around.items.append(self.frame)
        results = [self.values[value] for value in run.drawn[-1].results]
        self._fold_up(around, self.frame, results, start)
        self.frame = around
        self.values.update(zip(last.results, results, strict=True))

    def _node(self, node: Node, last: Node, times: int) -> None:
        """One node, or a block again and again up to `last`."""
        title = _labels(node, last)
        block = node.op if isinstance(node.op, Graph) else None
        made = self._operation(node) if block is None else self._block(node, block, title, times)
        self.values.update(zip(last.results, made, strict=True))

    # -- operations

    def _operation(self, node: Node) -> list[Value]:
        op: Any = node.op
        types = self.graph.operand_types(node)
        owned = sum(prod(s.shape) for s in op.state(*types).values() if s.learned) if node.label else 0
        new = not owned or self.drawer.first(self._path(node))
        caption = f"{op.kind} {captions.operation(op)}".strip()
        if new and (before := self._joined_box(node)):
            note = captions.count(owned, "parameter") if owned else ""
            before.rows.append(Row(node.label or "", caption, note, owned))
            return self._join(node, before)
        box = Box(
            self._box_id(node, op.kind),
            "layer" if owned else "step",
            node.label or "",
            caption,
            captions.count(owned, "parameter") if owned and new else "shared" if owned else "",
            family(op),
            self._hint(node, captions.constructor(op.kind, op.arguments())),
            owned=owned if new else 0,
        )
        if sign := "" if owned else getattr(op, "symbol", ""):
            box.role, box.caption = "sign", _formula(node, sign)
        self.frame.items.append(box)
        self._arrows(node, box)
        if len(node.results) == 1:
            self._boxes[node.results[0]] = box
        return self._made(node, box)

    def _joined_box(self, node: Node) -> Box | None:
        """The box of what `node` follows, where both are drawn as one."""
        if not joins(self.graph, node):
            return None
        before = self._boxes.get(node.operands[0])  # type: ignore[arg-type]
        return before if before and before.note != "shared" else None

    def _join(self, node: Node, box: Box) -> list[Value]:
        """`box` holds `node` too; the shape of what comes out is still to be shown."""
        if any(row.owned for row in box.rows):
            box.role = "layer"
        op: Any = node.op
        box.hint += f", {self._hint(node, captions.constructor(op.kind, op.arguments()))}"
        self._boxes[node.results[0]] = box
        (value,) = (self._source(operand) for operand in node.operands)
        if value.text or node.types != self.graph.operand_types(node):
            value.text = self._shape(node.types[0])
        return [value]

    # -- blocks

    def _block(self, node: Node, block: Graph, title: str, times: int) -> list[Value]:
        repeated = only_run(block)
        if not self.depth or (repeated and self.depth == 1):
            return self._closed(node, block, title, times)
        path, depth, sizes = f"{self._path(node)}.", self.depth - 1, inside(node, self.meaning)
        caption = "" if block.kind == "sequential" else block.name
        if repeated:  # the list and the block in it are one thing in the picture
            inner = repeated.nodes[0]
            assert isinstance(inner.op, Graph), "only blocks repeat"
            path, depth, times, block = f"{path}{inner.label}.", depth - 1, repeated.times, inner.op
            sizes = inside(inner, sizes)
            caption = block.name
        frame = Frame(self._box_id(node, block.name), title, _times(caption, times), owned(block, times))
        self.frame.items.append(frame)
        start = len(self.drawer.arrows)
        values = _Body(self.drawer, block, frame, path, depth, sizes).draw(
            [self._source(operand) for operand in node.operands]
        )
        results = [values[output.value] for output in block.outputs]
        self._fold_up(self.frame, frame, results, start)
        return results

    def _closed(self, node: Node, block: Graph, title: str, times: int) -> list[Value]:
        caption = contents(block) if block.kind == "sequential" else block.name
        new = self.drawer.first(self._path(node)) or not node.label
        box = Box(
            self._box_id(node, block.name),
            "block",
            title,
            _times(caption, times),
            owned(block, times) if new else "shared",
            "block",
            self._hint(node, captions.constructor(block.name, dict(block.arguments))),
        )
        self.frame.items.append(box)
        self._arrows(node, box)
        self.drawer.closed.extend(_named_blocks(Closed(block, self._path(node), inside(node, self.meaning))))
        return self._made(node, box)

    def _fold_up(self, around: Frame, frame: Frame, results: Sequence[Value], start: int) -> None:
        """Make a frame that holds a chain of closed blocks, all of one shape, a box with a row for each."""
        arrows = self.drawer.arrows[start:]
        blocks = [item for item in frame.items if isinstance(item, Box) and item.role == "block"]
        ids = [box.id for box in blocks]
        chain = [arrow for arrow in arrows if arrow.tail in ids]
        entering = [arrow for arrow in arrows if arrow.tail not in ids]
        shapes = [arrow.text for arrow in chain] + [value.text for value in results]
        if (
            len(blocks) < len(frame.items)
            or [(arrow.tail, arrow.head) for arrow in chain] != list(pairwise(ids))
            or [arrow.head for arrow in entering] != ids[:1]
            or [value.box for value in results] != ids[-1:]
            or any(shapes[1:])
        ):
            return
        alone = len(blocks) == 1
        rows = [Row(box.title, box.caption, "" if alone else box.note) for box in blocks]
        whole = Box(
            frame.id, "block", frame.title, frame.caption, frame.note, "block", blocks[0].hint, rows=rows
        )
        if alone and blocks[0].rows:  # what alternates in a list
            whole.caption, whole.rows = frame.caption or blocks[0].caption, blocks[0].rows
        around.items[around.items.index(frame)] = whole
        self.drawer.arrows[start:] = [replace(entering[0], head=whole.id)]
        results[0].box, results[0].text = whole.id, shapes[0]

    # -- what both need

    def _path(self, node: Node) -> str:
        return self.prefix + (node.label or "")

    def _box_id(self, node: Node, kind: str) -> str:
        return self.drawer.new_id(self.prefix + (node.label or kind))

    def _hint(self, node: Node, what: str) -> str:
        path = self._path(node) if node.label else ""
        return f"{path}: {what}" if path else what

    def _made(self, node: Node, box: Box) -> list[Value]:
        """The results of what `box` shows; a shape is written where it changes."""
        given = [type for type in self.graph.operand_types(node) if isinstance(type, Tensor)]
        return [Value(box.id, "" if type in given[:1] else self._shape(type)) for type in node.types]

    def _shape(self, type: Type) -> str:
        return self.drawer.shape(type, self.meaning)

    def _arrows(self, node: Node, box: Box) -> None:
        read = [operand for operand in dict.fromkeys(node.operands) if isinstance(operand, int)]
        for operand in read:
            value, type = self._source(operand), self.graph.types[operand]
            text = value.text
            if len(read) > 1 and not value.in_box and type not in node.types:  # a part of something else
                text = self._shape(type)
            self.drawer.arrows.append(Arrow(value.box, box.id, text))
            value.text = ""

    def _source(self, operand: Operand) -> Value:
        """Where an operand comes from; a number comes from nowhere."""
        if not isinstance(operand, int):
            return Value("")
        if operand not in self.values:
            self._tensor(operand)
        return self.values[operand]

    def _tensor(self, number: int) -> None:
        """A `param` or `buffer`, drawn where it is first read."""
        learned = {entry.value: entry for entry in self.graph.parameters}
        computed = {entry.value: entry for entry in self.graph.buffers}
        entry = learned.get(number) or computed[number]
        size = prod(int(str(dim)) for dim in entry.type.shape)
        note = captions.count(size, "parameter") if number in learned else "buffer"
        name = self.drawer.new_id(self.prefix + entry.name)
        self.frame.items.append(Box(name, "tensor", entry.name, self._shape(entry.type), note))
        self.values[number] = Value(name, in_box=True)


def owned(block: Graph, times: int) -> str:
    """How many parameters a block has, or each of several."""
    count = parameter_count(block)
    return captions.count(count, "parameter") + (" each" if times > 1 else "") if count else ""


def _labels(first: Node, last: Node) -> str:
    """`0`, or `0–5` for several."""
    if first is last or not (first.label and last.label):
        return first.label or ""
    return f"{first.label}–{last.label}"


def _formula(node: Node, sign: str) -> str:
    """`+`, or with a number among the operands `2 *` or `/ 2`."""
    numbers = [str(o.value) if isinstance(o, Literal) else "" for o in node.operands]
    if len(numbers) < 2:
        return sign
    return f"{numbers[0]} {sign} {numbers[1]}".strip()


def _times(caption: str, times: int) -> str:
    return f"{caption} × {times}" if times > 1 else caption


def _named_blocks(closed: Closed) -> Iterator[Closed]:
    """A closed block, or those in a closed list."""
    if closed.block.kind != "sequential":
        yield closed
        return
    for node in closed.block.nodes:
        if isinstance(node.op, Graph):
            path = f"{closed.path}.{node.label}"
            yield from _named_blocks(Closed(node.op, path, inside(node, closed.meaning)))
