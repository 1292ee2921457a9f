"""`netdsl predict`: what a trained model makes of files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdsl.cli.console import busy, finish, problem
from netdsl.cli.files import write
from netdsl.cli.options import Data, Device, Extern, Json, MaybeWeights, Out, Params, RunOrFile, Settings
from netdsl.diagnostics import Report

if TYPE_CHECKING:
    from netdsl.train import Prediction

Inputs = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="Images of any size; tables; texts, a line each; `.npy`."),
]


def predict(
    target: RunOrFile,
    files: Inputs,
    weights: MaybeWeights = None,
    out: Out = None,
    data: Data = None,
    changes: Settings = None,
    device: Device = None,
    param: Params = None,
    as_json: Json = False,
    allow_extern: Extern = False,
) -> None:
    """Say what a trained model makes of images, of the rows of tables, or of texts.

    Classes with how sure the model is, or values. The samples go through what the run's own went through. OUT is
    written as .csv or .json.
    """
    from netdsl.cli.opened import opened

    report = Report()
    if out is not None and out.suffix not in (".csv", ".json"):
        problem(report, "E0002", f"predictions are written as .csv or .json, not `{out.name}`")
        finish(report, as_json)
    found = opened(
        target, weights, report, data=data, changes=changes, params=param, allow_extern=allow_extern
    )
    if found is None:
        finish(report, as_json)
    from netdsl.train import predict as predict_files

    with busy(f"looking at {len(files)} files"):
        made = predict_files(found.asked.build, found.recipe, files, weights=found.weights, device=device)
    result = [described(each) for each in made]
    if out is None:
        finish(report, as_json, result, "\n".join(table(made)))
    write(out, json.dumps(result, indent=2) + "\n" if out.suffix == ".json" else as_csv(made))
    finish(report, as_json, {"out": str(out), "predictions": len(made)}, f"{out}: {len(made)} predictions")


def described(made: Prediction) -> dict[str, Any]:
    """A prediction as plain data."""
    found: dict[str, Any] = {"path": str(made.path)}
    if made.row is not None:
        found["row"] = made.row
    if made.values:
        return found | {"values": made.values}
    return found | {
        "label": made.label,
        "probability": made.probability,
        "probabilities": made.probabilities,
    }


def as_csv(made: Sequence[Prediction]) -> str:
    """A row a prediction, a column a class or value."""
    rows: list[dict[str, Any]] = []
    for each in made:
        row: dict[str, Any] = {"path": str(each.path)}
        if each.row is not None:
            row["row"] = each.row
        row |= each.values or {"label": each.label, "probability": each.probability} | {
            f"p({name})": share for name, share in each.probabilities.items()
        }
        rows.append(row)
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(
            text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def table(made: Sequence[Prediction]) -> list[str]:
    """For a person: the names of files once, then what each is."""
    width = max((len(str(each.row)) for each in made), default=0)
    lines: list[str] = []
    before: Path | None = None
    for each in made:
        values = ", ".join(f"{name} {value:.6g}" for name, value in each.values.items())
        text = values or f"{each.label} ({each.probability:.1%})"
        if each.row is None:
            lines.append(f"{each.path}: {text}")
            continue
        if each.path != before:
            lines.append(f"{each.path}:")
            before = each.path
        lines.append(f"  {each.row:>{width}}  {text}")
    return lines
