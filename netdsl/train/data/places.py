"""Where a file or folder that a recipe names is: beside the `.net` file first, then in the working directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.train.errors import TrainError

PACKED = (".tar", ".tar.gz", ".tgz", ".zip")


def found_folder(name: str, folders: Sequence[Path]) -> Path:
    """The folder called `name`, itself where it is absolute, else in the first of `folders` that has it (E0620)."""
    places = _places(name, folders)
    found = next((place for place in places if place.is_dir()), None)
    if found:
        return found
    packed = next((p for place in places for end in PACKED if (p := Path(f"{place}{end}")).is_file()), None)
    raise _missing("folder", name, places, [f"unpack `{packed}` first"] if packed else [])


def found_file(name: str, folders: Sequence[Path]) -> Path:
    """The file called `name`, itself where it is absolute, else in the first of `folders` that has it (E0620)."""
    places = _places(name, folders)
    found = next((place for place in places if place.is_file()), None)
    if found:
        return found
    raise _missing("file", name, places, [])


def _places(name: str, folders: Sequence[Path]) -> list[Path]:
    path = Path(name).expanduser()
    return list(dict.fromkeys((folder / path).resolve() for folder in folders or (Path(),)))


def _missing(what: str, name: str, places: Sequence[Path], first: list[str]) -> TrainError:
    """With the names beside it that are nearly the same."""
    helps = list(first)
    for place in places:
        if place.parent.is_dir():
            beside = (p for p in place.parent.iterdir() if p.is_file() == (what == "file"))
            helps += did_you_mean(place.name, sorted(p.name for p in beside))
    looked = "looked for " + " and ".join(f"`{place}`" for place in places)
    helps = [*dict.fromkeys(helps), "a path that is relative begins at the folder of the `.net` file"]
    return TrainError("E0620", f"there is no {what} `{name}`", notes=[looked], helps=helps)
