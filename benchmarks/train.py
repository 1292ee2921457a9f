"""What a step of training costs: `python benchmarks/train.py [NAME…] [--data FOLDER] [--threads N] [--rounds N]`.

The same model, batch, loss and optimizer, in six ways: `netdsl`, as its recipe says, metrics and choice of layout
included; the loop that teaching material writes, over a `DataLoader` without and with two workers; Lightning's
`Trainer` and Keras' `fit` (on torch) with everything switched off that can be; and the floor, one batch again and
again, without data. They take turns, a few steps each, in an order that changes every round. A ratio is the median of
those of all rounds, theirs to ours; behind it are the quartiles. The two small nets learn made-up tensors of the right
shape. What workers read ahead while others have their turn is in favour of the `DataLoader`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch, Step
from netdsl.train.state import Run
from netdsl.train.targets import compared
from netdsl.train.tuning import choose_setup

SPECS = Path(__file__).parent.parent / "specs"
CPU = torch.device("cpu")
PAUSE = (
    0.02  # seconds between turns: threads that have just worked, and workers that read ahead, come to rest
)
ENDLESS = 10**6  # epochs

Tick = Callable[[], None]


@dataclass(frozen=True)
class Case:
    """A model of `specs/` with its recipe; `turn` is in steps."""

    name: str
    file: str
    model: str
    turn: int
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
    Case("mnist", "lenet.net", "LeNet", turn=40),
    Case("mnist-bf16", "lenet.net", "LeNet", turn=40, precision="bf16"),
    Case("rings", "rings.net", "Rings", turn=112),
    Case("titanic", "titanic.net", "Titanic", turn=178),
)


@dataclass(frozen=True)
class Task:
    """What all have to do, in torch's words."""

    case: Case
    build: Callable[[], nn.Module]
    recipe: Recipe
    data: Data  # as it is kept: images are uint8
    pictures: Dataset[Any] | None  # as torchvision has it, with transforms a sample
    x: Tensor
    y: Tensor

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
        x = prepare_on(CPU, recipe)(train.x)
        return Task(case, build, recipe, Data(train, train.first(64), 10), pictures, x, train.y)
    rows, columns = (2800, 2) if case.model == "Rings" else (712, 15)
    torch.manual_seed(1)
    x = torch.randn(rows, columns)
    y = (x.square().sum(1) > columns).long()
    train = Split(x, y)
    return Task(case, build, recipe, Data(train, train.first(8), 2), None, x, y.float().unsqueeze(1))


# ---------------------------------------------------------------------------------------------------- six ways


def ours(of: Task) -> Iterator[None]:
    """`netdsl`: a turn ends with a record, as records are what it yields."""
    model = of.build()
    data = compared(of.data, of.recipe, model(prepare_on(CPU, of.recipe)(of.data.train.first(2).x)))
    setup = choose_setup(model, of.recipe, data, CPU, torch.get_num_threads())
    note(of.case.name, setup.note)
    run = Run(
        model,
        of.recipe.model_copy(update={"log_every": min(of.recipe.log_every, of.case.turn)}),
        data,
        CPU,
        setup.channels_last,
    )
    done = 0
    for record in fit(run):
        if isinstance(record, Step):
            yield from (None for _ in range(record.step - done))
            done = record.step
        assert isinstance(record, Step | Epoch)


def loop(of: Task, workers: int) -> Iterator[None]:
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
            yield


def floor(of: Task) -> Iterator[None]:
    """One batch again and again, in torch's default layout and with its default optimizer."""
    model, loss = of.model(), of.loss()
    optimizer = of.optimizer(model)
    x, y = of.x[: of.recipe.batch].clone(), of.y[: of.recipe.batch].clone()
    while True:
        optimizer.zero_grad()
        with of.autocast:
            value = loss(model(x), y)
        value.backward()
        optimizer.step()
        yield


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
    model = keras.Sequential([layers.Input(x.shape[1:]), *stack])
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])

    class Ticks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            tick()

    model.fit(x, of.y.numpy(), batch_size=of.recipe.batch, epochs=ENDLESS, verbose=0, callbacks=[Ticks()])


# ---------------------------------------------------------------------------------------------------- taking turns


class Stepped:
    """A contestant whose steps are an iterator."""

    def __init__(self, steps: Iterator[None]) -> None:
        self.steps = steps

    def turn(self, count: int) -> tuple[float, float]:
        """Seconds a step, by the clock and of the processor."""
        wall, processor = time.perf_counter(), time.thread_time()
        for _ in range(count):
            next(self.steps)
        return (time.perf_counter() - wall) / count, (time.thread_time() - processor) / count


class Called:
    """A contestant that keeps the loop to itself and calls `tick` after every step: it has a thread, which stands still
    between its turns.
    """

    def __init__(self, work: Callable[[Tick], None]) -> None:
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.left = 0
        self.began = self.found = (0.0, 0.0)
        self.problem: BaseException | None = None
        self.threads = torch.get_num_threads()
        self.thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self.thread.start()
        self.done.acquire()

    def _run(self, work: Callable[[Tick], None]) -> None:
        torch.set_num_threads(self.threads)
        try:
            work(self._tick)
        except BaseException as problem:  # it is raised where the turn was asked for
            self.problem = problem
            self.done.release()

    def _tick(self) -> None:
        self.left -= 1
        if self.left > 0:
            return
        self.found = (time.perf_counter() - self.began[0], time.thread_time() - self.began[1])
        self.done.release()
        self.go.acquire()
        self.began = (time.perf_counter(), time.thread_time())

    def turn(self, count: int) -> tuple[float, float]:
        """Seconds a step, by the clock and of the processor."""
        if self.problem is not None:
            raise self.problem
        self.left = count
        self.go.release()
        self.done.acquire()
        if self.problem is not None:
            raise self.problem
        return self.found[0] / count, self.found[1] / count


def contestants(of: Task) -> dict[str, Stepped | Called]:
    return {
        "netdsl": Stepped(ours(of)),
        "DataLoader": Stepped(loop(of, 0)),
        "DataLoader, 2 workers": Stepped(loop(of, 2)),
        "Lightning": Called(lambda tick: lightning(of, tick)),
        "Keras": Called(lambda tick: keras(of, tick)),
        "floor": Stepped(floor(of)),
    }


def measure(of: Task, rounds: int, by_processor: bool) -> dict[str, list[float]]:
    """Seconds a step of each, for each round."""
    who = contestants(of)
    times: dict[str, list[float]] = {name: [] for name in who}
    for number in range(-1, rounds):  # the first warms up
        names = list(who)
        names = names[number % len(names) :] + names[: number % len(names)]
        for name in names if number % 2 else reversed(names):
            found = who[name].turn(of.case.turn)[by_processor]
            time.sleep(PAUSE)
            if number >= 0:
                times[name].append(found)
    return times


def report(case: Case, times: dict[str, list[float]]) -> None:
    mine = times["netdsl"]
    for name, theirs in times.items():
        if len(theirs) < 2:
            continue
        low, middle, high = statistics.quantiles((b / a for a, b in zip(mine, theirs, strict=True)), n=4)
        step = 1000 * statistics.median(theirs)
        print(f"{case.name:11} {name:22} {step:9.3f} ms  {middle:6.2f}  ({low:.2f} to {high:.2f})")
    share = statistics.median(a / b for a, b in zip(mine, times["floor"], strict=True))
    print(f"{case.name:11} netdsl is {share:.2f} of the floor", flush=True)


def note(name: str, text: str) -> None:
    if text:
        print(f"{name:11} {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", help="of cases; all of them where there is none")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder that has MNIST")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument(
        "--processor", action="store_true", help="time of the thread that trains, not by the clock"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore")
    print(f"{'case':11} {'who':22} {'a step':>12}  theirs / ours (quartiles)")
    for case in CASES:
        if not given.names or case.name in given.names:
            report(case, measure(task(case, given.data), given.rounds, given.processor))


if __name__ == "__main__":
    main()
