"""The trainer: a recipe and a model in, a folder with weights, history and curves out.

`settings` and `recipe` need no torch, so a `train` block is checked without it; the names below load it when
used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netdsl.train.display import Display
    from netdsl.train.errors import TrainError
    from netdsl.train.prediction import Evaluation, Prediction, evaluate, predict
    from netdsl.train.recipe import Recipe, read_recipe
    from netdsl.train.session import RunResult, run

__all__ = [
    "Display",
    "Evaluation",
    "Prediction",
    "Recipe",
    "RunResult",
    "TrainError",
    "evaluate",
    "predict",
    "read_recipe",
    "run",
]

_HOME = {
    "Display": "display",
    "Evaluation": "prediction",
    "Prediction": "prediction",
    "Recipe": "recipe",
    "RunResult": "session",
    "TrainError": "errors",
    "evaluate": "prediction",
    "predict": "prediction",
    "read_recipe": "recipe",
    "run": "session",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module `netdsl.train` has no attribute `{name}`")
    return getattr(import_module(f"netdsl.train.{_HOME[name]}"), name)
