"""How a model runs: in which precision, and compiled or as it is."""

from __future__ import annotations

import shutil
import sysconfig
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from netdsl.train.errors import TrainError
from netdsl.train.recipe import Recipe

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def precision(recipe: Recipe, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which the model runs."""
    if recipe.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[recipe.precision])


def compiled(network: nn.Module) -> nn.Module:
    """`network` by `torch.compile`, which does its work at the first call."""
    return torch.compile(network)  # type: ignore[return-value]


def check_machine(recipe: Recipe, device: torch.device) -> None:
    """Refuse what this machine cannot do: fp16 without a device that has it, compiling without a compiler (E0645)."""
    if recipe.precision == "fp16" and device.type == "cpu":
        raise TrainError(
            "E0645",
            "`precision = fp16` is for GPUs, and the run is on the CPU",
            recipe.places.of("precision"),
            helps=["write `precision = bf16`, or leave it out"],
        )
    if recipe.compile and not (device.type == "cuda" or _compiler()):
        raise TrainError(
            "E0645",
            "`compile = True` needs a C++ compiler, and there is none here",
            recipe.places.of("compile"),
            notes=["looked for `c++`, `g++` and `clang++`, and for what `CXX` names"],
            helps=["install one, or leave `compile` out"],
        )


def _compiler() -> str | None:
    import os

    named = os.environ.get("CXX") or (sysconfig.get_config_var("CXX") or "").split(" ")[0]
    return next(
        (found for name in (named, "c++", "g++", "clang++") if name and (found := shutil.which(name))), None
    )
