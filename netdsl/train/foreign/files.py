"""The files that a command line or a caller names: themselves, and the images of folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.train.component import listed
from netdsl.train.data.images import EXTENSIONS
from netdsl.train.errors import TrainError
from netdsl.train.foreign.base import Known, unreadable


def found_files(paths: Sequence[str | Path], known: Known) -> list[Path]:
    """Every file, with the images of a folder, and of the folders in it, in the order of their names."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += _images(path, known)
        elif path.exists():
            found.append(path)
        else:
            raise _missing(path)
    return found


def _images(folder: Path, known: Known) -> list[Path]:
    if known.kind != "image":
        raise unreadable(folder, "is a folder", "name the files in it")
    endings = tuple(e.lower() for e in getattr(known.source, "extensions", EXTENSIONS))
    inside = [path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path, folder)]
    found = sorted(path for path in inside if path.name.lower().endswith(endings))
    if found:
        return found
    notes = [f"what ends in {listed(endings)} is one"]
    others = Counter(path.suffix.lower() for path in inside if path.suffix)
    if others:
        ending, count = others.most_common(1)[0]
        notes.append(f"{count} of its files end in `{ending}`")
    raise TrainError("E0636", f"`{folder}` has no images", notes=notes, helps=["name a folder that has some"])


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _missing(path: Path) -> TrainError:
    beside = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    helps = did_you_mean(path.name, beside) or ["a relative path begins at the working directory"]
    return TrainError("E0636", f"there is no file `{path}`", helps=helps)
