"""Whether the tables of a model have a row for every id that its data gives (E0612)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from netdsl.diagnostics import Label, Report
from netdsl.ir.graph import Graph, Node

if TYPE_CHECKING:
    from netdsl.train.recipe import Recipe


def check_lookups(recipe: Recipe, graph: Graph | None, report: Report) -> None:
    """Report a table of fewer rows than there are ids; torch would stop at the first batch that has one beyond them."""
    below = recipe.data.sample().input.below if recipe.data else None
    if graph is None or below is None or len(graph.inputs) != 1 or recipe.data is None:
        return
    place = recipe.places.of("data")
    for node in dict.fromkeys(tables(graph, 0)):
        rows = node.op.arguments()["num_embeddings"] if not isinstance(node.op, Graph) else below
        if rows >= below:
            continue
        name = getattr(node.op, "kind", "the table")
        also = [Label(place, f"ids go from 0 to {below - 1}")] if place and node.span else []
        report.error(
            "E0612",
            f"`{recipe.data.kind}` has {below} ids, but `{name}` has {rows} rows",
            node.span or place,
            "an id is the number of a row" if node.span else "",
            also=also,
            helps=[f"give it {below} rows"],
        )


def tables(graph: Graph, value: int) -> Iterator[Node]:
    """The layers, also of blocks, in which the ids of `value` are looked up."""
    for node in graph.nodes:
        if isinstance(node.op, Graph):
            for number, operand in enumerate(node.operands):
                if operand == value:
                    yield from tables(node.op, number)
        elif node.operands[:1] == (value,) and node.op.kind in ("Embedding", "EmbeddingBag"):
            yield node
