"""`netdsl eval`: what a trained model is worth on data."""

from __future__ import annotations

from netdsl.cli.console import busy, finish
from netdsl.cli.options import Data, Device, Download, Extern, Json, Params, Settings, Target, Weights
from netdsl.diagnostics import Report


def eval(
    file: Target,
    weights: Weights,
    data: Data = None,
    changes: Settings = None,
    device: Device = None,
    download: Download = False,
    param: Params = None,
    as_json: Json = False,
    allow_extern: Extern = False,
) -> None:
    """Measure a trained model on the validation data of its recipe."""
    from netdsl.cli.program import request
    from netdsl.cli.recipes import changed, requested

    report = Report()
    asked = request(file, report, param, None, allow_extern)
    recipe = asked and requested(asked, report, changed(data, changes))
    if asked is None or recipe is None:
        finish(report, as_json)
    from netdsl.train import evaluate

    with busy(f"measuring {asked.model}"):
        found = evaluate(asked.build, recipe, weights=weights, device=device, download=download)
    result = {"model": asked.model, "samples": found.samples, **found.measured, "seconds": found.seconds}
    shares = ", ".join(f"{name} {value:.4f}" for name, value in found.measured.items())
    finish(report, as_json, result, f"{asked.model} on {found.samples:,} samples: {shares}")
