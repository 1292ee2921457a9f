"""Slips whose intention is plain, most of them habits from Python: what to say of them, and what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from netdsl.diagnostics.model import Fix
from netdsl.diagnostics.suggest import nearest
from netdsl.source import Span
from netdsl.syntax.expected import quoted
from netdsl.syntax.recovery import opens_body
from netdsl.syntax.scene import DECLARATION_WORDS, STATEMENT_WORDS, Scene
from netdsl.syntax.tokens import COMPARISONS, LOGIC, NEWLINE, OPERATORS, Token


class Hint(NamedTuple):
    """What is special about a mistake. Where `message` is empty, the general one stands."""

    message: str
    helps: tuple[str, ...]
    fixes: tuple[Fix, ...] = ()


_BRACES = "a body stands in braces, `{ ... }`, and indentation means nothing"
_NETWORK = "a network is `model Name { ... }`, a part of one `block Name { ... }`"
_FUNCTION = "a function of static values is `fn name(x) = value`"
_BINDING = "a value is bound with `name = value`"
_CHECK = '`assert condition, "message"` checks at build time'
# Words that start something elsewhere, and how this language says it.
_FOREIGN_WORDS = {
    "class": _NETWORK,
    "def": f"{_FUNCTION}; {_NETWORK}",
    "return": "a result is given with `output value`",
    "while": "repetition is `for i in range(n) { ... }`, which always ends",
    "pass": "a body may be empty: `{ }`",
    "print": "`netdsl summary` shows the layers and their shapes",
    "let": _BINDING,
    "var": _BINDING,
    "with": "nothing is entered or left in a model; how it is trained is said in a `train` block",
    "try": _CHECK,
    "raise": _CHECK,
    "del": "a name lives to the end of its body",
    "global": "a value for the whole file is `const NAME = value`",
    "layer": _NETWORK,
    "network": _NETWORK,
    "module": _NETWORK,
    "function": _FUNCTION,
    "func": _FUNCTION,
}
_RESERVED = frozenset({"if", "else", "for", "in", "and", "or", "not", "True", "False", "None"})


def hint_for(scene: Scene) -> Hint | None:
    """What is known about the mistake at a place, if it is a known one."""
    for recognise in _RECOGNISERS:
        if (hint := recognise(scene)) is not None:
            return hint
    return None


def _span(scene: Scene, token: Token) -> Span:
    return Span(scene.source, token.start, token.end)


def _is(token: Token, *texts: str) -> bool:
    return token.text in texts


def _replacing(scene: Scene, token: Token, new: str) -> tuple[Fix, ...]:
    return (Fix(_span(scene, token), new, f"replace `{token.text}` by `{new}`"),)


# ------------------------------------------------------------------------------------------ how it begins


def _first_word(scene: Scene) -> Token | None:
    """The first word of the statement, where the mistake is at it or right behind it."""
    if scene.index - scene.first > 1:
        return None
    token = scene.tokens[scene.first]
    return token if token.kind == "NAME" else None


def _lambda(scene: Scene) -> Hint | None:
    if any(_is(token, "lambda") for token in (scene.before, scene.token)):
        return Hint("`lambda` is no word of this language", (_FUNCTION,))
    return None


def _python_import(scene: Scene) -> Hint | None:
    first, following, *_ = [*scene.tokens[scene.first : scene.first + 2], scene.token]
    if scene.home != "declaration" or not _is(first, "import", "from"):
        return None
    if _is(first, "import") and following.kind == "STRING":
        return Hint("", (f"name what is imported: `import Block from {quoted(following.text)[1:-1]}`",))
    if _is(first, "import") and _is(scene.before, "from"):
        return Hint("", ('the path is a string: `from "blocks.net"`',))
    return Hint(
        "an `import` of Python",
        (
            "the layers of `torch.nn` and the functions of torch are there without an import",
            'a declaration of another file is imported with `import Block from "blocks.net"`',
        ),
    )


def _foreign_word(scene: Scene) -> Hint | None:
    word = _first_word(scene)
    if word is None or word.text not in _FOREIGN_WORDS or _is(scene.token, "="):
        return None
    fixes = _replacing(scene, word, "output") if _is(word, "return") and scene.token.kind != NEWLINE else ()
    return Hint(f"`{word.text}` is no word of this language", (_FOREIGN_WORDS[word.text],), fixes)


def _outside(scene: Scene) -> Hint | None:
    """A statement, or a misspelt word, where a declaration should begin."""
    if scene.home != "declaration" or not scene.starts_statement or scene.token.kind != "NAME":
        return None
    word, following = scene.token, scene.ahead(1)
    near = nearest(word.text, DECLARATION_WORDS, 1) if following.kind == "NAME" else []
    if near:
        return Hint("", (f"did you mean `{near[0]}`?",), _replacing(scene, word, near[0]))
    if word.text not in (*STATEMENT_WORDS, "if", "for") and not _is(following, "=", ","):
        return None
    helps = ("statements stand in the braces of a `model` or `block`",)
    if _is(following, "="):
        helps += (f"a value for the whole file is {quoted(f'const {word.text} = ...')}",)
    return Hint("a statement stands outside of every body", helps)


def _misspelt(scene: Scene) -> Hint | None:
    """Two words in a row at the start of a statement, the first nearly a keyword."""
    word = _first_word(scene)
    if scene.home != "statement" or word is None or scene.starts_statement or scene.token.kind != "NAME":
        return None
    near = nearest(word.text, STATEMENT_WORDS, 1)
    return Hint("", (f"did you mean `{near[0]}`?",), _replacing(scene, word, near[0])) if near else None


def _elif(scene: Scene) -> Hint | None:
    for token in (scene.token, scene.before):
        if token.kind == "NAME" and _is(token, "elif", "elseif", "elsif"):
            message = f"`{token.text}` is no word of this language"
            return Hint(message, ("write `} else if condition {`",), _replacing(scene, token, "else if"))
    return None


def _late_else(scene: Scene) -> Hint | None:
    if not (scene.starts_statement and _is(scene.token, "else")):
        return None
    closing = scene.before
    gap = Span(scene.source, closing.end, scene.token.start)
    fixes = (Fix(gap, " ", "join the lines"),) if closing.kind == "RBRACE" and not gap.text.strip() else ()
    return Hint("`else` starts a line", ("it stands on the line of the `}` before it: `} else {`",), fixes)


def _dotted_target(scene: Scene) -> Hint | None:
    """`self.conv1 = nn.Conv2d(...)`."""
    words = [token.text for token in scene.tokens[scene.first : scene.first + 4]]
    if scene.home != "statement" or scene.token.kind not in ("DOT", "EQUAL") or words[1::2] != [".", "="]:
        return None
    example = quoted(f"x -> {words[2]}: Linear(10)")
    advice = f"a layer is made where it is used, and a label names it: {example}"
    return Hint("a name with a dot cannot be bound", (advice,))


def _bare_value(scene: Scene) -> Hint | None:
    """A call or a flow with nothing that takes its value."""
    word = _first_word(scene)
    if scene.home != "statement" or word is None or word.text in _RESERVED or scene.starts_statement:
        return None
    if scene.token.kind not in ("LPAR", "ARROW", NEWLINE):
        return None
    return Hint("", ("bind the value, `name = ...`, or give it as a result, `output ...`",))


# --------------------------------------------------------------------------------------- signs and operators


def _colon(scene: Scene) -> Hint | None:
    if scene.token.kind != "COLON":
        return None
    after = scene.ahead(1)
    if _is(after, "="):
        return Hint("", (_BINDING,))
    if after.kind == "LBRACE" and "LBRACE" in scene.accepts:
        return Hint("", (_BRACES,), (Fix(scene.span, "", "remove the `:`"),))
    if after.kind == NEWLINE and "LBRACE" in scene.accepts:
        return Hint("", (_BRACES,))
    if scene.before.kind in ("NAME", "STRING") and after.kind == "NAME":
        return Hint("", ("a label names a stage after `->`, an item of a list or an argument",))
    return None


def _missing_colon(scene: Scene) -> Hint | None:
    if scene.token.kind != "LSQB" or "COLON" not in scene.accepts:
        return None
    place = Span(scene.source, scene.before.end, scene.before.end)
    return Hint("", ("a shape follows a `:`",), (Fix(place, ":", "insert a `:`"),))


def _equals(scene: Scene) -> Hint | None:
    """`=` where a value is compared, changed or collected, and `==` where one is bound."""
    token, after = scene.token, scene.ahead(1)
    touches = after.start == token.end
    if token.kind == "EQ" and "EQUAL" in scene.accepts and scene.index - scene.first == 1:
        return Hint("", ("a value is bound with `=`",), _replacing(scene, token, "="))
    if token.kind in OPERATORS and _is(after, "=") and touches:
        name, sign = scene.before.text, token.text
        repeated = quoted(f"{name} = {name} {sign} ...")
        return Hint(f"`{sign}=` is no operator", (f"write {repeated}",))
    if token.kind != "EQUAL":
        return None
    if after.kind == "GT" and touches:
        arrow = Span(scene.source, token.start, after.end)
        fix = Fix(arrow, "->", "replace `=>` by `->`")
        return Hint("`=>` is no operator", ("a flow is written with `->`",), (fix,))
    if _is(scene.tokens[scene.first], "if", "assert", "expect"):
        return Hint("", ("a comparison is `==`",), _replacing(scene, token, "=="))
    if scene.opener and scene.opener.token.kind == "LSQB":
        return Hint("", ("an item of a list has no name; a label is `name: Layer(...)`",))
    return None


def _after_stage(scene: Scene) -> Hint | None:
    """An operator behind a stage, where only the next arrow could stand."""
    if "ARROW" not in scene.accepts or "PLUS" in scene.accepts:
        return None
    is_word = _is(scene.token, "if", "and", "or", "not", "in")
    if not is_word and scene.token.kind not in OPERATORS | COMPARISONS | LOGIC:
        return None
    message = f"{quoted(scene.token.text)} follows a stage"
    return Hint(message, ("the arrow binds loosest: put the flow, or the stage, in parentheses",))


def _numbers(scene: Scene) -> Hint | None:
    """`.5`, `5.` and `+5`."""
    token, before = scene.token, scene.before
    wants_value = "NUMBER" in scene.accepts and "LPAR" in scene.accepts
    if token.kind == "DOT" and wants_value and scene.ahead(1).kind == "NUMBER":
        fix = Fix(scene.span, "0.", "put a `0` before the point")
        return Hint("", ("a number starts with a digit",), (fix,))
    if before.kind == "DOT" and scene.back(2).kind == "NUMBER" and "NAME" in scene.accepts:
        fix = Fix(Span(scene.source, before.end, before.end), "0", "put a `0` behind the point")
        is_apart = token.kind != "NUMBER" or token.start > before.end
        return Hint("", ("a number ends with a digit",), (fix,) if is_apart else ())
    if token.kind == "PLUS" and wants_value:
        return Hint("", ("a number needs no `+`",), (Fix(scene.span, "", "remove the `+`"),))
    return None


def _signs(scene: Scene) -> Hint | None:
    token = scene.token
    if token.kind in ("FLOOR", "SLASH") and (scene.starts_statement or scene.ahead(1).kind == "STAR"):
        return Hint("", ("a comment starts with `#`",))
    if opens_body(scene) and scene.before.kind == "EQUAL":
        return Hint(
            "", ("a body stands without `=`",), (Fix(_span(scene, scene.before), "", "remove the `=`"),)
        )
    if token.kind == "LBRACE" and "NUMBER" in scene.accepts and "LPAR" in scene.accepts:
        return Hint("", ("there are no dictionaries: a list is `[a, b]`, an argument `f(name = value)`",))
    if token.kind == "AT" and scene.starts_statement:
        return Hint("", ("there are no decorators",))
    return None


# ------------------------------------------------------------------------------------------------ statements


def _several(scene: Scene) -> Hint | None:
    first = scene.tokens[scene.first].text
    if scene.token.kind == "COMMA" and first in ("input", "output"):
        return Hint("", (f"each {first} has its own `{first}`",))
    return None


def _comprehension(scene: Scene) -> Hint | None:
    if not _is(scene.token, "for") or scene.opener is None or scene.opener.token.kind == "LBRACE":
        return None
    return Hint("", ("items are repeated with `[for i in range(4) { item }]`",))


def _annotation(scene: Scene) -> Hint | None:
    """`x: int = 3` and `input x: (N, 3)` in a body."""
    if scene.home != "statement" or "LSQB" not in scene.accepts or "NUMBER" in scene.accepts:
        return None
    if "COLON" not in (scene.before.kind, scene.back(2).kind) or scene.index - scene.first > 4:
        return None
    return Hint("", ("behind the colon stands a shape: `x: [N, 3, H, W]`, or `x: int64[N]` with a dtype",))


def _cut_line(scene: Scene) -> Hint | None:
    """A line that ends after `=`, before `=`, or before its `{`."""
    if scene.token.kind != NEWLINE:
        return None
    if scene.before.kind == "EQUAL":
        return Hint("", ("the value starts on the line of its `=`",))
    after = scene.ahead(1)
    if after.kind == "LBRACE" and "LBRACE" in scene.accepts:
        gap = Span(scene.source, scene.before.end, after.start)
        fixes = (Fix(gap, " ", "join the lines"),) if not gap.text.strip() else ()
        return Hint("", ("the `{` stands on the line of what it belongs to",), fixes)
    first = scene.tokens[scene.first]
    if _is(first, "param") and "EQUAL" in scene.accepts:
        return Hint("", ("a `param` has an initialiser: `= zeros`, `= normal(std = 0.02)`",))
    if _is(first, "buffer") and "EQUAL" in scene.accepts:
        return Hint("", ("a `buffer` has a value: `= arange(8)`",))
    return Hint("", (_BRACES,)) if _is(first, "if", "for") and "LBRACE" in scene.accepts else None


def _reserved(scene: Scene) -> Hint | None:
    word = scene.token.text
    if scene.token.kind != "NAME" or word not in _RESERVED or "NAME" not in scene.accepts:
        return None
    return Hint(f"`{word}` is a reserved word", ("another name is needed here",))


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
    _missing_colon,
    _equals,
    _numbers,
    _signs,
    _several,
    _comprehension,
    _cut_line,
    _annotation,
    _bare_value,
    _reserved,
)
