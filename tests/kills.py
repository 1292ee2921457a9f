"""Runs that are killed at random moments and go on: `python -m tests.kills 40` does it 40 times.

Each is a short training with everything that makes resuming hard, in a process of its own that gets SIGKILL, most of the
time while it saves. It goes on until it is killed again or done, and must end as the run that was never killed.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from torch import Tensor

from netdsl.train.checkpoint import newest_checkpoint
from tests.killed_run import train

KILLED_AGAIN = 0.3  # how often a run that goes on is killed once more
WHILE_SAVING = 0.7  # how often the moment lies in a save
PACES = (0.0, 0.05)  # seconds between the ends of epochs that are saved: all of them, or some
SAVES = 12  # of the checkpoints of a run, this one at most
ONE_SAVE = 0.03  # seconds
PATIENCE = 120.0  # seconds that a run may take


@dataclass
class Trial:
    """What became of a run that was killed so many times, `saving` of them while a file was being written."""

    number: int
    kills: int
    saving: int
    steps: list[int]
    faults: list[str]


def main(count: int) -> int:
    """Kill `count` runs, print how it went, and return how many ended otherwise than they should."""
    with tempfile.TemporaryDirectory() as folder:
        bad = kills = saving = 0
        for trial in trials(count, Path(folder), seed=0):
            kills, saving = kills + trial.kills, saving + trial.saving
            bad += bool(trial.faults)
            where = ", ".join(map(str, trial.steps))
            print(
                f"{trial.number:3}  killed after step {where}: {'; '.join(trial.faults) or 'equal'}",
                flush=True,
            )
        print(f"{count - bad} of {count} equal; {kills} kills, {saving} of them while a file was written")
    return bad


def trials(count: int, folder: Path, seed: int) -> Iterator[Trial]:
    """Runs below `folder`, each killed and resumed until it is done, and compared with one that was not killed."""
    context = multiprocessing.get_context("forkserver")
    os.environ["PYTHONPATH"] = str(
        Path(__file__).parent.parent
    )  # for the server, which loads torch once for all
    context.set_forkserver_preload(["tests.killed_run"])
    chance = random.Random(seed)
    wholes = {pace: folder / f"whole-{pace}" for pace in PACES}
    seconds = {}
    for pace, whole in wholes.items():
        Attempt(context, whole, pace).to_the_end()  # the first one has loaded everything
        seconds[pace] = Attempt(context, folder / f"timed-{pace}", pace).to_the_end()
    for number in range(1, count + 1):
        out, pace = folder / f"{number}", PACES[number % len(PACES)]
        trial = Trial(number, 0, 0, [], [])
        while trial.kills == 0 or chance.random() < KILLED_AGAIN:
            attempt = Attempt(context, out, pace)
            if chance.random() < WHILE_SAVING:
                attempt.wait_for_save(chance.randrange(SAVES))
                moment = chance.random() * ONE_SAVE
            else:
                moment = chance.random() * seconds[pace]
            if not attempt.killed_after(moment):
                if trial.kills:
                    break
                shutil.rmtree(out)  # it was faster than the one that was timed
                continue
            trial.kills += 1
            trial.saving += any(out.rglob("*.partial"))
            trial.steps.append(newest_step(out))
            trial.faults += unreadable(out)
        Attempt(context, out, pace).to_the_end()
        trial.faults += unreadable(out) + different(wholes[pace], out)
        if pace == 0:
            trial.faults += other_checkpoints(wholes[pace], out)
        trial.faults += [f"{path.name} is left over" for path in out.rglob("*.partial")]
        yield trial


class Attempt:
    """A process that trains in `out`, from its checkpoint where there is one; it has begun when this is made."""

    def __init__(self, context: ForkServerContext, out: Path, pace: float) -> None:
        self.out, begun = out, context.Event()
        self.process = context.Process(target=train, args=(str(out), begun, pace))
        self.process.start()
        if not begun.wait(PATIENCE):
            raise TimeoutError(f"the run in {out} does not begin")
        self.start = monotonic()

    def to_the_end(self) -> float:
        """Wait until it is done; gives the seconds it took."""
        self.process.join(PATIENCE)
        if self.process.exitcode != 0:
            raise RuntimeError(f"a run ended with {self.process.exitcode}")
        return monotonic() - self.start

    def wait_for_save(self, number: int) -> None:
        """Wait until so many checkpoints have been written since it began, and another one is begun; or it is done."""
        folder, seen = self.out / "checkpoints", set[str]()
        while self.process.is_alive() and len(seen) <= number:
            with suppress(FileNotFoundError):
                seen |= {path.name for path in folder.iterdir() if path.name.startswith(".epoch")}

    def killed_after(self, seconds: float) -> bool:
        """Kill it after so many seconds; False where it was done before."""
        sleep(seconds)
        self.process.kill()
        self.process.join(PATIENCE)
        return self.process.exitcode == -signal.SIGKILL


def newest_step(out: Path) -> int:
    """Where a run goes on from: 0 for the beginning."""
    return max((int(p.name.split("-")[-1]) for p in (out / "checkpoints").glob("epoch-*")), default=0)


def unreadable(out: Path) -> list[str]:
    """The files of a run that are not what their names say; those that are still being written are hidden."""
    faults: list[str] = []
    for path in out.rglob("*"):
        if path.is_file() and not any(part.endswith(".partial") for part in path.parts):
            try:
                parse(path)
            except Exception as problem:
                faults.append(f"{path.relative_to(out)} cannot be read: {problem}")
    return faults


def parse(path: Path) -> Any:
    """The content of a file of a run; raises where it is not whole."""
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        from safetensors.torch import load

        return load(content)
    if path.suffix == ".pt":
        import torch

        return torch.load(path, weights_only=True)
    if path.suffix == ".json":
        return json.loads(content)
    text = content.decode()
    if path.suffix in (".csv", ".jsonl") and text:
        assert text.endswith("\n"), "its last line is cut off"
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    if path.suffix == ".csv":
        rows = list(csv.reader(text.splitlines()))
        assert len({len(row) for row in rows}) == 1, "its rows are not of one length"
        return rows
    return text


def different(whole: Path, parts: Path) -> list[str]:
    """What a run has left that the other has not: weights, the state of everything else, history but for the seconds."""
    faults = [
        f"{name} differs"
        for name in ("last.safetensors", "best.safetensors", "steps.csv")
        if (whole / name).read_bytes() != (parts / name).read_bytes()
    ]
    if without_seconds(whole) != without_seconds(parts):
        faults.append("history.csv differs")
    if last_state(whole) != last_state(parts):
        faults.append("the state of the optimizer, the averages, the schedule or the random numbers differs")
    return faults


def last_state(out: Path) -> Any:
    """All that the last checkpoint has beside the weights, but for the seconds, as plain values."""
    state = newest_checkpoint(out)[0].state
    return plain({**state, "numbers": {k: v for k, v in state["numbers"].items() if k != "seconds"}})


def plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def other_checkpoints(whole: Path, parts: Path) -> list[str]:
    left = [sorted(path.name for path in (out / "checkpoints").iterdir()) for out in (whole, parts)]
    return [f"there are other checkpoints: {left[1]}, not {left[0]}"] if left[0] != left[1] else []


def without_seconds(out: Path) -> list[list[str]]:
    return [row[:-1] for row in parse(out / "history.csv")]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 40))
