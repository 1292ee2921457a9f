"""What a run says about itself while it goes on. The loop yields records; everything else reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Reading:
    """Before a run begins: `done` of the `samples` that are to be kept on the device have been read."""

    done: int
    samples: int


@dataclass(frozen=True)
class Started:
    """A run begins, or goes on from `step`. `notes` say what was decided or came to light on the way."""

    model: str
    parameters: int
    device: str
    threads: int
    channels_last: bool
    train_samples: int
    valid_samples: int
    epochs: int
    steps_per_epoch: int
    step: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """The last `log_every` steps: `step` of them are done, `loss` is their mean."""

    step: int
    epoch: int
    loss: float
    lr: float
    grad_norm: float | None = None


@dataclass(frozen=True)
class Epoch:
    """An epoch, counted from 1. `measured` holds the columns of `Recipe.columns`, over all its samples."""

    epoch: int
    step: int
    lr: float
    measured: Mapping[str, float]
    seconds: float
    best: bool = False


@dataclass(frozen=True)
class Saved:
    """A checkpoint lies at `path`."""

    path: Path
    step: int


@dataclass(frozen=True)
class Stopped:
    """The run is over, for now or for good."""

    reason: Literal["finished", "early stop", "interrupted", "not finite"]
    step: int
    message: str = ""
    measured: Mapping[str, float] = field(default_factory=dict)


Record: TypeAlias = Reading | Started | Step | Epoch | Saved | Stopped
