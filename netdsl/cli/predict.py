"""`netdsl predict`: what a trained model takes images for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netdsl.cli.console import busy, finish
from netdsl.cli.options import Data, Device, Extern, Json, Params, Settings, Target, Weights
from netdsl.diagnostics import Report

Images = Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, of any size.")]


def predict(
    file: Target,
    images: Images,
    weights: Weights,
    data: Data = None,
    changes: Settings = None,
    device: Device = None,
    param: Params = None,
    as_json: Json = False,
    allow_extern: Extern = False,
) -> None:
    """Name the class of each image, and how sure the model is."""
    from netdsl.cli.program import request
    from netdsl.cli.recipes import changed, requested

    report = Report()
    asked = request(file, report, param, None, allow_extern)
    recipe = asked and requested(asked, report, changed(data, changes))
    if asked is None or recipe is None:
        finish(report, as_json)
    from netdsl.train import predict as predict_images

    with busy(f"looking at {len(images)} images"):
        found = predict_images(asked.build, recipe, images, weights=weights, device=device)
    result = [
        {
            "path": str(p.path),
            "label": p.label,
            "probability": p.probability,
            "probabilities": p.probabilities,
        }
        for p in found
    ]
    finish(report, as_json, result, "\n".join(f"{p.path}: {p.label} ({p.probability:.1%})" for p in found))
