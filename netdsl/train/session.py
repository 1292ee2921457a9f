"""A run from its first step to its report: the loop, and around it what watches, saves, stops and draws."""

from __future__ import annotations

import platform
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

import torch

from netdsl.train.checkpoint import (
    Checkpoint,
    checkpoints,
    newest_checkpoint,
    publish_weights,
    save_checkpoint,
)
from netdsl.train.data import Data
from netdsl.train.errors import TrainError
from netdsl.train.files import unwritable, write_atomically, write_json
from netdsl.train.fit import fit
from netdsl.train.history import History
from netdsl.train.loading import (
    Model,
    check_data,
    check_learns,
    find_device,
    load_data,
    make_model,
    try_model,
)
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch, Record, Started, Step, Stopped
from netdsl.train.report import plot_curves
from netdsl.train.state import Run
from netdsl.train.tuning import Setup, choose_setup

Watcher = Callable[[Record], None]
MAY_CHANGE = ("epochs", "steps", "early_stop", "log_every", "checkpoint_every")  # of a run that goes on


@dataclass(frozen=True)
class RunResult:
    """How a run ended. `weights` are the best it had, `last` those it ended with (both safetensors)."""

    folder: Path
    reason: str  # of `Stopped`: "finished", "early stop" or "interrupted"
    step: int
    epochs: tuple[Epoch, ...]
    best: Epoch | None
    weights: Path
    last: Path
    seconds: float


def run(
    model: Model,
    recipe: Recipe,
    *,
    out: str | Path,
    data: Data | None = None,
    resume: bool = False,
    device: str | None = None,
    epochs: int | None = None,
    threads: int | None = None,
    download: bool = False,
    spec: str = "",
    on_record: Watcher | None = None,
) -> RunResult:
    """Train `model` as `recipe` says and keep everything in the folder `out`.

    `model` is a module, or a function that makes one; then its first weights follow from the recipe's seed.
    `data` stands in for the recipe's own. `resume` goes on from the newest whole checkpoint. `spec` is the
    text of the `.net` file, kept beside the weights. The first SIGINT or SIGTERM ends the run after a
    checkpoint, a second one at once. `TrainError`, with its diagnostic, for whatever stops the run; threads
    are as before afterwards.
    """
    folder, watch, begin = Path(out), on_record or _ignore, perf_counter()
    if epochs is not None:
        recipe = recipe.model_copy(update={"epochs": epochs, "steps": None})
    place = find_device(device)
    data = data or load_data(recipe, download=download)
    check_data(data, recipe)
    module = make_model(model, recipe)
    check_learns(module, recipe)
    try_model(module, recipe, data, place)
    try_model(module, recipe, data, place, training=True)
    checkpoint, notes = _checkpoint(folder, recipe, resume)
    before = torch.get_num_threads()
    try:
        setup = _setup(checkpoint, threads) or choose_setup(module, recipe, data, place, threads)
        torch.set_num_threads(setup.threads)
        state = Run(module, recipe, data, place, setup.channels_last)
        if checkpoint:
            state.load(checkpoint.weights, checkpoint.state)
            publish_weights(checkpoint.path, folder, best=checkpoint.manifest["best"])
        _describe(folder, state, setup, spec)
        watch(_started(state, setup, [*notes, *([setup.note] if setup.note else [])]))
        stopped, history = _follow(state, folder, watch)
    finally:
        torch.set_num_threads(before)
    best = next((e for e in history.epochs if e.epoch == state.best_epoch), None)
    return RunResult(
        folder,
        stopped.reason,
        state.step,
        tuple(history.epochs),
        replace(best, best=True) if best else None,
        folder / "best.safetensors",
        folder / "last.safetensors",
        perf_counter() - begin,
    )


def _follow(state: Run, folder: Path, watch: Watcher) -> tuple[Stopped, History]:
    """Run the loop; after each record write what is due, then let the watcher have it."""
    history = History(folder, state.recipe.columns(), epoch=state.epoch, step=state.step)
    every = state.recipe.checkpoint_every
    stopped = Stopped("finished", state.step)
    with _signals(state):
        for record in fit(state):
            history(record)
            if isinstance(record, Epoch):
                _save(state, folder, watch, record)
            elif isinstance(record, Step) and every and record.step % every == 0:
                _save(state, folder, watch)
            elif isinstance(record, Stopped):
                stopped = record
                if record.reason == "interrupted":
                    _save(state, folder, watch)
            watch(record)
    plot_curves(history.epochs, folder, state.recipe.model)
    if stopped.reason == "not finite":
        raise _not_finite(stopped, folder, state)
    return stopped, history


def _save(state: Run, folder: Path, watch: Watcher, epoch: Epoch | None = None) -> None:
    saved = save_checkpoint(
        state, folder, measured=epoch.measured if epoch else {}, best=epoch.best if epoch else False
    )
    if saved:
        watch(saved)


def _checkpoint(folder: Path, recipe: Recipe, resume: bool) -> tuple[Checkpoint | None, list[str]]:
    """The checkpoint to go on from. A folder that holds a run is not written over (E0630)."""
    if not resume:
        if checkpoints(folder):
            raise TrainError(
                "E0630",
                f"`{folder}` holds a run already",
                helps=["go on with it by `--resume`, or give another folder"],
            )
        return None, []
    checkpoint, damaged = newest_checkpoint(folder)
    _check_same(checkpoint.state["recipe"], recipe)
    return checkpoint, damaged


def _check_same(before: dict[str, Any], recipe: Recipe) -> None:
    now = recipe.described()
    changed = [key for key in now if key not in MAY_CHANGE and before.get(key) != now[key]]
    if changed:
        notes = [f"`{key}` was {_brief(before.get(key))} and is {_brief(now[key])}" for key in changed]
        raise TrainError(
            "E0632",
            "the recipe is not the one that the run began with",
            recipe.places.of(changed[0]),
            notes=notes,
            helps=["start a new run in another folder, or undo the change"],
        )


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        arguments = ", ".join(f"{k} = {_brief(v)}" for k, v in value.items() if k != "kind" and v is not None)
        return f"{value['kind']}({arguments})"
    return "[" + ", ".join(map(_brief, value)) + "]" if isinstance(value, list) else str(value)


def _setup(checkpoint: Checkpoint | None, threads: int | None) -> Setup | None:
    """The setup that a run began with: its sums depend on it."""
    if checkpoint is None:
        return None
    return Setup(threads or checkpoint.manifest["threads"], checkpoint.manifest["channels_last"])


def _describe(folder: Path, state: Run, setup: Setup, spec: str) -> None:
    """Write down what was run, and on what."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise unwritable(folder, problem) from problem
    if spec:
        write_atomically(folder / "spec.net", spec)
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "platform": platform.platform()}
    choices = {"device": str(state.device), "threads": setup.threads, "channels_last": setup.channels_last}
    write_json(folder / "run.json", {"recipe": state.recipe.described(), "environment": versions | choices})


def _started(state: Run, setup: Setup, notes: list[str]) -> Started:
    return Started(
        state.recipe.model,
        sum(p.numel() for p in state.learned),
        str(state.device),
        setup.threads,
        setup.channels_last,
        len(state.data.train),
        len(state.data.valid),
        state.epochs,
        state.steps_per_epoch,
        state.step,
        tuple(notes),
    )


def _not_finite(stopped: Stopped, folder: Path, state: Run) -> TrainError:
    try:
        last = f"the last good checkpoint is `{newest_checkpoint(folder)[0].path}`"
    except TrainError:
        last = "no checkpoint was written before"
    rate = state.recipe.rate(state.epoch)
    helps = [f"a smaller learning rate than {rate:g}, or `clip_norm = 1.0`, may keep it finite"]
    return TrainError(
        "E0634", stopped.message, state.recipe.places.of("optimizer"), notes=[last], helps=helps
    )


@contextmanager
def _signals(state: Run) -> Iterator[None]:
    """SIGINT and SIGTERM end the run at the next step; a second one acts as it would without us."""
    previous: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        state.stop_requested = True
        signal.signal(number, previous[number])

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, stop)
    except ValueError:  # not in the main thread, where signals do not come anyway
        previous.clear()
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _ignore(record: Record) -> None:
    """Nobody is watching."""
    del record
