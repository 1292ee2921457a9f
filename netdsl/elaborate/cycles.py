"""Declarations that use themselves, directly or through others, found in the text before anything is unrolled.

A block that is handed to itself as an argument, `Wrap(Wrap(ReLU))`, is no cycle: it ends where its arguments end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from netdsl.elaborate.statements import assigned
from netdsl.syntax import tree


def cycles(declarations: Mapping[str, Any]) -> list[list[tree.Name]]:
    """The cycles among a file's blocks and functions: each the uses, in order, by which one comes back to itself."""
    uses = {name: _uses(declaration, declarations) for name, declaration in declarations.items()}
    found: list[list[tree.Name]] = []
    done: set[str] = set()
    for start in declarations:
        _search(start, uses, [], {}, done, found)
    return found


def _search(
    start: str,
    uses: Mapping[str, Mapping[str, tree.Name]],
    path: list[tree.Name],
    position: dict[str, int],
    done: set[str],
    found: list[list[tree.Name]],
) -> None:
    """Depth-first, with a stack of its own: a file may declare thousands of blocks in a row."""
    if start in done:
        return
    stack = [(start, iter(uses[start].items()))]
    position[start] = 0
    while stack:
        name, pending = stack[-1]
        step = next(pending, None)
        if step is None:
            stack.pop()
            done.add(name)
            position.pop(name, None)
            if path:
                path.pop()
            continue
        used, place = step
        if used in position:
            found.append([*path[position[used] :], place])
        elif used not in done and used in uses:
            path.append(place)
            position[used] = len(path)
            stack.append((used, iter(uses[used].items())))


def _uses(declaration: Any, declarations: Mapping[str, Any]) -> dict[str, tree.Name]:
    """The declared names that a declaration's body reads, each with its first place."""
    if not isinstance(declaration, tree.GraphDecl | tree.Fn):
        return {}
    own = {p.name.id for p in declaration.parameters} | {n.id for n in assigned(declaration.body)}
    found: dict[str, tree.Name] = {}
    for part in (declaration.value, declaration.body, *(p.default for p in declaration.parameters)):
        for name in names_in(part):
            if name.id in declarations and name.id not in own:
                found.setdefault(name.id, name)
    return found


def names_in(part: Any) -> Iterator[tree.Name]:
    """Every name that a part of the tree reads; labels are none."""
    pending: list[Any] = [part]
    while pending:
        current = pending.pop()
        kind: type[object] = current.__class__
        if kind is tree.Name:
            yield current
        elif kind is tuple or kind is list:
            pending.extend(reversed(current))
        elif kind is tree.Labelled:
            pending.append(current.value)
        elif kind is tree.Shape:  # a name alone is a size, even where it is a block's too
            pending.extend(dim for dim in reversed(current.dims) if not isinstance(dim, tree.Name))
        else:
            for name in _parts(kind):
                pending.append(getattr(current, name))


@cache
def _parts(node: type) -> tuple[str, ...]:
    """The fields of a kind of node that are no places, last one first; a text or a number has none."""
    if not is_dataclass(node):
        return ()
    return tuple(f.name for f in reversed(fields(node)) if "span" not in f.name)
