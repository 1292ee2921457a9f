"""What a diagram shows, before anything is drawn: boxes, frames around blocks, arrows. `dot` writes it.

`depth` is how many levels of blocks are open; a closed block is one box. Where no depth is asked for, the
deepest picture that is still read at a glance is taken: of blocks that repeat one is drawn, with its number,
and closed blocks are shown open beside the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, TypeAlias

from netdsl.backends import captions
from netdsl.backends.meaning import inside, outside
from netdsl.backends.repetition import boxes, contents, looks, nesting, only_run, runs
from netdsl.ir.dims import Dim
from netdsl.ir.graph import Graph, Node, Operand, Output
from netdsl.ir.graph import Literal as Number
from netdsl.ir.measure import parameter_count
from netdsl.ir.types import Tensor, Type

AT_A_GLANCE = 36  # boxes
INSET = 14  # boxes of a block that is shown open beside the model
INSETS = 3

Role: TypeAlias = Literal["input", "output", "tensor", "layer", "step", "sign", "block"]


@dataclass
class Box:
    """One thing drawn: `title` in bold, `caption` beside it, `note` below; `hint` is the tooltip."""

    id: str
    role: Role
    title: str = ""
    caption: str = ""
    note: str = ""
    family: str = ""
    hint: str = ""
    dashed: bool = False


@dataclass
class Frame:
    """A block drawn open."""

    id: str
    title: str = ""
    caption: str = ""
    note: str = ""
    items: list[Box | Frame] = field(default_factory=list)
    entry: str = ""  # the box that alone takes what comes in, leaps aside
    beside: bool = False  # it stands at the right of another branch


@dataclass
class Arrow:
    """A value on its way. `leap` marks one that passes by what its other readers do, as a skip connection.

    `course` is where it belongs: "chain" between boxes with no other way, "fork" and "join" at branches.
    """

    tail: str
    head: str
    text: str = ""
    leap: bool = False
    course: Literal["chain", "fork", "join"] = "chain"


@dataclass
class Picture:
    """A model, and beside it the blocks that are closed in it."""

    title: str
    note: str
    model: Frame
    arrows: list[Arrow]
    insets: list[Frame] = field(default_factory=list)


def picture(graph: Graph, depth: int | None = None) -> Picture:
    """What to draw of `graph` with `depth` levels of blocks open, or as many as are read at a glance."""
    glance = depth is None
    levels = default_depth(graph) if depth is None else depth
    drawer = _Drawer(plates=glance)
    model = Frame("model")
    drawer.whole(graph, model, levels, prefix="")
    insets = _insets(drawer) if glance else []
    arrows = _merged(drawer.arrows)
    _mark_courses(arrows)
    for frame in (model, *insets):
        _mark_entries(frame, arrows)
    note = _owned(graph, 1)
    return Picture(graph.name, note, model, arrows, insets)


def default_depth(graph: Graph) -> int:
    """The most levels of blocks that can be open with at most `AT_A_GLANCE` boxes."""
    known: dict[tuple[int, int], int] = {}
    depth = 0
    while depth < nesting(graph, {}) and boxes(graph, depth + 1, known) <= AT_A_GLANCE:
        depth += 1
    return depth


def _insets(drawer: _Drawer) -> list[Frame]:
    """The closed blocks of the picture, each kind open once; those too large to help are left out."""
    frames: list[Frame] = []
    drawn: set[tuple[Any, ...]] = set()
    for block in drawer.closed:
        appearance = looks(block)
        depth = nesting(block, {})
        if appearance in drawn or len(frames) == INSETS or not 2 <= boxes(block, depth, {}) <= INSET:
            continue
        drawn.add(appearance)
        frame = Frame(f"inset {len(frames)}", block.name, captions.arguments(block))
        drawer.whole(block, frame, depth, prefix=f"{frame.id}:")
        frames.append(frame)
    return frames


def _merged(arrows: Sequence[Arrow]) -> list[Arrow]:
    """Arrows between the same boxes as one: `3 × (N×8)`. An arrow from nowhere is none."""
    together: dict[tuple[str, str], list[str]] = {}
    for arrow in arrows:
        if arrow.tail:
            together.setdefault((arrow.tail, arrow.head), []).append(arrow.text)
    return [Arrow(tail, head, _label(texts)) for (tail, head), texts in together.items()]


def _label(texts: Sequence[str]) -> str:
    counts: dict[str, int] = {}
    for text in filter(None, texts):
        counts[text] = counts.get(text, 0) + 1
    return ", ".join(text if times == 1 else f"{times} × ({text})" for text, times in counts.items())


def _mark_courses(arrows: Sequence[Arrow]) -> None:
    """Say where each arrow belongs; one leaps where another from its box leads to its head by a longer
    way."""
    rank: dict[str, int] = {}
    readers: dict[str, int] = {}
    sources: dict[str, int] = {}
    for arrow in arrows:  # in order of their heads, which come after all their tails
        rank[arrow.head] = max(rank.get(arrow.head, 0), rank.setdefault(arrow.tail, 0) + 1)
        readers[arrow.tail] = readers.get(arrow.tail, 0) + 1
        sources[arrow.head] = sources.get(arrow.head, 0) + 1
    for arrow in arrows:
        arrow.leap = readers[arrow.tail] > 1 and rank[arrow.head] - rank[arrow.tail] > 1
    leaps = [arrow for arrow in arrows if arrow.leap]
    for arrow in leaps:
        readers[arrow.tail] -= 1
        sources[arrow.head] -= 1
    for arrow in arrows:
        if readers[arrow.tail] > 1:
            arrow.course = "fork"
        elif sources[arrow.head] > 1:
            arrow.course = "join"


def _mark_entries(whole: Frame, arrows: Sequence[Arrow]) -> None:
    """Find for each frame the box at its entrance."""
    places: dict[str, tuple[Frame, ...]] = {}

    def visit(frame: Frame, around: tuple[Frame, ...]) -> None:
        for item in frame.items:
            if isinstance(item, Frame):
                visit(item, (*around, item))
            else:
                places[item.id] = around

    visit(whole, ())
    entered: dict[str, set[str]] = {}
    branched: set[str] = set()  # boxes that have one branch already
    for arrow in (arrow for arrow in arrows if not arrow.leap):
        outside = {id(frame) for frame in places.get(arrow.tail, ())}
        for frame in places.get(arrow.head, ()):
            if id(frame) in outside:
                continue
            heads = entered.setdefault(frame.id, set())
            heads.add(arrow.head)
            frame.entry = arrow.head if len(heads) == 1 else ""
            frame.beside = len(heads) == 1 and arrow.tail in branched
        branched.add(arrow.tail)


@dataclass
class _Value:
    """A value where it is drawn: the box it comes from, and its shape until an arrow has shown it.

    Of inputs, params and buffers the box itself shows the shape.
    """

    box: str
    text: str = ""
    in_box: bool = False


class _Drawer:
    """Draws bodies into frames and collects the arrows between them."""

    def __init__(self, *, plates: bool) -> None:
        self.arrows: list[Arrow] = []
        self.closed: list[Graph] = []
        self.plates = plates  # whether of open blocks that repeat only one is drawn
        self._ids: dict[str, int] = {}
        self._layers: set[str] = set()

    def whole(self, graph: Graph, frame: Frame, depth: int, prefix: str) -> None:
        """A body with its inputs and outputs."""
        sources: list[_Value] = []
        for entry in graph.inputs:
            box = Box(self._id(prefix + entry.name), "input", entry.name, captions.shape(entry.type))
            frame.items.append(box)
            sources.append(_Value(box.id, in_box=True))
        body = _Body(self, graph, frame, prefix, depth, {})
        values = body.draw(sources)
        for number, output in enumerate(graph.outputs):
            box = self._output(graph, output, number, prefix)
            frame.items.append(box)
            self.arrows.append(Arrow(values[output.value].box, box.id))

    def _output(self, graph: Graph, output: Output, number: int, prefix: str) -> Box:
        name = output.name or ("output" if len(graph.outputs) == 1 else f"out{number}")
        box = Box(self._id(f"{prefix}{name}"), "output", name, captions.shape(graph.types[output.value]))
        if output.when_training:
            box.note, box.dashed = "in training only", True
        return box

    def _id(self, wanted: str) -> str:
        count = self._ids[wanted] = self._ids.get(wanted, 0) + 1
        return wanted if count == 1 else self._id(f"{wanted} {count}")

    def first(self, path: str) -> bool:
        """Whether the layer at `path` has not been drawn yet; its parameters are counted where it is."""
        new = path not in self._layers
        self._layers.add(path)
        return new

    def new_id(self, wanted: str) -> str:
        return self._id(wanted)


class _Body:
    """One body on its way into a frame."""

    def __init__(
        self, drawer: _Drawer, graph: Graph, frame: Frame, prefix: str, depth: int, meaning: Mapping[str, Dim]
    ) -> None:
        self.drawer = drawer
        self.graph = graph
        self.frame = frame
        self.prefix = prefix
        self.depth = depth
        self.meaning = meaning
        self.values: dict[int, _Value] = {}

    def draw(self, sources: Sequence[_Value]) -> dict[int, _Value]:
        """Draw all nodes; where each value comes from."""
        self.values.update(enumerate(sources))
        for run in runs(self.graph):
            together = run.times > 1 and (not self.depth or self.drawer.plates)
            for nodes in (run.nodes,) if together else ((node,) for node in run.nodes):
                self._nodes(nodes)
        return self.values

    def _nodes(self, nodes: Sequence[Node]) -> None:
        """One node, or several that are drawn as one."""
        node, last = nodes[0], nodes[-1]
        title = node.label or ""
        if len(nodes) > 1 and node.label and last.label:
            title = f"{node.label}–{last.label}"
        block = node.op if isinstance(node.op, Graph) else None
        made = self._operation(node) if block is None else self._block(node, block, title, len(nodes))
        self.values.update(zip(last.results, made, strict=True))

    # -- operations

    def _operation(self, node: Node) -> list[_Value]:
        op: Any = node.op
        types = self.graph.operand_types(node)
        owned = sum(prod(s.shape) for s in op.state(*types).values() if s.learned) if node.label else 0
        box = Box(
            self._box_id(node, op.kind),
            "layer" if owned else "step",
            node.label or "",
            f"{op.kind} {captions.operation(op)}".strip(),
            family=type(op).__module__.rsplit(".", 1)[-1],
            hint=self._hint(node, captions.constructor(op.kind, op.arguments())),
        )
        if owned:
            new = self.drawer.first(self.prefix + (node.label or ""))
            box.note = captions.count(owned, "parameter") if new else "shared"
        elif sign := getattr(op, "symbol", ""):
            box.role, box.caption = "sign", self._formula(node, sign)
        self.frame.items.append(box)
        self._arrows(node, box)
        return self._made(node, box)

    def _formula(self, node: Node, sign: str) -> str:
        """`+`, or with a number among the operands `2 *` or `/ 2`."""
        numbers = [str(o.value) if isinstance(o, Number) else "" for o in node.operands]
        if len(numbers) < 2:
            return sign
        return f"{numbers[0]} {sign} {numbers[1]}".strip()

    # -- blocks

    def _block(self, node: Node, block: Graph, title: str, times: int) -> list[_Value]:
        repeated = only_run(block)
        if not self.depth or (repeated and self.depth == 1):
            return self._closed(node, block, title, times)
        path, depth, sizes = f"{self._path(node)}.", self.depth - 1, inside(node, self.meaning)
        caption = "" if block.kind == "sequential" else block.name
        if repeated and self.drawer.plates:  # the list and the block in it are one thing in the picture
            inner = repeated.nodes[0]
            assert isinstance(inner.op, Graph), "only blocks repeat"
            path, depth, times, block = f"{path}{inner.label}.", depth - 1, repeated.times, inner.op
            sizes = inside(inner, sizes)
            caption = block.name
        frame = Frame(self._box_id(node, block.name), title, _times(caption, times), _owned(block, times))
        self.frame.items.append(frame)
        body = _Body(self.drawer, block, frame, path, depth, sizes)
        values = body.draw([self._source(operand) for operand in node.operands])
        return [values[output.value] for output in block.outputs]

    def _closed(self, node: Node, block: Graph, title: str, times: int) -> list[_Value]:
        caption = contents(block) if block.kind == "sequential" else block.name
        new = self.drawer.first(self._path(node)) or not node.label
        box = Box(
            self._box_id(node, block.name),
            "block",
            title,
            _times(caption, times),
            _owned(block, times) if new else "shared",
            "block",
            self._hint(node, captions.constructor(block.name, dict(block.arguments))),
        )
        self.frame.items.append(box)
        self._arrows(node, box)
        self.drawer.closed.extend(_named_blocks(block))
        return self._made(node, box)

    # -- what both need

    def _path(self, node: Node) -> str:
        return self.prefix + (node.label or "")

    def _box_id(self, node: Node, kind: str) -> str:
        return self.drawer.new_id(self.prefix + (node.label or kind))

    def _hint(self, node: Node, what: str) -> str:
        path = self._path(node) if node.label else ""
        return f"{path}: {what}" if path else what

    def _made(self, node: Node, box: Box) -> list[_Value]:
        """The results of what `box` shows; a shape is written where it changes."""
        given = [type for type in self.graph.operand_types(node) if isinstance(type, Tensor)]
        return [_Value(box.id, "" if type in given[:1] else self._shape(type)) for type in node.types]

    def _shape(self, type: Type) -> str:
        return captions.shape(outside(type, self.meaning))

    def _arrows(self, node: Node, box: Box) -> None:
        read = [operand for operand in dict.fromkeys(node.operands) if isinstance(operand, int)]
        for operand in read:
            value, type = self._source(operand), self.graph.types[operand]
            text = value.text
            if len(read) > 1 and not value.in_box and type not in node.types:  # a part of something else
                text = self._shape(type)
            self.drawer.arrows.append(Arrow(value.box, box.id, text))
            value.text = ""

    def _source(self, operand: Operand) -> _Value:
        """Where an operand comes from; a number comes from nowhere."""
        if not isinstance(operand, int):
            return _Value("")
        if operand not in self.values:
            self._tensor(operand)
        return self.values[operand]

    def _tensor(self, number: int) -> None:
        """A `param` or `buffer`, drawn where it is first read."""
        for entry, learned in [(p, True) for p in self.graph.parameters] + [
            (b, False) for b in self.graph.buffers
        ]:
            if entry.value != number:
                continue
            note = (
                captions.count(prod(int(str(d)) for d in entry.type.shape), "parameter")
                if learned
                else "buffer"
            )
            box = Box(
                self.drawer.new_id(self.prefix + entry.name),
                "tensor",
                entry.name,
                self._shape(entry.type),
                note,
            )
            self.frame.items.append(box)
            self.values[number] = _Value(box.id, in_box=True)


def _times(caption: str, times: int) -> str:
    return f"{caption} × {times}" if times > 1 else caption


def _owned(block: Graph, times: int) -> str:
    """How many parameters a block has, or each of several."""
    owned = parameter_count(block)
    return captions.count(owned, "parameter") + (" each" if times > 1 else "") if owned else ""


def _named_blocks(block: Graph) -> Iterator[Graph]:
    """A closed block, or those in a closed list."""
    if block.kind != "sequential":
        yield block
        return
    for node in block.nodes:
        if isinstance(node.op, Graph):
            yield from _named_blocks(node.op)
