"""Using a trained model: its worth on a data set, and what it makes of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from netdsl.backends.weights import load_weights
from netdsl.train.batches import MEASURE_BATCH, prepare_on
from netdsl.train.checkpoint import preprocessing_beside
from netdsl.train.data import Data
from netdsl.train.evaluation import measured
from netdsl.train.findings import Findings, looked_at
from netdsl.train.foreign import inputs_beside, read_samples
from netdsl.train.loading import (
    Model,
    check_data,
    find_device,
    load_data,
    make_model,
    try_model,
)
from netdsl.train.recipe import Recipe
from netdsl.train.residence import placed
from netdsl.train.targets import compared


@dataclass(frozen=True)
class Evaluation:
    """`measured` has the loss and each metric by name, over `samples` samples."""

    samples: int
    measured: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Prediction:
    """What a model makes of a file, or of one `row` of it, counted from 1.

    Of classes, the `label`, and how sure it is, from 0 to 1, of each; of values, the `values` by name.
    """

    path: Path
    label: str = ""
    probability: float = 0.0
    probabilities: dict[str, float] = field(default_factory=dict[str, float])
    values: dict[str, float] = field(default_factory=dict[str, float])
    row: int | None = None


def evaluate(
    model: Model,
    recipe: Recipe,
    *,
    weights: str | Path | None = None,
    data: Data | None = None,
    device: str | None = None,
    download: bool = False,
) -> Evaluation:
    """The loss and metrics of `recipe` on its validation part; `weights` as `netdsl.load_weights` takes them.

    Raises `TrainError` for the recipe and its data, `WeightsError` for weights that do not fit.
    """
    place = find_device(device)
    fitted = preprocessing_beside(weights) if weights is not None and data is None else None
    data, _ = placed(data or load_data(recipe, download=download, fitted=fitted), place)
    check_data(data, recipe)
    module = make_model(model, recipe)
    if weights is not None:
        load_weights(module, weights)
    data = compared(data, recipe, try_model(module, recipe, data, place))
    start = perf_counter()
    found = measured(module, recipe, data.valid, place)
    return Evaluation(len(data.valid), found, perf_counter() - start)


def examine(
    model: Model, recipe: Recipe, weights: str | Path, *, device: str | None = None, download: bool = False
) -> Findings:
    """Where a trained model is wrong on the validation part of `recipe`."""
    place = find_device(device)
    data, _ = placed(load_data(recipe, download=download, fitted=preprocessing_beside(weights)), place)
    check_data(data, recipe)
    module = make_model(model, recipe)
    load_weights(module, weights)
    data = compared(data, recipe, try_model(module, recipe, data, place))
    return looked_at(module, recipe, data, place)


@torch.inference_mode()
def predict(
    model: Model,
    recipe: Recipe,
    files: Sequence[str | Path],
    *,
    weights: str | Path | None = None,
    device: str | None = None,
) -> list[Prediction]:
    """What the model makes of each file: an image, or the rows of a table or the lines of a text, each by itself.

    They go through what the recipe's data went through, as it is written down beside `weights`. The data itself
    need not be there. E0636 where a file does not hold such samples.
    """
    known = inputs_beside(weights)
    fitted = preprocessing_beside(weights) if weights is not None else None
    given = [read_samples(recipe, Path(file), known, fitted) for file in files]
    place = find_device(device)
    module = make_model(model, recipe)
    if weights is not None:
        load_weights(module, weights)
    module.to(place).eval()
    prepare, names = prepare_on(place, recipe), output_names(recipe, known)
    predictions: list[Prediction] = []
    for path, samples in zip(map(Path, files), given, strict=True):
        for start in range(0, len(samples.x), MEASURE_BATCH):
            output = module(prepare(samples.x[start : start + MEASURE_BATCH].to(place))).float().cpu()
            for number, one in enumerate(output, start + 1):
                predictions.append(said(path, number if samples.rows else None, one, recipe, names))
    return predictions


def said(path: Path, row: int | None, output: Tensor, recipe: Recipe, names: Sequence[str]) -> Prediction:
    """One sample's output in words: a class, or values; of several places, the share of each class."""
    loss = recipe.loss
    if loss.targets == "classes":
        shares = output.exp() if loss.gives == "log-probabilities" else output.softmax(0)
        if output.dim() > 1:  # a class for every place
            shares = torch.bincount(output.argmax(0).flatten(), minlength=len(output)) / output[0].numel()
    elif loss.binary and (output.numel() == 1 or output.dim() > 1):
        high = output if loss.gives == "probabilities" else output.sigmoid()
        share = high if output.numel() == 1 else (high > 0.5).float()
        shares = torch.stack([1 - share.mean(), share.mean()])
    else:
        values = output.flatten().tolist()
        named = names if len(names) == len(values) else named_values(len(values))
        return Prediction(path, values=dict(zip(named, values, strict=True)), row=row)
    called = names if len(names) == len(shares) else [str(number) for number in range(len(shares))]
    by_name = dict(zip(called, shares.tolist(), strict=True))
    label = max(by_name, key=lambda name: by_name[name])
    return Prediction(path, label, by_name[label], by_name, row=row)


def named_values(count: int) -> list[str]:
    return ["value"] if count == 1 else [f"value {number}" for number in range(1, count + 1)]


def output_names(recipe: Recipe, known: Mapping[str, Any]) -> Sequence[str]:
    """The names of classes, or of values, as far as there are any."""
    classes = known.get("classes")
    if isinstance(classes, list):
        return classes
    target = recipe.data.sample().target if recipe.data else None
    if target and target.names:
        return target.names
    named = getattr(recipe.data, "targets", None)
    return (
        [name if isinstance(name, str) else f"column {name}" for name in named()]
        if named and recipe.loss.targets == "values"
        else ()
    )
