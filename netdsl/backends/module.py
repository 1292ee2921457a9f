"""A graph as an `nn.Module`: the generated source, executed as it stands. What you read is what runs."""

from __future__ import annotations

import hashlib
import linecache
import sys
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from netdsl.backends.errors import BackendError
from netdsl.backends.torch_source import write
from netdsl.ir.graph import Graph
from netdsl.ir.measure import externs


def build(graph: Graph, *, allow_extern: bool = False) -> nn.Module:
    """An instance of the model's class, in training mode, with fresh weights from torch's random generator.

    Raises `BackendError` where the graph has layers of other packages, which are imported only with `allow_extern`.
    """
    return load_class(graph, allow_extern=allow_extern)()


def load_class(graph: Graph, *, allow_extern: bool = False) -> type[nn.Module]:
    """The model's class. Graphs of one source share it, and the module it lives in.

    Raises `BackendError` for layers of other packages, unless `allow_extern` is set. The source is known
    to `linecache`, so tracebacks, `inspect.getsource` and `torch.jit.script` show its lines.
    """
    outside = list(dict.fromkeys(str(node.op) for node in externs(graph)))
    if outside and not allow_extern:
        raise BackendError(
            "the model has layers written in Python, which are imported only with `--allow-extern`", outside
        )
    text, (name,) = write([graph])
    return getattr(load_source(text), name)


@lru_cache(maxsize=256)
def load_source(text: str) -> ModuleType:
    """Execute a generated file as a module of its own, which stays in `sys.modules`: pickle looks for it there."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    name, file = f"netdsl_generated_{digest}", f"<netdsl {digest}>"
    module = ModuleType(name)
    module.__file__ = file
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    sys.modules[name] = module
    exec(compile(text, file, "exec", dont_inherit=True), module.__dict__)
    return module


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Load a `state_dict` from a `.safetensors` file, or from any other as `torch.save` wrote it.

    Raises `BackendError` with every key that is missing, unexpected or of another shape; then nothing is changed.
    """
    found = read_state(path)
    wanted = module.state_dict()
    facts = [f"missing: {key} {_shape(wanted[key])}" for key in wanted if key not in found]
    facts += [f"unexpected: {key} {_shape(found[key])}" for key in found if key not in wanted]
    facts += [
        f"another shape: {key} is {_shape(found[key])}, expected {_shape(wanted[key])}"
        for key in wanted
        if key in found and found[key].shape != wanted[key].shape
    ]
    if facts:
        raise BackendError(f"the weights in {path} do not fit the model", facts)
    module.load_state_dict(found)


def read_state(path: str | Path) -> Mapping[str, Tensor]:
    """The tensors of a weights file by name, on the CPU. Files that could run code when they are read are refused."""
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BackendError(f"there is no file {path}") from None
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, OSError) as problem:
        reason = str(problem).split("\n")[0]
        raise BackendError(f"{path} is not a file of weights", [reason]) from None
    for key in ("state_dict", "model"):  # checkpoints keep the weights beside other things
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise BackendError(f"{path} does not hold tensors by name")
    return found


def _shape(tensor: Tensor) -> str:
    return "[" + ", ".join(map(str, tensor.shape)) + "]"
