"""`netdsl eval`: what a trained model is worth on data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netdsl.cli.console import busy, finish, problem
from netdsl.cli.options import Device, Download, Extern, Json, MaybeWeights, Params, RunOrFile, Settings
from netdsl.diagnostics import Report

if TYPE_CHECKING:
    from netdsl.cli.opened import Opened

OtherData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SOURCE|PATH",
        help="Other data to measure on, all of it where it has no test part; a path is that of data of the same form.",
    ),
]


def eval(
    target: RunOrFile,
    weights: MaybeWeights = None,
    data: OtherData = None,
    changes: Settings = None,
    device: Device = None,
    download: Download = False,
    param: Params = None,
    as_json: Json = False,
    allow_extern: Extern = False,
) -> None:
    """Measure a trained model on the validation data of its recipe, or on other data.

    Of a run, the best weights are taken, or by `--weights last` those of its end, and the recipe it was trained by;
    the numbers are those of its history.
    """
    report = Report()
    path = Path(data) if data and Path(data).expanduser().exists() else None
    found, other = _found(target, weights, report, path, data, changes, param, allow_extern)
    if found is None:
        finish(report, as_json)
    from netdsl.train import evaluate
    from netdsl.train.prediction import ANYHOW, Manner

    name = found.asked.model
    with busy(f"measuring {name}"):
        done = evaluate(
            found.asked.build,
            found.recipe,
            weights=found.weights,
            device=device,
            download=download,
            manner=Manner.of_run(found.run.environment) if found.run else ANYHOW,
            whole=other,
        )
    numbers = {kind: value if math.isfinite(value) else None for kind, value in done.measured.items()}
    result = {"model": name, "samples": done.samples, **numbers, "seconds": done.seconds}
    shares = ", ".join(f"{kind} {value:.4f}" for kind, value in done.measured.items())
    finish(report, as_json, result, f"{name} on {done.samples:,} samples: {shares}")


def _found(
    target: str,
    weights: str | None,
    report: Report,
    path: Path | None,
    data: str | None,
    changes: Sequence[str] | None,
    params: Sequence[str] | None,
    allow_extern: bool,
) -> tuple[Opened | None, bool]:
    """What to measure, and whether its data is other than what it has learned from."""
    from dataclasses import replace

    from netdsl.cli.opened import opened, own_data
    from netdsl.train.foreign.elsewhere import elsewhere

    if path is None and data and _is_path(data):
        problem(report, "E0620", f"there is no file or folder `{data}`", *_near(Path(data)))
        return None, False
    given = list(changes or ())
    divides = any(change.split("=")[0].strip() == "valid" for change in given)
    undivided = [] if divides or not data or path else ["valid=Training"]  # all of it is measured on
    for more in (undivided, []):
        found = opened(
            target,
            weights,
            report,
            data=None if path else data,
            changes=[*given, *more],
            params=params,
            allow_extern=allow_extern,
        )
        if found is None:
            return None, False
        if path is not None:
            moved = elsewhere(found.recipe, path.absolute())
            recipe = found.recipe.model_copy(update={"data": moved, "valid": None})
            return replace(found, recipe=recipe), True
        own, now = own_data(found), found.recipe.data and found.recipe.data.described()
        if not more or own not in (None, now):
            return found, own not in (None, now) and not divides
    return None, False


def _is_path(data: str) -> bool:
    """Whether a text cannot be a source, which is a name, perhaps with arguments."""
    return "(" not in data and not data.isidentifier()


def _near(path: Path) -> Sequence[str]:
    from netdsl.diagnostics.suggest import did_you_mean

    return (
        did_you_mean(path.name, sorted(p.name for p in path.parent.iterdir())) if path.parent.is_dir() else ()
    )
