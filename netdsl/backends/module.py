"""A graph as an `nn.Module`: the generated source, executed as it stands. What you read is what runs."""

from __future__ import annotations

import hashlib
import linecache
import sys
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from weakref import WeakKeyDictionary

from torch import nn

from netdsl.backends.errors import BackendError
from netdsl.backends.torch_source import write
from netdsl.ir.graph import Graph
from netdsl.ir.measure import externs


def build(graph: Graph, *, allow_extern: bool = False) -> nn.Module:
    """An instance of the model's class, in training mode, with fresh weights from torch's random generator.

    Raises `BackendError` where the graph has layers of other packages, which are imported only with `allow_extern`.
    """
    module = load_class(graph, allow_extern=allow_extern)()
    _graphs[module] = graph
    return module


_graphs: WeakKeyDictionary[nn.Module, Graph] = WeakKeyDictionary()


def graph_of(module: nn.Module) -> Graph | None:
    """The graph that `build` made `module` of; None for a module from elsewhere."""
    return _graphs.get(module)


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
    return _class_of(_Same(graph))


@dataclass(frozen=True)
class _Same:
    """A graph as a key: graphs that are equal may still be told of otherwise, in their documentation."""

    graph: Graph

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.graph is other.graph

    def __hash__(self) -> int:
        return id(self.graph)


@lru_cache(maxsize=64)
def _class_of(model: _Same) -> type[nn.Module]:
    text, (name,) = write([model.graph])
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
