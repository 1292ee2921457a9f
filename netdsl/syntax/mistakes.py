"""Slips whose intention is plain, most of them habits from Python: what they are called and what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from netdsl.diagnostics.model import Fix
from netdsl.diagnostics.suggest import nearest
from netdsl.source import Span
from netdsl.syntax.expected import quoted
from netdsl.syntax.scene import DECLARATION_WORDS, STATEMENT_WORDS, Scene
from netdsl.syntax.tokens import NEWLINE, Token


class Hint(NamedTuple):
    """What is special about a mistake. Where `message` is empty, the general one stands."""

    message: str
    helps: tuple[str, ...]
    fixes: tuple[Fix, ...] = ()


BRACES = "a body stands in braces, `{ ... }`, and indentation means nothing"
_NETWORK = "a network is `model Name { ... }`, a part of one `block Name { ... }`"
_FUNCTION = "a function of static values is `fn name(x) = value`"
# Words that start something in Python, and how this language says it.
_FOREIGN_WORDS = {
    "class": _NETWORK,
    "def": f"{_FUNCTION}; {_NETWORK}",
    "lambda": _FUNCTION,
    "return": "a result is given with `output value`",
    "while": "repetition is `for i in range(n) { ... }`, which always ends",
    "pass": "a body may be empty: `{ }`",
    "print": "`netdsl summary` shows the layers and their shapes",
    "let": "a value is bound with `name = value`",
    "var": "a value is bound with `name = value`",
    "val": "a value is bound with `name = value`",
    "with": "there is nothing to enter or leave in a model; what is trained with is said in a `train` block",
    "try": "nothing is raised in a model; `assert condition, \"message\"` checks at build time",
    "raise": "`assert condition, \"message\"` checks at build time",
    "del": "names live to the end of their body",
    "global": "a value for the whole file is `const NAME = value`",
    "layer": _NETWORK,
    "network": _NETWORK,
    "module": _NETWORK,
    "function": _FUNCTION,
}
_REPLACEMENTS = {"return": "output", "elif": "else if"}
_OPERATORS = frozenset("PLUS MINUS STAR SLASH FLOOR PERCENT AT POWER LT GT LE GE EQ NE IN AND OR NOT".split())

_CHANGING = frozenset("PLUS MINUS STAR SLASH FLOOR PERCENT AT POWER".split())


def hint_for(scene: Scene) -> Hint | None:
    """What is known about the mistake at a place, if it is a known one."""
    for recognise in _RECOGNISERS:
        if (hint := recognise(scene)) is not None:
            return hint
    return None


def _span(scene: Scene, first: Token, last: Token | None = None) -> Span:
    return Span(scene.source, first.start, (last or first).end)


def _is(token: Token, *texts: str) -> bool:
    return token.text in texts and token.kind != "STRING"


# --------------------------------------------------------------------------------------------- at the start


def _first_word(scene: Scene) -> Token | None:
    """The first word of the statement, where the mistake is at it or right behind it."""
    if scene.index - scene.first > 1:
        return None
    token = scene.tokens[scene.first]
    return token if token.kind == "NAME" else None


def _python_import(scene: Scene) -> Hint | None:
    first = scene.tokens[scene.first]
    if scene.home != "declaration" or not _is(first, "import", "from"):
        return None
    following = scene.tokens[scene.first + 1]
    if _is(first, "import") and following.kind == "STRING":
        return Hint("", (f"name what is imported: `import Block from {following.text}`",))
    if _is(first, "import") and _is(scene.before, "from"):
        return Hint("", ('the path is a string: `from "blocks.net"`',))
    return Hint(
        "an `import` of Python",
        (
            "the layers of `torch.nn` and the functions of torch are there without an import; "
            'a declaration of another file is imported with `import Block from "blocks.net"`',
        ),
    )


def _foreign_word(scene: Scene) -> Hint | None:
    word = _first_word(scene)
    if word is None or word.text not in _FOREIGN_WORDS or _is(scene.token, "="):
        return None
    fixes: tuple[Fix, ...] = ()
    if word.text in _REPLACEMENTS and scene.token.kind != NEWLINE:
        new = _REPLACEMENTS[word.text]
        fixes = (Fix(_span(scene, word), new, f"replace `{word.text}` by `{new}`"),)
    return Hint(f"`{word.text}` is no word of this language", (_FOREIGN_WORDS[word.text],), fixes)


def _lambda(scene: Scene) -> Hint | None:
    for token in (scene.before, scene.token):
        if token.kind == "NAME" and token.text == "lambda":
            return Hint("`lambda` is no word of this language", (_FUNCTION,))
    return None


def _outside(scene: Scene) -> Hint | None:
    """A statement, or nothing that is known, where a declaration should begin."""
    if scene.home != "declaration" or not scene.starts_statement or scene.token.kind != "NAME":
        return None
    word = scene.token.text
    near = nearest(word, DECLARATION_WORDS, 1) if scene.ahead(1).kind == "NAME" else []
    if near:
        fix = Fix(scene.span, near[0], f"replace `{word}` by `{near[0]}`")
        return Hint("", (f"did you mean `{near[0]}`?",), (fix,))
    if word in STATEMENT_WORDS or word in ("if", "for") or _is(scene.ahead(1), "=", ","):
        helps = ["statements stand in the braces of a `model` or `block`"]
        if _is(scene.ahead(1), "="):
            helps.append(f"a value for the whole file is `const {word} = ...`")
        return Hint("a statement stands outside of every body", tuple(helps))
    return None


def _misspelt(scene: Scene) -> Hint | None:
    """Two words in a row at the start of a statement, the first nearly a keyword."""
    word = _first_word(scene)
    if scene.home != "statement" or word is None or scene.token is word or scene.token.kind != "NAME":
        return None
    near = nearest(word.text, STATEMENT_WORDS, 1)
    if not near:
        return None
    return Hint(
        "", (f"did you mean `{near[0]}`?",), (Fix(_span(scene, word), near[0], f"replace `{word.text}` by `{near[0]}`"),)
    )


def _elif(scene: Scene) -> Hint | None:
    for token in (scene.token, scene.before):
        if token.kind == "NAME" and token.text == "elif":
            fix = Fix(_span(scene, token), "else if", "replace `elif` by `else if`")
            return Hint("`elif` is no word of this language", ("write `} else if condition {`",), (fix,))
    return None


def _late_else(scene: Scene) -> Hint | None:
    if not (scene.starts_statement and _is(scene.token, "else")):
        return None
    closing = scene.before
    fixes: tuple[Fix, ...] = ()
    between = scene.source.text[closing.end : scene.token.start]
    if closing.kind == "RBRACE" and not between.strip():
        fixes = (Fix(Span(scene.source, closing.end, scene.token.start), " ", "join the lines"),)
    return Hint("`else` starts a line", ("it stands on the line of the `}` before it: `} else {`",), fixes)


def _dotted_target(scene: Scene) -> Hint | None:
    """`self.conv1 = nn.Conv2d(...)`."""
    if scene.home != "statement" or scene.starts_statement or scene.token.kind not in ("DOT", "EQUAL"):
        return None
    words = [token.text for token in scene.tokens[scene.first : scene.first + 4]]
    if len(words) < 4 or words[1] != "." or words[3] != "=":
        return None
    label = words[2]
    return Hint(
        "a name with a dot cannot be bound",
        (f"a layer is made where it is used, and a label names it: `x -> {label}: Linear(10)`",),
    )


# -------------------------------------------------------------------------------------------- signs and operators


def _colon(scene: Scene) -> Hint | None:
    if scene.token.kind != "COLON":
        return None
    after = scene.ahead(1)
    first = scene.tokens[scene.first]
    if _is(after, "="):
        return Hint("", ("a value is bound with `name = value`",))
    if after.kind == "LBRACE" and "LBRACE" in scene.accepts:
        return Hint("", (BRACES,), (Fix(scene.span, "", "remove the `:`"),))
    if after.kind == NEWLINE and (_is(first, "if", "for", "else", "model", "block", "fn", "train")):
        return Hint("", (BRACES,))
    if scene.before.kind in ("NAME", "STRING") and after.kind == "NAME":
        return Hint("", ("a label names a stage after `->`, an item of a list or an argument",))
    return None


def _equals(scene: Scene) -> Hint | None:
    """`=` where a value is compared, changed or collected, and `==` where one is bound."""
    token, before = scene.token, scene.before
    if token.kind == "EQ" and "EQUAL" in scene.accepts and scene.index - scene.first <= 1:
        return Hint("", ("a value is bound with `=`",), (Fix(scene.span, "=", "replace `==` by `=`"),))
    if token.kind in _CHANGING and _is(scene.ahead(1), "=") and scene.ahead(1).start == token.end:
        name = before.text
        return Hint(f"`{token.text}=` is no operator", (f"write `{name} = {name} {token.text} ...`",))
    if token.kind != "EQUAL":
        return None
    if scene.ahead(1).kind == "GT" and scene.ahead(1).start == token.end:
        arrow = Span(scene.source, token.start, token.end + 1)
        return Hint("`=>` is no operator", ("a flow is written with `->`",), (Fix(arrow, "->", "replace `=>` by `->`"),))
    if "EQ" in scene.accepts and _is(scene.tokens[scene.first], "if", "assert", "expect"):
        return Hint("", ("a comparison is `==`",), (Fix(scene.span, "==", "replace `=` by `==`"),))
    if scene.opener and scene.opener.token.kind == "LSQB":
        return Hint("", ("an item of a list has no name; a label is `name: Layer(...)`",))
    return None


def _after_stage(scene: Scene) -> Hint | None:
    """An operator behind a stage, where only the next arrow could stand."""
    if "ARROW" not in scene.accepts or "PLUS" in scene.accepts:
        return None
    word = scene.token.text
    if word in ("if", "and", "or", "not", "in") or scene.token.kind in _OPERATORS:
        return Hint(
            f"{quoted(word)} follows a stage",
            ("the arrow binds loosest: put the flow, or the stage, in parentheses",),
        )
    return None


def _signs(scene: Scene) -> Hint | None:
    token, before = scene.token, scene.before
    wants_value = "NUMBER" in scene.accepts and "LPAR" in scene.accepts
    if token.kind == "DOT" and wants_value and scene.ahead(1).kind == "NUMBER":
        return Hint("", ("a number starts with a digit",), (Fix(scene.span, "0.", "put a `0` before the point"),))
    if before.kind == "DOT" and scene.back(2).kind == "NUMBER" and "NAME" in scene.accepts:
        fix = Fix(Span(scene.source, before.end, before.end), "0", "put a `0` behind the point")
        return Hint("", ("a number ends with a digit",), (fix,) if token.start > before.end or token.kind != "NAME" else ())
    if token.kind == "PLUS" and wants_value:
        return Hint("", ("a number needs no `+`",), (Fix(scene.span, "", "remove the `+`"),))
    if token.kind in ("FLOOR", "SLASH") and (scene.starts_statement or scene.ahead(1).kind == "STAR"):
        return Hint("", ("a comment starts with `#`",))
    if token.kind == "GT" and before.text == "|" or token.kind == "PERCENT" and wants_value:
        return Hint("", ("a flow is written with `->`",))
    if token.kind == "LBRACE" and wants_value:
        return Hint("", ("there are no dictionaries: a list is `[a, b]`, and names go into calls, `f(name = value)`",))
    if token.kind == "AT" and scene.starts_statement:
        return Hint("", ("there are no decorators",))
    return None


# ------------------------------------------------------------------------------------------------- statements


def _several(scene: Scene) -> Hint | None:
    if scene.token.kind != "COMMA":
        return None
    first = scene.tokens[scene.first].text
    if first == "input":
        return Hint("", ("each input has its own `input`",))
    if first == "output":
        return Hint("", ("each output has its own `output`",))
    return None


def _comprehension(scene: Scene) -> Hint | None:
    if not _is(scene.token, "for") or scene.opener is None or scene.opener.token.kind == "LBRACE":
        return None
    return Hint("", ("items are repeated with `[for i in range(4) { item }]`",))


def _annotation(scene: Scene) -> Hint | None:
    """`x: int = 3` and `input x: (N, 3)` in a body."""
    if scene.home != "statement" or "LSQB" not in scene.accepts or scene.index - scene.first > 4:
        return None
    colon = scene.before if scene.before.kind == "COLON" else scene.back(2)
    if colon.kind == "COLON" and "NUMBER" not in scene.accepts:
        return Hint("", ("behind the colon stands a shape: `x: [N, 3, H, W]`, or `x: int64[N]` with a dtype",))
    return None


def _missing_value(scene: Scene) -> Hint | None:
    """A line that ends after `=`, before `=`, or before its `{`."""
    if scene.token.kind != NEWLINE:
        return None
    if scene.before.kind == "EQUAL":
        return Hint("", ("the value starts on the line of its `=`",))
    after = scene.ahead(1)
    if after.kind == "LBRACE" and "LBRACE" in scene.accepts:
        gap = Span(scene.source, scene.before.end, after.start)
        is_blank = not scene.source.text[gap.start : gap.end].strip()
        fixes = (Fix(gap, " ", "join the lines"),) if is_blank else ()
        return Hint("", ("the `{` stands on the line of what it belongs to",), fixes)
    first = scene.tokens[scene.first].text
    if first == "param" and "EQUAL" in scene.accepts:
        return Hint("", ("a `param` has an initialiser: `= zeros`, `= normal(std = 0.02)`",))
    if first == "buffer" and "EQUAL" in scene.accepts:
        return Hint("", ("a `buffer` has a value: `= arange(8)`",))
    if first in ("if", "for", "else") and "LBRACE" in scene.accepts:
        return Hint("", (BRACES,))
    return None


def _reserved(scene: Scene) -> Hint | None:
    if scene.token.kind != "NAME" or scene.token.text not in _RESERVED_TEXTS or "NAME" not in scene.accepts:
        return None
    return Hint(f"`{scene.token.text}` is a reserved word", ("another name is needed here",))


_RESERVED_TEXTS = frozenset({"if", "else", "for", "in", "and", "or", "not", "True", "False", "None"})
_RECOGNISERS: tuple[Callable[[Scene], Hint | None], ...] = (
    _lambda,
    _python_import,
    _elif,
    _late_else,
    _foreign_word,
    _outside,
    _dotted_target,
    _misspelt,
    _after_stage,
    _colon,
    _equals,
    _signs,
    _several,
    _comprehension,
    _missing_value,
    _annotation,
    _reserved,
)
