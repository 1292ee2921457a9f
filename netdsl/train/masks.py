"""Masks that a model has predicted, as images of the files they are of: what `Segmentation` would learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netdsl.train.data import Segmentation, Source
from netdsl.train.errors import TrainError
from netdsl.train.outcome import Prediction
from netdsl.train.recipe import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image

# Of the classes, in turn: nothing, then colours that are told apart in print too (those of Okabe and Ito, 2008).
COLOURS = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (255, 255, 255),
)


def has_masks(source: Source | None) -> bool:
    """Whether the targets of a source are a class for each pixel."""
    return source is not None and len(source.sample().target.shape) == 2


def mask_paths(made: Sequence[Prediction], folder: Path, recipe: Recipe) -> list[Path]:
    """The paths of masks in `folder`, named as their images. E0636 where two have one name, or an image has it."""
    suffix = recipe.data.mask_suffix if isinstance(recipe.data, Segmentation) else ""
    whose: dict[Path, Path] = {}
    images = {each.path.resolve() for each in made}
    for each in made:
        name = each.path.stem if each.row is None else f"{each.path.stem}-{each.row}"
        path = folder / f"{name}{suffix}.png"
        if path in whose:
            message = f"the masks of `{whose[path]}` and `{each.path}` would both be `{path}`"
            raise TrainError("E0636", message, helps=["predict them into two folders"])
        if path.resolve() in images:
            message = f"the mask of `{each.path}` would be written over an image, `{path}`"
            raise TrainError("E0636", message, helps=["give another folder"])
        whose[path] = each.path
    return list(whose)


def write_masks(made: Sequence[Prediction], paths: Sequence[Path], recipe: Recipe) -> None:
    """Write the masks of `made` as PNG files.

    The value of a pixel is what stands for its class in the masks of the recipe's data, shown in a colour. A mask is
    brought to the size of its file where the image was only resized.
    """
    back = all(transform.kind in ("Normalize", "Grayscale", "Resize") for transform in recipe.transform)
    for each, path in zip(made, paths, strict=True):
        _image(each, values_of(recipe.data, len(each.probabilities)), back).save(path)


def values_of(source: Source | None, classes: int) -> tuple[int, ...]:
    """What stands for each class in a mask."""
    if isinstance(source, Segmentation):
        return (0, 255) if source.threshold is not None else source.values
    return tuple(range(classes))


def _image(made: Prediction, values: Sequence[int], back: bool) -> Image:
    import numpy
    import PIL.Image

    assert made.mask is not None
    numbers = numpy.asarray(values)[made.mask.numpy()]
    if max(values) > 255:
        image = PIL.Image.fromarray(numbers.astype(numpy.uint16))
    else:
        image = PIL.Image.fromarray(numbers.astype(numpy.uint8))
        image.putpalette(_palette(values))
    if back and made.size is not None:
        image = image.resize((made.size[1], made.size[0]), PIL.Image.Resampling.NEAREST)
    return image


def _palette(values: Sequence[int]) -> list[int]:
    """Red, green and blue of 256 values: grey, but for those of the classes."""
    colours = [(grey, grey, grey) for grey in range(256)]
    for number, value in enumerate(values):
        colours[value] = COLOURS[number] if number < len(COLOURS) else _further(number)
    return [part for colour in colours for part in colour]


def _further(number: int) -> tuple[int, int, int]:
    """A colour for each of many classes."""
    return 37 * number % 256, 91 * number % 256, 157 * number % 256
