"""Statements of the generated Python as lines: what does not fit on one is broken as a formatter would break it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from netdsl.backends.torch_expressions import WIDTH, Writer
from netdsl.backends.torch_names import comment, dotted, literal, plain
from netdsl.backends.torch_trees import ATOM, SUM, Chain, Make, Pairs, Repeat, Use, chain_call, split
from netdsl.ops.target import Call, Infix, Method

_SUMS: Final = ("+", "-")
_ROOMY: Final = 3  # a sequence of this many layers has a line for each


class Brackets(NamedTuple):
    """A tree that can be broken: what opens it, its parts with what stands before each, what closes it."""

    opening: str
    parts: list[tuple[str, Any]]
    closing: str


def statement(writer: Writer, indent: str, target: str, tree: Any, note: str = "") -> list[str]:
    """`target` (as `x = ` or `return `) and `tree`; `note` as a comment on the line, or above where it is too long."""
    lines = layout(writer, indent, target, tree, "")
    if not note:
        return lines
    if len(lines) == 1 and len(lines[0]) + 2 + len(comment(note)) <= WIDTH:
        return [f"{lines[0]}  {comment(note)}"]
    above = f"{indent}{comment(note)}"
    return [above, *lines] if len(above) <= WIDTH else lines


def layout(writer: Writer, indent: str, before: str, tree: Any, after: str) -> list[str]:
    """`before`, `tree` and `after` as one line, or with the parts of `tree` on lines of their own."""
    if isinstance(tree, Chain):
        tree = chain_call(tree)
    if not _is_roomy(tree):
        line = f"{indent}{before}{writer.text(tree)}{after}"
        if len(line) <= WIDTH:
            return [line]
    steps: list[str] = []
    if isinstance(tree, Method) and isinstance(tree.receiver, Method):
        steps = _calls(writer, tree, indent + "    ")
    elif isinstance(tree, Infix) and tree.op in _SUMS:
        steps = _terms(writer, tree, indent + "    ")
    if steps:
        return [f"{indent}{before}(", *steps, f"{indent}){after}"]
    brackets = _brackets(writer, tree)
    if brackets is None or not brackets.parts:
        return [f"{indent}{before}{writer.text(tree)}{after}"]
    lines = [f"{indent}{before}{brackets.opening}"]
    inner = indent + "    "
    if isinstance(tree, Call | Use | Method) and not _is_roomy(tree):
        texts = writer.arguments(tree.args, tree.kwargs)
        line = f"{inner}{', '.join(texts)}"
        if len(line) <= WIDTH:
            return [*lines, line, f"{indent}{brackets.closing}{after}"]
    comma = "," if len(brackets.parts) > 1 else ""
    for prefix, part in brackets.parts:
        if isinstance(part, Repeat):
            lines += _repeated(writer, inner, part, comma)
        else:
            lines += layout(writer, inner, prefix, part, comma)
    lines.append(f"{indent}{brackets.closing}{after}")
    return lines


def _calls(writer: Writer, tree: Any, indent: str) -> list[str]:
    """`x.split(…).transpose(…).flatten(…)`, a line for each call; the first is beside a plain name."""
    if not isinstance(tree, Method):
        return []
    inside = ", ".join(writer.arguments(tree.args, tree.kwargs))
    call = f".{dotted(tree.name)}({inside})"
    before = _calls(writer, tree.receiver, indent)
    receiver = "" if before else writer.text(tree.receiver, ATOM)
    if receiver.isidentifier():
        return [f"{indent}{receiver}{call}"]
    return [*(before or [f"{indent}{receiver}"]), f"{indent}{call}"]


def _terms(writer: Writer, tree: Infix, indent: str) -> list[str]:
    """`a + b - c`, a line for each term."""
    left = tree.left
    is_sum = isinstance(left, Infix) and left.op in _SUMS
    before = _terms(writer, left, indent) if is_sum else [f"{indent}{writer.text(left, SUM)}"]
    return [*before, f"{indent}{tree.op} {writer.text(tree.right, SUM + 1)}"]


def _repeated(writer: Writer, indent: str, part: Repeat, comma: str) -> list[str]:
    if part.alone:
        return [*layout(writer, indent, "", part.item, ""), f"{indent}for _ in range({part.count})"]
    line = f"{indent}{writer.text(part)}{comma}"
    if len(line) <= WIDTH:
        return [line]
    inside = _repeated(writer, indent + "    ", Repeat(part.item, part.count, alone=True), "")
    return [f"{indent}*[", *inside, f"{indent}]{comma}"]


def _is_roomy(tree: Any) -> bool:
    """Whether `tree` is broken though it may fit on a line: layers read best one below the other."""
    if isinstance(tree, Pairs):
        return len(tree.items) >= _ROOMY
    if isinstance(tree, list):
        return len(tree) >= _ROOMY and any(isinstance(part, Make | Chain) for part in tree)
    if not isinstance(tree, Call):
        return False
    if tree.function == "nn.Sequential":
        return len(tree.args) >= _ROOMY or any(_is_roomy(arg) for arg in tree.args)
    if tree.function in ("nn.ModuleList", "nn.ModuleDict", "OrderedDict"):
        inside = tree.args[0] if tree.args else tree.kwargs
        return len(inside) >= _ROOMY if isinstance(inside, list | tuple) else _is_roomy(inside)
    return False


def _brackets(writer: Writer, tree: Any) -> Brackets | None:
    if isinstance(tree, Make):
        args, kwargs = split(tree)
        return Brackets(f"{writer.function(tree.function)}(", _named(args, kwargs), ")")
    if isinstance(tree, Call):
        return Brackets(f"{writer.function(tree.function)}(", _named(tree.args, tree.kwargs), ")")
    if isinstance(tree, Use):
        return Brackets(f"{tree.callee}(", _named(tree.args, tree.kwargs), ")")
    if isinstance(tree, Method):
        receiver = writer.text(tree.receiver, ATOM)
        return Brackets(f"{receiver}.{dotted(tree.name)}(", _named(tree.args, tree.kwargs), ")")
    if isinstance(tree, Pairs):
        keys = [f"{literal(key)}: " for key in tree.keys]
        return Brackets("{", list(zip(keys, tree.items, strict=True)), "}")
    if isinstance(tree, list):
        return Brackets("[", [("", part) for part in tree], "]")
    if isinstance(tree, tuple):
        return Brackets("(", [("", part) for part in tree], ")")
    return None


def _named(args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]) -> list[tuple[str, Any]]:
    return [("", arg) for arg in args] + [(f"{plain(name)}=", value) for name, value in kwargs]
