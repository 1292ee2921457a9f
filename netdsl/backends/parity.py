"""Does an export compute what the model computes? Both run on the same inputs, at several sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from netdsl.backends.errors import BackendError
from netdsl.ir.dims import evaluate
from netdsl.ir.graph import Graph
from netdsl.ir.types import Tensor as TensorType

TOLERANCE: Final = 1e-4
BATCHES: Final = (1, 7)

# Sizes to try for a free dimension: those that models are made for first, then ones that suit few strides and more.
_USUAL: Final = (32, 64, 96, 224, 256, 8, 16, 12, 7, 28, 384, 512, 5, 3, 2, 1, 1024)
_MOST: Final = 20_000  # combinations tried before giving up
_INTEGERS: Final = 10  # what integer inputs are below, where nothing looks up with them


@dataclass(frozen=True)
class ExportResult:
    """A file that was written, and how far its results were from the model's at the `sizes` that were tried."""

    path: Path
    largest_difference: float
    sizes: tuple[Mapping[str, int], ...]


def check_parity(
    module: nn.Module,
    run: Callable[..., Any],
    inputs_of: Callable[[int], tuple[Tensor, ...]],
    batches: Sequence[int] = BATCHES,
) -> float:
    """The largest difference between what `module` and `run` give for the same inputs, at each of `batches`.

    Raises `BackendError` where it is above 1e-4, or where the results differ in number, shape or dtype.
    """
    largest = 0.0
    with evaluating(module):
        for batch in batches:
            inputs = inputs_of(batch)
            expected = tensors_of(module(*(x.clone() for x in inputs)))
            found = tensors_of(run(*(x.clone() for x in inputs)))
            largest = max(largest, _difference(expected, found, batch))
    if largest > TOLERANCE:
        raise BackendError(f"the export differs from the model by {largest:.1e}, more than {TOLERANCE:.0e}")
    return largest


def parity_of(
    graph: Graph, module: nn.Module, run: Callable[..., Any]
) -> tuple[float, tuple[dict[str, int], ...]]:
    """`check_parity` at batches 1 and 7, and at two sizes of the other free dimensions where that is possible."""
    sizes: dict[int, dict[str, int]] = dict(zip(BATCHES, example_sizes(graph, BATCHES), strict=True))
    difference = check_parity(module, run, lambda batch: example_inputs(graph, sizes[batch], batch))
    return difference, tuple(sizes.values())


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """`module` in evaluation mode and without gradients; its mode is restored at the end."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes.items():
            part.training = training


@contextmanager
def reached_by_name(module: nn.Module) -> Iterator[None]:
    """Layers and tensors that have the name of a method of `nn.Module` (`train`, `type`), reachable by it.

    TorchScript and torch.export look attributes up by name and would find the method. Afterwards all is as it was.
    """
    hidden: list[tuple[nn.Module, str]] = []
    try:
        for part in module.modules():
            for registry in (part._modules, part._parameters, part._buffers):
                for name, held in registry.items():
                    if held is not None and getattr(part, name, held) is not held:
                        part.__dict__[name] = held
                        hidden.append((part, name))
        yield
    finally:
        for part, name in hidden:
            del part.__dict__[name]


def tensors_of(results: Any) -> list[Tensor]:
    """The tensors in what a model returns, in order; None, as outputs of training are in evaluation, is left out."""
    if results is None:
        return []
    if isinstance(results, Tensor):
        return [results]
    if isinstance(results, Mapping):
        results = results.values()
    if isinstance(results, Iterable):
        return [tensor for part in results for tensor in tensors_of(part)]
    return [torch.as_tensor(results)]


def _difference(expected: list[Tensor], found: list[Tensor], batch: int) -> float:
    if len(expected) != len(found):
        raise BackendError(f"the export gives {len(found)} tensors, the model {len(expected)}")
    largest = 0.0
    for number, (left, right) in enumerate(zip(expected, found, strict=True)):
        if left.shape != right.shape or left.dtype != right.dtype:
            told = f"{right.dtype} {list(right.shape)}, expected {left.dtype} {list(left.shape)}"
            raise BackendError(f"output {number} of the export is {told} (batch {batch})")
        if left.numel() == 0:
            continue
        apart = (left.double() - right.double()).abs()
        agree = (left == right) | (left.isnan() & right.isnan())
        worst = apart.masked_fill(agree, 0).nan_to_num(nan=float("inf")).max().item()
        largest = max(largest, worst)
    return largest


# ------------------------------------------------------------------------------------------------ sizes and inputs


def batch_symbol(graph: Graph) -> str | None:
    """The free dimension that counts examples: the first of the first input that has one (`N`, where that is named)."""
    return "N" if "N" in graph.symbols else next(iter(graph.symbols), None)


def example_sizes(graph: Graph, batches: Sequence[int] = BATCHES) -> list[dict[str, int]]:
    """Values of the free dimensions, one set for each batch, that meet the model's constraints.

    The other dimensions differ from set to set where they can. Raises `BackendError` where no set is found.
    """
    batch = batch_symbol(graph)
    others = [name for name in graph.symbols if name != batch]
    found: list[dict[str, int]] = []
    for size in batches:
        known = [tuple(sizes[name] for name in others) for sizes in found]
        fitting = (sizes for sizes in _candidates(batch, size, others) if fits(graph, sizes))
        first = next(fitting, None)
        if first is None:
            limits = " and ".join(map(str, graph.constraints)) or "its layers"
            raise BackendError(f"no sizes of {', '.join(graph.symbols)} were found that suit {limits}")
        while first is not None and others and tuple(first[name] for name in others) in known:
            second = next(fitting, None)
            if second is None:
                break
            first = second
        found.append(first)
    return found


def _candidates(batch: str | None, size: int, others: list[str]) -> Iterator[dict[str, int]]:
    given = {} if batch is None else {batch: size}
    if not others:
        yield given
        return
    for value in _USUAL:
        yield {**given, **dict.fromkeys(others, value)}
    for count, values in enumerate(product(_USUAL, repeat=len(others))):
        if count == _MOST:
            break
        yield {**given, **dict(zip(others, values, strict=True))}
    for value in range(1, 2049):  # a constraint may name the only size there is
        yield {**given, **dict.fromkeys(others, value)}


def fits(graph: Graph, sizes: Mapping[str, int]) -> bool:
    """Whether these sizes meet the constraints, and leave no dimension in the model empty."""
    return all(c.holds_at(dict(sizes)) for c in graph.constraints) and _all_positive(graph, sizes)


def _all_positive(graph: Graph, sizes: Mapping[str, int]) -> bool:
    for type in graph.types.values():
        if isinstance(type, TensorType) and any(evaluate(dim, sizes) < 1 for dim in type.shape):
            return False
    for node in graph.nodes:
        if isinstance(node.op, Graph):
            inner = {**sizes, **{name: evaluate(dim, sizes) for name, dim in node.sizes}}
            if not _all_positive(node.op, inner):
                return False
    return True


def example_inputs(graph: Graph, sizes: Mapping[str, int], seed: int = 0) -> tuple[Tensor, ...]:
    """Random inputs of the model: floats normally distributed, integers that every lookup in the model can take."""
    random = torch.Generator().manual_seed(seed)
    below = min(_lookups(graph, sizes), default=_INTEGERS)
    inputs: list[Tensor] = []
    for entry in graph.inputs:
        assert isinstance(entry.type, TensorType)
        shape = [evaluate(dim, sizes) for dim in entry.type.shape]
        dtype = getattr(torch, entry.type.dtype)
        if entry.type.is_float:
            inputs.append(torch.randn(shape, generator=random).to(dtype))
        else:
            most = 2 if entry.type.dtype == "bool" else below
            inputs.append(torch.randint(0, most, shape, generator=random).to(dtype))
    return tuple(inputs)


def _lookups(graph: Graph, sizes: Mapping[str, int]) -> Iterator[int]:
    """The sizes of the tables that integers choose from: embeddings, classes, and tensors that are indexed."""
    for node in graph.nodes:
        if isinstance(node.op, Graph):
            inner = {**sizes, **{name: evaluate(dim, sizes) for name, dim in node.sizes}}
            yield from _lookups(node.op, inner)
            continue
        given = node.op.arguments()
        yield from (given[name] for name in _TABLES if isinstance(given.get(name), int) and given[name] > 0)
        types = [t for t in graph.operand_types(node) if isinstance(t, TensorType)]
        floats = [t for t in types if t.is_float]
        if node.op.kind in _INDEXED and floats and len(floats) < len(types):
            yield min((evaluate(dim, sizes) for dim in floats[0].shape), default=_INTEGERS)


_TABLES: Final = ("num_embeddings", "num_classes")
_INDEXED: Final = frozenset(("index", "gather", "index_select", "take_along_dim", "scatter", "embedding"))
