"""TorchScript: `torch.jit.script` of the generated source, for as long as torch, which deprecates it, has it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.jit.frontend import NotSupportedError

from netdsl.backends.errors import BackendError
from netdsl.backends.files import written
from netdsl.backends.module import graph_of, load_source
from netdsl.backends.parity import ExportResult, evaluating, parity_of, reached_by_name
from netdsl.backends.torch_source import write
from netdsl.ir.graph import Graph


def script(module: nn.Module) -> torch.jit.ScriptModule:
    """`module` in TorchScript, in the mode that it is in. Raises `BackendError` where TorchScript cannot say it."""
    with undeprecated(), without_slices(module), reached_by_name(module):
        try:
            return torch.jit.script(module)
        except (RuntimeError, NotSupportedError, AssertionError, TypeError, AttributeError) as problem:
            facts = str(problem).strip().splitlines()[:12]
            raise BackendError("TorchScript does not take the generated source", facts) from problem


def export(graph: Graph, module: nn.Module, path: str | Path) -> ExportResult:
    """Write `module`, the model of `graph`, in evaluation mode as a TorchScript file, and compare what it computes.

    Raises `BackendError` where the file gives other results by more than 1e-4; then no file is left.
    """
    with evaluating(module), undeprecated(), written(path) as beside:
        scripted = script(module)
        torch.jit.save(scripted, beside)
        try:
            loaded = torch.jit.load(beside)
        except RuntimeError as problem:
            facts = str(problem).strip().splitlines()[:8]
            raise BackendError(
                "TorchScript cannot read back a label or name of this model", facts
            ) from problem
        difference, sizes = parity_of(graph, module, loaded)
    return ExportResult(Path(path), difference, sizes)


@contextmanager
def without_slices(module: nn.Module) -> Iterator[None]:
    """With classes that go through parts of a list layer by layer: TorchScript does not call the layers of a slice."""
    graph = graph_of(module)
    if graph is None or (source := write([graph], slices=False).text) == write([graph]).text:
        yield
        return
    plain, origin = load_source(source), type(module).__module__
    changed = [(part, type(part)) for part in module.modules() if type(part).__module__ == origin]
    try:
        for part, kind in changed:
            part.__class__ = getattr(plain, kind.__name__)
        yield
    finally:
        for part, kind in changed:
            part.__class__ = kind


@contextmanager
def undeprecated() -> Iterator[None]:
    """Without torch's warning that `torch.jit` is deprecated; all other warnings stay."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=category)
        yield
