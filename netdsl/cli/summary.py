"""`netdsl summary`: a model as a table of its layers."""

from __future__ import annotations

from typing import Annotated

import typer

from netdsl.cli.console import finish
from netdsl.cli.options import Extern, Json, Params, Sizes, Target
from netdsl.diagnostics import Report

Depth = Annotated[
    int | None, typer.Option("--depth", min=0, help="Blocks below this level are one row each.")
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

    Path, output shape, parameters, multiply-adds and memory; symbolic where a dimension is free.
    """
    from netdsl.backends.summary import summary as measure
    from netdsl.cli.program import request

    report = Report()
    asked = request(file, report, param, sizes, allow_extern)
    if asked is None:
        finish(report, as_json)
    table = measure(asked.graph)
    finish(report, as_json, table.to_json(), table.text(depth))
