"""`netdsl report`: the page of a run, made anew."""

from __future__ import annotations

from netdsl.cli.console import busy, finish
from netdsl.cli.options import Data, Device, Download, Extern, Json, RunFolder
from netdsl.diagnostics import Report


def report(
    run: RunFolder,
    data: Data = None,
    device: Device = None,
    download: Download = False,
    as_json: Json = False,
    allow_extern: Extern = False,
) -> None:
    """Write report.html of a run: curves, confusion matrix or residuals, worst samples, diagram, times.

    Without the data it has what the run has written down, and says what is missing.
    """
    from netdsl.cli.opened import asked_of
    from netdsl.cli.recipes import changed, python_allowed, recipe
    from netdsl.train.errors import TrainError
    from netdsl.train.runs import open_run

    problems, folder = Report(), open_run(run)
    with busy(f"looking at {folder.model}"):
        asked = asked_of(folder, problems, None, allow_extern) if folder.origin else None
        found = asked and recipe(
            asked.program, asked.model, asked.graph, problems, changed(data, None), folder
        )
        if problems.has_errors:
            finish(problems, as_json)
        from netdsl.train.report import write_report

        findings, missing = None, ""
        if asked and found and found.data and python_allowed(found, asked.program, problems):
            from netdsl.train.prediction import examine

            try:
                findings = examine(asked.build, found, folder.weights(), device=device, download=download)
            except TrainError as problem:
                missing = f"without confusion matrix and samples: {problem.diagnostic.message}"
        path = write_report(folder, asked and asked.graph, findings, missing)
    result = {"run": str(folder.path), "report": str(path), "missing": missing or None}
    finish(problems, as_json, result, f"{path} {missing}".rstrip())
