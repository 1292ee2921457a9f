"""Using a trained model: its worth on a data set, and what it takes an image for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from netdsl.backends.weights import load_weights
from netdsl.train.batches import prepare_on
from netdsl.train.data import Data
from netdsl.train.errors import TrainError
from netdsl.train.evaluation import measured
from netdsl.train.loading import (
    Model,
    check_data,
    find_device,
    load_data,
    make_model,
    try_model,
)
from netdsl.train.recipe import Recipe


@dataclass(frozen=True)
class Evaluation:
    """`measured` has the loss and each metric by name, over `samples` samples."""

    samples: int
    measured: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Prediction:
    """What a model makes of one image: a class, and how sure it is, from 0 to 1, of each."""

    path: Path
    label: str
    probability: float
    probabilities: dict[str, float]


def evaluate(
    model: Model,
    recipe: Recipe,
    *,
    weights: str | Path | None = None,
    data: Data | None = None,
    device: str | None = None,
    download: bool = False,
) -> Evaluation:
    """The loss and metrics of `recipe` on its validation part, with the weights of a safetensors file if
    given.
    """
    place = find_device(device)
    data = data or load_data(recipe, download=download)
    check_data(data, recipe)
    module = make_model(model, recipe)
    if weights is not None:
        load_weights(module, weights)
    try_model(module, recipe, data, place)
    start = perf_counter()
    found = measured(module, recipe, data.valid, place)
    return Evaluation(len(data.valid), found, perf_counter() - start)


@torch.inference_mode()
def predict(
    model: Model,
    recipe: Recipe,
    images: Sequence[str | Path],
    *,
    weights: str | Path | None = None,
    device: str | None = None,
) -> list[Prediction]:
    """What the model takes each image for. Images are brought to the size and channels of the recipe's data.

    The recipe's data need not be there; it only says what a sample is. E0636 where a file is no image.
    """
    if recipe.data is None:
        raise TrainError("E0603", "the recipe has no `data` that says what an image is", recipe.places.block)
    sample = recipe.data.sample()
    place = find_device(device)
    module = make_model(model, recipe)
    if weights is not None:
        load_weights(module, weights)
    module.to(place).eval()
    prepare = prepare_on(place, recipe)
    predictions: list[Prediction] = []
    for path in map(Path, images):
        x = prepare(read_image(path, sample.image).unsqueeze(0).to(place))
        scores = _probabilities(module(x)[0].float(), recipe).tolist()
        by_name = dict(zip(sample.names, scores, strict=True))
        label = max(by_name, key=lambda name: by_name[name])
        predictions.append(Prediction(path, label, by_name[label], by_name))
    return predictions


def read_image(path: Path, shape: tuple[int, int, int]) -> Tensor:
    """The image at `path` as uint8 of `shape`, grey or in colour, resized where it has another size."""
    channels, height, width = shape
    try:
        with Image.open(path) as file:
            image = file.convert("L" if channels == 1 else "RGB")
    except UnidentifiedImageError as problem:
        raise TrainError("E0636", f"`{path}` is not an image") from problem
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise TrainError("E0636", f"`{path}` cannot be read: {reason}") from problem
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(numpy.array(image))
    return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1).contiguous()


def _probabilities(output: Tensor, recipe: Recipe) -> Tensor:
    if recipe.loss.gives == "log-probabilities":
        return output.exp()
    return output.softmax(0)
