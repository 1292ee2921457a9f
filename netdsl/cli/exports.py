"""Models with weights as files that run elsewhere. Each is run beside the original before it is kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from netdsl.backends import exported, torchscript
from netdsl.backends.errors import BackendError
from netdsl.backends.parity import ExportResult, parity_of
from netdsl.backends.torch_source import write
from netdsl.backends.weights import load_weights
from netdsl.cli.console import is_terminal
from netdsl.cli.program import Request
from netdsl.ir.graph import Graph

Export = Callable[[Graph, nn.Module, Path], ExportResult]


def module(asked: Request, weights: str | None, seed: int) -> nn.Module:
    """The model with given weights, or with fresh ones that follow from `seed`."""
    torch.manual_seed(seed)
    made = asked.build()
    if weights is not None:
        load_weights(made, weights, progress=is_terminal(sys.stderr))
    return made


def export_onnx(graph: Graph, made: nn.Module, path: Path) -> ExportResult:
    """Write an ONNX file that was run beside the original. onnx is imported for this alone."""
    from netdsl.backends import onnx

    return onnx.export(graph, made, path)


LOAD = '''"""{name}, compiled by netdsl: `load()` gives it with its weights, as an ordinary `nn.Module`."""

from pathlib import Path

from safetensors.torch import load_file

from .model import {name} as Model

__all__ = ["Model", "load"]


def load() -> Model:
    """The model with the weights beside this file, in evaluation mode."""
    model = Model()
    model.load_state_dict(load_file(Path(__file__).with_name("weights.safetensors")))
    return model.eval()
'''


def export_package(graph: Graph, made: nn.Module, path: Path) -> ExportResult:
    """Write a Python package: the source, the weights, and a `load` that needs torch and safetensors only."""
    if not path.name.isidentifier():
        raise BackendError(f"`{path.name}` is no name of a Python package, which a module is written as")
    path.mkdir()
    text, (name,) = write([graph])
    (path / "model.py").write_text(text, encoding="utf-8")
    (path / "__init__.py").write_text(LOAD.format(name=name), encoding="utf-8")
    # Apart and contiguous, as safetensors wants them.
    weights = {name: tensor.detach().clone().contiguous() for name, tensor in made.state_dict().items()}
    save_file(weights, path / "weights.safetensors")
    with imported(path) as package:
        return ExportResult(path, *parity_of(graph, made, package.load()))


@contextmanager
def imported(path: Path) -> Iterator[Any]:
    """The package in the folder `path`, under a name of its own and for a while."""
    name = f"netdsl_written_{path.name}"
    spec = spec_from_file_location(name, path / "__init__.py", submodule_search_locations=[str(path)])
    if spec is None or spec.loader is None:
        raise BackendError(f"`{path.name}` cannot be imported")
    package = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(package)
        yield package
    finally:
        for known in [known for known in sys.modules if known == name or known.startswith(f"{name}.")]:
            del sys.modules[known]


EXPORTS: Mapping[str, Export] = {
    "module": export_package,
    "torchscript": torchscript.export,
    "pt2": exported.export,
    "onnx": export_onnx,
}
