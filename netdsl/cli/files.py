"""Output files: written in a folder beside their place, and moved there when they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EISDIR
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path of the same name to write to; at the end it becomes `path`, with what was written beside it.

    Nothing changes where the block fails. A link is written through, and a file that is there keeps its mode.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     target = Path(folder) / "net.py"
    ...     with replacing(target) as made:
    ...         _ = made.write_text("x = 1")
    ...     target.read_text()
    'x = 1'
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        folder = Path(name)
        made = folder / target.name
        yield made
        if target.is_dir() and not made.is_dir():
            raise IsADirectoryError(EISDIR, "is a folder", str(path))
        files = [file for file in folder.rglob("*") if file.is_file() and file.parent.name != "__pycache__"]
        for file in sorted(files, key=lambda file: file == made):
            _move(file, target.parent / file.relative_to(folder))


def _move(file: Path, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    file.chmod(place.stat().st_mode & 0o777 if place.exists() else 0o666 & ~_umask())
    file.replace(place)


def _umask() -> int:
    """What new files are not allowed, which some writers of files make stricter."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write(path: Path, text: str) -> None:
    """Write `text` as UTF-8, its newlines as they are."""
    with replacing(path) as made:
        made.write_text(text, encoding="utf-8", newline="")
