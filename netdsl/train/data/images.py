"""Image files as tensors: uint8, [C, H, W], of one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from netdsl.train.component import as_tuple
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
Side = Annotated[int, Field(gt=0)]
Size: TypeAlias = Side | Annotated[tuple[Side, Side], BeforeValidator(as_tuple)]
Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
Channels: TypeAlias = Literal[1, 3]


def sides(size: Size | None) -> tuple[int, int] | tuple[None, None]:
    """Height and width, where they are given."""
    if size is None:
        return None, None
    return (size, size) if isinstance(size, int) else size


def image_files(folder: Path, extensions: Sequence[str] = EXTENSIONS) -> list[Path]:
    """The images directly in `folder`, in the order of their names; hidden files are none."""
    endings = tuple(e.lower() if e.startswith(".") else f".{e.lower()}" for e in extensions)
    found = (p for p in folder.iterdir() if p.name.lower().endswith(endings) and not p.name.startswith("."))
    return sorted(p for p in found if p.is_file())


def opened(path: Path, mode: str, code: str = "E0661") -> Image:
    """The image at `path`, read whole, as `L` or `RGB` or, with mode "", as it is. `TrainError` with `code`."""
    import PIL.Image

    try:
        with PIL.Image.open(path) as file:
            file.load()
            return file.convert(mode) if mode else file.copy()
    except PIL.UnidentifiedImageError as problem:
        raise TrainError(code, f"`{path}` is not an image") from problem
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as problem:
        reason = (getattr(problem, "strerror", None) or str(problem)).lower()
        raise TrainError(code, f"`{path}` cannot be read: {reason}") from problem


def read_image(
    path: Path, channels: int, size: tuple[int, int] | tuple[None, None] = (None, None), code: str = "E0661"
) -> Tensor:
    """The image at `path` as uint8 [`channels`, H, W], grey or in colour, brought to `size` bilinearly.

    `TrainError` with `code` where it cannot be read.
    """
    import numpy
    import PIL.Image
    import torch

    image = opened(path, "L" if channels == 1 else "RGB", code)
    height, width = size
    if height is not None and width is not None and image.size != (width, height):
        image = image.resize((width, height), PIL.Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(numpy.array(image))
    return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1).contiguous()


ENDS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of the image at `path`, without reading it all; E0661 where it is no image or is cut off."""
    import PIL.Image

    try:
        with PIL.Image.open(path) as file:
            width, height = file.size
        whole = _has_end(path)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        whole = False
    if not whole:  # or it has something after its end; reading it tells which
        width, height = opened(path, "").size
    return height, width


def _has_end(path: Path) -> bool:
    end = ENDS.get(path.suffix.lower(), b"")
    with path.open("rb") as file:
        file.seek(-min(64, path.stat().st_size), 2)
        return end in file.read()
