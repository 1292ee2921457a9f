"""Names and what they stand for: a chain of scopes, innermost first, with a record of which names were ever read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from netdsl.source import Span

Place: TypeAlias = tuple[int, int, int]  # a span, as a key


@dataclass(slots=True)
class Binding:
    value: Any
    span: Span | None = None  # where the name was bound


@dataclass
class Usage:
    """Which bindings of a program were read, over all instances of all blocks."""

    bound: dict[Place, tuple[str, str, Span]] = field(default_factory=dict[Place, tuple[str, str, Span]])
    read: set[Place] = field(default_factory=set[Place])

    def bind(self, name: str, what: str, span: Span) -> None:
        self.bound.setdefault(_key(span), (name, what, span))

    def mark(self, span: Span) -> None:
        self.read.add(_key(span))

    def unread(self) -> list[tuple[str, str, Span]]:
        """(name, what it is, place) of the bindings nobody read, in order of place."""
        return [entry for key, entry in sorted(self.bound.items()) if key not in self.read]


def _key(span: Span) -> Place:
    return id(span.source), span.start, span.end


class Scope:
    """One level of names. A block's body is a `root`: a name bound inside an `if` or `for` of it, and bound before it,
    is the outer one."""

    def __init__(self, parent: Scope | None, usage: Usage, *, root: bool = False) -> None:
        self.parent = parent
        self.usage = usage
        self.root = root
        self.names: dict[str, Binding] = {}

    def find(self, name: str) -> Binding | None:
        """The binding of `name`, without counting as a use."""
        scope: Scope = self
        while True:
            binding = scope.names.get(name)
            if binding is not None:
                return binding
            if scope.parent is None:
                return scope.given(name)
            scope = scope.parent

    def given(self, name: str) -> Binding | None:  # noqa: ARG002
        """What the language itself binds, in the outermost scope; nothing here."""
        return None

    def read(self, name: str) -> Binding | None:
        binding = self.find(name)
        if binding is not None and binding.span is not None:
            self.usage.mark(binding.span)
        return binding

    def declare(self, name: str, value: Any, span: Span | None, what: str = "") -> None:
        """Bind `name` at this level; `what` it is, where an unused one is worth a warning."""
        self.names[name] = Binding(value, span)
        if what and span is not None:
            self.usage.bind(name, what, span)

    def assign(self, name: str, value: Any, span: Span, what: str = "name") -> None:
        """Bind `name`, in the level of this body that already has it, else here."""
        scope: Scope = self
        while not scope.root and name not in scope.names and scope.parent is not None:
            scope = scope.parent
        owner = scope if name in scope.names else self
        owner.declare(name, value, span, what)

    def child(self) -> Scope:
        return Scope(self, self.usage)

    def visible(self) -> list[str]:
        """Every name that can be read here, for suggestions."""
        outer = self.parent.visible() if self.parent is not None else []
        return list(dict.fromkeys([*self.names, *outer]))
