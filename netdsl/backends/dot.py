"""Diagrams: the graph as DOT text, and drawn by Graphviz as SVG, PNG or PDF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from netdsl.backends.picture import Arrow, Box, Frame, Picture, picture
from netdsl.ir.graph import Graph

_INK, _GREY, _LINE, _LEAP, _BORDER = "#22303C", "#6B7885", "#7A8794", "#3D6FA5", "#C3CCD5"

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
_EMPTY_ROW = "<tr><td></td></tr>"
_PLAIN = ("#FFFFFF", "#8A96A1")
_FRAMES = ("#F7F9FB", "#EFF3F7")  # alternating, so that nesting shows

# How straight and short an arrow is kept. Graphviz gives the width of a frame 128; a chain is stronger.
_WEIGHTS: Final = {"chain": 1000, "fork": 4, "join": 1}

_FONT = {"fontname": '"Helvetica,Arial,sans-serif"'}
_GRAPH = {
    **_FONT,
    "fontsize": "16",
    "fontcolor": f'"{_INK}"',
    "labelloc": "t",
    "rankdir": "TB",
    "nodesep": "0.28",
    "ranksep": "0.26",
    "pad": "0.25",
    "bgcolor": "white",
    "newrank": "true",  # branches start side by side although they lie in a frame
    "ordering": "out",  # and stand in the order of the source
}
_NODE = {
    **_FONT,
    "fontsize": "11",
    "fontcolor": f'"{_INK}"',
    "shape": "box",
    "style": '"rounded,filled"',
    "margin": '"0.12,0.06"',
    "height": "0.3",
}
_EDGE = {
    **_FONT,
    "fontsize": "9",
    "fontcolor": f'"{_GREY}"',
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
    title = _rows([_bold(shown.title), _small(shown.note), " "])
    yield f"digraph {_quoted(shown.title)} {{"
    yield f"  graph {_attributes({**_GRAPH, 'label': f'<{title}>'})}"
    yield f"  node {_attributes(_NODE)}"
    yield f"  edge {_attributes(_EDGE)}"
    yield from _items(shown.model.items, 1)
    for inset in shown.insets:
        yield from _frame(inset, 1, {"style": '"rounded,dashed"', "bgcolor": '"#FFFFFF"'})
    for arrow in shown.arrows:
        yield f"  {_arrow(arrow)}"
    yield "}"


def _items(items: Sequence[Box | Frame], level: int) -> Iterator[str]:
    for item in items:
        if isinstance(item, Frame):
            fill = f'"{_FRAMES[level % 2]}"'
            yield from _frame(item, level, {"style": '"rounded,filled"', "fillcolor": fill})
        else:
            yield f"{'  ' * level}{_box(item)}"


def _frame(frame: Frame, level: int, look: dict[str, str]) -> Iterator[str]:
    indent = "  " * level
    heading = {
        "label": f"<{_heading(frame)}>",
        "labeljust": "r" if frame.beside else "l",
        "fontsize": "10",
        "margin": "10",
        "color": f'"{_BORDER}"',
    }
    yield f"{indent}subgraph {_quoted('cluster ' + frame.id)} {{"
    yield f"{indent}  graph {_attributes({**heading, **look})}"
    yield from _items(frame.items, level + 1)
    yield from _spacer(frame, level + 1)
    yield f"{indent}}}"


def _spacer(frame: Frame, level: int) -> Iterator[str]:
    """Room beside the first box, so that the arrow into it passes by the title."""
    entry = next((item for item in frame.items if isinstance(item, Box) and item.id == frame.entry), None)
    if entry is None:
        return
    title = max(_width(_joined(frame.title, frame.caption), 10.5), _width(frame.note, 9))
    width = title - _width(_joined(entry.title, entry.caption), 11) / 2 - 14
    if width <= 8:
        return
    room = _quoted(f"room {frame.id}")
    look = {
        "style": "invis",
        "label": '""',
        "fixedsize": "true",
        "width": f"{width / 72:.2f}",
        "height": "0.1",
    }
    first, second = (_quoted(entry.id), room) if frame.beside else (room, _quoted(entry.id))
    yield f"{'  ' * level}{room} {_attributes(look)}"
    yield f"{'  ' * level}{{rank=same; {first} -> {second} [style=invis]}}"


def _box(box: Box) -> str:
    fill, line = _COLOURS.get(_FAMILIES.get(box.family, box.family), _PLAIN)
    first = _joined(_bold(box.title), _text(box.caption))
    look = {"fillcolor": f'"{fill}"', "color": f'"{line}"'}
    if box.role in ("input", "output"):
        style = '"filled,dashed"' if box.dashed else "filled"
        look = {
            "fillcolor": "white",
            "color": f'"{_INK}"',
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
        look["tooltip"] = _quoted(box.hint)
    label = _rows([first, _small(box.note)]) if box.note else first
    return f"{_quoted(box.id)} {_attributes({'label': f'<{label}>', **look})}"


def _arrow(arrow: Arrow) -> str:
    look = {"weight": str(_WEIGHTS[arrow.course])}
    if arrow.leap:
        look = {"weight": "0", "color": f'"{_LEAP}"', "penwidth": "1.4"}
    if arrow.text:
        look["label"] = f"<{_text(' ' + arrow.text)}>"
    return f"{_quoted(arrow.tail)} -> {_quoted(arrow.head)} {_attributes(look)}"


# DOT


def _attributes(values: dict[str, str]) -> str:
    return "[" + ", ".join(f"{key}={value}" for key, value in values.items()) + "]"


def _quoted(text: str) -> str:
    """`text` as a DOT identifier. Graphviz takes an empty one, and one that starts with `%`, for no name."""
    named = " " + text if text[:1] in ("", "%") else text
    return '"' + _printable(named).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(text: str) -> str:
    """`text` in a label, whatever it holds."""
    plain = _printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace('"', "&quot;")


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _heading(frame: Frame) -> str:
    """The title of a frame, in lines at its side."""
    side = "right" if frame.beside else "left"
    cells = [_joined(_bold(frame.title), _text(frame.caption)), _small(frame.note)]
    rows = "".join(f'<tr><td align="{side}">{cell}</td></tr>' for cell in cells if cell)
    return f'<table border="0" cellborder="0" cellspacing="0" cellpadding="0">{rows or _EMPTY_ROW}</table>'


def _rows(cells: Sequence[str]) -> str:
    """Lines of a label, one below the other."""
    rows = "".join(f"<tr><td>{cell}</td></tr>" for cell in cells)
    return f'<table border="0" cellborder="0" cellspacing="0" cellpadding="1">{rows}</table>'


def _bold(text: str) -> str:
    return f"<b>{_text(text)}</b>" if text else ""


def _small(text: str) -> str:
    return f'<font point-size="9" color="{_GREY}">{_text(text)}</font>' if text else ""


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _width(text: str, size: float) -> float:
    """About how wide `text` is, in points."""
    return len(text) * size * 0.6
