"""`netdsl train`: a model learns what its `train` block says."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdsl.cli.console import finish
from netdsl.cli.options import Data, Device, Download, Extern, Json, Params, Settings, Target
from netdsl.diagnostics import Report

if TYPE_CHECKING:
    from netdsl.train import RunResult

Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="How many, instead of the recipe's.")]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="FOLDER", help="Where the run is kept; by default, a new one in runs/."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in the folder, or with the newest in runs/.")
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Of the CPU; by default, what is measured fastest.")
]


def train(
    file: Target,
    data: Data = None,
    epochs: Epochs = None,
    changes: Settings = None,
    out: Folder = None,
    resume: Resume = False,
    device: Device = None,
    threads: Threads = None,
    download: Download = False,
    param: Params = None,
    as_json: Json = False,
    allow_extern: Extern = False,
) -> None:
    """Train a model as its `train` block says.

    Weights, history and curves are kept in a folder. Ctrl-C saves and ends; --resume goes on from there.
    """
    from netdsl.cli.program import request
    from netdsl.cli.recipes import changed, requested

    report = Report()
    asked = request(file, report, param, None, allow_extern)
    recipe = asked and requested(asked, report, changed(data, changes))
    if asked is None or recipe is None:
        finish(report, as_json)
    from netdsl.train import Display, run

    display = nullcontext(None) if as_json else Display()
    with display as watch:
        result = run(
            asked.build,
            recipe,
            out=out or folder(asked.model, resume),
            resume=resume,
            device=device,
            epochs=epochs,
            threads=threads,
            download=download,
            spec=asked.source.text,
            on_record=watch,
        )
    finish(
        report,
        as_json,
        described(result),
        f"weights: {result.weights}",
        failed=result.reason == "interrupted",
    )


def folder(model: str, resume: bool) -> Path:
    """A folder for a new run, or that of the newest one."""
    runs, number = Path("runs"), 1
    while (runs / f"{model}-{number}").exists():
        number += 1
    return runs / f"{model}-{max(number - 1, 1) if resume else number}"


def described(result: RunResult) -> dict[str, Any]:
    """How a run went, as plain data."""
    epochs = [
        {"epoch": e.epoch, "step": e.step, "lr": e.lr, **e.measured, "seconds": e.seconds}
        for e in result.epochs
    ]
    return {
        "folder": str(result.folder),
        "reason": result.reason,
        "steps": result.step,
        "seconds": result.seconds,
        "weights": str(result.weights),
        "last": str(result.last),
        "best": result.best and result.best.epoch,
        "epochs": epochs,
    }
