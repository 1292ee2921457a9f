"""Image files as tensors: uint8, [C, H, W], of one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from netdsl.train.component import as_tuple
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose
    from torch import Tensor

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
Side = Annotated[int, Field(gt=0)]
Size: TypeAlias = Side | Annotated[tuple[Side, Side], BeforeValidator(as_tuple)]
Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
Channels: TypeAlias = Literal[1, 3]
_AGAIN = "copy the file again, or take it out of the folder"


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
            turn = _turn(file)
            file.load()
            whole = file if turn is None else file.transpose(turn)
            return _in_mode(whole, mode) if mode else whole.copy()
    except _TooDeep as problem:
        helps = [
            "save it with 8 bits a channel, brought to 0 to 255: what is black and white in it is not said"
        ]
        raise TrainError(code, f"`{path}` has {problem}", helps=helps) from problem
    except PIL.UnidentifiedImageError as problem:
        raise TrainError(code, f"`{path}` is not an image", helps=[_AGAIN]) from problem
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as problem:
        reason = (getattr(problem, "strerror", None) or str(problem)).lower()
        raise TrainError(code, f"`{path}` cannot be read: {reason}", helps=[_AGAIN]) from problem


class _TooDeep(Exception):
    """Values of which nobody says what is black and what is white."""


def _in_mode(image: Image, mode: str) -> Image:
    """The image as `L` or `RGB`. Values of 16 bits become those of 8; Pillow would cut them off at 255."""
    import numpy
    import PIL.Image

    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if sixteen:
        values = numpy.asarray(image).astype(numpy.float64)
        image = PIL.Image.fromarray((values / 257).round().astype(numpy.uint8))
    elif image.mode in ("I", "F"):
        raise _TooDeep("whole numbers of 32 bits" if image.mode == "I" else "numbers with decimals")
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # which Pillow asks for
    return image.convert(mode)


ORIENTATION = 0x0112  # in the EXIF data of cameras


def _turn(file: Image) -> Transpose | None:
    """How an image is to be turned that the camera has written as it held it."""
    from PIL.Image import Transpose

    if file.format not in ("JPEG", "MPO", "WEBP"):
        return None
    turns = (
        *(None, Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM),
        *(Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90),
    )
    orientation = file.getexif().get(ORIENTATION, 1)
    return turns[orientation - 1] if orientation in range(1, 9) else None


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
    from PIL.Image import Transpose as T

    try:
        with PIL.Image.open(path) as file:
            width, height = file.size
            if _turn(file) in (T.TRANSPOSE, T.TRANSVERSE, T.ROTATE_90, T.ROTATE_270):
                width, height = height, width
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
