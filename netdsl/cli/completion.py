"""What a shell offers for a half-written argument: model files, those of the library, and the models in one."""

from __future__ import annotations

from collections.abc import Iterator
from glob import escape
from pathlib import Path


def targets(incomplete: str) -> list[str]:
    """`FILE` or `FILE:MODEL` that begin so.

    >>> targets("std/lenet")
    ['std/lenet.net']
    >>> targets("std/lenet.net:")
    ['std/lenet.net:LeNet']
    """
    path, colon, part = incomplete.rpartition(":")
    if colon:
        return [f"{path}:{name}" for name in models(path) if name.startswith(part)]
    return [*files(incomplete), *(name for name in library() if name.startswith(incomplete))]


def files(incomplete: str) -> Iterator[str]:
    """Folders and model files here."""
    cut = incomplete.rpartition("/")[0]
    for path in sorted(Path(cut or ".").glob(escape(incomplete.rpartition("/")[2]) + "*")):
        shown = f"{cut}/{path.name}" if cut else path.name
        if path.is_dir() and not path.name.startswith("."):
            yield f"{shown}/"
        elif path.suffix == ".net":
            yield shown


def library() -> list[str]:
    from netdsl.inventory import files as files_of

    return files_of()


def models(path: str) -> list[str]:
    """The names of the models in a file; none where it cannot be read."""
    from netdsl.diagnostics import Report
    from netdsl.inventory import shelf

    found = shelf(path, Report())
    return [*found.models] if found else []
