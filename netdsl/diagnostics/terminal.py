"""Text on a terminal: how wide a character is, what stands for one that must not be sent, and colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from unicodedata import category, east_asian_width

TAB = "    "
ELLIPSIS = "…"

COLOURS = {
    "error": "1;31",
    "warning": "1;33",
    "secondary": "1;34",
    "gutter": "1;34",
    "strong": "1",
    "plain": "",
}

# Controls, formats (which may reorder a line), surrogates and separators do not reach the terminal.
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Cn", "Co"}


def shown(character: str) -> str:
    """What stands on the screen for one character.

    >>> shown("a"), shown("\\x1b"), shown("\\u202e")
    ('a', '␛', '<U+202E>')
    """
    if character == "\t":
        return TAB
    if character.isprintable() or category(character) not in HIDDEN:
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"<U+{code:04X}>"


def printable(text: str, newlines: bool = False) -> str:
    """`text` with visible symbols in place of control characters; `newlines` are kept when asked for."""
    if text.isprintable():
        return text
    return "".join(c if newlines and c == "\n" else shown(c) for c in text)


def width(text: str) -> int:
    """How many columns a printable text takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(_character_width(c) for c in text)


def _character_width(character: str) -> int:
    if category(character) in {"Mn", "Me"}:
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def paint(text: str, style: str, colour: bool) -> str:
    """`text` in a style of `COLOURS`, or as it is without `colour`."""
    code = COLOURS[style]
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code and text else text


@dataclass(slots=True)
class Row:
    """One line of the screen, filled at columns in any order. A text of several columns must be its last."""

    cells: dict[int, tuple[str, str]] = field(default_factory=dict[int, tuple[str, str]])

    def put(self, column: int, text: str, style: str) -> None:
        self.cells[column] = (text, style)

    def repeat(self, start: int, end: int, character: str, style: str) -> None:
        for column in range(start, end):
            self.cells[column] = (character, style)

    def text(self, colour: bool) -> str:
        """The row from left to right; neighbours of one style are painted together."""
        runs: list[tuple[str, str]] = []
        at = 0
        for column in sorted(self.cells):
            text, style = self.cells[column]
            if column > at:
                runs.append((" " * (column - at), "plain"))
            if runs and runs[-1][1] == style:
                runs[-1] = (runs[-1][0] + text, style)
            else:
                runs.append((text, style))
            at = column + width(text)
        while runs and not runs[-1][0].strip(" "):
            runs.pop()
        if runs:
            runs[-1] = (runs[-1][0].rstrip(" "), runs[-1][1])
        return "".join(paint(text, style, colour) for text, style in runs)
