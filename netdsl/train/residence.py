"""Where the samples of a run are: on the device from the start, or read when they are due."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import torch

from netdsl.train.data import Data
from netdsl.train.data.base import Part, Split
from netdsl.train.data.unread import Held, Unread

SHARE = 2  # of the free memory, one part of so many


Progress = Callable[[int, int], None]  # how many samples have been read, of how many


def placed(
    data: Data, device: torch.device, budget: int | None = None, progress: Progress | None = None
) -> tuple[Data, str]:
    """`data` on `device` where all of it is within `budget` bytes, by default half of the free memory; and what was
    chosen, in words, where there was a choice.

    Else its files are read when their batch is due, and what is in memory stays there. `TrainError` E0661 to E0666
    where samples cannot be read.
    """
    unread = any(isinstance(part, Unread) for part in (data.train, data.valid))
    if not unread and device.type == "cpu":
        return data, ""
    size = data.train.size + data.valid.size
    limit = free_memory(device) // SHARE if budget is None else budget
    if size <= limit:
        told = counted(data, progress)
        read = [_on(part, device, told) for part in (data.train, data.valid)]
        return replace(data, train=read[0], valid=read[1]), f"the data, {shown(size)}, is kept on the device"
    train, valid = (_unread(part) for part in (data.train, data.valid))
    why = "half of the free memory" if budget is None else "the memory budget"
    how = "are read when they are due" if unread else "go to the device when they are due"
    note = f"samples {how}: they are {shown(size)} in all, more than {why}, {shown(limit)}"
    return replace(data, train=train, valid=valid), note


def counted(data: Data, progress: Progress | None) -> Callable[[int], None]:
    """What takes the numbers of samples that are read, one lot after the other, and tells their sum."""
    total = sum(len(part) for part in (data.train, data.valid) if isinstance(part, Unread))
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total)

    return told


def _on(part: Part, device: torch.device, told: Callable[[int], None]) -> Split:
    read = part.read(told) if isinstance(part, Unread) else part
    return replace(read, x=read.x.to(device), y=read.y.to(device))


def _unread(part: Part) -> Unread:
    if isinstance(part, Unread):
        part.check()
        return part
    return Unread(Held(part), late=part.late)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on `device`, as far as the system tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 * 2**30


UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def bytes_of(text: str) -> int | None:
    """A number of bytes as people write it; None for what is none.

    >>> bytes_of("500MB"), bytes_of("1.5 gb"), bytes_of("0"), bytes_of("much")
    (500000000, 1500000000, 0, None)
    """
    number = text.strip().upper().rstrip("KMGTB")
    unit = text.strip().upper()[len(number) :]
    try:
        return int(float(number) * UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        return None


def shown(size: int) -> str:
    """A number of bytes in words.

    >>> shown(812), shown(47_040_000), shown(3_200_000_000)
    ('812 B', '47 MB', '3.2 GB')
    """
    for unit in ("TB", "GB", "MB", "KB"):
        if size >= UNITS[unit]:
            value = size / UNITS[unit]
            return f"{value:.1f} {unit}" if value < 10 and unit != "KB" else f"{value:.0f} {unit}"
    return f"{size} B"
