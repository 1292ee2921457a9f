"""`netdsl graph`: a model as a diagram."""

from __future__ import annotations

from typing import Annotated

import typer

from netdsl.cli.console import busy, finish
from netdsl.cli.files import replacing
from netdsl.cli.options import Extern, Json, Out, Params, Sizes, Target
from netdsl.diagnostics import Report

Depth = Annotated[
    int | None,
    typer.Option("--depth", min=0, help="How many levels of blocks are open; by default, what reads well."),
]


def graph(
    file: Target,
    out: Out = None,
    depth: Depth = None,
    param: Params = None,
    sizes: Sizes = None,
    as_json: Json = False,
    allow_extern: Extern = False,
) -> None:
    """Draw a model as a diagram.

    The suffix of OUT says how: .svg, .png, .pdf or .dot. Without OUT, DOT text goes to stdout.
    """
    from netdsl.backends.dot import dot, render
    from netdsl.cli.program import request

    report = Report()
    asked = request(file, report, param, sizes, allow_extern)
    if asked is None:
        finish(report, as_json)
    if out is None:
        text = dot(asked.graph, depth)
        finish(report, as_json, {"model": asked.model, "dot": text}, text)
    with busy(f"drawing {asked.model}"), replacing(out) as made:
        render(asked.graph, made, depth)
    finish(report, as_json, {"model": asked.model, "out": str(out)}, f"{out}: {asked.model}")
