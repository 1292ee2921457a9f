"""`netdsl export`: what a run has learned, as something that runs elsewhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from netdsl.cli.console import busy, finish, problem
from netdsl.cli.files import replacing
from netdsl.cli.options import Extern, Json, Out, RunFolder
from netdsl.diagnostics import Report


class Kind(StrEnum):
    """What can be made of a run."""

    onnx = "onnx"
    torchscript = "torchscript"
    pt2 = "pt2"
    module = "module"
    python = "python"


class Which(StrEnum):
    """Which weights of a run."""

    best = "best"
    last = "last"


To = Annotated[Kind, typer.Option("--to", help="What to make.")]
Weights = Annotated[Which, typer.Option("--weights", help="Of the best epoch, or of the end.")]
ENDINGS = {Kind.onnx: ".onnx", Kind.torchscript: ".pt", Kind.pt2: ".pt2", Kind.module: "", Kind.python: ".py"}


def export(
    run: RunFolder,
    to: To,
    out: Out = None,
    weights: Weights = Which.best,
    as_json: Json = False,
    allow_extern: Extern = False,
) -> None:
    """Make ONNX, TorchScript, .pt2, a package or Python source of a run's model with its weights.

    What files go through before the model gets them, and what its outputs are, is written beside it, as
    OUT.inputs.json; ONNX carries it as metadata too. By default OUT is named after the model, in the folder of the run.
    Each is run beside the original.
    """
    from netdsl.cli.exporting import described_inputs, made_of
    from netdsl.cli.opened import asked_of
    from netdsl.cli.recipes import recipe
    from netdsl.train.runs import open_run

    report = Report()
    folder = open_run(run)
    asked = asked_of(folder, report, None, allow_extern)
    found = asked and recipe(asked.program, asked.model, asked.graph, report, kept=folder)
    if asked is None or found is None:
        finish(report, as_json)
    place = out or folder.path / f"{asked.model}{ENDINGS[to]}"
    if to is Kind.module and place.exists():
        problem(report, "E0004", f"`{place}` is there already", "give another place by `--out OUT`")
        finish(report, as_json)
    learned = folder.weights(weights.value)
    with busy(f"making {to.value} of {asked.model}"):
        inputs = described_inputs(asked, found, folder, learned)
        with replacing(place) as made:
            done = made_of(asked, to.value, made, learned, inputs)
            beside_of(made).write_text(inputs, encoding="utf-8")
    beside = beside_of(place)
    result = {
        "model": asked.model,
        "to": to.value,
        "out": str(place),
        "inputs": str(beside),
        "weights": str(learned),
        "largest_difference": None if done is None else done.largest_difference,
    }
    checked = "" if done is None else f", largest difference {done.largest_difference:.1e}"
    finish(
        report, as_json, result, f"{place}: {asked.model} with {learned.name}{checked}\n{beside}: its inputs"
    )


def beside_of(place: Path) -> Path:
    """Where what becomes of inputs is written: in the folder of a package, else beside the file.

    >>> beside_of(Path("a/LeNet.onnx")).as_posix()
    'a/LeNet.inputs.json'
    """
    return place / "inputs.json" if place.is_dir() else place.with_suffix(".inputs.json")
