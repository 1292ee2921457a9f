"""From the arguments of a call to a validated operation: which are operands, which fields, what is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from netdsl.diagnostics import Fix
from netdsl.diagnostics.suggest import correction, did_you_mean
from netdsl.elaborate.session import Session
from netdsl.elaborate.values import (
    POISON,
    Argument,
    Builtin,
    holds_tensor,
    in_words,
    is_list,
    is_tensor,
    is_unknown,
)
from netdsl.ir.dims import Expr
from netdsl.ir.types import DTYPES
from netdsl.ops.base import Op, operands_of
from netdsl.source import Span


@dataclass
class Bound:
    """The arguments of an operation sorted out. `complete` is False where they are unknown, or at fault (reported)."""

    operands: list[tuple[Any, Span]] = field(default_factory=list[tuple[Any, Span]])
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    places: dict[str, Span] = field(default_factory=dict[str, Span])
    complete: bool = True


def is_number(value: Any) -> bool:
    return isinstance(value, int | float | Expr) or value is POISON


def bind(
    session: Session,
    cls: type[Op],
    flowing: Sequence[tuple[Any, Span]],
    arguments: Sequence[Argument],
) -> Bound:
    """Sort `arguments` into operands, after the ones that flow in, and fields, by position and by name."""
    bound = Bound(operands=list(flowing))
    names = operands_of(cls)
    arguments = [_named_dtype(argument) for argument in arguments]
    positional = [a for a in arguments if a.name is None]
    if not cls.is_layer:
        positional = _take_operands(cls, bound, positional)
    _bind_positional(session, cls, bound, positional)
    for argument in arguments:
        if argument.name is None:
            continue
        if argument.name in names.names and (
            holds_tensor(argument.value) or argument.name not in cls.model_fields
        ):
            _bind_operand(session, cls, bound, argument)
        else:
            _bind_keyword(session, cls, bound, argument)
    while bound.operands and bound.operands[-1][0] is None:
        bound.operands.pop()
    return bound


def _named_dtype(argument: Argument) -> Argument:
    """`bool` among the arguments of an operation is the dtype, not the function."""
    value: Any = argument.value
    if isinstance(value, Builtin) and value.name in DTYPES:
        return Argument(argument.name, value.name, argument.span)
    return argument


def _take_operands(cls: type[Op], bound: Bound, positional: list[Argument]) -> list[Argument]:
    """Take the operands of a function from its positional arguments; returns what is left, its fields.

    They stand in torch's order, `gather(x, 1, index)` and `einsum("ij,jk->ik", a, b)`: a tensor is an operand wherever
    it stands, a number only before the first field.
    """
    names = operands_of(cls)
    left: list[Argument] = []
    for argument in positional:
        value: Any = argument.value
        free = names.rest or len(bound.operands) < len(names.names)
        if names.rest and is_list(value) and holds_tensor(value):
            bound.operands.extend((item, argument.span) for item in value)
        elif free and (is_tensor(value) or (cls.takes_scalars and not left and is_number(value))):
            bound.operands.append((value, argument.span))
        elif value is POISON and (names.rest or len(bound.operands) < names.required):
            bound.operands.append((POISON, argument.span))
        elif value is None and free and not left and len(bound.operands) >= names.required:
            bound.operands.append((None, argument.span))  # an operand that is left out
        elif value is POISON and free:  # an operand or a field, and so may be what follows
            bound.complete = False
            return []
        else:
            left.append(argument)
    return left


def _bind_operand(session: Session, cls: type[Op], bound: Bound, argument: Argument) -> None:
    position = operands_of(cls).names.index(argument.name or "")
    if position < len(bound.operands) and bound.operands[position][0] is not None:
        session.error("E0306", f"`{argument.name}` of `{cls.kind}` is given twice", argument.span)
        bound.complete = False
        return
    while len(bound.operands) <= position:
        bound.operands.append((None, argument.span))
    bound.operands[position] = (argument.value, argument.span)


def _bind_positional(session: Session, cls: type[Op], bound: Bound, positional: list[Argument]) -> None:
    slots = list(cls.positional)
    tensors = [a for a in positional if holds_tensor(a.value)]
    if tensors:
        _tensor_where_none_fits(session, cls, tensors[0])
        bound.complete = False
        return
    if slots and slots[-1].startswith("*"):
        rest = slots.pop()[1:]
        extra = positional[len(slots) :]
        positional = positional[: len(slots)]
        if extra:
            first: Any = extra[0].value
            bound.fields[rest] = (
                first if len(extra) == 1 and is_list(first) else tuple(a.value for a in extra)
            )
            bound.places[rest] = extra[0].span.to(extra[-1].span)
    if len(positional) > len(slots):
        _too_many(session, cls, positional, slots)
        bound.complete = False
    for name, argument in zip(slots, positional, strict=False):
        bound.fields[name] = argument.value
        bound.places[name] = argument.span


def _tensor_where_none_fits(session: Session, cls: type[Op], argument: Argument) -> None:
    if cls.is_layer:
        session.error(
            "E0309",
            f"a layer takes its input from an arrow, but a tensor is an argument of `{cls.kind}`",
            argument.span,
            help=f"write `{argument.span.text} -> {cls.kind}`",
        )
        return
    count = len(operands_of(cls).names)
    session.error("E0304", f"`{cls.kind}` takes {_tensors(count)}, found one more", argument.span)


def _tensors(count: int) -> str:
    return "one tensor" if count == 1 else f"{count} tensors"


def _too_many(session: Session, cls: type[Op], positional: list[Argument], slots: list[str]) -> None:
    plural = "" if len(slots) == 1 else "s"
    takes = (
        f"{len(slots)} argument{plural} by position ({', '.join(slots)})"
        if slots
        else "no argument by position"
    )
    message = f"`{cls.kind}` takes {takes}, found {len(positional)}"
    helps: list[str] = []
    fixes: tuple[Fix, ...] = ()
    if cls.inferred and len(positional) <= len(slots) + len(cls.inferred):
        dropped = len(positional) - len(slots)
        kept = ", ".join(a.span.text for a in positional[dropped:])
        read = " and ".join(f"`{name}`" for name in cls.inferred[:dropped])
        written = f"{cls.kind}({kept})" if kept else cls.kind
        helps.append(f"{read} {'is' if dropped == 1 else 'are'} read from the input: write `{written}`")
        first = positional[0].span
        end = positional[dropped].span.start if kept else positional[-1].span.end
        fixes = (Fix(Span(first.source, first.start, end), "", f"leave {read} out"),)
    else:
        names = [n for n in cls.model_fields if n not in slots and n not in cls.inferred]
        if names:
            helps.append(f"the others are given by name: `{names[0]} = {positional[len(slots)].span.text}`")
    session.error("E0304", message, positional[len(slots)].span, helps=tuple(helps), fixes=fixes)


def _bind_keyword(session: Session, cls: type[Op], bound: Bound, argument: Argument) -> None:
    name = argument.name or ""
    if name in bound.fields:
        session.error("E0306", f"`{name}` of `{cls.kind}` is given twice", argument.span)
        bound.complete = False
        return
    if name not in cls.model_fields and not getattr(cls, "open_keywords", False):
        unknown_argument(
            session, cls.kind, name, name_of(argument), [*cls.model_fields, *operands_of(cls).names]
        )
        bound.complete = False
        return
    if holds_tensor(argument.value):
        session.error(
            "E0303",
            f"`{name}` of `{cls.kind}` must be known before the model runs, but this is a tensor",
            argument.span,
        )
        bound.complete = False
        return
    bound.fields[name] = argument.value
    bound.places[name] = argument.span


def name_of(argument: Argument) -> Span:
    """The place of an argument's name in `name = value`."""
    span = argument.span
    name = argument.name or ""
    return Span(span.source, span.start, span.start + len(name)) if span.text.startswith(name) else span


def unknown_argument(session: Session, callee: str, name: str, span: Span, known: list[str]) -> None:
    helps = did_you_mean(name, known)
    if not helps and known:
        helps = (f"its arguments: {', '.join(f'`{k}`' for k in known[:12])}",)
    fixes = correction(name, span, known)
    session.error("E0301", f"`{callee}` has no argument `{name}`", span, helps=helps, fixes=fixes)


def make_operation(session: Session, cls: type[Op], bound: Bound, span: Span) -> Op | None:
    """The validated operation, or None where an argument is at fault (reported) or not known."""
    if not bound.complete or any(map(is_unknown, bound.fields.values())):
        return None
    try:
        return cls(**bound.fields)
    except ValidationError as problem:
        for found in _problems(cls, problem):
            place = bound.places.get(found.field or "", span)
            session.error(found.code, found.message, place, found.label)
        return None


@dataclass(frozen=True)
class _Problem:
    code: str
    message: str
    field: str | None = None
    label: str = ""


def _problems(cls: type[Op], error: ValidationError) -> list[_Problem]:
    """One problem a field, in the words of the language."""
    found: dict[str | None, _Problem] = {}
    for entry in error.errors(include_url=False):
        name = str(entry["loc"][0]) if entry["loc"] else None
        if name in found:
            continue
        if entry["type"] == "missing":
            found[name] = _Problem("E0302", f"`{cls.kind}` needs `{name}`", None, f"`{name}` is not given")
        elif entry["type"] == "value_error":
            message = entry["msg"].removeprefix("Value error, ")
            found[name] = _Problem("E0305" if name is None else "E0303", message, name)
        else:
            given = in_words(entry["input"] if len(entry["loc"]) == 1 else _whole(error, name))
            found[name] = _Problem(
                "E0303", f"`{name}` of `{cls.kind}` takes {expected(cls, name or '')}, found {given}", name
            )
    return list(found.values())


def _whole(error: ValidationError, name: str | None) -> Any:
    """The value given for `name`; pydantic reports the innermost part that fails, so take the widest input seen."""
    inputs = [e["input"] for e in error.errors(include_url=False) if e["loc"] and str(e["loc"][0]) == name]
    return next(filter(is_list, inputs), inputs[0])


_WORDS: Final = {
    "int": "an integer",
    "float": "a number",
    "bool": "`True` or `False`",
    "str": "a string",
    "none": "`None`",
}


def expected(cls: type[Op], name: str) -> str:
    """What a field takes, in words, read off its JSON schema: "a positive integer, or a list of 2"."""
    annotation = cls.model_fields[name]
    choices = _describe(annotation.annotation, annotation.metadata)
    return " or ".join(dict.fromkeys(choices)) or "another value"


def _describe(annotation: Any, metadata: Sequence[Any] = ()) -> list[str]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return [word for part in get_args(annotation) for word in _describe(part)]
    if origin is Literal:
        return [f'"{value}"' if isinstance(value, str) else f"`{value}`" for value in get_args(annotation)]
    if hasattr(annotation, "__metadata__"):
        return _describe(get_args(annotation)[0], annotation.__metadata__)
    if origin is tuple:
        return [_tuple_words(get_args(annotation))]
    if annotation is NoneType:
        return [_WORDS["none"]]
    if annotation is Expr:
        return ["a size"]
    if annotation in (int, float):
        return [_number_words(annotation, metadata)]
    return [_WORDS.get(getattr(annotation, "__name__", ""), "another value")]


def _tuple_words(parts: tuple[Any, ...]) -> str:
    if not parts:
        return "an empty list"
    inner = re.sub(
        r"(integer|number|string)\b",
        r"\1s",
        re.sub(r"\ban? ", "", " or ".join(dict.fromkeys(_describe(parts[0])))),
    )
    return f"a list of {inner}" if parts[-1] is Ellipsis else f"a list of {len(parts)} {inner}"


def _number_words(kind: type, metadata: Sequence[Any]) -> str:
    noun = "integer" if kind is int else "number"
    limits = [m for item in metadata for m in getattr(item, "metadata", [item])]
    low = next(
        (v for m in limits for v in (getattr(m, "gt", None), getattr(m, "ge", None)) if v is not None), None
    )
    high = next(
        (v for m in limits for v in (getattr(m, "le", None), getattr(m, "lt", None)) if v is not None), None
    )
    strict = any(getattr(m, "gt", None) is not None for m in limits)
    if low is not None and high is not None:
        return f"a {noun} from {low} to {high}".replace("a integer", "an integer")
    if low == 0:
        return f"a positive {noun}" if strict else f"a {noun} of 0 or more".replace("a integer", "an integer")
    return f"an {noun}" if noun == "integer" else f"a {noun}"
