"""What a step of training costs: `python benchmarks/train.py [NAME…] [--data FOLDER] [--threads N] [--rounds N]`.

The same model, batch, loss and optimizer, in six ways: `netdsl`, as its recipe says, metrics and choice of layout
and threads included; the loop that teaching material writes, over a `DataLoader` without and with two workers;
Lightning's `Trainer` and Keras' `fit` (on torch) with everything switched off that can be; and the floor, one batch
again and again, without data. Each has a process of its own, as it has in use: none gets the memory, the threads or the
settings of another. They take turns, a few steps each, in an order that changes every round, while the others wait. A
ratio is the median of those of all rounds, theirs to ours; behind it are the quartiles, and the bar it is held to. The
two small nets learn made-up tensors of the right shape. What workers read ahead while others have their turn is in
favour of the `DataLoader`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from netdsl.cli.program import request
from netdsl.cli.recipes import requested
from netdsl.diagnostics import Report
from netdsl.train.batches import prepare_on
from netdsl.train.data import Data
from netdsl.train.data.base import Split
from netdsl.train.loop import fit
from netdsl.train.memory import keep_freed_memory
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch, Step
from netdsl.train.state import Run
from netdsl.train.targets import compared
from netdsl.train.tuning import choose_setup

SPECS = Path(__file__).parent.parent / "specs"
CPU = torch.device("cpu")
PAUSE = 0.02  # seconds between turns, in which workers that read ahead come to rest
ENDLESS = 10**6  # epochs

Tick = Callable[[], None]  # to be called after every step
LOOPS = {"DataLoader": 3.0, "DataLoader, 2 workers": 3.0, "Lightning": 3.0, "Keras": 3.0}
IMAGES = {"DataLoader": 1.8, "DataLoader, 2 workers": 1.8, "Lightning": 1.6, "Keras": 1.6, "floor": 1 / 0.8}


@dataclass(frozen=True)
class Case:
    """A model of `specs/` with its recipe; `turn` is in steps, and `bars` are what is asked of the ratios."""

    name: str
    file: str
    model: str
    turn: int
    bars: dict[str, float]
    precision: str = "fp32"

    def asked(self) -> tuple[Callable[[], nn.Module], Recipe]:
        """The model and its recipe, as `netdsl train` has them."""
        report = Report()
        found = request(f"{SPECS / self.file}:{self.model}", report)
        recipe = found and requested(found, report, [])
        assert found is not None
        assert recipe is not None, report.errors
        return found.build, recipe.model_copy(update={"precision": self.precision, "epochs": ENDLESS})


CASES = (
    Case("mnist", "lenet.net", "LeNet", 40, IMAGES),
    Case("mnist-bf16", "lenet.net", "LeNet", 40, {}, precision="bf16"),
    Case("rings", "rings.net", "Rings", 112, LOOPS),
    Case("titanic", "titanic.net", "Titanic", 178, LOOPS),
)


@dataclass(frozen=True)
class Task:
    """What all have to do, in torch's words."""

    case: Case
    build: Callable[[], nn.Module]
    recipe: Recipe
    data: Data  # as it is kept: images are uint8
    pictures: Dataset[Any] | None  # as torchvision has it, with transforms a sample

    @cached_property
    def x(self) -> Tensor:
        """All inputs as the model takes them."""
        return prepare_on(CPU, self.recipe)(self.data.train.first(len(self.data.train)).x.clone())

    @cached_property
    def y(self) -> Tensor:
        """All targets as the loss takes them."""
        y = self.data.train.first(len(self.data.train)).y
        return y if self.pictures else y.float().unsqueeze(1)

    @property
    def autocast(self) -> Any:
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.case.precision == "bf16")

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return LeNet() if self.case.model == "LeNet" else dense(self.x.shape[1])

    def loss(self) -> nn.Module:
        return self.recipe.loss.build()

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """With what torch takes by default, not what netdsl asks of it."""
        if self.case.model == "LeNet":
            return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
        return torch.optim.Adam(model.parameters(), lr=0.01)


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5)
        self.pooling, self.activate = nn.MaxPool2d(2), nn.ReLU()
        self.fc = nn.Linear(320, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activate(self.pooling(self.conv1(x)))
        x = self.activate(self.pooling(self.conv2(x)))
        return self.fc(x.flatten(1))


def dense(inputs: int) -> nn.Module:
    one, two = (4, 8) if inputs == 2 else (20, 15)
    return nn.Sequential(
        nn.Linear(inputs, one), nn.ReLU(), nn.Linear(one, two), nn.ReLU(), nn.Linear(two, 1), nn.Sigmoid()
    )


# ---------------------------------------------------------------------------------------------------- the data


def task(case: Case, folder: Path) -> Task:
    build, recipe = case.asked()
    if case.model == "LeNet":
        from torchvision import datasets, transforms

        stages = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        pictures = datasets.MNIST(str(folder), train=True, transform=transforms.Compose(stages))
        train = Split(pictures.data.unsqueeze(1), pictures.targets)
        return Task(case, build, recipe, Data(train, train.first(64), 10), pictures)
    rows, columns = (2800, 2) if case.model == "Rings" else (712, 15)
    torch.manual_seed(1)
    x = torch.randn(rows, columns)
    train = Split(x, (x.square().sum(1) > columns).long())
    return Task(case, build, recipe, Data(train, train.first(8), 2), None)


# ---------------------------------------------------------------------------------------------------- six ways


def ours(of: Task, tick: Tick) -> None:
    """`netdsl`, which has a record at the end of a turn at the latest. Of the threads it takes as many as it likes."""
    model = of.build()
    data = compared(of.data, of.recipe, model(prepare_on(CPU, of.recipe)(of.data.train.first(2).x)))
    setup = choose_setup(model, of.recipe, data, CPU, None)
    torch.set_num_threads(setup.threads)
    if setup.note:
        print(f"{of.case.name:11} {setup.note}", flush=True)
    recipe = of.recipe.model_copy(update={"log_every": min(of.recipe.log_every, of.case.turn)})
    done = 0
    for record in fit(Run(model, recipe, data, CPU, setup.channels_last)):
        assert isinstance(record, Step | Epoch)
        for _ in range(record.step - done):
            tick()
        done = record.step


def loop(of: Task, tick: Tick, workers: int = 0) -> None:
    """The loop of the notes; for the small nets it also has the accuracy of each step, as there."""
    model, loss = of.model(), of.loss()
    optimizer = of.optimizer(model)
    samples = of.pictures or TensorDataset(of.x, of.y)
    loader = DataLoader(samples, batch_size=of.recipe.batch, shuffle=True, num_workers=workers)
    total = right = 0.0
    while True:
        for x, y in loader:
            optimizer.zero_grad()
            with of.autocast:
                output = model(x)
                value = loss(output, y)
            value.backward()
            optimizer.step()
            total += value.item()
            if of.pictures is None:
                right += ((output > 0.5).float() == y).float().mean().item()
            tick()


def loop_with_workers(of: Task, tick: Tick) -> None:
    loop(of, tick, workers=2)


def floor(of: Task, tick: Tick) -> None:
    """One batch again and again, in torch's default layout and with its default optimizer. What it frees is kept, so
    that no luck with memory is in it.
    """
    keep_freed_memory()
    model, loss = of.model(), of.loss()
    optimizer = of.optimizer(model)
    x, y = of.x[: of.recipe.batch].clone(), of.y[: of.recipe.batch].clone()
    while True:
        optimizer.zero_grad()
        with of.autocast:
            value = loss(model(x), y)
        value.backward()
        optimizer.step()
        tick()


def lightning(of: Task, tick: Tick) -> None:
    """Lightning's trainer over the tensors as the model takes them."""
    import logging

    import lightning

    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.loss = of.model(), of.loss()

        def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            x, y = batch
            return self.loss(self.model(x), y)

        def on_train_batch_end(self, *_: Any) -> None:
            tick()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return of.optimizer(self.model)

    trainer = lightning.Trainer(
        max_epochs=ENDLESS,
        accelerator="cpu",
        precision="bf16-mixed" if of.case.precision == "bf16" else "32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), DataLoader(TensorDataset(of.x, of.y), batch_size=of.recipe.batch, shuffle=True))


def keras(of: Task, tick: Tick) -> None:
    """Keras on torch, with its own layout of images."""
    import keras

    layers: Any = keras.layers
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if of.case.precision == "bf16" else "float32")
    x = of.x.numpy()
    if of.case.model == "LeNet":
        x = x.transpose(0, 2, 3, 1).copy()
        stack = [layers.Conv2D(10, 5), layers.MaxPooling2D(), layers.ReLU()]
        stack += [
            layers.Conv2D(20, 5),
            layers.MaxPooling2D(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(10),
        ]
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer = keras.optimizers.SGD(0.01, momentum=0.5)
    else:
        one, two = (4, 8) if x.shape[1] == 2 else (20, 15)
        stack = [layers.Dense(one, "relu"), layers.Dense(two, "relu"), layers.Dense(1, "sigmoid")]
        loss, optimizer = keras.losses.BinaryCrossentropy(), keras.optimizers.Adam(0.01)
    model: Any = keras.Sequential([layers.Input(x.shape[1:]), *stack])
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])

    class Ticks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            tick()

    model.fit(x, of.y.numpy(), batch_size=of.recipe.batch, epochs=ENDLESS, verbose=0, callbacks=[Ticks()])


WHO: dict[str, Callable[[Task, Tick], None]] = {
    "netdsl": ours,
    "DataLoader": loop,
    "DataLoader, 2 workers": loop_with_workers,
    "Lightning": lightning,
    "Keras": keras,
    "floor": floor,
}


# ---------------------------------------------------------------------------------------------------- taking turns


class Turns:
    """The ticks of a contestant: after as many as a turn has, it tells the time and waits for its next turn."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe, self.left, self.count = pipe, 1, 1
        self.began = _now()

    def __call__(self) -> None:
        self.left -= 1
        if self.left > 0:
            return
        now = _now()
        self.pipe.send([(b - a) / self.count for a, b in zip(self.began, now, strict=True)])
        try:
            self.left = self.count = self.pipe.recv()
        except EOFError:  # nobody asks any more
            raise SystemExit from None
        self.began = _now()


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


def contest(name: str, case: Case, folder: Path, threads: int, pipe: Connection) -> None:
    """What a contestant's process does."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    WHO[name](task(case, folder), Turns(pipe))


class Contestant:
    """A process that takes a turn when it is asked to."""

    def __init__(self, name: str, case: Case, folder: Path, threads: int) -> None:
        spawned = multiprocessing.get_context("spawn")
        self.name, (self.pipe, theirs) = name, spawned.Pipe()
        self.process = spawned.Process(target=contest, args=(name, case, folder, threads, theirs))
        self.process.start()
        theirs.close()
        self.answer()  # it is ready after its first step

    def answer(self) -> tuple[float, float]:
        try:
            return self.pipe.recv()
        except EOFError:
            raise SystemExit(f"{self.name} has ended") from None

    def turn(self, count: int) -> tuple[float, float]:
        """Seconds a step, by the clock and of the processor."""
        self.pipe.send(count)
        return self.answer()

    def end(self) -> None:
        self.pipe.close()
        self.process.join(timeout=20)
        self.process.kill()


def measure(
    case: Case, folder: Path, threads: int, rounds: int, by_processor: bool
) -> dict[str, list[float]]:
    """Seconds a step of each, for each round."""
    who: dict[str, Contestant] = {}
    times: dict[str, list[float]] = {name: [] for name in WHO}
    try:
        for name in WHO:
            who[name] = Contestant(name, case, folder, threads)
        for number in range(-1, rounds):  # the first warms up
            names = list(who)
            names = names[number % len(names) :] + names[: number % len(names)]
            for name in names if number % 2 else reversed(names):
                found = who[name].turn(case.turn)[by_processor]
                time.sleep(PAUSE)
                if number >= 0:
                    times[name].append(found)
    finally:
        for each in who.values():
            each.end()
    return times


def report(case: Case, times: dict[str, list[float]]) -> None:
    mine = times["netdsl"]
    for name, theirs in times.items():
        step, line = 1000 * statistics.median(theirs), f"{case.name:11} {name:22}"
        if name == "netdsl":
            print(f"{line} {step:9.3f} ms")
            continue
        low, middle, high = statistics.quantiles((b / a for a, b in zip(mine, theirs, strict=True)), n=4)
        bar = f"  bar {case.bars[name]:.2f}" if name in case.bars else ""
        print(f"{line} {step:9.3f} ms  {middle:6.2f}  ({low:.2f} to {high:.2f}){bar}")
    share = statistics.median(a / b for a, b in zip(mine, times["floor"], strict=True))
    print(f"{case.name:11} netdsl is {share:.2f} of the floor", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", help="of cases; all of them where there is none")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder that has MNIST")
    parser.add_argument("--threads", type=int, default=1, help="of each, at most")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument(
        "--processor", action="store_true", help="time of the thread that trains, not by the clock"
    )
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error("`--rounds` must be at least 2")
    print(f"{'case':11} {'who':22} {'a step':>12}  theirs / ours (quartiles)")
    for case in CASES:
        if not given.names or case.name in given.names:
            report(case, measure(case, given.data, given.threads, given.rounds, given.processor))


if __name__ == "__main__":
    main()
