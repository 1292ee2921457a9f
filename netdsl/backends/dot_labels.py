"""Text in DOT: names, and the labels of boxes and frames in Graphviz's HTML, whatever the text holds."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.backends import captions
from netdsl.backends.picture_parts import Box, Frame, Row

INK, GREY = "#22303C", "#6B7885"
_RULE = "<hr/>"
_SMALL = 9


def quoted(text: str) -> str:
    """`text` as a DOT identifier. Graphviz takes an empty one, and one that starts with `%`, for no name."""
    named = " " + text if text[:1] in ("", "%") else text
    return '"' + _printable(named).replace("\\", "\\\\").replace('"', '\\"') + '"'


def escaped(text: str) -> str:
    """`text` in a label, whatever it holds."""
    plain = _printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace('"', "&quot;")


def title_label(title: str, note: str, *, beside: bool) -> str:
    """The title of a diagram."""
    return _joined(_bold(title), _small(note)) if beside else rows([_bold(title), _small(note)])


def box_label(box: Box, *, beside: bool) -> str:
    """The lines of a box: what it is, what is in it or follows it, and its notes `beside` those or below."""
    first = _joined(_bold(box.title), escaped(box.caption))
    if box.role == "block" and box.rows:
        return _block_label(box, first, beside=beside)
    if beside or not box.rows:
        notes = [_small(box.note)]
        lines = (
            [first, *map(_line, box.rows)] if not beside else [_joined(first, *notes), *map(_noted, box.rows)]
        )
        return rows([*lines, *([] if beside else notes)])
    total = box.owned + sum(row.owned for row in box.rows)
    note = box.note if box.note == "shared" or not total else captions.count(total, "parameter")
    return rows([first, *map(_line, box.rows), _small(note)])


def _block_label(box: Box, first: str, *, beside: bool) -> str:
    """A block, a rule, and the blocks in it one below the other, with their numbers in a column."""
    note = _small(box.note)
    if len(box.rows) == 1 and beside:
        return _joined(first, _line(box.rows[0]), note)
    title = [_joined(first, note)] if beside else [first, note]
    spread = any(row.note for row in box.rows)
    cells = [_wide(cell) if spread else _cell(cell) for cell in title if cell]
    for row in box.rows:
        line = f'<font point-size="10">{_line(row)}</font>'
        right = f'<td align="right">  {_small(row.note)}</td>'
        cells.append(f'<tr><td align="left">{line}</td>{right}</tr>' if spread else _cell(line))
    return _table([*cells[: len(title)], _RULE, *cells[len(title) :]])


def heading(frame: Frame, *, beside: bool) -> str:
    """The title of a frame, in lines at its side."""
    side = "right" if frame.beside else "left"
    title = _joined(_bold(frame.title), escaped(frame.caption))
    lines = [_joined(title, _small(frame.note))] if beside else [title, _small(frame.note)]
    return _table(
        [f'<tr><td align="{side}">{line}</td></tr>' for line in lines if line] or [_cell("")], padding=0
    )


def rows(lines: Sequence[str]) -> str:
    """Lines of a label, one below the other; a single one needs no table."""
    full = [line for line in lines if line]
    return _table([_cell(line) for line in full]) if len(full) > 1 else "".join(full)


def box_width(box: Box, *, beside: bool) -> float:
    """About how wide a box is, in points."""
    lines = [(f"{part.title} {part.caption}", part.note) for part in (box, *box.rows)]
    return max(
        max(width(text, 11), width(note, _SMALL)) if not beside else width(text, 11) + width(note, _SMALL)
        for text, note in lines
    )


def width(text: str, size: float) -> float:
    """About how wide `text` is, in points."""
    return len(text) * size * 0.6


def _table(lines: Sequence[str], padding: int = 1) -> str:
    look = f'border="0" cellborder="0" cellspacing="0" cellpadding="{padding}" color="#B4BEC8"'
    return f"<table {look}>{''.join(lines)}</table>"


def _cell(text: str) -> str:
    return f"<tr><td>{text}</td></tr>"


def _wide(text: str) -> str:
    return f'<tr><td colspan="2">{text}</td></tr>'


def _line(row: Row) -> str:
    return _joined(_bold(row.title), escaped(row.caption))


def _noted(row: Row) -> str:
    return _joined(_line(row), _small(row.note))


def _bold(text: str) -> str:
    return f"<b>{escaped(text)}</b>" if text else ""


def _small(text: str) -> str:
    return f'<font point-size="{_SMALL}" color="{GREY}">{escaped(text)}</font>' if text else ""


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
