"""Runs the tables over tokens: which newlines and keywords count, and how to go on after a mistake.

Lark's own driver would serve, but for three things: its start-up (40 ms to import), recovery that neither
parses twice nor loses what stands before a mistake, and single-symbol reductions, made in one step here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from netdsl.diagnostics.model import Report
from netdsl.source import Source, Span
from netdsl.syntax.build import Builder
from netdsl.syntax.problems import slip, too_deep, unexpected
from netdsl.syntax.recovery import resume
from netdsl.syntax.scene import Scene, scene_of
from netdsl.syntax.tables import Rule, tables
from netdsl.syntax.tokens import (
    CLOSERS,
    COMPARISONS,
    END,
    LOGIC,
    NEWLINE,
    OPERATORS,
    PARTNERS,
    SLIPS,
    Token,
    scan,
)
from netdsl.syntax.tree import Declaration, Expr

MAX_NESTING = 256
MAX_PROBLEMS = 50
_NESTING_IN_STRING = 32
_RESERVED = frozenset({"IF", "ELSE", "FOR", "IN", "AND", "OR", "NOT", "TRUE", "FALSE", "NONE"})
# After these a line goes on; after the last three there is nothing to end.
_CONTINUED = OPERATORS | COMPARISONS | LOGIC | {"COMMA", "ARROW"} | {NEWLINE, "LBRACE", ""}
_NAMED = frozenset({"EQUAL", "COMMA", "COLON"})
_MEANT = {"&&": "AND", "||": "OR", "→": "ARROW", "|>": "ARROW", "×": "STAR", "−": "MINUS"}


class Bracket(NamedTuple):
    """An open bracket; in `( )` and `[ ]`, and in braces within them, newlines are free."""

    token: Token
    is_free: bool


class Machine:
    """One run over one list of tokens."""

    def __init__(
        self, source: Source, report: Report, tokens: list[Token], builder: Builder, start: str
    ) -> None:
        self.source = source
        # A leaf, its statement and its declaration come on top.
        self.max_nesting = 3 + (MAX_NESTING if start == "file" else _NESTING_IN_STRING)
        self.report = report
        self.tokens = tokens
        self.tables = tables()
        first, self.last_state = self.tables.starts[start]
        # The stacks. Each symbol has a state, what it became, the text it covers and how deep it nests.
        self.states = [first]
        self.values: list[Any] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.heights: list[int] = []
        self.brackets: list[Bracket] = []
        self.index = 0
        self.previous = ""  # the kind of the last token that counted
        self.muted = False  # until the statement ends, as what is wrong with it has been said
        self.resumed = 0  # the number of the token at which the last recovery went on
        self.recoveries = 0
        self.builder = builder

    def run(self) -> Any:
        """The value of the start rule, or None where there is no going on."""
        actions, rules, climbs = self.tables.actions, self.tables.rules, self.tables.climbs
        states = self.states
        token: Token | None = self.next_token()
        while token is not None:
            action = actions[states[-1]].get(token.kind, 0)
            if action > 0:
                self.shift(token, action - 1)
                token = self.next_token()
            elif action == 0:
                token = self.recover()
            elif (rule := rules[-action - 1]).is_unit:
                key = states[-2], states[-1], token.kind
                states[-1] = climbs.get(key) or self.climb(key)
            elif self.reduce(rule) > self.max_nesting:
                token = self.leave()
            elif token.kind == END and states[-1] == self.last_state:
                return self.values[-1]
        return None

    def climb(self, key: tuple[int, int, str]) -> int:
        """The state after all single-symbol reductions in a row, remembered for the next time."""
        below, state, kind = key
        actions, rules, gotos = self.tables.actions, self.tables.rules, self.tables.gotos[below]
        while (action := actions[state].get(kind, 0)) < 0 and (rule := rules[-action - 1]).is_unit:
            state = gotos[rule.origin]
        self.tables.climbs[key] = state
        return state

    def shift(self, token: Token, state: int) -> None:
        self.states.append(state)
        self.values.append(token)
        self.starts.append(token.start)
        self.ends.append(token.end)
        self.heights.append(0)
        kind = self.previous = token.kind
        if kind == NEWLINE:
            self.muted = False
        elif kind in PARTNERS:
            is_free = kind != "LBRACE" or (bool(self.brackets) and self.brackets[-1].is_free)
            self.brackets.append(Bracket(token, is_free))
            self.muted = self.muted and is_free
        elif kind in CLOSERS:
            self.brackets.pop()

    def reduce(self, rule: Rule) -> int:
        """Replace the right side of a rule by its value and return how deep that nests."""
        states, heights, ends = self.states, self.heights, self.ends
        size = rule.size
        if size > 1:
            values = rule.pick(self.values[-size:])
            height = max(heights[-size:])
            start, end = self.starts[-size], ends[-1]
            del states[-size:], self.values[-size:], self.starts[-size:], ends[-size:], heights[-size:]
        elif size:
            values = rule.pick([self.values.pop()])
            height, start, end = heights.pop(), self.starts.pop(), ends.pop()
            states.pop()
        else:
            values, height, start, end = (), 0, 0, 0
        if rule.action is None:
            value: Any = values
        elif rule.collapses and len(values) == 1:
            value = values[0]
        else:
            value = getattr(self.builder, rule.action)(Span(self.source, start, end), *values)
            height += type(value) is not tuple  # lists of nodes are no level of their own
        states.append(self.tables.gotos[states[-1]][rule.origin])
        self.values.append(value)
        self.starts.append(start)
        ends.append(end)
        heights.append(height)
        return height

    def next_token(self) -> Token:
        """The next token that counts, a word as the keyword that can stand here."""
        while True:
            token: Token | None = self.tokens[self.index]
            self.index += 1
            kind = token.kind
            if kind == "NAME":
                word = self.tables.words.get(token.text)
                if word is None:
                    return token
                if word in _RESERVED or self._is_keyword(word):
                    return Token(word, token.text, token.start, token.end)
                return token
            if kind in SLIPS:
                if (token := self.repaired(token)) is None:
                    continue
                kind = token.kind
            if kind != NEWLINE:
                return token
            if self.brackets and self.brackets[-1].is_free:
                continue
            if self.previous not in _CONTINUED and self.tokens[self.index].kind != "ARROW":
                return token

    def _is_keyword(self, word: str) -> bool:
        row = self.tables.actions[self.states[-1]]
        return word in row and not ("NAME" in row and self.tokens[self.index].kind in _NAMED)

    def acceptable(self) -> frozenset[str]:
        """The terminals that could come next."""
        return frozenset(kind for kind in self.tables.actions[self.states[-1]] if self._could_take(kind))

    def _could_take(self, kind: str) -> bool:
        """Whether reductions on this terminal end in a shift of it (or, for an end, in the start rule)."""
        depth = len(self.states)
        above: list[int] = []  # what reductions would put on top of the first `depth` states
        while True:
            state = above[-1] if above else self.states[depth - 1]
            action = self.tables.actions[state].get(kind, 0)
            if action >= 0:
                return action > 0
            rule = self.tables.rules[-action - 1]
            depth -= max(rule.size - len(above), 0)
            del above[max(len(above) - rule.size, 0) :]
            state = above[-1] if above else self.states[depth - 1]
            above.append(self.tables.gotos[state][rule.origin])
            if kind == END and above[-1] == self.last_state:
                return True

    # ----------------------------------------------------------------------------------------------- mistakes

    def recover(self) -> Token | None:
        """Report that the grammar cannot take a token, and go on behind the statement it is in."""
        self.settle()
        scene = scene_of(self)
        if not self.muted:
            self.report.add(unexpected(scene))
        return self.go_on(scene)

    def settle(self) -> None:
        """Count in what is complete behind a newline or a `}` and waits for a token that can follow it."""
        while self.values and isinstance(self.values[-1], Token):
            actions = set(self.tables.actions[self.states[-1]].values())
            if self.values[-1].kind not in (NEWLINE, "RBRACE") or len(actions) > 1 or min(actions) > 0:
                return
            self.reduce(self.tables.rules[-actions.pop() - 1])

    def leave(self) -> Token | None:
        """Report that a construct nests too deep, and go on behind the statement it is in."""
        self.report.add(too_deep(Span(self.source, self.starts[-1], self.ends[-1])))
        return self.go_on(replace(scene_of(self), accepts=frozenset()))

    def go_on(self, scene: Scene) -> Token | None:
        """The token to continue with; None where a single expression was wanted, or enough has been said."""
        self.muted = False
        self.recoveries += 1
        if not scene.home or len(self.report) > MAX_PROBLEMS or self.recoveries > len(self.tokens):
            return None
        return resume(self, scene)

    def repaired(self, token: Token) -> Token | None:
        """Report a token that is none of the language's; return what it was meant to be, if that is plain."""
        if not self.muted:
            self.report.add(slip(token, self.source))
        self.muted = self.muted or token.kind == "OPEN_STRING"
        if token.text == ";" and not (self.brackets and self.brackets[-1].is_free):
            return Token(NEWLINE, token.text, token.start, token.end)
        if token.text in _MEANT:
            return Token(_MEANT[token.text], token.text, token.start, token.end)
        if token.kind == "BAD_NUMBER":
            return Token("NUMBER", "0", token.start, token.end)
        if token.kind == "FOREIGN":
            self.muted = True
            return None
        return Token("STRING", '""', token.start, token.end)


def parse_interpolation(source: Source, start: int, end: int, report: Report) -> Expr | None:
    """The expression between two offsets, None where there is none."""
    tokens, _ = scan(source.text, start, end)
    return Machine(source, report, tokens, _builder(source, report), "interpolation").run()


def parse_declarations(source: Source, report: Report) -> tuple[tuple[Declaration, ...], list[Token]]:
    """The declarations of a file and the comments in it."""
    tokens, comments = scan(source.text)
    builder = _builder(source, report, _doc_lines(source, comments))
    return Machine(source, report, tokens, builder, "file").run() or (), comments


def _builder(source: Source, report: Report, docs: dict[int, str] | None = None) -> Builder:
    def interpolate(start: int, end: int) -> Expr | None:
        return parse_interpolation(source, start, end, report)

    return Builder(source, report, interpolate, docs)


def _doc_lines(source: Source, comments: list[Token]) -> dict[int, str]:
    """The text of each `##` line by its number. A row of three or more marks is a heading, not a text."""
    lines: dict[int, str] = {}
    for comment in comments:
        if not comment.text.startswith("##") or comment.text.startswith("###"):
            continue
        line, column = source.position(comment.start)
        if not source.text[comment.start - column + 1 : comment.start].strip():
            lines[line] = comment.text[2:].removeprefix(" ").rstrip()
    return lines
