"""The values of literals: numbers within the language's limits, strings with escapes and interpolations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeAlias

from netdsl.diagnostics.model import Report
from netdsl.source import Source, Span
from netdsl.syntax import tree
from netdsl.syntax.tokens import Token

LARGEST_INTEGER = 2**63
_LONGEST_INTEGER = 19  # digits of LARGEST_INTEGER
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "{": "{"}
# Literal text, an escape, or what an interpolation holds (strings in it have no braces that count).
_PIECE = re.compile(r'[^\\{]+|\\.|\{((?>[^"{}]|"(?>(?:[^"\\]|\\.)*)")*)\}|\{', re.DOTALL)


def number_value(text: str, span: Span, report: Report) -> int | float:
    """The value of a number as written; 0 where the language cannot hold it."""
    digits = text.replace("_", "")
    if not digits.isdigit():
        value = float(digits)
        if math.isinf(value):
            report.error("E0108", f"`{_short(text)}` is too large", span, "a float ends at about 1.8e308")
            return 0.0
        return value
    significant = digits.lstrip("0")
    if significant and digits[0] == "0":
        report.error(
            "E0109",
            f"`{_short(text)}` starts with a zero",
            span,
            "an integer with a leading zero",
            helps=(f"write `{_short(significant)}`",),
        )
    if len(significant) <= _LONGEST_INTEGER and (value := int(significant or "0")) <= LARGEST_INTEGER:
        return value
    report.error(
        "E0108",
        f"`{_short(text)}` is too large",
        span,
        "an integer ends at 2**63",
        helps=("a float such as `1e20` may be larger",),
    )
    return 0


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:12]}…{text[-6:]}"


Interpolate: TypeAlias = Callable[[int, int], tree.Expr | None]


def string_node(token: Token, source: Source, report: Report, interpolate: Interpolate) -> tree.String:
    """The parts of a string token; `interpolate` parses what stands between two offsets of the source."""
    span = Span(source, token.start, token.end)
    inner = token.text[1:-1]
    if "\\" not in inner and "{" not in inner:
        return tree.String((inner,) if inner else (), token.text, span)
    parts: list[str | tree.Expr] = []
    text = ""
    for match in _PIECE.finditer(inner):
        piece = match.group()
        start = token.start + 1 + match.start()
        if piece[0] == "\\":
            text += _escape(piece, Span(source, start, start + 2), report)
        elif piece[0] != "{":
            text += piece
        else:
            if text:
                parts.append(text)
            text = ""
            place = Span(source, start, start + len(piece))
            if _holds_something(match, place, report) and (value := interpolate(start + 1, place.end - 1)):
                parts.append(value)
    if text:
        parts.append(text)
    return tree.String(tuple(parts), token.text, span)


def _escape(piece: str, span: Span, report: Report) -> str:
    if (value := _ESCAPES.get(piece[1])) is not None:
        return value
    report.error(
        "E0105",
        f"`{piece}` is no escape",
        span,
        'the escapes are `\\n`, `\\t`, `\\"`, `\\\\` and `\\{`',
        helps=("a literal backslash is `\\\\`" if piece[1] != "}" else "a closing brace needs no backslash",),
    )
    return piece


def _holds_something(match: re.Match[str], span: Span, report: Report) -> bool:
    inner = match.group(1)
    if inner and not inner.isspace():
        return True
    message = "an interpolation is not closed" if inner is None else "an interpolation is empty"
    label = "no `}` follows in this string" if inner is None else "nothing stands between the braces"
    report.error("E0105", message, span, label, helps=("a literal brace is `\\{`",))
    return False
