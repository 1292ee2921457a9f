"""The trainer: a recipe and a model in, a folder with weights, history and a report out.

`netdsl.fit` does all of it. `begin` and `fit` give the loop to whoever wants to act in it: `fit` yields records.
What is written as one calls it is checked without torch; the names below load it when used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netdsl.train.data import Data, Split
    from netdsl.train.display import Display
    from netdsl.train.errors import TrainError
    from netdsl.train.loop import fit
    from netdsl.train.prediction import Evaluation, Prediction, evaluate, predict
    from netdsl.train.python import begin, recipe_of
    from netdsl.train.recipe import Recipe, read_recipe
    from netdsl.train.records import Epoch, Started, Step, Stopped
    from netdsl.train.runs import RunFolder, open_run, runs_in
    from netdsl.train.session import RunResult, run
    from netdsl.train.state import Run
    from netdsl.train.trained import Trained, load_run
    from netdsl.train.writer import Keep

__all__ = [
    "Data",
    "Display",
    "Epoch",
    "Evaluation",
    "Keep",
    "Prediction",
    "Recipe",
    "Run",
    "RunFolder",
    "RunResult",
    "Split",
    "Started",
    "Step",
    "Stopped",
    "TrainError",
    "Trained",
    "begin",
    "evaluate",
    "fit",
    "load_run",
    "open_run",
    "predict",
    "read_recipe",
    "recipe_of",
    "run",
    "runs_in",
]

_HOME = {
    "Data": "data",
    "Display": "display",
    "Epoch": "records",
    "Evaluation": "prediction",
    "Keep": "writer",
    "Prediction": "prediction",
    "Recipe": "recipe",
    "Run": "state",
    "RunFolder": "runs",
    "RunResult": "session",
    "Split": "data",
    "Started": "records",
    "Step": "records",
    "Stopped": "records",
    "TrainError": "errors",
    "Trained": "trained",
    "begin": "python",
    "evaluate": "prediction",
    "fit": "loop",
    "load_run": "trained",
    "open_run": "runs",
    "predict": "prediction",
    "read_recipe": "recipe",
    "recipe_of": "python",
    "run": "session",
    "runs_in": "runs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module `netdsl.train` has no attribute `{name}`")
    return getattr(import_module(f"netdsl.train.{_HOME[name]}"), name)
