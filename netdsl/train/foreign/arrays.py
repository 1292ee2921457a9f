"""Arrays that numpy has saved as samples. Nothing in them is ever unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import torch

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.train.data.table_files import known as names_of
from netdsl.train.errors import TrainError
from netdsl.train.foreign.base import Known, Samples, of_tensor, unreadable

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENDINGS = (".npy", ".npz")
_SAVED = "save an array of samples by `numpy.save(path, x)`"
WORDS = {"image": "bytes (uint8)", "ids": "whole numbers", "numbers": "numbers"}


def array_samples(path: Path, known: Known) -> Samples:
    """The samples in a `.npy` or `.npz`, [N, ...] as the model has learned from; E0636 for others."""
    import numpy

    array = _read(path, known)
    wanted = {"image": numpy.uint8, "ids": numpy.integer}.get(known.kind, numpy.number)
    if not numpy.issubdtype(array.dtype, wanted) or numpy.iscomplexobj(array):
        raise unreadable(path, f"holds {array.dtype}, and samples are {WORDS[known.kind]}", _SAVED)
    own = array.shape[1:]
    fits = len(own) == len(known.shape) and all(b in (None, a) for a, b in zip(own, known.shape, strict=True))
    if not fits:
        shape = "[" + ", ".join("?" if size is None else str(size) for size in known.shape) + "]"
        message = f"holds {list(array.shape)}, and samples are {shape}"
        raise unreadable(path, message, "the first axis counts the samples")
    _check_values(path, array, known)
    dtype = {"image": numpy.uint8, "ids": numpy.int64}.get(known.kind, numpy.float32)
    return of_tensor(path, torch.from_numpy(numpy.ascontiguousarray(array, dtype=dtype)))


def _check_values(path: Path, array: NDArray[Any], known: Known) -> None:
    """Refuse what would give nonsense, or an error deep in a layer: gaps, ids that are not there."""
    import numpy

    if numpy.issubdtype(array.dtype, numpy.floating) and not numpy.isfinite(array).all():
        sample = int(numpy.argwhere(~numpy.isfinite(array))[0][0])
        raise unreadable(path, f"has a value in sample {sample} that is not a finite number", "leave it out")
    below = known.source.sample().input.below if known.source else None
    if known.kind == "ids" and array.size and below is not None:
        wrong = array[(array < 0) | (array >= below)]
        if len(wrong):
            message = f"has the id {int(wrong[0])}, and ids are from 0 to {below - 1}"
            raise unreadable(path, message, "the model has learned nothing of it: leave it out")


def _read(path: Path, known: Known) -> NDArray[Any]:
    import numpy

    try:
        with path.open("rb") as stream:
            found: Any = numpy.load(stream, allow_pickle=False)
            return found if path.suffix.lower() == ".npy" else _member(path, found, known)
    except (OSError, ValueError, TypeError, EOFError, BadZipFile, AttributeError) as problem:
        if isinstance(problem, OSError) and problem.strerror:
            reason = problem.strerror.lower()
        elif "pickle" in str(problem).lower():
            reason = "it holds no plain numbers"
        else:
            reason = str(problem)
        raise unreadable(path, f"cannot be read: {reason}", _SAVED) from problem


def _member(path: Path, file: Any, known: Known) -> NDArray[Any]:
    """The inputs in a `.npz`: what the source calls them, or the only array there is."""
    names = list(file.files)
    wanted = str(getattr(known.source, "x", "x")) if known.source and known.source.kind == "Arrays" else "x"
    if wanted not in names and len(names) != 1:
        helps = [*did_you_mean(wanted, names), f"it has {names_of(names)}"]
        raise TrainError("E0636", f"`{path}` has no array `{wanted}`", helps=helps)
    return file[wanted if wanted in names else names[0]]
