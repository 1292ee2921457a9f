"""Changes of a recipe by the path of what changes: `batch`, `optimizer.lr`, `rules.0.lr`, `transform.Resize.size`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.elaborate.settings import Choice, Setting, Value, shown
from netdsl.source import Span
from netdsl.train.component import Component, Family, listed
from netdsl.train.groups import PENALTIES, Rule
from netdsl.train.recipe import FAMILIES

INSTEAD = {"epochs": "steps", "steps": "epochs"}  # how long a run is, is said by one of them


class NoPlace(Exception):
    """There is nothing at the path that could change; `span` is the place of the path."""

    def __init__(self, message: str, helps: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.helps = list(helps)
        self.span: Span | None = None


@dataclass(frozen=True)
class Change:
    """`path = value`; `span` is the place of the value, `key_span` that of the path."""

    path: str
    value: Value
    span: Span | None = None
    key_span: Span | None = None


def change(given: Mapping[str, Setting], changes: Sequence[Change]) -> dict[str, Setting]:
    """The settings `given` with the changes, the later over the earlier; a change of `epochs` takes away `steps`.

    Raises `NoPlace` for a path that leads nowhere.

    >>> given = {"optimizer": Setting(Choice("SGD", {"momentum": 0.5}, (0.1,))), "steps": Setting(9)}
    >>> found = change(given, [Change("optimizer.lr", 0.3), Change("epochs", 2)])
    >>> shown(found["optimizer"].value), found["epochs"].value, "steps" in found
    ('SGD(lr = 0.3, momentum = 0.5)', 2, False)
    """
    found = dict(given)
    named = {change.path for change in changes}
    for each in changes:
        if each.path in INSTEAD and INSTEAD[each.path] not in named:
            found.pop(INSTEAD[each.path], None)
        try:
            key, setting = _changed(found, each)
        except NoPlace as problem:
            problem.span = each.key_span
            raise
        found[key] = setting
    return found


def _changed(given: Mapping[str, Setting], each: Change) -> tuple[str, Setting]:
    """The key that a change is in, and what it then is."""
    key, *rest = each.path.split(".")
    if not rest:
        return key, Setting(each.value, each.span, each.key_span)
    before = given.get(key)
    if before is None or before.value is None:
        helps = [f"set it as a whole: `{key}=...`"]
        raise NoPlace(f"the recipe has no `{key}`, of which `{'.'.join(rest)}` could change", helps)
    return key, replace(before, value=_put(before.value, rest, each, _family(key), key))


def elsewhere(key: str, given: Mapping[str, Setting]) -> list[str]:
    """Where an argument is that was taken for a key: `optimizer.lr` for `lr`."""
    found: list[str] = []
    for name, setting in given.items():
        if isinstance(setting.value, Choice):
            component = _member(setting.value, _family(name))
            fields = component.model_fields if component else setting.value.arguments
            found += [f"`{key}` is an argument of `{setting.value.name}`: `{name}.{key}`"] * (key in fields)
    return found[:1]


def _put(
    value: Value, path: Sequence[str], change: Change, family: Family[Component] | None, at: str
) -> Value:
    """`value` with another value in it, at `path`."""
    if not path:
        return change.value
    name, rest = path[0], path[1:]
    if isinstance(value, Choice) and not (rest and name in ("0", value.name)):
        return _argument(value, name, rest, change, family, at)
    if isinstance(value, Choice):  # a list of one, which may stand without brackets
        return _put(value, rest, change, family, f"{at}.{name}")
    if not isinstance(value, (list, tuple)):
        raise NoPlace(f"`{at}` is {shown(value)}, which has no arguments", [f"set it as a whole: `{at}=...`"])
    items = list(value)
    number = _number(items, name, at)
    items[number] = _put(items[number], rest, change, family, f"{at}.{name}")
    return items


def _number(items: Sequence[Value], name: str, at: str) -> int:
    """The place in a list that `name` means: its number, from 0, or the class of what is there."""
    names = [item.name if isinstance(item, Choice) else "" for item in items]
    if name in names:
        return names.index(name)
    if name.isdigit() and int(name) < len(items):
        return int(name)
    numbered = ", ".join(f"`{number}` ({shown(item)})" for number, item in enumerate(items))
    raise NoPlace(f"`{at}` has no `{name}`", [f"it has {numbered}" if items else "it is empty"])


def _argument(
    choice: Choice, name: str, rest: Sequence[str], change: Change, family: Family[Component] | None, at: str
) -> Choice:
    """`choice` with another value in its argument `name`, which may be one that it was not given yet."""
    component = _member(choice, family)
    choice = _named(choice, component)
    if not rest:
        value = change.value
    elif name not in choice.arguments:
        help = did_you_mean(name, choice.arguments) or [f"given are {listed(choice.arguments) or 'none'}"]
        raise NoPlace(
            f"`{choice.name}` of `{at}` is given no `{name}`, of which `{'.'.join(rest)}` could change", help
        )
    else:
        nested = component.nested.get(name) if component else None
        value = _put(choice.arguments[name], rest, change, nested, f"{at}.{name}")
    places = dict(choice.argument_spans)
    if change.span is not None:
        places[name] = change.span
    return replace(choice, arguments={**choice.arguments, name: value}, argument_spans=places)


def _named(choice: Choice, component: type[Component] | None) -> Choice:
    """`choice` with all its arguments by name, as far as their names are known."""
    names = [n for n in component.model_fields if n not in component.keyword_only] if component else []
    if not choice.positional or len(choice.positional) > len(names):
        return choice
    named = dict(zip(names, choice.positional, strict=False))
    places: dict[str | int, Span] = {
        names[place] if isinstance(place, int) else place: span
        for place, span in choice.argument_spans.items()
    }
    arguments = {**named, **choice.arguments}
    return replace(choice, arguments=arguments, positional=(), argument_spans=places)


def _family(key: str) -> Family[Component] | None:
    return _RULES if key == "rules" else PENALTIES if key == "penalty" else FAMILIES.get(key)  # type: ignore[return-value]


_RULES: Family[Component] = Family.of("rule", (Rule,))


def _member(choice: Choice, family: Family[Component] | None) -> type[Component] | None:
    return family.members.get(choice.name) if family else None
