"""`netdsl predict`: what a trained model makes of files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from netdsl.cli.console import busy, finish, problem
from netdsl.cli.files import replacing, write
from netdsl.cli.options import Data, Device, Extern, Json, MaybeWeights, Params, RunOrFile, Settings
from netdsl.cli.predictions import as_csv, described, table
from netdsl.diagnostics import Report

if TYPE_CHECKING:
    from netdsl.cli.opened import Opened
    from netdsl.train import Prediction

Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="Images of any size, or folders of them; tables; texts, a line each; `.npy` and `.npz`.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="OUT", help="A .csv or .json to write; of masks also a folder, for a PNG each."
    ),
]
Top = Annotated[int | None, typer.Option("--top", min=1, metavar="K", help="The K most probable classes.")]
Steps = Annotated[
    int | None,
    typer.Option("--steps", min=1, metavar="N", help="How far a series or a text goes on after its end."),
]
TABLES = (".csv", ".json")


def predict(
    target: RunOrFile,
    files: Inputs,
    weights: MaybeWeights = None,
    out: Out = None,
    top: Top = None,
    steps: Steps = None,
    data: Data = None,
    changes: Settings = None,
    device: Device = None,
    param: Params = None,
    as_json: Json = False,
    allow_extern: Extern = False,
) -> None:
    """Say what a trained model makes of images, of the rows of tables, of texts, or how a series goes on.

    Classes with how sure the model is, or values; of images in which each pixel has a class, masks. The samples go
    through what the run's own went through.
    """
    from netdsl.cli.opened import opened

    report = Report()
    found = opened(
        target, weights, report, data=data, changes=changes, params=param, allow_extern=allow_extern
    )
    if found is None or not _fits(found, out, steps, report):
        finish(report, as_json)
    from netdsl.train import predict as predict_files
    from netdsl.train.prediction import ANYHOW, Manner

    with busy(f"looking at {len(files)} files"):
        made = predict_files(
            found.asked.build,
            found.recipe,
            files,
            weights=found.weights,
            device=device,
            steps=steps,
            manner=Manner.of_run(found.run.environment) if found.run else ANYHOW,
        )
    _end(made, found, out, top, report, as_json)


def _end(
    made: Sequence[Prediction],
    found: Opened,
    out: Path | None,
    top: int | None,
    report: Report,
    as_json: bool,
) -> NoReturn:
    """Write or show the predictions, and end."""
    result: list[dict[str, Any]] = [described(each, top) for each in made]
    if out is None:
        finish(report, as_json, result, "\n".join(table(made, top)))
    if out.suffix.lower() not in TABLES:
        _with_masks(made, found, out, report, as_json, result)
    write(out, json.dumps(result, indent=2) + "\n" if out.suffix.lower() == ".json" else as_csv(made, top))
    finish(report, as_json, {"out": str(out), "predictions": len(made)}, f"{out}: {len(made)} predictions")


def _fits(found: Opened, out: Path | None, steps: int | None, report: Report) -> bool:
    """Whether `--out` and `--steps` are for such a model."""
    from netdsl.train.data import Sequence as Series
    from netdsl.train.data import Tokens
    from netdsl.train.masks import has_masks

    if steps is not None and not isinstance(found.recipe.data, Series | Tokens):
        helps = "leave `--steps` out: the model learned from samples, and not from a series or a long text"
        problem(report, "E0002", f"`{found.asked.model}` predicts no steps", helps)
    if out is not None and out.suffix.lower() not in TABLES and not has_masks(found.recipe.data):
        problem(report, "E0002", f"predictions are written as .csv or .json, not `{out.name}`")
    return not report.has_errors


def _with_masks(
    made: Sequence[Prediction],
    found: Opened,
    out: Path,
    report: Report,
    as_json: bool,
    result: Sequence[dict[str, Any]],
) -> NoReturn:
    """Write the masks, all of them or none, and say where they are."""
    from netdsl.train.masks import mask_paths, write_masks

    places = mask_paths(made, out, found.recipe)
    with replacing(out) as partial:
        partial.mkdir()
        write_masks(made, [partial / path.name for path in places], found.recipe)
    for each, path in zip(result, places, strict=True):
        each["mask"] = str(path)
    finish(report, as_json, list(result), f"{out}: {len(places)} masks")
