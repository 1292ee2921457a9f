"""Writing files so that a reader, or a machine that stops, finds the old content or the new one and never a
part.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from netdsl.train.errors import TrainError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Put `content` at `path`, on the disk before it is visible; `TrainError` E0637 where that fails."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        write_synced(partial, content.encode() if isinstance(content, str) else content)
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        raise unwritable(path, problem) from problem


def write_synced(path: Path, content: bytes) -> None:
    """Write and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk, where the system has such a thing."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(source: Path, path: Path) -> None:
    """Make `path` the same file as `source`, without copying where the file system can; atomic."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        try:
            partial.hardlink_to(source)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, partial)
        partial.replace(path)
        partial.unlink(missing_ok=True)  # renaming a link onto its own file leaves it
        sync_folder(path.parent)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        raise unwritable(path, problem) from problem


def remove_folder(path: Path) -> None:
    """Remove a folder so that it is there as a whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with suppress(FileNotFoundError):
        path.rename(partial)
    shutil.rmtree(partial, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove below `folder` what was being written, or removed, when the machine stopped."""
    for path in sorted(folder.rglob(".*.partial"), reverse=True):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unwritable(path: Path, problem: OSError) -> TrainError:
    reason = problem.strerror or str(problem)
    helps = [help for numbers, help in _REMEDIES.items() if problem.errno in numbers]
    return TrainError("E0637", f"`{path}` cannot be written: {reason.lower()}", helps=helps)


_REMEDIES = {
    (errno.EEXIST, errno.ENOTDIR): "it is a file, or lies in one: name a folder",
    (errno.EACCES, errno.EPERM, errno.EROFS): "name a folder that you may write to",
    (errno.ENAMETOOLONG,): "name a folder with a shorter name",
    (errno.ENOSPC, errno.EDQUOT): "make room on the disk",
}
