"""Compare a model of the library with its reference: keys, shapes, evaluation, training, ONNX."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import netdsl
from netdsl.backends import onnx
from tests.zoo.entry import SEED, Entry

ROOT = Path(__file__).resolve().parents[2]
ONNX_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Outcome:
    """How far a model is from its reference, relative to the largest element; 0 is bitwise equality."""

    parameters: int
    evaluation: float
    training: float
    onnx: float
    seconds: float


class Unfilled(TorchFunctionMode):
    """Random start values are not drawn: they are overwritten, and drawing 600 million of them takes a while.

    They are zeros: torch draws truncated ones again until all are in range, which what is in fresh memory may never be.
    """

    SKIPPED = frozenset({"normal_", "uniform_", "trunc_normal_", "erfinv_"})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in self.SKIPPED:
            with torch.no_grad():
                return (args[0] if args else (kwargs or {})["tensor"]).zero_()
        return func(*args, **(kwargs or {}))


def pair(entry: Entry) -> tuple[nn.Module, nn.Module]:
    """Our model and the reference with the same weights, which are the same memory."""
    with Unfilled():
        reference = entry.reference()
        ours = model_of(entry)(**entry.arguments)
    keys_agree(entry, ours, reference)
    fill(reference)
    with torch.no_grad():
        ours.load_state_dict(entry.rename(reference.state_dict()), strict=True, assign=True)
    return ours, reference


def model_of(entry: Entry) -> Any:
    return getattr(netdsl.load(ROOT / "specs" / entry.file), entry.model)


def keys_agree(entry: Entry, ours: nn.Module, reference: nn.Module) -> None:
    """The same keys, shapes and dtypes; buffers of integers and booleans, which are computed, the same values."""
    wanted, found = entry.rename(reference.state_dict()), ours.state_dict()
    facts = {key: (tuple(value.shape), value.dtype) for key, value in wanted.items()}
    assert {key: (tuple(value.shape), value.dtype) for key, value in found.items()} == facts
    trained = {name for name, _ in reference.named_parameters(remove_duplicate=False)}
    for key, value in wanted.items():
        if key not in trained and not key.endswith(("running_mean", "running_var")):
            assert torch.equal(found[key], value), f"{key} is computed otherwise"


def fill(module: nn.Module) -> None:
    """Weights that show every mistake: nothing is zero or one, and activations keep their size through the net."""
    random = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if not value.is_floating_point():
                continue
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=random)
            elif value.ndim == 1 and name.endswith("weight"):
                value.uniform_(0.8, 1.2, generator=random)
            elif value.ndim >= 2 and (isinstance(value, nn.Parameter)):
                most = (3 / value[0].numel()) ** 0.5 if value.shape[0] > 1 else 0.2
                value.uniform_(-most, most, generator=random)
            elif isinstance(value, nn.Parameter) or name.endswith("running_mean"):
                value.uniform_(-0.1, 0.1, generator=random)


def tensors(results: Any) -> list[tuple[str, Tensor]]:
    """The tensors in what a model returns, with their names where they have some, in order of name then."""
    if isinstance(results, Tensor):
        return [("", results)]
    if isinstance(results, tuple) and hasattr(results, "_fields"):
        results = dict(zip(results._fields, results, strict=True))
    if isinstance(results, Mapping):
        named = {str(name): part for name, part in results.items() if isinstance(part, Tensor)}
        if len(named) == 1:
            return [("", *named.values())]  # type: ignore[list-item]
        return sorted(named.items())
    return [("", part) for part in results if isinstance(part, Tensor)]


def distance(expected: Any, found: Any) -> float:
    """The largest difference relative to the largest element; outputs go by name where both have them."""
    left, right = tensors(expected), tensors(found)
    assert [name for name, _ in left] == [name for name, _ in right]
    worst = 0.0
    for (_, x), (_, y) in zip(left, right, strict=True):
        assert x.shape == y.shape
        assert x.dtype == y.dtype
        assert x.isfinite().all(), "the weights are not good ones to compare with"
        if not torch.equal(x, y):
            scale = x.abs().max().clamp(min=1e-6)
            worst = max(worst, ((x.double() - y.double()).abs().max() / scale).item())
    return worst


def called(entry: Entry, reference: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    return entry.call(reference, inputs) if entry.call else reference(*inputs)


def compare(entry: Entry, folder: Path) -> Outcome:
    """Assert all that is promised of `entry`, and tell how near it was."""
    start = time.perf_counter()
    ours, reference = pair(entry)
    inputs = entry.inputs(torch.Generator().manual_seed(1))
    # Gradients stay on: without them torch's attention takes a path of its own, which rounds otherwise.
    expected = called(entry, reference.eval(), inputs)
    evaluation = distance(expected, ours.eval()(*inputs))
    assert evaluation <= (0 if entry.exact else entry.tolerance), f"evaluation differs by {evaluation:.1e}"
    exported = onnx_distance(entry, ours.eval(), expected, inputs, folder)
    assert exported < ONNX_TOLERANCE, f"ONNX differs by {exported:.1e}"
    # Last, for it moves the running averages, which both have in the same memory.
    training = trained_distance(entry, ours, reference)
    assert training <= (0 if entry.exact_training else entry.tolerance), f"training differs by {training:.1e}"
    parameters = sum(p.numel() for p in reference.parameters())
    return Outcome(parameters, evaluation, training, exported, time.perf_counter() - start)


def trained_distance(entry: Entry, ours: nn.Module, reference: nn.Module) -> float:
    """In training mode, from one seed: batch statistics, dropout, auxiliary heads."""
    inputs = (entry.train_inputs or entry.inputs)(torch.Generator().manual_seed(2))
    torch.manual_seed(SEED)
    expected = called(entry, reference.train(), inputs)
    torch.manual_seed(SEED)
    return distance(expected, ours.train()(*inputs))


def onnx_distance(
    entry: Entry, ours: nn.Module, expected: Any, inputs: tuple[Tensor, ...], folder: Path
) -> float:
    """What onnxruntime makes of the ONNX file, beside the reference."""
    path = folder / "model.onnx"
    state = {name: value.detach() for name, value in onnx.tensors_of(ours).items()}
    graph = model_of(entry).graph(**entry.arguments)
    onnx.save(graph, state, path)
    found = onnx.runner(path)(*inputs)
    names = [output.name for output in graph.outputs if not output.when_training]
    if len(names) > 1 and all(names):
        found = dict(zip(names, found, strict=True))
    return distance(expected, found)
