"""`netdsl check`: the problems of files, and what their models are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdsl.cli.console import finish
from netdsl.cli.files import write
from netdsl.cli.options import Extern, Files, Json
from netdsl.diagnostics import Report

if TYPE_CHECKING:
    from netdsl.elaborate.program import Program
    from netdsl.ir.graph import Graph

Log = Annotated[
    Path | None, typer.Option("--sarif", metavar="OUT", help="Write the diagnostics as SARIF 2.1.0 too.")
]


def check(files: Files, as_json: Json = False, sarif: Log = None, allow_extern: Extern = False) -> None:
    """Check files: names, arguments, shapes, recipes."""
    from netdsl.cli.program import limits, read
    from netdsl.compiler import check as check_source

    report, found = Report(), []
    for path in dict.fromkeys(files):
        source = read(path, report)
        if source is None:
            continue
        checked = check_source(source, limits=limits(), allow_extern=allow_extern)
        check_recipes(checked.program, checked.graphs, checked.report)
        for diagnostic in checked.report:
            report.add(diagnostic)
        models = [] if checked.report.has_errors else [described(graph) for graph in checked.graphs.values()]
        found.append({"path": source.path, "models": models})
    if sarif:
        write_sarif(sarif, report)
    text = "\n".join(line(entry["path"], model) for entry in found for model in entry["models"])
    finish(
        report, as_json, {"files": found, "errors": len(report.errors), "warnings": warnings(report)}, text
    )


def check_recipes(program: Program, graphs: Mapping[str, Graph], report: Report) -> None:
    """Check the `train` blocks against their models; what knows of training is imported for them only."""
    for model in dict.fromkeys(train.model.id for train in program.trains):
        if model in program.models:
            from netdsl.cli.recipes import recipe

            recipe(program, model, graphs.get(model), report)


def described(graph: Graph) -> dict[str, Any]:
    """A model in short, as plain data."""
    from netdsl.ir.measure import parameter_count

    outputs = [{"name": o.name, "type": str(graph.types[o.value])} for o in graph.outputs]
    return {
        "name": graph.name,
        "inputs": [{"name": entry.name, "type": str(entry.type)} for entry in graph.inputs],
        "outputs": outputs,
        "parameters": parameter_count(graph),
        "constraints": [str(constraint) for constraint in graph.constraints],
    }


def line(path: str, model: dict[str, Any]) -> str:
    """A model in short, in one line."""
    inputs, outputs = (", ".join(entry["type"] for entry in model[side]) for side in ("inputs", "outputs"))
    where = f", where {' and '.join(model['constraints'])}" if model["constraints"] else ""
    return f"{path}: {model['name']} {inputs} -> {outputs}, {model['parameters']:,} parameters{where}"


def warnings(report: Report) -> int:
    return len(report) - len(report.errors)


def write_sarif(path: Path, report: Report) -> None:
    from netdsl import __version__
    from netdsl.diagnostics import pages
    from netdsl.diagnostics.render import to_sarif

    texts = {d.code: page for d in report if (page := pages.page(d.code))}
    write(path, json.dumps(to_sarif(report, texts, __version__), indent=2) + "\n")
