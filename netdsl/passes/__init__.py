"""Graph to graph: one pass a file, each a function. A pass takes a graph that verifies and gives one that does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from netdsl.ir.graph import Graph
from netdsl.passes.dead import remove_dead
from netdsl.passes.in_place import in_place
from netdsl.passes.relu_after_pool import relu_after_pool

Pass: TypeAlias = Callable[[Graph], Graph]

DEFAULT: Final[tuple[Pass, ...]] = (remove_dead,)

__all__ = ["DEFAULT", "Pass", "in_place", "relu_after_pool", "remove_dead", "run"]


def run(graph: Graph, passes: Sequence[Pass] = DEFAULT) -> Graph:
    """The graph after all of `passes`, in order."""
    for apply in passes:
        graph = apply(graph)
    return graph
