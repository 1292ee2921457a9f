"""Text to tokens, by the terminals of `net.lark`. What is none of them is a token too, to be reported."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from netdsl.syntax.tables import tables


class Token(NamedTuple):
    """A terminal: words are all `NAME` until the machine knows what it can take."""

    kind: str
    text: str
    start: int
    end: int


# Kinds that no rule takes, each of one kind of slip. `FOREIGN` is any other character.
_SLIPS = (
    ("BAD_NUMBER", r"[0-9][A-Za-z0-9_]*"),
    ("OPEN_STRING", r'"[^\n]*'),
    ("QUOTED", r"'(?:[^'\\\n]|\\[^\n])*'?"),
    ("FOREIGN", r"&&|\|\||\|>|[^\n]"),
)
SLIPS = frozenset(kind for kind, _ in _SLIPS)
END = "$END"
NEWLINE = "_NL"

OPERATORS = frozenset({"PLUS", "MINUS", "STAR", "SLASH", "FLOOR", "PERCENT", "AT", "POWER"})
COMPARISONS = frozenset({"LT", "GT", "LE", "GE", "EQ", "NE", "IN"})
LOGIC = frozenset({"AND", "OR", "NOT"})
PARTNERS = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
CLOSERS = frozenset(PARTNERS.values())


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{kind}>{regex})" for kind, regex in (*tables().patterns, *_SLIPS)))


def scan(text: str, start: int = 0, end: int | None = None) -> tuple[list[Token], list[Token]]:
    """The tokens of a stretch of text, closed by an `$END`, and its comments. Blank lines make no tokens.

    >>> [token.kind for token in scan("x = 1 # one")[0]]
    ['NAME', 'EQUAL', 'NUMBER', '$END']
    """
    end = len(text) if end is None else end
    tokens: list[Token] = []
    comments: list[Token] = []
    append = tokens.append
    for match in _pattern().finditer(text, start, end):
        kind = match.lastgroup
        if kind == "BLANKS":
            continue
        first, last = match.span()
        if kind == NEWLINE and tokens and tokens[-1].kind == NEWLINE:
            continue
        if kind == "COMMENT":
            comments.append(Token("COMMENT", match.group(), first, last))
        elif kind is not None:
            append(Token(kind, match.group(), first, last))
    append(Token(END, "", end, end))
    return tokens, comments
