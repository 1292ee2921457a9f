"""What `eval`, `predict`, `export` and `report` work on: the model of a run, or of a file with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netdsl.cli.console import problem
from netdsl.cli.program import Request, request
from netdsl.cli.recipes import changed, python_allowed, recipe, requested
from netdsl.diagnostics import Report
from netdsl.train.recipe import Recipe
from netdsl.train.runs import RunFolder, open_run


@dataclass(frozen=True)
class Opened:
    """A model with its recipe and weights; `run` where they come from one."""

    asked: Request
    recipe: Recipe
    weights: str
    run: RunFolder | None = None


def opened(
    target: str,
    weights: str | None,
    report: Report,
    *,
    data: str | None = None,
    changes: Sequence[str] | None = None,
    params: Sequence[str] | None = None,
    allow_extern: bool = False,
) -> Opened | None:
    """`target` is the folder of a run, whose best weights are taken, or its `last`, or `FILE[:MODEL]`; then it needs
    `weights`.

    None after reporting what is wrong. `TrainError` E0639 for a folder that holds no run.
    """
    if Path(target).is_dir():
        run = open_run(target)
        asked = asked_of(run, report, params, allow_extern)
        found = asked and recipe(asked.program, asked.model, asked.graph, report, changed(data, changes), run)
        if asked is None or found is None or not python_allowed(found, asked.program, report):
            return None
        chosen = str(run.weights(weights or "best")) if weights in (None, "best", "last") else weights
        return Opened(asked, found, chosen, run)
    if weights is None:
        problem(report, "E0002", f"`{target}` has no weights", "name the folder of a run, or `--weights W`")
        return None
    asked = request(target, report, params, None, allow_extern)
    found = asked and requested(asked, report, changed(data, changes))
    return Opened(asked, found, weights) if asked and found else None


def asked_of(
    run: RunFolder, report: Report, params: Sequence[str] | None = None, allow_extern: bool = False
) -> Request | None:
    """The model of a run, of the files that the run keeps."""
    if run.origin is None:
        message = f"the model of the run in `{run.path}` is not of a `.net` file, so only Python can make it"
        problem(report, "E0639", message, "use `netdsl.train.evaluate` and `netdsl.load_weights`")
        return None
    parameters = [*run.origin["parameters"], *(params or ())]
    return request(f"{run.path / run.origin['file']}:{run.model}", report, parameters, None, allow_extern)


def own_data(found: Opened) -> Mapping[str, Any] | None:
    """The data that a model has learned from, as its run or its `train` block has it, whatever was changed since."""
    if found.run:
        return found.run.recipe.get("data")
    program, report = found.asked.program, Report()
    if not any(train.model.id == found.asked.model for train in program.trains):
        return None
    own = recipe(program, found.asked.model, found.asked.graph, report)
    return own.data.described() if own and own.data else None
