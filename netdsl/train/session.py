"""A run from its first step to its report: the loop, and around it what watches, saves, stops and draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn

import torch

from netdsl.train.bystander import Bystander, changed_machine, check_shares
from netdsl.train.checkpoint import Checkpoint, checkpoints, newest_checkpoint, publish_again
from netdsl.train.culprit import first_weights, not_finite
from netdsl.train.data import Data
from netdsl.train.errors import TrainError
from netdsl.train.files import sweep, unwritable
from netdsl.train.loading import Model, find_device
from netdsl.train.loop import fit
from netdsl.train.origin import Origin
from netdsl.train.preparation import prepared
from netdsl.train.processes import Processes, join
from netdsl.train.rates import check_cycle
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch, Reading, Record, Started, Stopped
from netdsl.train.rehearsal import check_first_step
from netdsl.train.sameness import changed_threads, changed_versions, check_identity, check_same, identity
from netdsl.train.saves import Saves
from netdsl.train.signals import heard
from netdsl.train.state import Run
from netdsl.train.tuning import Setup, choose_setup
from netdsl.train.writer import KEEP, Keep, Writer

Watcher = Callable[[Record], None]


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
    signal: int | None = None  # that has interrupted it


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
    with processes.agreed():
        check_shares(recipe, processes)
        ready = prepared(
            model,
            recipe,
            place,
            data=data,
            download=download,
            fitted=checkpoint.fitted if checkpoint else None,
            memory_budget=memory_budget,
            init_from=None if checkpoint else init_from,
            processes=processes,
            progress=lambda done, samples: watch(Reading(done, samples)),
        )
        module, data = ready.module, ready.data
        same = identity(module, data)
        if checkpoint:
            check_identity(checkpoint.state, same, recipe)
        check_first_step(module, recipe, data, place)
    before = torch.get_num_threads()
    try:
        setup = _setup(checkpoint, threads) or choose_setup(module, recipe, data, place, threads)
        setup = processes.gathered(setup)[0]
        torch.set_num_threads(setup.threads)
        first = None if checkpoint else first_weights(module)
        state = Run(module, recipe, data, place, setup.channels_last, processes, same)
        check_cycle(recipe, state.total_steps)
        notes += [*ready.notes, *([setup.note] if setup.note else [])]
        if checkpoint:
            notes += _gone_on(state, checkpoint, setup)
        started = _started(state, setup, notes)
        writer = _writer(
            state, folder, checkpoint, lambda: Writer(folder, state, _environment(state, setup), origin, keep)
        )
        try:
            watch(started)
            stopped, number = _follow(state, writer, keep.pace, watch)
            processes.from_main(lambda: writer.end(stopped, perf_counter() - begin, started))
            if stopped.reason == "not finite":
                graph = origin.graph if origin else None
                problem = writer.with_last_good(not_finite(state, folder, first, stopped, graph))
                processes.from_main(lambda: _raise(problem))
        finally:
            writer.close()
    finally:
        torch.set_num_threads(before)
    seconds = perf_counter() - begin
    return processes.from_main(lambda: _result(state, writer, folder, stopped, number, seconds))


def _gone_on(state: Run, checkpoint: Checkpoint, setup: Setup) -> list[str]:
    """Put the run where `checkpoint` is; what differs from then and may, in words."""
    state.load(checkpoint.weights, checkpoint.state)
    return [
        *changed_machine(checkpoint.state, state.processes, state.device.type),
        *changed_threads(checkpoint.manifest, setup.threads),
        *changed_versions(checkpoint.state, state.identity),
    ]


def _raise(problem: TrainError) -> NoReturn:
    raise problem


def _writer(
    state: Run, folder: Path, checkpoint: Checkpoint | None, make: Callable[[], Writer]
) -> Writer | Bystander:
    """What keeps the run: a writer in the main process, after what a stopped one left half done is put in order."""
    made: list[Writer] = []

    def begin() -> None:
        if folder.is_dir():
            sweep(folder)
        if checkpoint:
            publish_again(checkpoint, folder)
        made.append(make())

    state.processes.from_main(begin)
    return made[0] if made else Bystander(state, folder)


def _result(
    state: Run,
    writer: Writer | Bystander,
    folder: Path,
    stopped: Stopped,
    number: int | None,
    seconds: float,
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
        number,
    )


def _follow(
    state: Run, writer: Writer | Bystander, pace: float, watch: Watcher
) -> tuple[Stopped, int | None]:
    """Run the loop; after each record write what is due, then let the watcher have it. Gives the signal that has ended
    it as well."""
    save, stopped = Saves(state, writer, pace, watch), Stopped("finished", state.step)
    with heard(state) as asked:
        for record in fit(state):
            writer(record)
            save(record)
            if isinstance(record, Stopped):
                stopped = record
            watch(record)
    if stopped.reason != "interrupted":
        return stopped, None
    return stopped, next((n for n in state.processes.gathered(asked.number) if n), None)


def _checkpoint(folder: Path, recipe: Recipe, resume: bool) -> tuple[Checkpoint | None, list[str]]:
    """The checkpoint to go on from. A folder that holds a run is not written over (E0630)."""
    try:
        folder.stat()
    except FileNotFoundError:
        pass
    except OSError as problem:  # of a name that no file can have, or one below a file
        raise unwritable(folder, problem) from problem
    if not resume:
        if checkpoints(folder):
            raise TrainError(
                "E0630",
                f"`{folder}` holds a run already",
                helps=["go on with it by `--resume`, or give another folder"],
            )
        return None, []
    checkpoint, damaged = newest_checkpoint(folder)
    check_same(checkpoint.state, recipe)
    return checkpoint, damaged


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


def _ignore(record: Record) -> None:
    """Nobody is watching."""
    del record
