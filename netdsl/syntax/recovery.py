"""Going on after a mistake: the statement it is in is left out, everything before and after it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdsl.syntax.scene import DECLARATION_WORDS, Scene, home_of, open_brackets
from netdsl.syntax.tokens import END, NEWLINE, OPERATORS, PARTNERS, Token

if TYPE_CHECKING:
    from netdsl.syntax.machine import Machine

_CLOSES = {closer: opener for opener, closer in PARTNERS.items()}
_WANTS_VALUE = OPERATORS | {"EQUAL", "COMMA", "LPAR", "LSQB", "LBRACE", "ARROW"}


def resume(machine: Machine, scene: Scene) -> Token:
    """Take back the broken statement and return the token to go on with."""
    ends_well = NEWLINE in scene.accepts and scene.token.kind != NEWLINE and _is_worth_keeping(scene)
    lost = lost_declaration(scene)
    if not ends_well or lost is not None:
        _go_home(machine)
    if lost is not None:
        _close_bodies(machine, lost)
    elif scene.token.kind == END and scene.is_in_body:
        _close_bodies(machine, scene.index)
    else:
        brace = _missing_brace(scene)
        machine.index = _next_start(scene) if brace is None else _put_brace(machine, brace)
        if machine.tokens[machine.index].kind == "LBRACE":
            _put_header(machine, scene.home)
    machine.resumed = machine.index
    if ends_well and lost is None:
        end = scene.before.end
        return Token(NEWLINE, "", end, end)
    machine.previous = NEWLINE
    return machine.next_token()


def _is_worth_keeping(scene: Scene) -> bool:
    """Whether what is complete in front of the mistake stands for itself; half a statement could mislead."""
    return scene.home == "declaration" or scene.before.kind == "RBRACE" or scene.token.kind in ("RBRACE", END)


def lost_declaration(scene: Scene) -> int | None:
    """The number of the token at which a declaration begins inside a body, as where a `}` is missing."""
    if not scene.is_in_body:
        return None
    index = scene.first
    if scene.index - index > 1 or scene.tokens[index].text not in DECLARATION_WORDS:
        return None
    return index if scene.tokens[index + 1].kind in ("NAME", "STRING") else None


def _close_bodies(machine: Machine, index: int) -> None:
    """Close every open body in front of a token, to go on there."""
    place = machine.tokens[index].start
    closers = [Token("RBRACE", "", place, place)] * len(machine.brackets)
    machine.tokens[index:index] = [*closers, Token(NEWLINE, "", place, place)]
    machine.index = index


def _go_home(machine: Machine) -> None:
    depth, _ = home_of(machine)
    del machine.brackets[open_brackets(machine, depth) :]
    del machine.states[depth + 1 :], machine.values[depth:]
    del machine.starts[depth:], machine.ends[depth:], machine.heights[depth:]


def _put_header(machine: Machine, home: str) -> None:
    """Stand in for the broken header of a body, so that the body is read for its own sake."""
    if home not in ("declaration", "statement"):
        return
    place = machine.tokens[machine.index].start
    header = ("BLOCK", "NAME") if home == "declaration" else ("IF", "TRUE")
    machine.tokens[machine.index : machine.index] = [Token(kind, "", place, place) for kind in header]


def _missing_brace(scene: Scene) -> int | None:
    """The number of the newline in front of which a `{` is missing, as the `}` of its body shows."""
    index = scene.index + (scene.token.kind == "COLON")
    if scene.home == "declaration" and scene.opens_earlier() and scene.is_fresh(scene.line_start):
        index = scene.line_start - 1
    elif scene.tokens[index].kind != NEWLINE or "LBRACE" not in scene.accepts or scene.opener:
        return None
    column = scene.column(scene.first)
    for number in range(index + 1, len(scene.tokens)):
        if scene.tokens[number - 1].kind == NEWLINE and scene.column(number) <= column:
            is_closer = scene.tokens[number].kind == "RBRACE" and scene.column(number) == column
            return index if is_closer else None
    return None


def _put_brace(machine: Machine, index: int) -> int:
    place = machine.tokens[index].start
    machine.tokens.insert(index, Token("LBRACE", "{", place, place))
    return index


def _next_start(scene: Scene) -> int:
    """The number of the token to go on with: the next statement, a body's `{`, a `}` or the end."""
    is_anew = scene.opens_earlier() and scene.line_start > scene.first and scene.is_fresh(scene.line_start)
    if is_anew and (scene.is_in_body or _begins_declaration(scene, scene.line_start)):
        return scene.line_start
    if opens_body(scene):
        return scene.index
    depth = [bracket.token.kind for bracket in scene.brackets[scene.opened :]]
    index = scene.index
    while True:
        kind = scene.tokens[index].kind
        if kind == END:
            return index
        if kind == NEWLINE and _ends_statement(scene, index, depth):
            return index + 1
        if kind in _CLOSES:
            if kind == "RBRACE" and "LBRACE" not in depth and scene.is_in_body:
                return index
            if _CLOSES[kind] in depth:
                while depth.pop() != _CLOSES[kind]:
                    pass
        elif kind == "LBRACE" and not depth and _may_open_body(scene, index):
            return index
        elif kind in PARTNERS:
            depth.append(kind)
        index += 1


def _ends_statement(scene: Scene, index: int, depth: list[str]) -> bool:
    """Whether a newline, met while brackets are open as in `depth`, is the end of the broken statement."""
    following = index + 1
    token = scene.tokens[following]
    if scene.home == "declaration":
        return _begins_declaration(scene, following)
    if depth:
        return scene.is_fresh(following) and not (token.kind == "RBRACE" and "LBRACE" in depth)
    if token.kind == "ARROW" or scene.tokens[index - 1].kind in ("COMMA", "ARROW"):
        return False
    is_value_below = index == scene.index and scene.before.kind == "EQUAL"
    return not is_value_below or scene.column(following) <= scene.column(scene.first)


def _begins_declaration(scene: Scene, index: int) -> bool:
    """Whether a line declares something, also in Python, or looks like a misspelt header: `modle Net {`."""
    word, name = scene.tokens[index], scene.tokens[index + 1 : index + 2]
    if not scene.column(index) and word.text in (*DECLARATION_WORDS, "class", "def"):
        return True
    if word.kind != "NAME" or not name or name[0].kind not in ("NAME", "STRING"):
        return False
    if word.text in DECLARATION_WORDS:
        return True
    while scene.tokens[index].kind not in (NEWLINE, END):
        index += 1
    return scene.tokens[index - 1].kind == "LBRACE"


def opens_body(scene: Scene) -> bool:
    """Whether the `{` at hand begins the body of a header in which a bracket was left open."""
    first = scene.tokens[scene.first].text
    if scene.token.kind != "LBRACE" or first not in (*DECLARATION_WORDS, "if", "for"):
        return False
    is_after_equals = scene.home == "declaration" and scene.before.kind == "EQUAL"
    return _may_open_body(scene, scene.index) or is_after_equals


def _may_open_body(scene: Scene, index: int) -> bool:
    if scene.home not in ("declaration", "statement"):
        return False
    return scene.tokens[index + 1].kind == NEWLINE and scene.tokens[index - 1].kind not in _WANTS_VALUE
