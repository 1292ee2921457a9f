"""Weights into a module: from a file, or by torchvision's own loader. All of them fit, or nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import permutations
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from netdsl.backends import published
from netdsl.backends.errors import WeightsError
from netdsl.backends.misfit import Shapes, helps, misfit
from netdsl.backends.module import graph_of
from netdsl.diagnostics.suggest import did_you_mean

State = Mapping[str, Tensor]
WHERE = (
    "state_dict",
    "model_state_dict",
    "model",
    "weights",
)  # checkpoints keep the weights beside other things


def load_weights(module: nn.Module, source: str | Path, *, progress: bool = False) -> None:
    """Load the weights of a `.safetensors` file, of any other as `torch.save` wrote it, or of torchvision:
    `torchvision:DEFAULT` has those that it publishes for the model of this name.

    Raises `WeightsError`: E0631 where there are none to be had, E0638 where torchvision has none of that name, E0633
    with every key that is missing, unexpected or of another shape. Then nothing is changed.
    """
    graph = graph_of(module)
    name = graph.name if graph else type(module).__name__
    arguments = dict(graph.arguments) if graph else {}
    more: tuple[str, ...] = ()
    if published.is_asked(source):
        weights = published.weights_of(source, name)
        more = published.refuse_what_differs(weights, name, arguments)
        given = published.state_of(weights, progress=progress)
    else:
        given = read_state(source)
    wanted = module.state_dict()
    given = as_torch_reads(given, wanted)
    found = misfit(_shapes(wanted), _shapes(given))
    if found is not None:
        ways_out = (*more, *helps(found, _shapes(wanted), _shapes(given), arguments))
        raise WeightsError(
            "E0633", f"the weights of `{source}` do not fit `{name}`: {found}", found.notes(), ways_out
        )
    module.load_state_dict(given)


def read_state(path: str | Path) -> State:
    """The tensors of a file by name, on the CPU. Files that could run code when they are read are refused."""
    try:
        found = load_file(path) if Path(path).suffix == ".safetensors" else _unpickled(path)
    except FileNotFoundError:
        raise WeightsError("E0631", f"there is no file `{path}`", helps=_beside(Path(path))) from None
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise WeightsError("E0631", f"`{path}` cannot be read: {reason}") from None
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as problem:
        raise _unreadable(path, problem) from None
    for key in WHERE:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        message = f"`{path}` does not hold tensors by name"
        raise WeightsError("E0631", message, _contents(found), _entry_of_weights(found))
    return found


def _beside(path: Path) -> list[str]:
    """What may have been meant by a path that leads nowhere."""
    found = sorted(p.name for p in path.parent.iterdir() if p.is_file()) if path.parent.is_dir() else []
    near = list(did_you_mean(path.name, found))
    return near or ["a run keeps its weights in `best.safetensors` of its folder"]


def _unpickled(path: str | Path) -> Any:
    with published.any_protocol():
        return torch.load(path, map_location="cpu", weights_only=True)


def _unreadable(path: str | Path, problem: Exception) -> WeightsError:
    """Why a file could not be read, in a line: torch says much, and most of it is how to read it all the same."""
    text = str(problem)
    message = f"`{path}` is not a file of weights"
    if "TorchScript" in text:
        return WeightsError("E0631", message, ["it is a TorchScript archive"], [SAVE])
    if "Unsupported global" in text or "Unsupported class" in text or "Unsupported operand" in text:
        named = re.search(r"GLOBAL (\S+)", text)
        what = f", as `{named[1].rstrip('.')}`" if named else ""
        return WeightsError(
            "E0631", message, [f"it holds Python objects{what}, whose code would run"], [SAVE]
        )
    return WeightsError("E0631", message, [text.split("\n")[0]] if text else [])


SAVE = "save the tensors alone: `torch.save(model.state_dict(), path)`"


def _contents(found: Any) -> list[str]:
    """What a file holds in place of weights."""
    if not isinstance(found, dict):
        return [f"it holds a {type(found).__name__}"]
    listed = [f"  {key}: {type(value).__name__}" for key, value in found.items()]
    return ["\n".join(["it holds:", *listed])]


def _entry_of_weights(found: Any) -> list[str]:
    """How to save the one entry that holds tensors, where a checkpoint keeps them under a name of its own."""
    entries = found.items() if isinstance(found, dict) else ()
    return [
        f"the weights may be its `{key}`: save that alone, `torch.save(checkpoint[{key!r}], path)`"
        for key, value in entries
        if isinstance(value, dict) and value and all(isinstance(part, Tensor) for part in value.values())
    ]


# The keys of DenseNets, from a time when the name of a module could have a dot in it.
DOTTED = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
COUNT = "num_batches_tracked"  # which BatchNorm has since torch 0.4.1


def as_torch_reads(given: State, wanted: State) -> State:
    """Old files under the names of today, as torch and torchvision themselves load them."""
    renamed: dict[str, Tensor] = {}
    for key, value in given.items():
        undotted = DOTTED.sub(r"\1\2", key)
        renamed[undotted if undotted in wanted and key not in wanted else key] = value
    for key, value in wanted.items():
        norm, dot, tensor = key.rpartition(".")
        if tensor == COUNT and f"{norm}{dot}running_mean" in renamed:
            renamed.setdefault(key, value)
    for key, other in second_names(wanted):  # files keep a tensor of two names under one of them
        if key not in renamed and other in renamed:
            renamed[key] = renamed[other]
    return renamed


def second_names(state: State) -> Iterator[tuple[str, str]]:
    """Pairs of keys, in both orders, whose tensors are one."""
    groups: dict[tuple[int, torch.Size], list[str]] = {}
    for key, value in state.items():
        if value.numel():
            groups.setdefault((value.data_ptr(), value.shape), []).append(key)
    for keys in groups.values():
        yield from permutations(keys, 2)


def _shapes(state: State) -> Shapes:
    return {key: tuple(value.shape) for key, value in state.items()}
