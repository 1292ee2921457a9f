"""`Component`: a class that a recipe can name. Its fields are the arguments, with the names, order and
defaults of the class it stands for; `construct` turns a `Choice` into one, or says at the argument's place
what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast

from pydantic import BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from netdsl.diagnostics import Report
from netdsl.diagnostics.suggest import did_you_mean
from netdsl.elaborate.settings import Choice, Value, shown
from netdsl.ops.lean import LeanModel
from netdsl.source import Span


def as_tuple(value: object) -> object:
    """Lists of the language, and of Python's callers, for fields that hold tuples."""
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


Pair = Annotated[tuple[float, float], BeforeValidator(as_tuple)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(as_tuple)]
Integers = Annotated[tuple[int, ...], BeforeValidator(as_tuple)]


class Component(LeanModel):
    """The base of everything a recipe can name."""

    # Schemas are built at first use: `check` reads one recipe and needs few of these classes.
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    kind: ClassVar[str]
    keyword_only: ClassVar[tuple[str, ...]] = ()
    nested: ClassVar[
        Mapping[str, Family[Any]]
    ] = {}  # arguments that are components themselves, or lists of such

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" not in cls.__dict__:
            cls.kind = cls.__name__

    def arguments(self) -> dict[str, Any]:
        """Every argument by name, defaults included."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def described(self) -> dict[str, Any]:
        """As plain JSON data, for the run's record."""
        data = {"kind": self.kind, **json.loads(self.model_dump_json())}
        for name in self.nested:
            value = getattr(self, name)
            data[name] = (
                [_described(part) for part in value] if isinstance(value, tuple) else _described(value)
            )
        return data

    def __str__(self) -> str:
        given = {
            name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }
        return shown(Choice(self.kind, given))


def _described(value: Any) -> Any:
    return value.described() if isinstance(value, Component) else value


C = TypeVar("C", bound=Component)

AS_COMPILED = "as compiled"  # in a record, beside the arguments; no argument is called that

# What arguments are called in other libraries.
ALSO_CALLED = {"learning_rate": "lr", "rate": "lr", "decay": "weight_decay", "l2": "weight_decay"}


@dataclass(frozen=True)
class Family(Generic[C]):
    """The components that a key takes, by name. `noun` is what one of them is called in messages.

    `left_out` says of others why they are not taken, `also` what else they are called, for short, and `presets` the
    arguments that go with such a name. `plain` are the types of values that an argument may hold beside them.
    """

    noun: str
    members: Mapping[str, type[C]]
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    also: Mapping[str, str] = field(default_factory=dict[str, str])
    plain: tuple[type, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    @staticmethod
    def of(
        noun: str,
        classes: Iterable[type[C]],
        left_out: Mapping[str, str] | None = None,
        also: Mapping[str, str] | None = None,
        plain: tuple[type, ...] = (),
        presets: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Family[C]:
        members = {c.kind: c for c in classes}
        return Family(noun, members, left_out or {}, also or {}, plain, presets or {})

    def named(self, choice: Choice) -> Choice:
        """`choice` by the name that the component has, where it has another one."""
        name = self.also.get(choice.name, choice.name)
        return replace(choice, name=name, arguments={**self.presets.get(choice.name, {}), **choice.arguments})


def construct(choice: Choice, family: Family[C], report: Report) -> C | None:
    """The component that `choice` names, or None after reporting why there is none (E0602, E0605, E0606, E0607)."""
    choice = family.named(choice)
    found = family.members.get(choice.name)
    if found is None:
        _report_unknown(choice, family, report)
        return None
    arguments = _arguments_of(choice, found, report)
    if arguments is None or not _construct_nested(choice, found, arguments, report):
        return None
    try:
        return found(**arguments)
    except ValidationError as problem:
        report_arguments(problem, choice, found, report)
        return None


def _report_unknown(choice: Choice, family: Family[C], report: Report) -> None:
    name = choice.name
    if name in family.left_out:
        message = f"the {family.noun} `{name}` is not supported by this trainer"
        helps = [f"known here: {listed(family.members)}"]
        report.error("E0602", message, choice.span, notes=[family.left_out[name]], helps=helps)
        return
    near = did_you_mean(name, [*family.members, *family.also])
    helps = [*near, f"known here: {listed(family.members)}"]
    report.error("E0605", f"no {family.noun} is called `{name}`", choice.span, helps=helps)


def _construct_nested(
    choice: Choice, found: type[Component], arguments: dict[str, Any], report: Report
) -> bool:
    """Put components in the place of the choices among `arguments`; False after reporting a problem."""
    before = len(report.errors)
    for name in found.nested.keys() & arguments.keys():
        value, family = arguments[name], found.nested[name]
        items = value if isinstance(value, (list, tuple)) else [value]
        for item in items:
            if not isinstance(item, (Choice, *family.plain)):
                report.error(
                    "E0607",
                    f"`{name}` of `{choice.name}` has {shown(item)}, which names no {family.noun}",
                    choice.place(name),
                    helps=[f"known here: {listed(family.members)}"],
                )
        parts = [
            construct(_placed(item, choice.span), family, report) if isinstance(item, Choice) else item
            for item in items
        ]
        arguments[name] = tuple(parts) if isinstance(value, (list, tuple)) else next(iter(parts), None)
    return len(report.errors) == before


def _placed(choice: Choice, span: Span | None) -> Choice:
    return choice if choice.span else replace(choice, span=span)


def _arguments_of(choice: Choice, found: type[Component], report: Report) -> dict[str, Value] | None:
    """Arguments by name, or None after reporting those that the class does not have."""
    positional = [name for name in found.model_fields if name not in found.keyword_only]
    before = len(report)
    if len(choice.positional) > len(positional):
        count, given = len(positional), len(choice.positional)
        report.error(
            "E0606",
            f"`{choice.name}` takes {count} positional argument{'s' * (count != 1)}, not {given}",
            choice.place(count),
            helps=[f"its arguments: {signature(found)}"],
        )
    arguments = dict(zip(positional, choice.positional, strict=False))
    for name, value in choice.arguments.items():
        if name in arguments:
            message = f"`{name}` of `{choice.name}` is given twice"
            report.error("E0606", message, choice.place(name), helps=["leave one of them out"])
        elif name not in found.model_fields:
            known = [ALSO_CALLED.get(name, "")] if ALSO_CALLED.get(name) in found.model_fields else []
            near = [f"did you mean `{known[0]}`?"] if known else did_you_mean(name, found.model_fields)
            helps = [*near, f"its arguments: {signature(found)}"]
            report.error(
                "E0606", f"`{choice.name}` has no argument `{name}`", choice.place(name), helps=helps
            )
        else:
            arguments[name] = value
    return arguments if len(report) == before else None


def report_arguments(
    problem: ValidationError, choice: Choice, found: type[Component], report: Report
) -> None:
    positional = [name for name in found.model_fields if name not in found.keyword_only]
    place: dict[str, str | int] = {
        name: number for number, name in enumerate(positional[: len(choice.positional)])
    }
    for name, errors in by_field(problem).items():
        if not name:
            report.error(
                "E0607",
                f"`{choice.name}`: {errors[0]['msg'].removeprefix('Value error, ')}",
                choice.span,
                helps=[f"its arguments: {signature(found)}"],
            )
        elif errors[0]["type"] == "missing" and len(errors[0]["loc"]) == 1:
            report.error(
                "E0607",
                f"`{choice.name}` has no `{name}`",
                choice.span,
                f"`{name}` has no default",
                helps=[f"its arguments: {signature(found)}"],
            )
        else:
            value = dict(zip(positional, choice.positional, strict=False)) | dict(choice.arguments)
            report.error(
                "E0607",
                f"`{name}` of `{choice.name}` {_wrong(value[name], errors)}, which is not {expected(errors)}",
                choice.place(place.get(name, name)),
                f"expected {expected(errors)}",
                helps=[_quoted(value[name], errors) or _otherwise(name, found)],
            )


# ------------------------------------------------------------------------------------ words for messages

_EXPECTED = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "`True` or `False`",
    "string_type": "a string",
    "tuple_type": "a list",
    "list_type": "a list",
    "none_required": "`None`",
    "finite_number": "a finite number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "missing": "a longer list",
    "literal_error": "one of {expected}",
    "model_type": "a data source",
    "is_instance_of": "a `fn` of the file",
}


def by_field(problem: ValidationError) -> dict[str, list[ErrorDetails]]:
    """The errors of a validation by the field they are about; "" for the whole."""
    fields: dict[str, list[ErrorDetails]] = {}
    for error in problem.errors(include_url=False):
        fields.setdefault(str(error["loc"][0]) if error["loc"] else "", []).append(error)
    return fields


def expected(errors: Sequence[ErrorDetails]) -> str:
    """What would have been right, in words: `a number`, `a whole number or a list`."""
    words: list[str] = []
    for error in errors:
        text = _EXPECTED.get(error["type"])
        context = {k: f"{v:g}" if isinstance(v, float) else v for k, v in (error.get("ctx") or {}).items()}
        word = (
            text.format_map(context).replace("'", "`") if text else error["msg"].removeprefix("Value error, ")
        )
        if word not in words:
            words.append(word)
    return " or ".join(words)


def _wrong(value: Value, errors: Sequence[ErrorDetails]) -> str:
    """What is wrong: a value, or what one of a list is."""
    place = errors[0]["loc"][1:]
    if (
        len(errors) == 1
        and isinstance(value, (list, tuple))
        and len(place) == 1
        and isinstance(place[0], int)
    ):
        items = list(value)
        return f"has {shown(items[place[0]])}" if place[0] < len(items) else f"is {shown(value)}"
    return f"is {shown(value)}"


def _quoted(value: Value, errors: Sequence[ErrorDetails]) -> str:
    """Where one of the strings that an argument may be stands without its quotes."""
    name = value.name if isinstance(value, Choice) else ""
    offered = str((errors[0].get("ctx") or {}).get("expected", ""))
    return f'it is a string: `"{name}"`' if name and f"'{name}'" in offered else ""


def _otherwise(name: str, found: type[Component]) -> str:
    """What an argument is where nothing is said, or that something has to be said."""
    field = found.model_fields[name]
    if field.is_required():
        return f"its arguments: {signature(found)}"
    return f"where nothing is said, it is `{name} = {shown(field.default)}`"


def signature(found: type[Component]) -> str:
    """The arguments of a component as the language writes them."""
    parts = [
        name if field.is_required() else f"{name} = {shown(field.default)}"
        for name, field in found.model_fields.items()
    ]
    return ", ".join(parts) or "none"


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
