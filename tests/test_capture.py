"""Faster steps: captured as a program, prepared and tallied many at a time, in another order of operations. All numbers
are those of the plain steps, bit for bit.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

import netdsl
from netdsl.backends.module import build
from netdsl.passes import relu_after_pool
from netdsl.train import capture
from netdsl.train.batches import Batches, prepare_on
from netdsl.train.data import Data
from netdsl.train.data.base import Split
from netdsl.train.groups import L1
from netdsl.train.loop import Window, fit, update
from netdsl.train.losses import CrossEntropyLoss
from netdsl.train.memory import keep_freed_memory
from netdsl.train.metrics import METRICS, Accuracy
from netdsl.train.optimizers import OPTIMIZERS, SGD, Adam
from netdsl.train.program import Replayed, program_of
from netdsl.train.recipe import Recipe
from netdsl.train.rewritten import rewritten
from netdsl.train.schedules import SCHEDULES
from netdsl.train.state import Run
from netdsl.train.transforms import TRANSFORMS

CPU = torch.device("cpu")
MODEL = """
model Net {
  input x: [N, 2, 8, 8]
  output x -> conv: Conv2d(4, 3) -> norm: BatchNorm2d -> ReLU -> MaxPool2d(2) -> Flatten -> Dropout(0.2)
           -> fc: Linear(3)
}
"""


@pytest.fixture(autouse=True)
def _soon() -> Iterator[None]:
    """Capture at once, on one thread."""
    before, threads = capture.WORTHWHILE, torch.get_num_threads()
    capture.WORTHWHILE = 1
    torch.set_num_threads(1)
    yield
    capture.WORTHWHILE = before
    torch.set_num_threads(threads)


def split(count: int, seed: int = 0) -> Split:
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(256, (count, 2, 8, 8), generator=random, dtype=torch.uint8)
    return Split(x, torch.randint(3, (count,), generator=random))


DATA = Data(split(83), split(20, seed=1), 3)


def recipe(**changes: Any) -> Recipe:
    base: dict[str, Any] = {
        "model": "Net",
        "batch": 8,
        "epochs": 3,
        "loss": CrossEntropyLoss(),
        "optimizer": SGD(lr=0.05, momentum=0.9),
        "metrics": [Accuracy()],
        "transform": [TRANSFORMS.members["Normalize"](mean=0.5, std=0.25)],
        "log_every": 5,
    }
    return Recipe(**base | changes)


def begun(asked: Recipe, device: torch.device = CPU) -> Run:
    torch.manual_seed(0)
    return Run(netdsl.loads(MODEL).Net(), asked, DATA, device)


def told(run: Run) -> tuple[list[Any], dict[str, Tensor]]:
    epochs: list[Any] = []
    for record in fit(run):
        columns = getattr(record, "measured", None)
        epochs.append(
            (
                type(record).__name__,
                record.step,
                getattr(record, "loss", None),
                dict(columns) if columns else None,
            )
        )
    return epochs, {name: t.clone() for name, t in run.model.state_dict().items()}


def plainly(asked: Recipe) -> tuple[list[Any], dict[str, Tensor]]:
    """A run of which no step is captured."""
    capture.WORTHWHILE = 10**9
    try:
        return told(begun(asked))
    finally:
        capture.WORTHWHILE = 1


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "adam": {"optimizer": Adam(lr=0.01)},
    "adamw-clipped": {"optimizer": OPTIMIZERS.members["AdamW"](lr=0.01), "clip_norm": 0.1},
    "rmsprop": {"optimizer": OPTIMIZERS.members["RMSprop"](lr=0.01)},
    "scheduled": {
        "optimizer": Adam(lr=0.01),
        "schedule": SCHEDULES.members["StepLR"](step_size=1, gamma=0.5),
    },
    "averaged": {"ema": 0.9},
    "penalised": {"penalty": [L1(factor=0.01)]},
    "bf16": {"precision": "bf16"},
    "channels-last": {"channels_last": True},
}


@pytest.mark.parametrize("case", CASES)
def test_a_captured_run_is_the_plain_one_to_the_bit(case: str) -> None:
    asked = recipe(**CASES[case])
    expected = plainly(asked)
    run = begun(asked)
    found = told(run)
    assert run.captured is not None
    assert run.captured.program is not None
    assert not run.captured.off
    assert found[0] == expected[0]
    assert same(found[1], expected[1])


def test_a_step_that_cannot_be_written_down_is_done_as_it_is() -> None:
    asked = recipe(optimizer=OPTIMIZERS.members["NAdam"](lr=0.01))  # it asks a tensor for its number
    run = begun(asked)
    found = told(run)
    assert run.captured is not None
    assert run.captured.off
    assert same(found[1], plainly(asked)[1])


def test_a_program_that_does_something_else_never_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    written = capture.program_of

    def wrong(traced: Any) -> Any:
        program = written(traced)
        return lambda *inputs: tuple(part + 1 for part in program(*inputs))

    monkeypatch.setattr(capture, "program_of", wrong)
    asked = recipe()
    run = begun(asked)
    found = told(run)
    assert run.captured is not None
    assert run.captured.off
    assert found[0] == plainly(asked)[0]


def test_hooks_are_called_in_spite_of_a_program() -> None:
    run = begun(recipe())
    steps = fit(run)
    while run.step < 10:
        next(steps)
    assert run.captured is not None
    assert run.captured.program is not None
    seen: list[int] = []
    handle = run.network.get_submodule("fc").register_forward_hook(lambda *_: seen.append(run.step))
    before = run.step
    next(steps)
    assert seen == list(range(before, run.step))
    handle.remove()


def test_a_resumed_run_is_the_uninterrupted_one_though_it_is_captured_later() -> None:
    asked = recipe(optimizer=Adam(lr=0.01))
    whole = told(begun(asked))[1]
    first = begun(asked)
    steps = fit(first)
    while first.step < 15:
        next(steps)
    weights = {name: t.clone() for name, t in first.weights().items()}
    state = first.state()
    assert first.captured is not None
    assert first.captured.program is not None
    second = begun(asked)
    second.load(weights, state)
    assert same(told(second)[1], whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accuracy", "f1_score", "auroc", "dice_score"])
def test_what_is_measured_does_not_depend_on_how_often_it_is_told(name: str) -> None:
    columns = []
    for every in (1, 4, 100):
        told_of = told(begun(recipe(metrics=[METRICS.members[name]()], log_every=every)))[0]
        columns.append([epoch[3] for epoch in told_of if epoch[0] == "Epoch"])
    assert columns[0] == columns[1] == columns[2]


def test_batches_that_are_prepared_together_are_those_prepared_alone() -> None:
    asked = recipe(channels_last=True)
    batches = Batches(DATA.train, asked, CPU, channels_last=True)
    assert batches.together > 1
    prepare = prepare_on(CPU, asked, channels_last=True)
    for number in (10, 0, 3):
        rows = batches.order(1)[number * 8 : number * 8 + batches.count(number)]
        x, y = batches.at(1, number)
        assert torch.equal(x, prepare(DATA.train.x[rows]))
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(y, DATA.train.y[rows])
    assert DATA.train.x.dtype == torch.uint8


def test_programs_change_tensors_in_lists() -> None:
    def step(x: Tensor, y: Tensor) -> list[Tensor]:
        z = x * y
        torch._foreach_add_([x, y], 1)  # pyright: ignore[reportPrivateImportUsage]
        return [z + x, z]

    given = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    program = program_of(make_fx(step)(*(t.clone() for t in given)))
    mine, theirs = [[t.clone() for t in given] for _ in range(2)]
    found, expected = program(*mine), step(*theirs)
    assert all(map(torch.equal, found, expected))
    assert all(map(torch.equal, mine, theirs))


FAULTS = """
import resource
from netdsl.train.memory import keep_freed_memory

def step():
    return [bytearray(4 << 20) for _ in range(8)]

def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(5)
given_back = faults(20)
keep_freed_memory()
faults(5)
print(given_back, faults(20))
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="this C library cannot be told to keep what is freed")
def test_what_a_step_frees_is_there_for_the_next() -> None:
    found = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    given_back, kept = map(int, found.stdout.split())
    assert given_back > 1000
    assert kept < 100


# ------------------------------------------------------------------------------------------------------- on a GPU

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
GPU_CASES = {
    **{name: CASES[name] for name in ("plain", "adam", "adamw-clipped", "averaged", "bf16", "channels-last")},
    "moving-rate": {"schedule": SCHEDULES.members["ExponentialLR"](gamma=0.9)},
    "moving-rate-of-adam": CASES["scheduled"],
}


@on_a_gpu
@pytest.mark.parametrize("case", GPU_CASES)
def test_a_step_on_a_gpu_is_replayed_and_all_but_equal(case: str) -> None:
    asked, device = recipe(**GPU_CASES[case]), torch.device("cuda")
    capture.WORTHWHILE = 10**9
    epochs, expected = told(begun(asked, device))
    capture.WORTHWHILE = 1
    run = begun(asked, device)
    found = told(run)
    assert run.captured is not None
    assert isinstance(run.captured.program, Replayed)
    assert not run.captured.off
    assert [epoch[:2] for epoch in found[0]] == [epoch[:2] for epoch in epochs]
    rough = 1e-1 if case == "bf16" else 1e-2
    for name, tensor in found[1].items():
        torch.testing.assert_close(tensor, expected[name], rtol=rough, atol=rough)


@on_a_gpu
def test_replayed_dropout_is_another_in_every_step() -> None:
    run = begun(recipe(optimizer=SGD(lr=0.0), metrics=[]), torch.device("cuda"))
    steps = fit(run)
    while run.step < 10:
        next(steps)
    assert run.captured is not None
    assert isinstance(run.captured.program, Replayed)
    x, y = run.batches.at(run.epoch, 0)
    run.model.train()
    outputs = [run.captured(x, y)[1] for _ in range(3)]
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[1], outputs[2])


@on_a_gpu
@pytest.mark.parametrize("captured", [False, True], ids=["plain", "replayed"])
def test_no_step_waits_for_the_gpu(captured: bool) -> None:
    capture.WORTHWHILE = 1 if captured else 10**9
    run = begun(recipe(clip_norm=1.0, ema=0.9, optimizer=Adam(lr=0.01)), torch.device("cuda"))
    steps = fit(run)
    while run.step < 5:
        next(steps)
    window = Window(run)
    run.model.train()
    torch.cuda.set_sync_debug_mode("error")
    try:
        update(run, window)
        update(run, window)
    finally:
        torch.cuda.set_sync_debug_mode("default")


# ---------------------------------------------------------------------------------------- relu behind max pooling

POOLS = {
    "MaxPool2d(2)": "x -> ReLU -> MaxPool2d(2)",
    "overlapping": "x -> ReLU -> MaxPool2d(3, stride = 1, padding = 1)",
    "dilated": "x -> ReLU -> MaxPool2d(2, dilation = 2, ceil_mode = True)",
    "adaptive": "x -> ReLU -> AdaptiveMaxPool2d(3)",
    "function": "max_pool2d(relu(x), 2)",
    "twice": "x -> ReLU -> MaxPool2d(2) -> MaxPool2d(2)",
}


def pooled(body: str) -> str:
    return f"model M {{\n  input x: [N, 3, 9, 9]\n  y = x -> conv: Conv2d(4, 1)\n  output {body.replace('x', 'y', 1) if body.startswith('x') else body.replace('(x)', '(y)')}\n}}"


def passed(module: nn.Module, x: Tensor, gradient: Tensor | None) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    output = module(x)
    gradient = (
        torch.randn(output.shape, generator=torch.Generator().manual_seed(3))
        if gradient is None
        else gradient
    )
    output.backward(gradient)
    assert x.grad is not None
    return output.detach(), x.grad


@pytest.mark.parametrize("body", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_relu_behind_max_pooling_gives_the_same_numbers_and_gradients(body: str, last: bool) -> None:
    graph = netdsl.loads(pooled(body)).M.graph()
    cheaper = relu_after_pool(graph)
    assert cheaper != graph
    assert relu_after_pool(cheaper) == cheaper
    before, after = build(graph), build(cheaper)
    after.load_state_dict(before.state_dict())
    x = torch.randn(5, 3, 9, 9, generator=torch.Generator().manual_seed(2))
    x[0, :, :4] = 0  # ties, and windows with nothing above zero
    x[1] = -x[1].abs()
    x[2] = x[2].round()
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
        before, after = (m.to(memory_format=torch.channels_last) for m in (before, after))
    (y, dx), (z, dz) = passed(before, x, None), passed(after, x, None)
    assert torch.equal(y, z)
    assert torch.equal(dx, dz)
    assert all(
        torch.equal(p.grad, q.grad) for p, q in zip(before.parameters(), after.parameters(), strict=True)
    )


STAY = {
    "read by another": "r = y -> ReLU\n  output (r -> MaxPool2d(1)) + r",
    "an output": "r = y -> ReLU\n  output r\n  output r -> MaxPool2d(2)",
    "places asked for": "p, i = y -> ReLU -> MaxPool2d(2, return_indices = True)\n  output p\n  output i",
    "an average": "output y -> ReLU -> AvgPool2d(2)",
    "another function": "output y -> GELU -> MaxPool2d(2)",
}


@pytest.mark.parametrize("body", STAY.values(), ids=STAY)
def test_relu_stays_where_the_order_can_be_seen(body: str) -> None:
    text = f"model M {{\n  input x: [N, 3, 9, 9]\n  y = x -> conv: Conv2d(4, 1)\n  {body}\n}}"
    graph = netdsl.loads(text).M.graph()
    assert relu_after_pool(graph) is graph


def test_a_rewritten_model_has_the_tensors_of_the_model() -> None:
    text = """
    model M {
      input x: [N, 3, 8, 8]
      buffer scale: [1] = ones(1)
      output (x * scale) -> features: [Conv2d(4, 3), BatchNorm2d, ReLU, MaxPool2d(2), Conv2d(2, 3)] -> Flatten
    }"""
    model = netdsl.loads(text).M()
    other = rewritten(model)
    assert other is not model
    assert list(other.state_dict()) == list(model.state_dict())
    tensors = [dict([*m.named_parameters(), *m.named_buffers()]) for m in (model, other)]
    assert all(tensors[0][name] is tensors[1][name] for name in tensors[0])
    x = torch.randn(2, 3, 8, 8)
    expected = build(netdsl.loads(text).M.graph())
    expected.load_state_dict(model.state_dict())
    assert torch.equal(other(x), expected(x))
    assert same(model.state_dict(), expected.state_dict())


def test_a_model_without_such_a_place_is_called_itself() -> None:
    model = netdsl.loads("model M { input x: [N, 3]\n output x -> fc: Linear(2) }").M()
    assert rewritten(model) is model
    assert rewritten(torch.nn.Linear(2, 2)) is not None
