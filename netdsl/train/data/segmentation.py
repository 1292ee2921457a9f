"""Images with a mask each, which tells the class of every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from netdsl.train.component import Integers
from netdsl.train.data.base import Data, Input, Sample, Target
from netdsl.train.data.divided import Divide, Divided, Fitted, undivided
from netdsl.train.data.division import Samples
from netdsl.train.data.image_folder import no_images
from netdsl.train.data.images import EXTENSIONS, Channels, Names, Size, image_files, sides
from netdsl.train.data.places import found_folder
from netdsl.train.errors import TrainError


class Segmentation(Divided):
    """The images of a folder and, in another, a mask of the same name for each, after which comes `mask_suffix`.

    `values` are the values that stand for the classes in a mask, in order: with `[0, 255]` white is class 1. With
    `threshold`, what is as bright or brighter is class 1. Both are resized to `size`, masks without mixing values.
    """

    images: str
    masks: str
    size: Size | None = None
    channels: Channels = 3
    values: Annotated[Integers, Field(min_length=2, max_length=255)] = (0, 1)
    threshold: Annotated[int, Field(ge=1, le=65535)] | None = None
    classes: Names | None = None
    mask_suffix: str = ""
    extensions: Names = EXTENSIONS

    @model_validator(mode="after")
    def _one_value_a_class(self) -> Segmentation:
        if len(set(self.values)) < len(self.values):
            raise ValueError("`values` has one twice")
        if self.threshold is not None and "values" in self.model_fields_set:
            raise ValueError("either `values` or `threshold` tells the class of a pixel")
        if self.classes is not None and len(self.classes) != len(self.values):
            raise ValueError(f"there are {len(self.classes)} `classes` and {len(self.values)} `values`")
        return self

    def sample(self) -> Sample:
        height, width = sides(self.size)
        target = Target("classes", (height, width), self.classes or (), len(self.values), pixels=True)
        return Sample(Input((self.channels, height, width), "image"), target)

    def divided(self, folders: Sequence[Path], divide: Divide | None, fitted: Fitted | None) -> Data:  # noqa: ARG002
        from netdsl.train.data.image_readers import MaskReader
        from netdsl.train.data.unread import Unread

        images, masks = self.pairs(found_folder(self.images, folders), found_folder(self.masks, folders))
        reader = MaskReader(images, masks, self.channels, sides(self.size), self.values, self.threshold)
        if divide is None:
            raise undivided(self.kind)
        train, valid = (Unread(reader).rows(rows) for rows in divide(Samples(len(images))))
        return Data(train, valid, len(self.values), self.classes or ())

    def pairs(self, images: Path, masks: Path) -> tuple[list[Path], list[Path]]:
        """Images and their masks, in the order of their names; E0660 where there are none, E0663 where one is alone."""
        found = {mask.stem: mask for mask in image_files(masks, self.extensions)}
        paths = [p for p in image_files(images, self.extensions) if images != masks or self._is_image(p)]
        if not paths:
            raise no_images(images, self.extensions)
        for path in paths:
            if path.stem + self.mask_suffix not in found:
                wanted = f"{path.stem}{self.mask_suffix}"
                near = next((name for name in found if name.startswith(path.stem)), None)
                helps = (
                    [f'`mask_suffix = "{near.removeprefix(path.stem)}"` finds `{found[near].name}`']
                    if near
                    else []
                )
                helps = helps or ["add a mask of that name, or take the image out of the folder"]
                raise TrainError("E0663", f"`{path}` has no mask `{wanted}` in `{masks}`", helps=helps)
        return paths, [found[path.stem + self.mask_suffix] for path in paths]

    def _is_image(self, path: Path) -> bool:
        return not (self.mask_suffix and path.stem.endswith(self.mask_suffix))
