"""`netdsl eval`: what a trained model is worth on data."""

from __future__ import annotations

from netdsl.cli.console import busy, finish
from netdsl.cli.options import Data, Device, Download, Extern, Json, MaybeWeights, Params, RunOrFile, Settings
from netdsl.diagnostics import Report


def eval(
    target: RunOrFile,
    weights: MaybeWeights = None,
    data: Data = None,
    changes: Settings = None,
    device: Device = None,
    download: Download = False,
    param: Params = None,
    as_json: Json = False,
    allow_extern: Extern = False,
) -> None:
    """Measure a trained model on the validation data of its recipe.

    Of a run, the best weights are taken, and the recipe it was trained by.
    """
    from netdsl.cli.opened import opened

    report = Report()
    found = opened(
        target, weights, report, data=data, changes=changes, params=param, allow_extern=allow_extern
    )
    if found is None:
        finish(report, as_json)
    from netdsl.train import evaluate

    name = found.asked.model
    with busy(f"measuring {name}"):
        done = evaluate(
            found.asked.build, found.recipe, weights=found.weights, device=device, download=download
        )
    result = {"model": name, "samples": done.samples, **done.measured, "seconds": done.seconds}
    shares = ", ".join(f"{kind} {value:.4f}" for kind, value in done.measured.items())
    finish(report, as_json, result, f"{name} on {done.samples:,} samples: {shares}")
