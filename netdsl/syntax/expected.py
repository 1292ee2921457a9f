"""What could stand at a place, and what does, in words."""

from __future__ import annotations

from collections.abc import Iterable

from netdsl.syntax.tables import tables
from netdsl.syntax.tokens import COMPARISONS, END, LOGIC, NEWLINE, OPERATORS, Token

_LONGEST = 40

_AFTER_VALUE = OPERATORS | COMPARISONS | LOGIC | {"IF", "LPAR", "LSQB", "DOT", "ARROW"}
_CONSTANTS = frozenset({"TRUE", "FALSE", "NONE", "ELLIPSIS"})
_VALUES = _CONSTANTS | {"NAME", "NUMBER", "STRING", "LPAR", "LSQB", "MINUS", "NOT"}
_SYMBOLS = {
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "EQUAL": "`=`",
    "COMMA": "`,`",
    "COLON": "`:`",
    "DOT": "`.`",
    "ARROW": "`->`",
    "STAR": "`*`",
    "NAME": "a name",
    "NUMBER": "a number",
    "STRING": "a string",
    NEWLINE: "the end of the line",
    END: "the end of the interpolation",
}
DECLARATION = "a declaration (`model`, `block`, `fn`, `const`, `import`, `train` or `extern`)"


def expected_in_words(accepts: frozenset[str]) -> str:
    """What the grammar takes at a place, as a phrase.

    >>> expected_in_words(frozenset({"COMMA", "RPAR", "PLUS", "ARROW", "DOT"}))
    '`)` or `,`'
    """
    if "CONST" in accepts:
        return DECLARATION
    if "PARAM" in accepts:
        return "a statement or `}`" if "RBRACE" in accepts else "a statement"
    if "NUMBER" in accepts and "NAME" in accepts and "LPAR" in accepts:
        return _either(["a value", *_symbols(accepts - _VALUES)])
    if accepts == frozenset({"EQUAL", "COMMA", "COLON"}):  # behind the first name of a statement
        return "`=`"
    if NEWLINE in accepts:
        accepts -= {"RBRACE", "WHEN", END}
    if "PLUS" in accepts:
        accepts -= _AFTER_VALUE
    elif "ARROW" in accepts:
        accepts -= _AFTER_VALUE - {"ARROW"}
    return _either(_symbols(accepts) or ["an operator"])


def _symbols(kinds: Iterable[str]) -> list[str]:
    order = list(_SYMBOLS)
    words = {kind: word for word, kind in tables().words.items()}
    known = sorted((kind for kind in kinds if kind in _SYMBOLS), key=order.index)
    keywords = sorted(f"`{words[kind]}`" for kind in kinds if kind in words)
    return [*keywords, *(_SYMBOLS[kind] for kind in known)]


def _either(phrases: list[str]) -> str:
    *rest, last = phrases
    return f"{', '.join(rest)} or {last}" if rest else last


def found_in_words(token: Token) -> str:
    """What stands at a place: `the end of the line`, `the word `in``, or the text itself."""
    if token.kind == NEWLINE:
        return _SYMBOLS[NEWLINE]
    if token.kind == END:
        return "the end of the file"
    if token.kind == "STRING":
        return f"the string {quoted(token.text)}"
    if token.kind == "NUMBER":
        return f"the number {quoted(token.text)}"
    if token.text in tables().words:
        return f"the word {quoted(token.text)}"
    return quoted(token.text)


def quoted(text: str) -> str:
    """A piece of the source in a message, cut where it is long."""
    return f"`{text}`" if len(text) <= _LONGEST else f"`{text[: _LONGEST - 12]}…{text[-10:]}`"
