"""A warm start: the weights of another run, as far as they fit."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from netdsl.backends.errors import WeightsError
from netdsl.backends.weights import as_torch_reads, load_weights, read_state


def start_from(model: nn.Module, source: str | Path) -> list[str]:
    """Give `model` the tensors of `source` that have its names and shapes; what was done, in words.

    All of them fit, or some: a new head on an old body is the usual case. `WeightsError` where none does, or where
    there are no weights to be had.
    """
    try:
        load_weights(model, source)
    except WeightsError as problem:
        if problem.diagnostic.code != "E0633" or str(source).startswith("torchvision:"):
            raise
        return _what_fits(model, source, problem)
    return [f"started from `{source}`: all {len(model.state_dict())} tensors fit"]


def _what_fits(model: nn.Module, source: str | Path, problem: WeightsError) -> list[str]:
    wanted = model.state_dict()
    given = as_torch_reads(read_state(source), wanted)
    fitting = {name: t for name, t in given.items() if name in wanted and wanted[name].shape == t.shape}
    if not fitting:
        found = problem.diagnostic
        helps = [*found.helps, "start from weights of a model with such layers, or leave `--init-from` out"]
        raise WeightsError(found.code, found.message, found.notes, helps) from problem
    left = [name for name in wanted if name not in fitting]
    model.load_state_dict(fitting, strict=False)
    why = [
        f"`{name}` is {list(given[name].shape)} there and {list(wanted[name].shape)} here"
        if name in given
        else f"`{name}` is not there"
        for name in left[:4]
    ]
    more = f", and {len(left) - 4} more" if len(left) > 4 else ""
    unused = len([name for name in given if name not in fitting])
    rest = f"; {unused} of the file are not used" if unused else ""
    return [
        f"started from `{source}`: {len(fitting)} of {len(wanted)} tensors fit; {', '.join(why)}{more}{rest}"
    ]
