"""Image files as samples: grey or in colour, and of the size, that the model has learned from."""

from __future__ import annotations

from pathlib import Path

from netdsl.train.data.images import image_size, read_image
from netdsl.train.errors import TrainError
from netdsl.train.foreign.base import Known, Samples, unreadable
from netdsl.train.recipe import Recipe
from netdsl.train.transforms import Misfit


def image_samples(path: Path, known: Known, recipe: Recipe) -> Samples:
    """The image at `path` as one sample, read when it is due; E0636 where it is none or cannot be transformed."""
    channels, height, width = known.shape
    if channels not in (1, 3, None):
        message = f"is an image, and samples have {channels} channels"
        raise unreadable(path, message, "an array of samples, saved by numpy as `.npy`, is taken")
    try:
        own = image_size(path)
    except TrainError as problem:
        found = problem.diagnostic
        helps = ["name an image that Pillow reads, as .png or .jpg, or get the file again"]
        raise TrainError("E0636", found.message, helps=helps) from problem
    size = (height, width) if height is not None and width is not None else own
    shape = channels or 3, *size
    try:
        for transform in recipe.transform:
            shape = transform.shape(shape)
    except Misfit as problem:
        raise unreadable(path, f"cannot be taken: {problem}") from problem
    wanted = channels or 3
    return Samples(path, 1, lambda: read_image(path, wanted, size, "E0636").unsqueeze(0), False, own)
