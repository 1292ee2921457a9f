"""Diagrams: the graph as DOT, and drawn by Graphviz as SVG, PNG or PDF."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from netdsl.backends.picture import Arrow, Box, Frame, Picture, picture
from netdsl.ir.graph import Graph

_FONT = "Helvetica,Arial,sans-serif"
_INK, _GREY, _LINE, _LEAP = "#22303C", "#6B7885", "#7A8794", "#3D6FA5"

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
_WEIGHTS: Final = {"chain": "1000", "fork": "4", "join": "1"}  # how straight and short an arrow is kept
_PLAIN = ("#FFFFFF", "#8A96A1")
_FRAMES = ("#F7F9FB", "#EFF3F7")  # alternating, so that nesting shows


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
    yield f"digraph {_quoted(shown.title)} {{"
    title = _rows([_bold(shown.title), _small(shown.note), " "])
    yield f'  graph [label=<{title}>, labelloc=t, fontname="{_FONT}", fontsize=16, fontcolor="{_INK}", rankdir=TB,'
    yield "    nodesep=0.28, ranksep=0.26, bgcolor=white, pad=0.25, newrank=true, splines=true, ordering=out]"
    yield f'  node [fontname="{_FONT}", fontsize=11, fontcolor="{_INK}", shape=box, style="rounded,filled",'
    yield '    penwidth=1, margin="0.12,0.06", height=0.3]'
    yield f'  edge [fontname="{_FONT}", fontsize=9, fontcolor="{_GREY}", color="{_LINE}", arrowsize=0.6, penwidth=1.1]'
    yield from _items(shown.model.items, 1)
    for inset in shown.insets:
        yield from _frame(inset, 1, inset=True)
    for arrow in shown.arrows:
        yield "  " + _arrow(arrow)
    yield "}"


def _items(items: list[Box | Frame], level: int) -> Iterator[str]:
    for item in items:
        if isinstance(item, Frame):
            yield from _frame(item, level)
        else:
            yield "  " * level + _box(item)


def _frame(frame: Frame, level: int, *, inset: bool = False) -> Iterator[str]:
    indent = "  " * level
    label = _heading(frame)
    look = (
        'style="rounded,dashed", bgcolor="#FFFFFF"'
        if inset
        else f'style="rounded,filled", fillcolor="{_FRAMES[level % 2]}"'
    )
    yield f"{indent}subgraph {_quoted('cluster ' + frame.id)} {{"
    side = "r" if frame.beside else "l"
    yield f'{indent}  graph [label=<{label}>, labeljust={side}, labelloc=t, fontsize=10, {look}, color="#C3CCD5", margin=10]'
    yield from _items(frame.items, level + 1)
    yield from _spacer(frame, level + 1)
    yield f"{indent}}}"


def _spacer(frame: Frame, level: int) -> Iterator[str]:
    """Room beside the first box, so that the arrow into it passes by the title."""
    entry = next((item for item in frame.items if isinstance(item, Box) and item.id == frame.entry), None)
    if entry is None:
        return
    width = _heading_width(frame) - _width(f"{entry.title} {entry.caption}", 11) / 2 - 14
    if width > 8:
        room = _quoted(f"room {frame.id}")
        yield f'{"  " * level}{room} [style=invis, label="", width={width / 72:.2f}, fixedsize=true, height=0.1]'
        first, second = (_quoted(entry.id), room) if frame.beside else (room, _quoted(entry.id))
        yield f"{'  ' * level}{{rank=same; {first} -> {second} [style=invis]}}"


def _box(box: Box) -> str:
    fill, line = _COLOURS.get(box.family, _PLAIN)
    first = " ".join(part for part in (_bold(box.title), _text(box.caption)) if part)
    label = _rows([first, _small(box.note)]) if box.note else first
    look = {"label": f"<{label}>", "fillcolor": f'"{fill}"', "color": f'"{line}"'}
    if box.role in ("input", "output"):
        look.update(
            shape="ellipse", style='"filled,dashed"' if box.dashed else "filled", margin='"0.06,0.03"'
        )
        look.update(fillcolor='"#FFFFFF"', color=f'"{_INK}"')
    if box.role == "tensor":
        look.update(style='"rounded,filled,dashed"')
    if box.role == "step":
        look.update(fontsize="9.5", margin='"0.09,0.03"', height="0.22")
    if box.role == "sign":
        look.update(
            shape="circle" if len(box.caption) <= 2 else "box",
            margin="0.02",
            height="0.24",
            width="0.24",
            fontsize="12",
        )
    if box.role == "block":
        look.update(penwidth="1.5")
    if box.hint:
        look["tooltip"] = _quoted(box.hint)
    return f"{_quoted(box.id)} [{', '.join(f'{key}={value}' for key, value in look.items())}]"


def _arrow(arrow: Arrow) -> str:
    look: dict[str, str] = {}
    if arrow.text:
        look["label"] = f"<{_text(' ' + arrow.text)}>"
    look["weight"] = _WEIGHTS[arrow.course]
    if arrow.leap:
        look.update(color=f'"{_LEAP}"', penwidth="1.4", weight="0")
    return (
        f"{_quoted(arrow.tail)} -> {_quoted(arrow.head)} [{', '.join(f'{k}={v}' for k, v in look.items())}]"
    )


def _heading(frame: Frame) -> str:
    """A frame's title, away from the arrow that enters."""
    side = "right" if frame.beside else "left"
    first = " ".join(part for part in (_bold(frame.title), _text(frame.caption)) if part)
    rows = "".join(f'<tr><td align="{side}">{cell}</td></tr>' for cell in (first, _small(frame.note)) if cell)
    return f'<table border="0" cellborder="0" cellspacing="0" cellpadding="0">{rows}</table>'


def _heading_width(frame: Frame) -> float:
    """About how wide the title is, in points."""
    first = " ".join(part for part in (frame.title, frame.caption) if part)
    return max(_width(first, 10.5), _width(frame.note, 9))


def _width(text: str, size: float) -> float:
    return len(text) * size * 0.6


def _rows(cells: list[str]) -> str:
    """Lines of a label, one below the other."""
    rows = "".join(f"<tr><td>{cell}</td></tr>" for cell in cells)
    return f'<table border="0" cellborder="0" cellspacing="0" cellpadding="1">{rows}</table>'


def _quoted(text: str) -> str:
    """`text` as a DOT identifier."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(text: str) -> str:
    """`text` in a label, whatever it holds."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _bold(text: str) -> str:
    return f"<b>{_text(text)}</b>" if text else ""


def _small(text: str) -> str:
    return f'<font point-size="9" color="{_GREY}">{_text(text)}</font>' if text else ""
