"""The words for what can be wrong with the form of a file, E0101 to E0109."""

from __future__ import annotations

from netdsl.diagnostics.model import Diagnostic, Fix, Label
from netdsl.source import Source, Span
from netdsl.syntax.expected import DECLARATION, expected_in_words, found_in_words, quoted
from netdsl.syntax.mistakes import hint_for
from netdsl.syntax.recovery import lost_declaration, opens_body
from netdsl.syntax.scene import Scene
from netdsl.syntax.tokens import CLOSERS, END, NEWLINE, PARTNERS, Token

_SIGNS = {"LPAR": "`)`", "LSQB": "`]`", "LBRACE": "`}`"}
_FOREIGN = {
    "&&": ("and", "write `and`"),
    "||": ("or", "write `or`"),
    "&": ("and", "write `and`"),
    "|": ("or", "write `or`"),
    "|>": ("->", "an arrow is written `->`"),
    "!": ("not ", "write `not`"),
    ";": (None, "a statement ends with its line"),
    "?": (None, "a choice is `a if condition else b`"),
    "^": (None, "a power is `a ** b`"),
    "\\": (None, "a line goes on in brackets, after an operator or a comma, and before a line with `->`"),
    "→": ("->", "an arrow is written `->`"),
    "×": ("*", "a product is written `*`"),
    "−": ("-", "a minus is written `-`"),
    "“": ('"', 'a string stands in straight quotes: `"`'),
    "”": ('"', 'a string stands in straight quotes: `"`'),
    "\u00a0": (" ", "it looks like a blank, and came with a copied text"),
    "\ufeff": ("", "a byte-order mark; save the file as UTF-8 without one"),
}


def unexpected(scene: Scene) -> Diagnostic:
    """The problem at a token that the grammar cannot take."""
    return _unclosed(scene) or _unexpected(scene)


def _unexpected(scene: Scene) -> Diagnostic:
    token = scene.token
    expected = expected_in_words(scene.accepts)
    hint = hint_for(scene)
    message = hint.message if hint and hint.message else f"expected {expected}, found {_found(scene)}"
    is_unmatched = token.kind in CLOSERS and scene.opener is None
    if is_unmatched and (token.kind != "RBRACE" or not scene.is_in_body):
        message = f"`{token.text}` closes nothing"
    also: list[Label] = []
    opener = scene.opener
    if opener and PARTNERS[opener.token.kind] in scene.accepts:
        also.append(Label(_span(scene.source, opener.token), "opened here"))
    helps, fixes = (hint.helps, hint.fixes) if hint else ((), ())
    label = "no declaration begins like this" if expected == DECLARATION else f"expected {expected}"
    return Diagnostic("E0101", message, (Label(scene.span, label), *also), (), helps, fixes)


def _found(scene: Scene) -> str:
    is_inside_string = not scene.home and scene.token.kind == END
    return "the end of the interpolation" if is_inside_string else found_in_words(scene.token)


def _unclosed(scene: Scene) -> Diagnostic | None:
    """A bracket whose end is missing: the file, a body or the next statement comes first."""
    opener, token = scene.opener, scene.token
    if opener is None:
        is_end = token.kind == END or lost_declaration(scene) is not None
        return _open_body(scene) if is_end and scene.is_in_body else None
    closer, sign = PARTNERS[opener.token.kind], _SIGNS[opener.token.kind]
    is_body = opens_body(scene)
    is_other_closer = token.kind in CLOSERS and token.kind != closer
    starts_anew = scene.opens_earlier() and scene.is_fresh(scene.line_start)
    is_here = token.kind == END or is_other_closer or is_body
    if not (is_here or starts_anew):
        return None
    found = "the body" if is_body else found_in_words(token) if is_here else "the next statement"
    place = scene.span if is_here else _span(scene.source, scene.tokens[scene.line_start])
    return Diagnostic(
        "E0102",
        f"`{opener.token.text}` is not closed",
        (
            Label(_span(scene.source, opener.token), f"no {sign} closes this"),
            Label(place, f"{found} comes first"),
        ),
    )


def _open_body(scene: Scene) -> Diagnostic:
    opener = scene.brackets[-1].token
    labels = [Label(_span(scene.source, opener), "no `}` closes this")]
    if suspect := _misplaced_closer(scene):
        inner, closing = suspect
        labels.append(Label(_span(scene.source, inner), "perhaps meant to be closed here"))
        labels.append(Label(_span(scene.source, closing), "by its indentation this belongs to another `{`"))
    else:
        what = found_in_words(scene.token) if scene.token.kind == END else "the next declaration"
        place = scene.span if scene.token.kind == END else _span(scene.source, scene.tokens[scene.first])
        labels.append(Label(place, f"{what} comes first"))
    return Diagnostic("E0102", "`{` is not closed", tuple(labels))


def _misplaced_closer(scene: Scene) -> tuple[Token, Token] | None:
    """The first pair of braces since the open one whose `}` stands at another indentation than its line."""
    opened: list[Token] = []
    body = scene.brackets[-1].token
    for index, token in enumerate(scene.tokens):
        if token.start <= body.start:
            continue
        if token.start >= scene.token.start:
            return None
        if token.kind == "LBRACE":
            opened.append(token)
        elif token.kind == "RBRACE" and opened:
            opener = opened.pop()
            starts_line = scene.tokens[index - 1].kind == NEWLINE
            if starts_line and _indentation(scene.source, opener) != _indentation(scene.source, token):
                return opener, token
    return None


def _indentation(source: Source, token: Token) -> str:
    start = source.text.rfind("\n", 0, token.start) + 1
    line = source.text[start : token.start]
    return line[: len(line) - len(line.lstrip())]


def too_deep(span: Span) -> Diagnostic:
    """A construct that nests deeper than the language allows."""
    return Diagnostic(
        "E0107",
        "nesting is deeper than 256",
        (Label(Span(span.source, span.start, min(span.end, span.start + 1)), "starts here"),),
        ("each bracket, operator, call and body is one level",),
        ("bind parts of it to names", "a long sum is `sum(list)`"),
    )


# ----------------------------------------------------------------------------------------- what is no token


def slip(token: Token, source: Source) -> Diagnostic:
    """The problem of a token that is none of the language's."""
    span = _span(source, token)
    if token.kind == "BAD_NUMBER":
        return Diagnostic(
            "E0109",
            f"{quoted(token.text)} is no number",
            (Label(span, "a name cannot start with a digit, and no letter or `_` ends a number"),),
            helps=("numbers are written `12`, `1_000`, `0.5`, `1e-4`",),
        )
    if token.kind == "OPEN_STRING":
        return Diagnostic(
            "E0103",
            "a string is not closed",
            (Label(Span(source, token.start, token.start + 1), 'no `"` follows on this line'),),
            helps=("a line break in a string is `\\n`",),
        )
    if token.kind == "QUOTED":
        return _single_quotes(token, span)
    return _unknown_character(token, span)


def _single_quotes(token: Token, span: Span) -> Diagnostic:
    inner = token.text[1:-1]
    is_whole = len(token.text) > 1 and token.text.endswith("'")
    is_plain = is_whole and not any(character in inner for character in '"\\{')
    fixes = (Fix(span, f'"{inner}"', "use double quotes"),) if is_plain else ()
    return Diagnostic(
        "E0104",
        "a string in single quotes",
        (Label(span, "strings stand in double quotes"),),
        helps=(f'write `"{inner}"`',) if is_plain and len(inner) < 40 else ('write `"..."`',),
        fixes=fixes,
    )


def _unknown_character(token: Token, span: Span) -> Diagnostic:
    import unicodedata  # a megabyte of names, for a rare mistake

    text = token.text
    new, advice = _FOREIGN.get(text, (None, ""))
    shown = f"`{text}`" if text.isprintable() and text != "`" else f"U+{ord(text[0]):04X}"
    name = "" if text.isascii() and text.isprintable() else unicodedata.name(text[0], "").lower()
    fixes = (Fix(span, new, f"replace it by `{new}`"),) if new is not None and new.strip() else ()
    label = name or "no part of the language"
    if not advice and text.isalpha():
        advice = "names are of the letters A to Z, digits and `_`"
    helps = (advice,) if advice else ()
    return Diagnostic("E0104", f"unknown character {shown}", (Label(span, label),), helps=helps, fixes=fixes)


def _span(source: Source, token: Token) -> Span:
    return Span(source, token.start, token.end)
