"""Checkpoints of a run: a folder each, written under another name and renamed when it is whole.

```
run/checkpoints/epoch-0003-step-00002814/weights.safetensors   the model's state_dict
                                         averaged.safetensors  the same, averaged, where the recipe has `ema`
                                         state.pt              optimizer, random numbers, place in the data
                                         preprocessing.json    what was learned of a table's training part
                                         manifest.json         step, what was measured, checksums
run/best.safetensors, run/last.safetensors                     the weights to use
run/preprocessing.json                                         and what their inputs went through
```
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from netdsl.train.errors import TrainError
from netdsl.train.files import digest, publish, remove_folder, sync_folder, unwritable, write_synced
from netdsl.train.records import Saved
from netdsl.train.state import Run

T = TypeVar("T")

PREPROCESSING = "preprocessing.json"
KEPT = 2  # the newest and the one before it
FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole."""

    path: Path
    weights: Mapping[str, Tensor]
    state: Mapping[str, Any]
    manifest: Mapping[str, Any]
    fitted: Mapping[str, Any] | None = None  # what the preprocessing has learned


class Damaged(Exception):
    """A checkpoint that is not what was written."""


@dataclass(frozen=True)
class Snapshot:
    """A run as it was at the end of a step, with what was measured there; on each of its processes the same."""

    epoch: int
    step: int
    weights: Mapping[str, Tensor]
    averages: Mapping[str, Tensor] | None
    state: Mapping[str, Any]
    measured: Mapping[str, float]
    best: bool


def snapshot(run: Run, *, measured: Mapping[str, float], best: bool, lasting: bool = False) -> Snapshot:
    """`run` as it is now; every process must ask for it. One that is `lasting` stays so while the run goes on."""
    kept = copied if lasting else _as_it_is
    return Snapshot(
        run.epoch,
        run.step,
        kept(run.weights()),
        kept(run.averaged()),
        kept(run.state()),
        dict(measured),
        best,
    )


def save_checkpoint(
    run: Run, folder: Path, *, measured: Mapping[str, float], best: bool, kept: int = KEPT
) -> Saved | None:
    """Write the state of `run` below `folder`, as `write_checkpoint` does. Every process calls it."""
    return write_checkpoint(run, snapshot(run, measured=measured, best=best), folder, kept=kept)


def write_checkpoint(run: Run, at: Snapshot, folder: Path, *, kept: int = KEPT) -> Saved | None:
    """Write `run` as it was `at` some step below `folder`; None where its weights are no numbers any more.

    Every process calls it, and the main one writes. The best epoch's becomes the run's `best.safetensors` too.
    `TrainError` E0637 where the disk refuses; what was saved before is untouched then.
    """

    def write() -> Saved | None:
        if not all(bool(w.isfinite().all()) for w in at.weights.values() if w.is_floating_point()):
            return None
        files = {"weights.safetensors": save(_tensors(at.weights)), "state.pt": _pickled(at.state)}
        if run.data.fitted is not None:
            files[PREPROCESSING] = json.dumps(run.data.fitted, indent=2).encode()
        if at.averages is not None:
            files["averaged.safetensors"] = save(_tensors(at.averages))
        path = folder / "checkpoints" / f"epoch-{at.epoch:04}-step-{at.step:08}"
        _write_folder(path, files, lambda partial: _manifest(run, at, partial, list(files)))
        publish_weights(path, folder, best=at.best)
        _prune(folder, kept, at.state["numbers"]["best_epoch"])
        return Saved(path, at.step)

    return run.processes.from_main(write)


def _write_folder(path: Path, files: Mapping[str, bytes], manifest: Callable[[Path], dict[str, Any]]) -> None:
    """Write the files of a checkpoint and then its manifest, so that it is there as a whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, content in files.items():
            write_synced(partial / name, content)
        write_synced(partial / "manifest.json", json.dumps(manifest(partial), indent=2).encode())
        sync_folder(partial)
        if path.exists():  # one that was damaged
            shutil.rmtree(path)
        partial.rename(path)
        sync_folder(path.parent)
    except OSError as problem:
        shutil.rmtree(partial, ignore_errors=True)
        raise unwritable(path, problem) from problem


def _prune(folder: Path, kept: int, best_epoch: int) -> None:
    """Remove all checkpoints but the newest `kept` and that of the best epoch, its first."""
    found = checkpoints(folder)
    best = [p for p in found if best_epoch and p.name.startswith(f"epoch-{best_epoch:04}-")][-1:]
    for old in found[max(kept, 1) :]:
        if old not in best:
            remove_folder(old)


def publish_weights(path: Path, folder: Path, *, best: bool) -> None:
    """Make the weights of the checkpoint at `path` the last, and where `best` the best, of the run."""
    averages = path / "averaged.safetensors"
    source = averages if averages.is_file() else path / "weights.safetensors"
    for name in ("last", "best") if best else ("last",):
        publish(source, folder / f"{name}.safetensors")
    if (path / PREPROCESSING).is_file():
        publish(path / PREPROCESSING, folder / PREPROCESSING)


def publish_again(checkpoint: Checkpoint, folder: Path) -> None:
    """Let the last and the best weights of the run be those of the run that goes on from `checkpoint`."""
    epoch = checkpoint.state["numbers"]["best_epoch"]
    best = [p for p in checkpoints(folder) if epoch and p.name.startswith(f"epoch-{epoch:04}-")][-1:]
    for path in best:
        if path != checkpoint.path:
            publish_weights(path, folder, best=True)
    publish_weights(checkpoint.path, folder, best=checkpoint.path in best)


def preprocessing_beside(weights: str | Path) -> Mapping[str, Any] | None:
    """What the preprocessing had learned when a run wrote `weights`; None where it wrote nothing of the kind.

    E0655 where the file is none of ours.
    """
    path = Path(weights).parent / PREPROCESSING
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise TrainError("E0655", f"`{path}` cannot be read: {problem}") from problem
    if not isinstance(found, dict):
        raise TrainError("E0655", f"`{path}` holds no preprocessing")
    return cast("dict[str, Any]", found)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints below `folder`, the newest first; unfinished ones are none."""
    found = [p for p in (folder / "checkpoints").glob("epoch-*-step-*") if p.is_dir()]
    return sorted(found, key=lambda p: [int(part) for part in p.name.split("-")[1::2]][::-1], reverse=True)


def newest_checkpoint(folder: Path) -> tuple[Checkpoint, list[str]]:
    """The newest checkpoint that is whole, and why each newer one was passed over.

    `TrainError` E0630 where there is none at all, E0631 where every one is damaged.
    """
    damaged: list[str] = []
    for path in checkpoints(folder):
        try:
            return read_checkpoint(path), damaged
        except Damaged as problem:
            damaged.append(f"`{path.name}` is damaged: {problem}")
    if damaged:
        raise TrainError("E0631", f"no checkpoint in `{folder}` can be read", notes=damaged)
    raise TrainError(
        "E0630", f"there is no checkpoint in `{folder}`", helps=["start the run without `--resume`"]
    )


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at `path`, every file checked against the manifest; raises `Damaged`."""
    try:
        manifest = _read_manifest(path / "manifest.json")
        for name, sum_ in manifest["files"].items():
            if digest(path / name) != sum_:
                raise Damaged(f"`{name}` has another checksum than when it was written")
        weights = load((path / "weights.safetensors").read_bytes())
        state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
        fitted = (
            json.loads((path / PREPROCESSING).read_bytes()) if PREPROCESSING in manifest["files"] else None
        )
    except FileNotFoundError as problem:
        raise Damaged(f"`{Path(problem.filename).name}` is missing") from problem
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, AttributeError) as problem:
        raise Damaged(str(problem)) from problem
    return Checkpoint(path, weights, state, manifest, fitted)


def _read_manifest(path: Path) -> dict[str, Any]:
    """What a manifest says; `Damaged` where it is none, or one of a netdsl to come."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise Damaged(f"`{path.name}` cannot be read: {problem}") from problem
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise Damaged(f"it has format {version}, and this netdsl reads up to {FORMAT}: a newer one wrote it")
    files = manifest.get("files") if version == FORMAT else None
    if not isinstance(files, dict) or not {"weights.safetensors", "state.pt"} <= files.keys():
        raise Damaged(f"`{path.name}` does not say what was written")
    return manifest


def _manifest(run: Run, at: Snapshot, folder: Path, names: list[str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model": run.recipe.model,
        "step": at.step,
        "epoch": at.epoch,
        "best": at.best,
        "measured": dict(at.measured),
        "threads": torch.get_num_threads(),
        "channels_last": run.channels_last,
        "files": {name: digest(folder / name) for name in names},
    }


def copied(value: Any) -> Any:
    """`value` with every tensor in it copied, on the CPU.

    >>> here = [torch.zeros(1)]
    >>> there = copied(here)
    >>> here[0] += 1
    >>> there
    [tensor([0.])]
    """
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    return type(value)(map(copied, value)) if isinstance(value, list | tuple) else value


def _as_it_is(value: T) -> T:
    return value


def _tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As safetensors takes them: contiguous, on the CPU and none sharing memory with another."""
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }


def _pickled(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
