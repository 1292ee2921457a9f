"""What a run leaves in its folder, while it goes on and at its end.

```
run.json            recipe, environment, seeds, where the model comes from, how it ended
spec/               the program, with the files that it imports
inputs.json         what becomes of a sample before the model gets it
history.csv, .jsonl, steps.csv                      what was measured
checkpoints/, best.safetensors, last.safetensors    what was learned
tensorboard/        events, where they are asked for
report.html         all of it to look at
```
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from netdsl.train.batches import mixed
from netdsl.train.checkpoint import KEPT, Snapshot, write_checkpoint
from netdsl.train.data import Data
from netdsl.train.errors import TrainError
from netdsl.train.files import unwritable, write_json
from netdsl.train.history import History
from netdsl.train.origin import Origin
from netdsl.train.recipe import Recipe
from netdsl.train.records import Record, Saved, Started, Stopped
from netdsl.train.runs import FORMAT, INPUTS, RECORD, is_run, now, open_run
from netdsl.train.state import Run

if TYPE_CHECKING:
    from netdsl.train.tensorboard import Events

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "scikit-learn",
    "pandas",
    "numpy",
    "safetensors",
)


@dataclass(frozen=True)
class Keep:
    """What is kept of a run: so many checkpoints beside the best one, and whether events and a report.

    Where epochs are short, the checkpoints of two of them lie `pace` seconds apart.
    """

    checkpoints: int = KEPT
    tensorboard: bool = False
    report: bool = True
    pace: float = 1.0


KEEP = Keep()


class Writer:
    """Writes the folder of a run. Call it with every record, `save` when a checkpoint is due, `close` in the end."""

    def __init__(
        self, folder: Path, run: Run, environment: Mapping[str, Any], origin: Origin | None, keep: Keep
    ):
        self.folder, self.run, self.origin, self.keep = folder, run, origin, keep
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise unwritable(folder, problem) from problem
        if origin:
            origin.keep(folder)
        self.record = _record(folder, run, environment, origin)
        write_json(folder / RECORD, self.record)
        write_json(folder / INPUTS, inputs_of(run.recipe, run.data))
        self.history = History(folder, run.recipe.columns(), epoch=run.epoch, step=run.step)
        self.events: Events | None = None
        if keep.tensorboard or (run.step and (folder / "tensorboard").is_dir()):
            from netdsl.train.tensorboard import Events

            self.events = Events(folder / "tensorboard", run)

    def __call__(self, record: Record) -> None:
        try:
            self.history(record)
            if self.events:
                self.events(record)
        except TrainError as problem:
            raise self.with_last_good(problem) from problem

    def save(self, at: Snapshot) -> Saved | None:
        """Write a checkpoint of the run as it was `at` some step. The history it belongs to goes first."""
        try:
            self.history.sync()
            if not is_run(self.folder):  # somebody has removed it: what is written still would be no run
                raise TrainError("E0637", f"`{self.folder}` cannot be written: the run in it is gone")
            return write_checkpoint(self.run, at, self.folder, kept=self.keep.checkpoints)
        except TrainError as problem:
            raise self.with_last_good(problem) from problem

    def with_last_good(self, problem: TrainError) -> TrainError:
        """The same problem, and which checkpoint is whole."""
        from netdsl.train.checkpoint import newest_checkpoint

        found = problem.diagnostic
        try:
            note = f"the last good checkpoint is `{newest_checkpoint(self.folder)[0].path}`"
        except TrainError:
            note = "no checkpoint was written before"
        helps = [
            *found.helps,
            *(["go on with `--resume` once it can be written"] if found.code == "E0637" else []),
        ]
        span = found.labels[0].span if found.labels else None
        return TrainError(found.code, found.message, span, [*found.notes, note], helps)

    def close(self) -> None:
        """Let go of the files, whatever happened before."""
        self.history.close()
        if self.events:
            self.events.close()

    def end(self, stopped: Stopped, seconds: float, started: Started) -> None:
        """Write down how the run ended, and its report."""
        ended = {"reason": stopped.reason, "step": stopped.step, "at": now(), "seconds": round(seconds, 3)}
        self.record["ended"] = ended | ({"message": stopped.message} if stopped.message else {})
        self.record["environment"] |= {"notes": list(started.notes)}
        write_json(self.folder / RECORD, self.record)
        if stopped.reason == "interrupted" or not (self.keep.report or self.events):
            return
        from netdsl.train.findings import look
        from netdsl.train.report import write_report

        folder = open_run(self.folder)
        findings = None if stopped.reason == "not finite" else look(self.run, folder)
        if self.events:
            self.events.figures(findings)
        if self.keep.report:
            write_report(folder, self.origin and self.origin.graph, findings)


def _record(folder: Path, run: Run, environment: Mapping[str, Any], origin: Origin | None) -> dict[str, Any]:
    """The content of `run.json`; that of a resumed run goes on."""
    recipe, parts, started = run.recipe, [], now()
    if run.step and is_run(folder):
        with suppress(TrainError):
            before = open_run(folder).record
            parts, started = before.get("parts", []), before.get("started", started)
    return {
        "format": FORMAT,
        "started": started,
        "parts": [*parts, {"at": now(), "step": run.step}],
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "samples": {"train": len(run.data.train), "valid": len(run.data.valid)},
        "steps": run.total_steps,
        "epochs": run.epochs,
        "monitor": list(recipe.monitored),
        "recipe": recipe.described(),
        "seeds": {
            "weights": recipe.seed,
            "training": mixed(recipe.seed, -1),
            "first epoch": mixed(recipe.seed, 0),
        },
        "origin": origin and origin.described(),
        "environment": versions() | dict(environment),
    }


def versions() -> dict[str, str]:
    """The system and the versions of what a run rests on."""
    from netdsl import __version__

    found = {"netdsl": __version__, "python": sys.version.split()[0]}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    found["torch"] = torch.__version__
    return found | {"platform": platform.platform(), "cpus": str(os.cpu_count())}


def inputs_of(recipe: Recipe, data: Data) -> dict[str, Any]:
    """What becomes of a sample before the model gets it, and what the model's outputs are, as plain JSON data."""
    sample = recipe.data.sample() if recipe.data else None
    x = data.train.first(1).x
    shape = list(x.shape[1:])
    kind = sample.input.kind if sample else _kind(x)
    names = data.names or (sample.target.names if sample else ())
    return {
        "kind": kind,
        "shape": shape,
        "scale": "uint8 divided by 255" if kind == "image" else None,
        "transform": recipe.described()["transform"],
        "source": recipe.data.described() if recipe.data else None,
        "target": recipe.loss.targets,
        "classes": list(names) or data.classes,
        "loss": recipe.loss.kind,
    }


def _kind(x: torch.Tensor) -> str:
    if x.is_floating_point():
        return "numbers"
    return "image" if x.dtype == torch.uint8 else "ids"
