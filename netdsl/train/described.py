"""A recipe as a run's record has it, written as the language writes it: without what is as it is by default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from netdsl.elaborate.settings import Value, shown
from netdsl.train.component import Component, Family
from netdsl.train.groups import PENALTIES
from netdsl.train.recipe import FAMILIES

WIDTH = 76


def said(value: Any, family: Family[Any] | None = None) -> str:
    """A described value on one line.

    >>> said({"kind": "SGD", "lr": 0.1, "momentum": 0.0, "nesterov": False}), said(["a", 1.0])
    ('SGD(lr = 0.1)', '["a", 1.0]')
    """
    return _joined(value, family, None, 0)


def laid_out(key: str, value: Any, width: int = WIDTH) -> str:
    """The described value of `key`, on several lines where one would be longer than `width`."""
    text = _joined(value, FAMILIES.get(key), width, 0)
    return text if isinstance(value, list) or not text.startswith("[") else text[1:-1]


def _joined(value: Any, family: Family[Any] | None, width: int | None, indent: int) -> str:
    """`width` None is for one line, whatever its length."""
    if isinstance(value, list):
        opened, closed = "[", "]"
        parts = [("", item, family) for item in cast("list[Any]", value)]
    elif isinstance(value, dict) and "kind" in value:
        found = _component(value["kind"], family)
        opened, closed = f"{value['kind']}(", ")"
        parts = list(_arguments(cast("Mapping[str, Any]", value), found))
        if not parts:
            return value["kind"]
    else:
        return shown(cast("Value", value))
    line = opened + ", ".join(name + _joined(item, of, None, 0) for name, item, of in parts) + closed
    if width is None or len(line) + indent <= width:
        return line
    space = " " * (indent + 2)
    rows = [f"{space}{name}{_joined(item, of, width, indent + 2)}," for name, item, of in parts]
    return "\n".join([opened, *rows, " " * indent + closed])


def _arguments(
    value: Mapping[str, Any], found: type[Component] | None
) -> Iterator[tuple[str, Any, Family[Any] | None]]:
    """The arguments that are not as by default; what is called otherwise, as `as compiled`, is none."""
    fields = found.model_fields if found else {}
    for name, each in value.items():
        if name == "kind" or not name.isidentifier():
            continue
        field = fields.get(name)
        default = field.get_default() if field is not None and not field.is_required() else ...
        if each != (list(default) if isinstance(default, tuple) else default):
            yield f"{name} = ", each, found.nested.get(name) if found else None


def _component(kind: str, family: Family[Any] | None) -> type[Component] | None:
    families = [family] if family else [*FAMILIES.values(), PENALTIES]
    return next((each.members[kind] for each in families if kind in each.members), None)
