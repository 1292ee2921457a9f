"""What a `train` block says, as plain data: keys with values that are numbers, words, lists or named choices.

The elaborator makes it, `recipe` reads it. Nothing here knows which keys or classes exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from netdsl.source import Span


@dataclass(frozen=True)
class Choice:
    """A class by name with its arguments, as `SGD(lr = 0.01, momentum = 0.5)` or a bare `CrossEntropyLoss`.

    `argument_spans` holds the places of arguments by keyword, or by number where they are positional; an argument
    that is not in it is reported at `span`.
    """

    name: str
    arguments: Mapping[str, Value] = field(default_factory=dict[str, "Value"])
    positional: tuple[Value, ...] | list[Value] = ()
    span: Span | None = None
    argument_spans: Mapping[str | int, Span] = field(default_factory=dict[str | int, Span])

    def place(self, argument: str | int) -> Span | None:
        return self.argument_spans.get(argument, self.span)


Value: TypeAlias = "int | float | str | bool | list[Value] | tuple[Value, ...] | Choice | None"


@dataclass(frozen=True)
class Setting:
    """`key = value`: `span` is the place of the value, `key_span` that of the key."""

    value: Value
    span: Span | None = None
    key_span: Span | None = None


def shown(value: Value) -> str:
    """A value as the language writes it, for messages.

    >>> shown([1, "a", Choice("SGD", {"lr": 0.1})])
    '[1, "a", SGD(lr = 0.1)]'
    """
    if isinstance(value, Choice):
        parts = [shown(v) for v in value.positional] + [
            f"{k} = {shown(v)}" for k, v in value.arguments.items()
        ]
        return f"{value.name}({', '.join(parts)})" if parts else value.name
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, str):
        return f'"{value}"'
    return str(value)
