"""The files beside a program of the book: texts as they stand on the page, and images and arrays that a line declares.

A block ```` ```csv prices.csv ```` is that file. A block ```` ```files ```` makes one file a line:

    photos/cat/{1..4}.png   image 8x8                         coloured noise
    photos/cat/5.png        grey 8x6 of 0 255                 grey, of these values
    photos/cat/6.png        image 8x8, the first 40 bytes     cut off
    photos/dog/             folder
    notes.jpg               text no image at all
    a.npz                   x float32[20, 4] nan at 7, y int64[20] below 3
    ids.npy                 int64[100] below 50
    old.safetensors         fc.weight float32[3, 8]
    raw/t10k-labels         idx uint8[10] below 10
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

TEXTS = ("csv", "tsv", "txt", "json")

_MANY = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CUT = re.compile(r"(.*), the first (\d+) bytes$")
_IMAGE = re.compile(r"(image|grey) (\d+)x(\d+)(?: of ([\d ]+))?$")
_ARRAY = re.compile(
    r"(?:([\w.]+) )?(float32|float64|int64|uint8)\[([\d, ]*)\](?: below (\d+))?(?: nan at (\d+))?"
)


def write_file(folder: Path, name: str, text: str) -> None:
    """A text file of the page."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def make_files(folder: Path, lines: str) -> None:
    """The files that the lines of a block declare."""
    for line in lines.splitlines():
        pattern, what = line.split(maxsplit=1)
        for name in _names(pattern):
            path = folder / name
            if what == "folder":
                path.mkdir(parents=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_made(name, what))


def _names(pattern: str) -> Iterator[str]:
    """`a{1..3}.png` is three names."""
    found = _MANY.search(pattern)
    if found is None:
        yield pattern
        return
    for number in range(int(found[1]), int(found[2]) + 1):
        yield _MANY.sub(str(number), pattern)


def _made(name: str, what: str) -> bytes:
    if cut := _CUT.match(what):
        return _made(name, cut[1])[: int(cut[2])]
    if what.startswith("text "):
        return what.removeprefix("text ").encode() + b"\n"
    if image := _IMAGE.match(what):
        return _image(Path(name), image)
    return _arrays(Path(name), what)


def _image(path: Path, found: re.Match[str]) -> bytes:
    from PIL import Image

    random = numpy.random.default_rng(sum(path.name.encode()))
    size = (int(found[2]), int(found[3]), *([3] if found[1] == "image" else []))
    values = numpy.array([int(v) for v in (found[4] or "").split()] or range(256), dtype=numpy.uint8)
    written = io.BytesIO()
    Image.fromarray(values[random.integers(len(values), size=size)]).save(written, path.suffix[1:])
    return written.getvalue()


def _arrays(path: Path, what: str) -> bytes:
    arrays = {found[1] or "": _array(found) for found in _ARRAY.finditer(what)}
    assert arrays, f"nothing is called `{what}`"
    written = io.BytesIO()
    if what.startswith("idx "):
        (one,) = arrays.values()
        return bytes((0, 0, 8, one.ndim)) + numpy.array(one.shape, ">i4").tobytes() + one.tobytes()
    if path.suffix == ".npz":
        numpy.savez(written, allow_pickle=False, **arrays)
    elif path.suffix == ".npy":
        numpy.save(written, arrays[""], allow_pickle=False)
    else:
        import torch
        from safetensors.torch import save

        return save({name: torch.from_numpy(array) for name, array in arrays.items()})
    return written.getvalue()


def _array(found: re.Match[str]) -> NDArray[Any]:
    """The same numbers every time; whole ones in turns, so that each is there."""
    shape = tuple(int(size) for size in found[3].split(",") if size.strip())
    count = int(numpy.prod(shape))
    if found[2].startswith("float"):
        values: NDArray[Any] = numpy.random.default_rng(count).normal(size=count)
    else:
        values = numpy.arange(count) % int(found[4] or 256)
    if found[5]:
        values[int(found[5])] = numpy.nan
    return values.astype(found[2]).reshape(shape)
