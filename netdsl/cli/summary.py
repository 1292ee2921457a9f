"""`netdsl summary`: a model as a table of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from netdsl.cli.console import finish
from netdsl.cli.options import Extern, Json, Params, Sizes, Target
from netdsl.diagnostics import Report

if TYPE_CHECKING:
    from netdsl.ir.graph import Graph

Depth = Annotated[
    int | None,
    typer.Option(
        "--depth", min=0, help="How many levels of blocks are open; by default, what fits sixty rows."
    ),
]


def summary(
    file: Target,
    sizes: Sizes = None,
    depth: Depth = None,
    param: Params = None,
    as_json: Json = False,
    allow_extern: Extern = False,
) -> None:
    """Show the layers of a model with their sizes and costs.

    Output shape, parameters, multiply-adds and memory; a block has those of all that is in it. What depends on the
    batch is written with its name. Where more is free, as the size of an image, shapes are formulas and the figures
    are for a usual size; `--set H=320` takes another.
    """
    from netdsl.backends.summary import summary as measure
    from netdsl.cli.program import request

    report = Report()
    asked = request(file, report, param, sizes, allow_extern)
    if asked is None:
        finish(report, as_json)
    table = measure(asked.graph)
    at = sizes_beside_the_batch(asked.graph)
    closed = table.fitting_depth() if depth is None else depth
    more = remarks(at, closed if depth is None else None)
    finish(report, as_json, table.to_json(), table.text(closed, at) + more)


def sizes_beside_the_batch(graph: Graph) -> dict[str, int]:
    """Usual sizes for what is free, but for the batch, which formulas may have."""
    from netdsl.inventory import usual_sizes

    return {name: size for name, size in (usual_sizes(graph, [graph.doc]) or {}).items() if size > 1}


def remarks(at: Mapping[str, int], closed: int | None) -> str:
    """What the table does not show of itself."""
    sizes = ", ".join(f"{name} = {size}" for name, size in at.items())
    lines = [f"figures for {sizes}; `--set` takes others"] if sizes else []
    if closed is not None:
        where = f" below level {closed}" if closed else ""
        lines.append(f"blocks{where} are closed; `--depth` opens more")
    return "\n".join(lines)
