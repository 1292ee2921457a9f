"""A run from its first step to its report: the loop, and around it what watches, saves, stops and draws."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any, NoReturn

import torch

from netdsl.train.bystander import Bystander, changed_machine, check_shares
from netdsl.train.checkpoint import (
    Checkpoint,
    checkpoints,
    newest_checkpoint,
    publish_weights,
)
from netdsl.train.culprit import first_weights, not_finite
from netdsl.train.data import Data
from netdsl.train.errors import TrainError
from netdsl.train.files import sweep
from netdsl.train.loading import (
    Model,
    check_data,
    check_learns,
    find_device,
    load_data,
    make_model,
    try_model,
)
from netdsl.train.loop import fit
from netdsl.train.origin import Origin
from netdsl.train.parameters import freeze
from netdsl.train.precision import check_machine
from netdsl.train.processes import Processes, join
from netdsl.train.rates import check_cycle
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch, Record, Started, Step, Stopped
from netdsl.train.rehearsal import check_first_step
from netdsl.train.residence import placed
from netdsl.train.state import Run
from netdsl.train.targets import compared
from netdsl.train.tuning import Setup, choose_setup
from netdsl.train.warm import start_from
from netdsl.train.writer import KEEP, Keep, Writer

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
    init_from: str | Path | None = None,
    memory_budget: int | None = None,
    devices: int | None = None,
    nodes: int = 1,
    strategy: str | None = None,
    origin: Origin | None = None,
    keep: Keep = KEEP,
    on_record: Watcher | None = None,
) -> RunResult:
    """Train `model` as `recipe` says and keep everything in the folder `out`.

    `model` is a module, or a function that makes one; then its first weights follow from the recipe's seed.
    `data` stands in for the recipe's own; it is kept on the device where it is within `memory_budget` bytes, by default
    half of the free memory. `resume` goes on from the newest whole checkpoint. `origin` is where
    the model comes from, kept beside the weights, and `keep` what else is. The first SIGINT or SIGTERM ends the
    run after a checkpoint, a second one at once. `TrainError`, with its diagnostic, for whatever stops the run;
    threads are as before afterwards.

    `init_from` are weights to start from, as far as they fit, as `netdsl.load_weights` takes them.

    `devices`, of each of `nodes` machines, and `strategy` (`ddp`, `fsdp`) are for training in several processes, which
    are started here or by `torchrun`: then each of them runs this, and the first writes.
    """
    processes = join(devices, nodes, strategy, device)
    with processes.alive():
        return _run(
            model,
            recipe,
            processes,
            Path(out),
            data=data,
            resume=resume,
            device=processes.device or device,
            epochs=epochs,
            threads=threads,
            download=download,
            init_from=init_from,
            memory_budget=memory_budget,
            origin=origin,
            keep=keep if processes.whole_model else replace(keep, tensorboard=False, report=False),
            watch=on_record if on_record and processes.main else _ignore,
        )


def _run(
    model: Model,
    recipe: Recipe,
    processes: Processes,
    folder: Path,
    *,
    data: Data | None,
    resume: bool,
    device: str | None,
    epochs: int | None,
    threads: int | None,
    download: bool,
    init_from: str | Path | None,
    memory_budget: int | None,
    origin: Origin | None,
    keep: Keep,
    watch: Watcher,
) -> RunResult:
    """A run in this process, which is one of `processes`."""
    begin = perf_counter()
    if epochs is not None:
        recipe = recipe.model_copy(update={"epochs": epochs, "steps": None})
    place = find_device(device)
    checkpoint, notes = processes.from_main(lambda: _checkpoint(folder, recipe, resume))
    fitted = checkpoint.fitted if checkpoint else None
    with processes.agreed():
        check_shares(recipe, processes)
        check_machine(recipe, place)
        data, kept = placed(data or _loaded(processes, recipe, download, fitted), place, memory_budget)
        notes += [kept] if kept else []
        check_data(data, recipe)
        module = make_model(model, recipe)
        if init_from is not None and checkpoint is None:
            notes = [*notes, *start_from(module, init_from)]
        freeze(module, recipe)
        check_learns(module, recipe)
        data = compared(data, recipe, try_model(module, recipe, data, place))
        try_model(module, recipe, data, place, training=True)
        check_first_step(module, recipe, data, place)
    before = torch.get_num_threads()
    try:
        setup = _setup(checkpoint, threads) or choose_setup(module, recipe, data, place, threads)
        setup = processes.gathered(setup)[0]
        torch.set_num_threads(setup.threads)
        first = None if checkpoint else first_weights(module)
        state = Run(module, recipe, data, place, setup.channels_last, processes)
        check_cycle(recipe, state.total_steps)
        if checkpoint:
            state.load(checkpoint.weights, checkpoint.state)
            notes = [*notes, *changed_machine(checkpoint.state, processes, place.type)]
        started = _started(state, setup, [*notes, *([setup.note] if setup.note else [])])
        writer = _writer(
            state, folder, checkpoint, lambda: Writer(folder, state, _environment(state, setup), origin, keep)
        )
        try:
            watch(started)
            stopped = _follow(state, writer, watch)
            processes.from_main(lambda: writer.end(stopped, perf_counter() - begin, started))
            if stopped.reason == "not finite":
                graph = origin.graph if origin else None
                problem = writer.with_last_good(not_finite(state, folder, first, stopped, graph))
                processes.from_main(lambda: _raise(problem))
        finally:
            writer.close()
    finally:
        torch.set_num_threads(before)
    return processes.from_main(lambda: _result(state, writer, folder, stopped, perf_counter() - begin))


def _raise(problem: TrainError) -> NoReturn:
    raise problem


def _loaded(processes: Processes, recipe: Recipe, download: bool, fitted: Mapping[str, Any] | None) -> Data:
    """The data; where it may have to be fetched, the main process does that before the others look."""
    if processes.size == 1 or not (download or getattr(recipe.data, "download", False)):
        return load_data(recipe, download=download, fitted=fitted)
    found: list[Data] = []
    processes.from_main(lambda: found.append(load_data(recipe, download=download, fitted=fitted)))
    return found[0] if found else load_data(recipe, fitted=fitted)


def _writer(
    state: Run, folder: Path, checkpoint: Checkpoint | None, make: Callable[[], Writer]
) -> Writer | Bystander:
    """What keeps the run: a writer in the main process, after what a stopped one left half done is put in order."""
    made: list[Writer] = []

    def begin() -> None:
        if folder.is_dir():
            sweep(folder)
        if checkpoint:
            publish_weights(checkpoint.path, folder, best=checkpoint.manifest["best"])
        made.append(make())

    state.processes.from_main(begin)
    return made[0] if made else Bystander(state, folder)


def _result(
    state: Run, writer: Writer | Bystander, folder: Path, stopped: Stopped, seconds: float
) -> RunResult:
    epochs = writer.history.epochs
    best = next((e for e in epochs if e.epoch == state.best_epoch), None)
    return RunResult(
        folder,
        stopped.reason,
        state.step,
        tuple(epochs),
        replace(best, best=True) if best else None,
        folder / "best.safetensors",
        folder / "last.safetensors",
        seconds,
    )


def _follow(state: Run, writer: Writer | Bystander, watch: Watcher) -> Stopped:
    """Run the loop; after each record write what is due, then let the watcher have it."""
    every = state.recipe.checkpoint_every
    stopped = Stopped("finished", state.step)
    with _signals(state):
        for record in fit(state):
            writer(record)
            if isinstance(record, Epoch):
                _save(writer, watch, record)
            elif isinstance(record, Step) and every and record.step % every == 0:
                _save(writer, watch)
            elif isinstance(record, Stopped):
                stopped = record
                if record.reason == "interrupted":
                    _save(writer, watch)
            watch(record)
    return stopped


def _save(writer: Writer | Bystander, watch: Watcher, epoch: Epoch | None = None) -> None:
    saved = writer.save(epoch)
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


def _environment(state: Run, setup: Setup) -> dict[str, Any]:
    """What a run was on."""
    device = torch.cuda.get_device_name(state.device) if state.device.type == "cuda" else None
    return {
        "device": str(state.device),
        **({"gpu": device} if device else {}),
        "threads": setup.threads,
        "channels_last": setup.channels_last,
    }


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
