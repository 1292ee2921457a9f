"""`.pt2` files: the program that `torch.export` records of the generated module, with the free dimensions left free."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as tracing

from netdsl.backends.errors import BackendError
from netdsl.backends.files import written
from netdsl.backends.parity import (
    ExportResult,
    check_parity,
    evaluating,
    example_inputs,
    example_sizes,
    fits,
    parity_of,
    reached_by_name,
    tensors_of,
)
from netdsl.ir.dims import symbol, symbols
from netdsl.ir.graph import Graph
from netdsl.ir.types import Tensor as TensorType

_EXAMPLE_BATCH: Final = 3  # not 1, which torch.export takes for a constant


def export(graph: Graph, module: nn.Module, path: str | Path) -> ExportResult:
    """Write `module`, the model of `graph`, in evaluation mode as a `.pt2` file, and compare what it computes.

    Several outputs come as a tuple. Raises `BackendError` where torch cannot keep a free dimension free, or where the
    file gives other results by more than 1e-4; then no file is left.
    """
    with evaluating(module), written(path) as beside:
        recorded = program(graph, module)
        with _explained():
            torch.export.save(recorded, beside)
            run = torch.export.load(beside).module()
            difference, sizes = parity_of(graph, module, run)
    return ExportResult(Path(path), difference, sizes)


def program(graph: Graph, module: nn.Module) -> ExportedProgram:
    """What `torch.export` records of `module`, with every free dimension of `graph` free."""
    (sizes,) = example_sizes(graph, (_EXAMPLE_BATCH,))
    inputs = example_inputs(graph, sizes)
    with evaluating(module), _sizes_of_one(), reached_by_name(module), _explained():
        found = torch.export.export(_flat(module), inputs, dynamic_shapes=_dynamic_shapes(graph))
    fixed = _made_constant(graph, found)
    if fixed:
        which = " and ".join(f"`{name}`" for name in fixed)
        raise BackendError(
            f"torch.export cannot leave {which} free here: its program would take one size only",
            [f"fix it in the model's input, or with `--set {name}=...`" for name in fixed],
        )
    _drop_needless_guards(graph, module, found, sizes)
    return found


def _drop_needless_guards(
    graph: Graph, module: nn.Module, found: ExportedProgram, sizes: Mapping[str, int]
) -> None:
    """Leave out guards as `N != 1` and `N > 1`, made for the strides of a view, where the program holds for 1 too."""
    guards: list[str] = list(getattr(found, "_guards_code", []))
    kept = [guard for guard in guards if "!=" not in guard and not guard.endswith("> 1")]
    if kept == guards:
        return
    found._guards_code = kept  # type: ignore[attr-defined]
    run = found.module()
    ones = [{**sizes, name: 1} for name in graph.symbols]
    ones = [choice for choice in ones if fits(graph, choice)]
    try:
        check_parity(module, run, lambda number: example_inputs(graph, ones[number]), range(len(ones)))
    except (BackendError, RuntimeError, AssertionError):
        found._guards_code = guards  # type: ignore[attr-defined]


@contextmanager
def _explained() -> Iterator[None]:
    """What torch.export raises as a `BackendError`; what it warns of in the weights of its own RNNs is left out."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"The tensor attributes? self\..*_flat_weights", category=UserWarning
        )
        try:
            yield
        except BackendError:
            raise
        except (RuntimeError, ValueError, AssertionError, TypeError, AttributeError) as problem:
            facts = [line for line in str(problem).splitlines() if line.strip()][:12]
            raise BackendError("torch.export does not take the model", facts) from problem


def _sizes_of_one() -> AbstractContextManager[Any]:
    """Let a program hold for sizes of 1 too: torch would guard against them, in any tensor on the way."""
    if hasattr(tracing, "backed_size_oblivious"):
        return getattr(tracing, "patch")(backed_size_oblivious=True)  # noqa: B009  (made at run time)
    return nullcontext()


def _flat(module: nn.Module) -> nn.Module:
    """`module` itself, but with a tuple for several results: a file cannot refer to the class of a named tuple."""

    def forward(self: Any, *inputs: torch.Tensor) -> Any:
        results = tensors_of(type(module).forward(self, *inputs))
        return results[0] if len(results) == 1 else tuple(results)

    plain = copy.copy(module)
    plain.__class__ = type(type(module).__name__, (type(module),), {"forward": forward})
    return plain


def _dynamic_shapes(graph: Graph) -> tuple[tuple[dict[int, Any], ...]]:
    """For each input, its free axes: sizes of one remainder only as `2*h + r`, the others as torch finds them out."""
    remainders = {
        found.name: (found.modulus, min(found.members))
        for found in (getattr(constraint, "residues", None) for constraint in graph.constraints)
        if found is not None and len(found.members) == 1
    }
    made: dict[str, Any] = {}
    for name, (modulus, remainder) in remainders.items():
        stepped = modulus * Dim(f"_{name}")
        made[name] = stepped + remainder if remainder else stepped
    shapes: list[dict[int, Any]] = []
    for entry in graph.inputs:
        assert isinstance(entry.type, TensorType)
        free = {axis: dim for axis, dim in enumerate(entry.type.shape) if symbols(dim)}
        plain = {axis: next(iter(symbols(dim))) for axis, dim in free.items() if dim == symbol(str(dim))}
        shapes.append({axis: made.get(plain.get(axis, ""), Dim.AUTO) for axis in free})
    return (tuple(shapes),)


def _made_constant(graph: Graph, found: ExportedProgram) -> list[str]:
    """The free dimensions that the program has at one size only."""
    places = {node.name: node.meta["val"].shape for node in found.graph.nodes if node.op == "placeholder"}
    names: list[str] = []
    for entry, name in zip(graph.inputs, found.graph_signature.user_inputs, strict=True):
        assert isinstance(entry.type, TensorType)
        assert isinstance(name, str)
        for dim, size in zip(entry.type.shape, places[name], strict=True):
            constant = isinstance(size, int) or size.node.maybe_as_int() is not None
            if symbols(dim) and constant and str(dim) not in names:
                names.append(str(dim))
    return names
