"""Names and what they stand for: a chain of scopes, innermost first, with a record of which names were ever read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeAlias

from netdsl.source import Span
from netdsl.syntax import tree

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
    passed_by: dict[int, Any] = field(default_factory=dict[int, Any])  # branches not taken, by identity
    mentioned: set[Place] = field(default_factory=set[Place])  # in such branches

    def bind(self, name: str, what: str, span: Span) -> None:
        self.bound.setdefault(_key(span), (name, what, span))

    def mark(self, span: Span) -> None:
        self.read.add(_key(span))

    def unread(self) -> list[tuple[str, str, Span]]:
        """(name, what it is, place) of the bindings nobody read, in order of place.

        A name that starts with `_` is meant to be unused, and one is in use where a branch reads it that other
        arguments would take; an input must be read in each case.
        """
        return [
            (name, what, span)
            for key, (name, what, span) in sorted(self.bound.items())
            if key not in self.read
            and (what == "input" or (key not in self.mentioned and not name.startswith("_")))
        ]


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
        self.inside: dict[str, Span] = {}  # names that an `if` or `for` binds

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

    def pass_by(self, branch: object) -> None:
        """Note the names of a branch that is not taken this time."""
        if id(branch) in self.usage.passed_by:
            return
        self.usage.passed_by[id(branch)] = branch
        for name in _names(branch):
            binding = self.find(name)
            if binding is not None and binding.span is not None:
                self.usage.mentioned.add(_key(binding.span))

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
        known = scope.names.get(name)
        if known is not None and scope is not self and known.span is not None:
            self.usage.mark(known.span)  # bound out there, so that what this level binds is seen after it
        (self if known is None else scope).declare(name, value, span, what)

    def take(self, inner: Scope, names: Collection[str]) -> None:
        """Bind those of `names` that an inner level binds."""
        self.names.update((name, binding) for name, binding in inner.names.items() if name in names)

    def bound_inside(self, names: Iterable[tree.Name]) -> None:
        """Note the names that an `if` or `for` of this level binds, most of which are not seen after it."""
        for name in names:
            self.inside.setdefault(name.id, name.span)

    def lost(self, name: str) -> Span | None:
        """Where an `if` or `for` bound a name that is not seen any more."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.inside:
                return scope.inside[name]
            scope = scope.parent
        return None

    def child(self) -> Scope:
        return Scope(self, self.usage)

    def visible(self) -> list[str]:
        """Every name that can be read here, for suggestions."""
        outer = self.parent.visible() if self.parent is not None else []
        return list(dict.fromkeys([*self.names, *outer]))


def _names(branch: object) -> Iterator[str]:
    """The names read in a part of the tree; what it binds is not read."""
    parts = [branch]
    while parts:
        part = parts.pop()
        if isinstance(part, tree.Name):
            yield part.id
        elif type(part) is tuple:
            parts.extend(part)  # pyright: ignore[reportUnknownArgumentType]
        elif is_dataclass(part):
            read = (entry.name for entry in fields(part) if entry.name != "targets")
            parts.extend(getattr(part, name) for name in read)
