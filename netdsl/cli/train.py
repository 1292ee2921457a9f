"""`netdsl train`: a model learns what its `train` block says."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdsl.cli.console import SIGNALLED, finish, problem
from netdsl.cli.options import Data, Device, Download, Extern, Json, Params, Settings, Target
from netdsl.diagnostics import Report

if TYPE_CHECKING:
    from netdsl.cli.program import Request
    from netdsl.train import RunResult
    from netdsl.train.recipe import Recipe

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
Start = Annotated[
    str | None,
    typer.Option("--init-from", metavar="WEIGHTS", help="Start from these weights, as far as they fit."),
]
Dry = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, data included, take one step, and write nothing.")
]
Keep = Annotated[
    int, typer.Option("--keep", min=1, metavar="COUNT", help="Checkpoints to keep, beside the best one.")
]
Devices = Annotated[
    int | None,
    typer.Option("--devices", min=1, metavar="COUNT", help="Train on so many devices, with a process each."),
]
Nodes = Annotated[
    int,
    typer.Option(
        "--nodes", min=1, metavar="COUNT", help="Machines with so many devices each, under torchrun."
    ),
]
Strategy = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="ddp|fsdp",
        help="A whole model on each device, or pieces of it; ddp by default.",
    ),
]
Events = Annotated[bool, typer.Option("--tensorboard", help="Write events for TensorBoard as well.")]
Page = Annotated[bool, typer.Option("--report/--no-report", help="Write report.html at the end.")]
Budget = Annotated[
    str | None,
    typer.Option(
        "--memory-budget",
        metavar="SIZE",
        help="Data up to this, as 2GB, is kept on the device; by default, half of the free memory.",
    ),
]


def train(
    file: Target,
    data: Data = None,
    epochs: Epochs = None,
    changes: Settings = None,
    out: Folder = None,
    resume: Resume = False,
    init_from: Start = None,
    dry_run: Dry = False,
    device: Device = None,
    threads: Threads = None,
    download: Download = False,
    memory_budget: Budget = None,
    devices: Devices = None,
    nodes: Nodes = 1,
    strategy: Strategy = None,
    keep: Keep = 2,
    tensorboard: Events = False,
    page: Page = True,
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
    budget = read_budget(memory_budget, report)
    if asked is None or recipe is None or report.has_errors:
        finish(report, as_json)
    if resume and (init_from or dry_run):
        option = "--init-from" if init_from else "--dry-run"
        problem(
            report,
            "E0002",
            f"`--resume` with `{option}`",
            "a run that goes on has its weights and was checked",
        )
        finish(report, as_json)
    if dry_run:
        rehearsed(
            report,
            asked,
            recipe,
            as_json,
            device=device,
            epochs=epochs,
            download=download,
            init_from=init_from,
            memory_budget=budget,
            devices=devices,
            nodes=nodes,
            strategy=strategy,
        )
        return
    from netdsl.train import Display, run
    from netdsl.train.origin import origin_of
    from netdsl.train.processes import silent
    from netdsl.train.writer import Keep as Kept

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
            init_from=init_from,
            memory_budget=budget,
            devices=devices,
            nodes=nodes,
            strategy=strategy,
            origin=origin_of(asked.program, asked.model, param or (), asked.graph, options(data, changes)),
            keep=Kept(keep, tensorboard, page),
            on_record=watch,
        )
    if silent():  # the main process says the same
        raise typer.Exit
    finish(
        report,
        as_json,
        described(result),
        f"weights: {result.weights}",
        failed=SIGNALLED + result.signal if result.signal else result.reason == "interrupted",
    )


def options(data: str | None, changes: list[str] | None) -> list[str]:
    """`--data` and `--set` as they were given."""
    return [
        *(["--data", data] if data else []),
        *(part for text in changes or () for part in ("--set", text)),
    ]


def read_budget(text: str | None, report: Report) -> int | None:
    """The bytes that `--memory-budget` says (E0002 where it says none)."""
    if text is None:
        return None
    from netdsl.train.residence import bytes_of

    found = bytes_of(text)
    if found is None:
        problem(report, "E0002", f"`--memory-budget {text}` is no size", "for example `--memory-budget 2GB`")
    return found


def rehearsed(report: Report, asked: Request, recipe: Recipe, as_json: bool, **options: Any) -> None:
    """What a run would be, after a step of it."""
    from dataclasses import asdict

    from netdsl.train.rehearsal import rehearse

    found = rehearse(asked.build, recipe, **options)
    finish(report, as_json, asdict(found), "\n".join(found.lines()))


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
