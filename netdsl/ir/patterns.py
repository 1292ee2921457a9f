"""Which parameters an `init` rule means. A pattern's last part names the parameter, the parts before it the modules
around it, innermost last, each by its label or its kind; `*` is any one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netdsl.ir.graph import Graph, InitRule


@dataclass(frozen=True)
class Module:
    """One level of a parameter's path: the label's part there, and the kind of the module that ends there."""

    label: str
    kind: str = ""


def parameters(graph: Graph, above: tuple[Module, ...] = ()) -> Iterator[tuple[tuple[Module, ...], str]]:
    """Every learned tensor below `graph`, as the modules around it and its own name."""
    for parameter in graph.parameters:
        yield above, parameter.name
    for label, node in graph.layers.items():
        parts = label.split(".")
        kind = node.op.name if isinstance(node.op, Graph) else node.op.kind
        path = (*above, *(Module(part) for part in parts[:-1]), Module(parts[-1], kind))
        if isinstance(node.op, Graph):
            yield from parameters(node.op, path)
            continue
        for name, state in node.op.state(*graph.operand_types(node)).items():
            if state.learned:
                yield path, name


def matches(pattern: Sequence[str], path: Sequence[Module], name: str) -> bool:
    """Whether a pattern means the tensor `name` of the module at `path`.

    >>> matches(("bn2", "weight"), (Module("layer1", "Sequential"), Module("bn2", "BatchNorm2d")), "weight")
    True
    """
    *modules, last = pattern
    if last not in ("*", name) or len(modules) > len(path):
        return False
    around = path[len(path) - len(modules) :]
    return all(part in ("*", level.label, level.kind) for part, level in zip(modules, around, strict=True))


def unmatched(graph: Graph) -> list[InitRule]:
    """The rules of this body that mean no parameter of it."""
    if not graph.inits:
        return []
    known = list(parameters(graph))
    return [
        rule for rule in graph.inits if not any(matches(rule.pattern, path, name) for path, name in known)
    ]
