"""A model for training: the same tensors and numbers, in an order of operations that costs less."""

from __future__ import annotations

import torch
from torch import nn

from netdsl.backends.module import graph_of, load_class
from netdsl.ir.measure import externs
from netdsl.passes import relu_after_pool


def rewritten(model: nn.Module) -> nn.Module:
    """What to call in place of `model` in training: its parameters and buffers are those of `model`, not copies.

    It is `model` itself where nothing is to be gained, or where netdsl has not built it.

    >>> from netdsl import loads
    >>> model = loads("model M { input x: [N, 4, 8, 8]\\n output x -> Conv2d(4, 3) -> ReLU -> MaxPool2d(2) }").M()
    >>> [type(layer).__name__ for layer in rewritten(model).children()]
    ['Conv2d', 'MaxPool2d', 'ReLU']
    """
    graph = graph_of(model)
    if graph is None or any(True for _ in externs(graph)) or _has_hooks(model):
        return model
    cheaper = relu_after_pool(graph)
    if cheaper is graph:
        return model
    with torch.device("meta"):
        found = load_class(cheaper)()
    return found.train() if _share(model, found) else model


def _share(model: nn.Module, other: nn.Module) -> bool:
    """Give `other` the tensors of `model`; False where they do not have the same names."""
    for kind in ("_parameters", "_buffers"):
        named = dict(_tensors(model, kind))
        if named.keys() != dict(_tensors(other, kind)).keys():
            return False
        for name, tensor in named.items():
            path, _, last = name.rpartition(".")
            getattr(other.get_submodule(path), kind)[last] = tensor
    return True


def _tensors(module: nn.Module, kind: str) -> list[tuple[str, torch.Tensor | None]]:
    return [
        (f"{path}.{name}" if path else name, tensor)
        for path, part in module.named_modules()
        for name, tensor in getattr(part, kind).items()
    ]


def _has_hooks(model: nn.Module) -> bool:
    return any(
        part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in model.modules()
    )
