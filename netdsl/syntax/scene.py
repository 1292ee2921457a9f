"""Where a parse got stuck: the token, its neighbours, what could have stood there and what is still open."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from netdsl.source import Source, Span
from netdsl.syntax.tokens import CLOSERS, END, NEWLINE, PARTNERS, Token

if TYPE_CHECKING:
    from netdsl.syntax.machine import Bracket, Machine

DECLARATION_WORDS = ("model", "block", "fn", "const", "import", "train", "extern")
STATEMENT_WORDS = ("input", "output", "param", "buffer", "init", "tie", "assert", "expect")
_HOMES = ("declaration", "statement", "entry", "_declared")
NOTHING = Token("", "", 0, 0)


def home_of(machine: Machine) -> tuple[int, str]:
    """How many states lie below the innermost list of statements or declarations, and what it lists."""
    gotos = machine.tables.gotos
    for depth in range(len(machine.states) - 1, -1, -1):
        row = gotos[machine.states[depth]]
        for home in _HOMES:
            if home in row:
                return depth, home
    return 0, ""


def open_brackets(machine: Machine, depth: int) -> int:
    """How many brackets are open among the symbols that belong to the first states."""
    kinds = [value.kind for value in machine.values[depth:] if isinstance(value, Token)]
    above = sum(kind in PARTNERS for kind in kinds) - sum(kind in CLOSERS for kind in kinds)
    return len(machine.brackets) - above


@dataclass(frozen=True)
class Scene:
    """One place at which the machine cannot go on. `index` is the number of the token among `tokens`."""

    source: Source
    tokens: Sequence[Token]
    index: int
    home: str
    first: int  # number of the first token of the statement
    accepts: frozenset[str]
    brackets: tuple[Bracket, ...]  # open here, the innermost last
    opened: int  # how many of them were open before the statement began

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    @property
    def span(self) -> Span:
        """The token; for an end of line or file the place behind what stands before it."""
        token = self.token
        if token.kind in (NEWLINE, END):
            end = self.before.end if self.index else token.start
            return Span(self.source, end, end)
        return Span(self.source, token.start, token.end)

    @property
    def before(self) -> Token:
        """The last token before this one that is no end of line."""
        return self.back(1)

    def back(self, count: int) -> Token:
        """The token `count` places earlier, ends of line left out."""
        index = self.index
        while count and index:
            index -= 1
            count -= self.tokens[index].kind != NEWLINE
        return self.tokens[index] if not count else NOTHING

    def ahead(self, count: int) -> Token:
        """The token `count` places later, ends of line included."""
        index = self.index + count
        return self.tokens[index] if index < len(self.tokens) else NOTHING

    @cached_property
    def line_start(self) -> int:
        """The number of the first token on this token's line."""
        index = self.index
        while index and self.tokens[index - 1].kind != NEWLINE:
            index -= 1
        return index

    @property
    def is_in_body(self) -> bool:
        """Whether the braces of a declaration are open here."""
        return self.home in ("statement", "entry", "_declared")

    @property
    def starts_statement(self) -> bool:
        return self.index == self.first

    @property
    def opener(self) -> Bracket | None:
        """The innermost bracket that this statement opened."""
        return self.brackets[-1] if len(self.brackets) > self.opened else None

    def column(self, index: int) -> int:
        start = self.tokens[index].start
        return start - self.source.text.rfind("\n", 0, start) - 1

    def opens_earlier(self) -> bool:
        """Whether the innermost bracket of the statement stands on an earlier line than the token."""
        return self.opener is not None and self.opener.token.start < self.tokens[self.line_start].start

    def is_fresh(self, index: int) -> bool:
        """Whether a line that begins with this token looks like a new statement, whatever is still open."""
        token = self.tokens[index]
        if token.kind == "NAME" and self.tokens[index + 1].kind == "NAME":
            return token.text in DECLARATION_WORDS or token.text in STATEMENT_WORDS
        if token.kind in ("RPAR", "RSQB", "ARROW", NEWLINE):
            return False
        return token.kind in ("RBRACE", END) or self.column(index) <= self.column(self.first)


def scene_of(machine: Machine) -> Scene:
    """The scene at the machine's current token."""
    depth, home = home_of(machine)
    done = machine.ends[depth - 1] if depth else 0
    first = bisect_left(machine.tokens, done, key=lambda token: token.start)
    index = machine.index - 1
    first = max(first, machine.resumed)
    while first < index and (machine.tokens[first].kind == NEWLINE or not machine.tokens[first].text):
        first += 1
    return Scene(
        machine.source,
        machine.tokens,
        index,
        home,
        min(first, index),
        machine.acceptable(),
        tuple(machine.brackets),
        open_brackets(machine, depth),
    )
