"""Diagrams: the graph as DOT text, and drawn by Graphviz as SVG, PNG or PDF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from netdsl.backends.dot_labels import (
    GREY,
    INK,
    box_label,
    box_width,
    escaped,
    heading,
    quoted,
    title_label,
    width,
)
from netdsl.backends.picture import Arrow, Box, Frame, Picture, picture
from netdsl.ir.graph import Graph

_LINE, _LEAP, _BORDER = "#7A8794", "#3D6FA5", "#C3CCD5"

# Fill and line of a family of operations, which is the module that has them; others are plain.
_COLOURS: Final = {
    "conv": ("#DCE8F5", "#5B86B5"),
    "linear": ("#E4E0F3", "#7A6BB0"),
    "norm": ("#F6F0DA", "#B09A4F"),
    "pool": ("#DDF0E8", "#55957F"),
    "activation": ("#FBE8DD", "#C98A5E"),
    "attention": ("#F5DFE9", "#B0668A"),
    "recurrent": ("#EADFD6", "#9A7B62"),
    "embedding": ("#DDF0F3", "#5A98A3"),
    "block": ("#E9EEF3", "#51616F"),
}
_FAMILIES: Final = {  # modules that share a colour
    "activation_functions": "activation",
    "softmax": "activation",
    "adaptive": "pool",
    "fractional": "pool",
    "unpool": "pool",
    "pool_functions": "pool",
    "batchnorm": "norm",
    "normalize": "norm",
    "scaled_attention": "attention",
    "transformer": "attention",
}
_PLAIN = ("#FFFFFF", "#8A96A1")
_FRAMES = ("#F7F9FB", "#EFF3F7")  # alternating, so that nesting shows

_LONG = 9  # boxes in a row; in a longer diagram notes stand beside what they are of, and rows are closer
_CLOSE = "0.15"
_BETWEEN = 20  # points from a box to the next

# How straight and short an arrow is kept. Graphviz gives the width of a frame 128; a chain is stronger.
_WEIGHTS: Final = {"chain": 1000, "fork": 4, "join": 1}

_FONT = {"fontname": '"Helvetica,Arial,sans-serif"'}
_GRAPH = {
    **_FONT,
    "fontsize": "16",
    "fontcolor": f'"{INK}"',
    "labelloc": "t",
    "rankdir": "TB",
    "nodesep": "0.28",
    "ranksep": "0.2",
    "pad": "0.25",
    "bgcolor": "white",
    "newrank": "true",  # branches start side by side although they lie in a frame
    "ordering": "out",  # and stand in the order of the source
}
_NODE = {
    **_FONT,
    "fontsize": "11",
    "fontcolor": f'"{INK}"',
    "shape": "box",
    "style": '"rounded,filled"',
    "margin": '"0.12,0.06"',
    "height": "0.3",
}
_EDGE = {
    **_FONT,
    "fontsize": "9",
    "fontcolor": f'"{GREY}"',
    "color": f'"{_LINE}"',
    "arrowsize": "0.6",
    "penwidth": "1.1",
}


def dot(graph: Graph, depth: int | None = None) -> str:
    """The diagram as DOT text, the same for the same graph.

    `depth` is how many levels of blocks are open, 0 for none; without it, as many as are read at a glance.
    """
    return "\n".join(_document(picture(graph, depth))) + "\n"


def render(graph: Graph, path: str | Path, depth: int | None = None) -> Path:
    """Draw `graph` into a `.svg`, `.png` or `.pdf` file, or write its `.dot` text; `depth` as for `dot`.

    Raises `DrawingError` for another kind of file, and where there is no Graphviz.
    """
    from netdsl.backends.graphviz import draw

    target = Path(path)
    text = dot(graph, depth)
    if target.suffix in (".dot", ".gv"):
        target.write_text(text, encoding="utf-8")
        return target
    return draw(text, target)


def _document(shown: Picture) -> Iterator[str]:
    long = shown.length > _LONG
    look = {**_GRAPH, "label": f"<{title_label(shown.title, shown.note, beside=long)}>"}
    if long:
        look["ranksep"] = _CLOSE
    if shown.levels:
        del look["ordering"]  # what rises is written from its end, and has no order of its own
    yield f"digraph {quoted(shown.title)} {{"
    yield f"  graph {_attributes(look)}"
    yield f"  node {_attributes(_NODE)}"
    yield f"  edge {_attributes(_EDGE)}"
    yield from _Writer(beside=long).items(shown.model.items, 1)
    for inset in shown.insets:
        look = {"style": '"rounded,dashed"', "bgcolor": '"#FFFFFF"'}
        yield from _Writer(beside=False).frame(inset, 1, look)
    for arrow in shown.arrows:
        level = (arrow.tail, arrow.head) in shown.levels
        yield f"  {{rank=same; {_arrow(arrow)}}}" if level else f"  {_arrow(arrow)}"
    yield "}"


class _Writer:
    """Writes boxes and frames, with their notes `beside` what they are of or below."""

    def __init__(self, *, beside: bool) -> None:
        self.beside = beside
        self.titles: dict[str, float] = {}  # by the box at the entrance, the widest title above it

    def items(self, items: Sequence[Box | Frame], level: int) -> Iterator[str]:
        for item in items:
            if isinstance(item, Frame):
                look = {"style": '"rounded,filled"', "fillcolor": f'"{_FRAMES[level % 2]}"'}
                yield from self.frame(item, level, look)
            else:
                label = f"<{box_label(item, beside=self.beside)}>"
                yield f"{'  ' * level}{quoted(item.id)} {_attributes({'label': label, **_look(item)})}"

    def frame(self, frame: Frame, level: int, look: dict[str, str]) -> Iterator[str]:
        indent = "  " * level
        attributes = {
            "label": f"<{heading(frame, beside=self.beside)}>",
            "labeljust": "r" if frame.beside else "l",
            "fontsize": "10",
            "margin": "10",
            "color": f'"{_BORDER}"',
        }
        title, note = width(f"{frame.title} {frame.caption}", 10.5), width(frame.note, 9)
        needed = title + note if self.beside else max(title, note)
        self.titles[frame.entry] = max(needed, self.titles.get(frame.entry, 0))
        yield f"{indent}subgraph {quoted('cluster ' + frame.id)} {{"
        yield f"{indent}  graph {_attributes({**attributes, **look})}"
        yield from self.items(frame.items, level + 1)
        yield from self.spacer(frame, level + 1)
        yield f"{indent}}}"

    def spacer(self, frame: Frame, level: int) -> Iterator[str]:
        """Room beside the first box, so that the arrow into it passes by the title."""
        entry = next((item for item in frame.items if isinstance(item, Box) and item.id == frame.entry), None)
        if entry is None:
            return
        free = self.titles[entry.id] - box_width(entry, beside=self.beside) / 2 - 14
        if free <= 8:
            return
        free = max(free - _BETWEEN, 1)
        room = quoted(f"room {frame.id}")
        look = {
            "style": "invis",
            "label": '""',
            "fixedsize": "true",
            "width": f"{free / 72:.2f}",
            "height": "0.1",
        }
        first, second = (quoted(entry.id), room) if frame.beside else (room, quoted(entry.id))
        yield f"{'  ' * level}{room} {_attributes(look)}"
        yield f"{'  ' * level}{{rank=same; {first} -> {second} [style=invis]}}"


def _look(box: Box) -> dict[str, str]:
    fill, line = _COLOURS.get(_FAMILIES.get(box.family, box.family), _PLAIN)
    look = {"fillcolor": f'"{fill}"', "color": f'"{line}"'}
    if box.role in ("input", "output"):
        style = '"filled,dashed"' if box.dashed else "filled"
        look = {
            "fillcolor": "white",
            "color": f'"{INK}"',
            "shape": "ellipse",
            "style": style,
            "margin": '"0.06,0.03"',
        }
    elif box.role == "tensor":
        look["style"] = '"rounded,filled,dashed"'
    elif box.role == "step":
        look |= {"fontsize": "9.5", "margin": '"0.09,0.03"', "height": "0.22"}
    elif box.role == "sign":
        shape = "circle" if len(box.caption) <= 2 else "box"
        look |= {"shape": shape, "fontsize": "12", "margin": "0.02", "height": "0.24", "width": "0.24"}
    elif box.role == "block":
        look["penwidth"] = "1.5"
    if box.hint:
        look["tooltip"] = quoted(box.hint)
    return look


def _arrow(arrow: Arrow) -> str:
    look = {"weight": str(_WEIGHTS[arrow.course])}
    if arrow.leap:
        look = {"weight": "0", "color": f'"{_LEAP}"', "penwidth": "1.4"}
    if arrow.text or arrow.leap:  # an empty label keeps the way of a leap inside its frame
        look["label"] = f"<{escaped(' ' + (arrow.text or ' ' * 6))}>"
    ends = (arrow.tail, arrow.head)
    if arrow.rises:
        ends, look["dir"] = ends[::-1], "back"
    return f"{quoted(ends[0])} -> {quoted(ends[1])} {_attributes(look)}"


def _attributes(values: dict[str, str]) -> str:
    return "[" + ", ".join(f"{key}={value}" for key, value in values.items()) + "]"
