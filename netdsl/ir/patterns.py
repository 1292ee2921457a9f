"""Which parameters an `init` rule means. A pattern's last part names the parameter, the parts before it the modules
around it, innermost last, each by its label or its kind; `*` is any one of them. The layers that torch's own layers
are made of count too: `out_proj`, a `Linear`, is one of `MultiheadAttention`'s.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from netdsl.ir.graph import Graph, InitRule, Operation
from netdsl.ir.types import State


class Module(NamedTuple):
    """One level of a parameter's path: the label's part there, and the kind of the module that ends there."""

    label: str
    kind: str = ""


class Learned(NamedTuple):
    """A learned tensor: the modules around it, its own name, and its shape."""

    path: tuple[Module, ...]
    name: str
    shape: tuple[int, ...]

    @property
    def key(self) -> str:
        """Its name in the `state_dict`."""
        return ".".join([*(level.label for level in self.path), self.name])


def parameters(
    graph: Graph,
    above: tuple[Module, ...] = (),
    names: Container[str] | None = None,
    around: Container[str] | None = None,
) -> Iterator[Learned]:
    """Every learned tensor below `graph`, or those whose own name is among `names`.

    A layer that is called nothing that is `around` the tensors is left out, so that its state is not made.
    """
    for parameter in graph.parameters:
        if names is None or parameter.name in names:
            yield Learned(above, parameter.name, tuple(int(d) for d in parameter.type.shape))  # type: ignore[arg-type]
    for label, node in graph.layers.items():
        parts = label.split(".")
        kind = node.op.name if isinstance(node.op, Graph) else node.op.kind
        path = (*above, *(Module(part) for part in parts[:-1]), Module(parts[-1], kind))
        if isinstance(node.op, Graph):
            yield from parameters(node.op, path, names, around)
        elif around is None or kind in around or parts[-1] in around or node.op.inside:
            yield from _of_layer(node.op, graph.layer_state(label, node.op), path, names)


def _of_layer(
    op: Operation, states: Mapping[str, State], path: tuple[Module, ...], names: Container[str] | None
) -> Iterator[Learned]:
    inside = op.inside
    for key, state in states.items():
        if not state.learned:
            continue
        *parts, name = key.split(".")
        if names is not None and name not in names:
            continue
        levels = (Module(part, inside.get(".".join(parts[: n + 1]), "")) for n, part in enumerate(parts))
        yield Learned((*path, *levels), name, state.shape)


def matches(pattern: Sequence[str], tensor: Learned) -> bool:
    """Whether a pattern means a tensor.

    >>> path = (Module("layer1", "Sequential"), Module("bn2", "BatchNorm2d"))
    >>> matches(("bn2", "weight"), Learned(path, "weight", (64,)))
    True
    """
    *modules, last = pattern
    path = tensor.path
    if last not in ("*", tensor.name) or len(modules) > len(path):
        return False
    around = path[len(path) - len(modules) :]
    return all(part in ("*", level.label, level.kind) for part, level in zip(modules, around, strict=True))


def meant(graph: Graph) -> list[tuple[InitRule, list[Learned]]]:
    """The rules of this body, each with the parameters that it matches."""
    if not graph.inits:
        return []
    names = {rule.pattern[-1] for rule in graph.inits}
    around = {rule.pattern[-2] if len(rule.pattern) > 1 else "*" for rule in graph.inits}
    known = list(parameters(graph, (), *(None if "*" in wanted else wanted for wanted in (names, around))))
    return [(rule, [tensor for tensor in known if matches(rule.pattern, tensor)]) for rule in graph.inits]
