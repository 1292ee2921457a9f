"""A run from Python: its model with what it has learned, ready to be asked and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from netdsl.backends.weights import load_weights
from netdsl.compiler import NetError
from netdsl.diagnostics import Report
from netdsl.elaborate.blocks import Evaluator
from netdsl.elaborate.values import POISON
from netdsl.nets import Model as NetModel
from netdsl.nets import load
from netdsl.source import Source as SourceText
from netdsl.syntax.machine import parse_interpolation
from netdsl.train.data import Custom, Data, Source
from netdsl.train.errors import TrainError
from netdsl.train.foreign.elsewhere import elsewhere
from netdsl.train.prediction import Evaluation, Manner, Prediction, evaluate, predict
from netdsl.train.python import recipe_of_run
from netdsl.train.recipe import Recipe
from netdsl.train.runs import RunFolder, open_run


@dataclass(frozen=True)
class Trained:
    """The `model` of the run in `run`, in evaluation mode, with the `weights` it was given, and its `recipe`."""

    model: nn.Module
    recipe: Recipe
    weights: Path
    run: RunFolder

    def predict(
        self, files: str | Path | Sequence[str | Path], *, steps: int | None = None, device: str | None = None
    ) -> list[Prediction]:
        """What the model makes of each file, as `netdsl predict` says it; E0636 for files that hold no samples."""
        given = [files] if isinstance(files, str | Path) else files
        return predict(
            self.model,
            self.recipe,
            given,
            known_by=self.weights,
            steps=steps,
            device=device,
            manner=Manner.of_run(self.run.environment),
        )

    def evaluate(
        self, data: Data | Source | str | Path | None = None, *, device: str | None = None
    ) -> Evaluation:
        """The loss and metrics on the validation data of the run, or on other data: a source, or a path of data of the
        same form, or tensors, of which `valid` is measured on.
        """
        recipe = self.recipe
        if isinstance(data, str | Path):
            data = elsewhere(recipe, Path(data).absolute())
        if isinstance(data, Source):
            recipe = recipe.model_copy(update={"data": data, "valid": None})
        return evaluate(
            self.model,
            recipe,
            known_by=self.weights,
            data=data if isinstance(data, Data) else None,
            device=device,
            manner=Manner.of_run(self.run.environment),
            whole=isinstance(data, Source),
        )


def load_run(
    folder: str | Path, *, weights: Literal["best", "last"] = "best", allow_extern: bool = False
) -> Trained:
    """The model that was trained in a run, with its `best` or `last` weights; nothing is needed but the folder.

    `TrainError` E0639 for a folder that holds no run, E0631 for one without weights, `NetError` where its files have
    been changed so that they do not fit.

    >>> import netdsl, tempfile
    >>> from netdsl.train.data.digits import write_images
    >>> nets = netdsl.loads('''model Digit { input x: [N, 1, 8, 8]
    ...   output x -> Flatten -> Linear(10) }
    ... train Digit { data = Digits(size = 8)
    ...   loss = CrossEntropyLoss
    ...   optimizer = Adam(lr = 0.02) }''')
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = netdsl.fit(nets.Digit, epochs=5, out=f"{folder}/run", threads=1)
    ...     trained = load_run(result.folder)
    ...     [made] = trained.predict(write_images(f"{folder}/images", 1, size=8))
    >>> made.label, trained.model.training
    ('0', False)
    """
    run = open_run(folder)
    if run.origin is None:
        message = f"the model of the run in `{run.path}` is not of a `.net` file, so only Python can make it"
        raise TrainError("E0639", message, helps=["make it, and use `netdsl.load_weights` and `evaluate`"])
    chosen = run.weights(weights)
    nets = load(run.path / run.origin["file"], allow_extern=allow_extern)
    model = next((each for each in nets if each.name == run.model), None)
    if model is None:
        raise TrainError("E0639", f"`{run.path / run.origin['file']}` has no model `{run.model}` any more")
    arguments = _arguments(model, run.origin["parameters"])
    recipe = recipe_of_run(model, model.graph(**arguments), run)
    if isinstance(recipe.data, Custom) and not allow_extern:
        message = f"`{recipe.data.factory}` is Python code, which is imported only when it is allowed"
        raise TrainError("E0217", message, helps=["if you trust it: `load_run(folder, allow_extern=True)`"])
    module = model(**arguments)
    load_weights(module, chosen)
    return Trained(module.eval(), recipe, chosen, run)


def _arguments(model: NetModel, written: Sequence[str]) -> Mapping[str, Any]:
    """The values of `name=value`, as the language writes them."""
    report = Report()
    program = model.program
    program.session.report = report
    found: dict[str, Any] = {}
    for text in written:
        name, _, _ = text.partition("=")
        expr = parse_interpolation(SourceText(text, "run.json"), len(name) + 1, len(text), report)
        if expr is None:
            continue
        value = Evaluator(program.session, program.main.scope, None).static(expr, "a parameter of the run")
        if value is not POISON:
            found[name.strip()] = value
    if report.has_errors:
        raise NetError(report)
    return found
