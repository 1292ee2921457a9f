"""Classes by the kind they are registered under. A module of this package is imported when a kind of it is first asked
for: a model uses ten operations of three hundred, and importing the others would take longer than checking it.

Which module has which kind is read off the text of the modules, where a class says so itself: `@op`, and its `kind` or
its name. So an operation is still declared in one place only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TypeVar

Class = TypeVar("Class", bound=type)

NAME = re.compile(r"\w+")
KIND = re.compile(r'\n    kind(?:: ClassVar\[str\])? = "(\w+)"')
NEXT = re.compile(r"\n(?:@|class |def |\w+ = )")


class Catalogue(Mapping[str, Class]):
    """The classes that `decorator` registers, by kind. Iterating names them and imports nothing."""

    def __init__(self, decorator: str) -> None:
        self._decorator = decorator
        self._loaded: dict[str, Class] = {}

    def add(self, kind: str, cls: Class) -> None:
        """Register a class. Raises TypeError where its kind is taken."""
        if kind in self._loaded:
            raise TypeError(f"{kind} is registered twice")
        self._loaded[kind] = cls

    def __getitem__(self, kind: str) -> Class:
        if kind not in self._loaded:
            import_module(_homes(self._decorator)[kind])
        return self._loaded[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._loaded or kind in _homes(self._decorator)

    def __iter__(self) -> Iterator[str]:
        yield from _homes(self._decorator)

    def __len__(self) -> int:
        return len(_homes(self._decorator))


@cache
def _homes(decorator: str) -> dict[str, str]:
    """The module of each kind, in the order of modules and of the classes in them."""
    homes: dict[str, str] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for text in _text(path).split(f"\n@{decorator}\nclass ")[1:]:
            homes[_kind(text)] = f"netdsl.ops.{path.stem}"
    return homes


def _kind(text: str) -> str:
    """The kind of a class whose name `text` begins with: the one that its body says, or its name."""
    said = KIND.search(text)
    if said and not NEXT.search(text, 0, said.start()):
        return said[1]
    name = NAME.match(text)
    assert name is not None, "a class has a name"
    return name[0]


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
