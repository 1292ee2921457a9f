"""The processes of a run. One process is the usual case and needs nothing; more of them train on shares of the same
batches, and `netdsl.train.fabric` holds them together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.train.errors import TrainError

T = TypeVar("T")

STRATEGIES = ("ddp", "fsdp")


class Processes:
    """A run in one process. `Together` has the same methods for several, and every process calls them alike.

    >>> ALONE.main, list(ALONE.part(3))
    (True, [0, 1, 2])
    """

    rank: int = 0
    size: int = 1
    device: str | None = None  # of this process, where the processes share the devices out

    whole_model: bool = True  # each process has all of it

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @contextmanager
    def alive(self) -> Iterator[None]:
        """The context of a run; a `TrainError` E0672 where it fails because another process is gone."""
        try:
            yield
        except RuntimeError as problem:
            if "DataLoader worker" not in str(problem):
                raise
            raise _gone("a process that reads samples has ended", [str(problem).splitlines()[0]]) from problem

    def part(self, count: int) -> range:
        """Which of `count` samples are this process's: the shares differ by one at most, and may be empty.

        >>> two = Processes()
        >>> two.size = 2
        >>> two.part(5)
        range(0, 2)
        """
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def network(self, model: nn.Module) -> nn.Module:
        """What to call in training, where `model` is what to measure and to save."""
        return model

    def shared_gradients(self, network: nn.Module, due: bool) -> AbstractContextManager[Any]:
        """The context of a backward pass; where it is `due`, the gradients of all processes are added up."""
        del network, due
        return nullcontext()

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of what each process has, on every one of them."""
        return tensor

    def gathered(self, value: T) -> list[T]:
        """What each process has, in their order, on every one of them; pickled, so for what is small."""
        return [value]

    def from_main(self, make: Callable[[], T]) -> T:
        """What `make` gives in the main process; the others wait for it, or for its `TrainError`."""
        return make()

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """A `TrainError` inside, in any of the processes, is raised in all of them."""
        yield

    def stopping(self, wanted: bool) -> bool:
        """Whether any process wants to stop. All get the same answer, which may be a step late."""
        return wanted

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor in one piece, where the processes keep a piece each."""
        return tensor

    def like(self, tensor: Tensor, kept: Tensor) -> Tensor:
        """The piece of a whole `tensor` that is kept here, where it is to go in the place of `kept`."""
        del kept
        return tensor


def _gone(message: str, notes: Sequence[str] = ()) -> TrainError:
    return TrainError("E0672", message, notes=notes, helps=["`--resume` goes on from the last checkpoint"])


ALONE = Processes()


def join(
    devices: int | None = None, nodes: int = 1, strategy: str | None = None, device: str | None = None
) -> Processes:
    """The processes of a run on `devices` devices of each of `nodes` machines.

    Under `torchrun` this process is one of those it has started; else the others of this machine are started here, by
    the command that started this one. `TrainError` E0670 where that is not possible.
    """
    outside = launched_outside(os.environ)
    if outside:
        devices, nodes = _checked_launch(outside, devices, nodes)
    planned = plan(devices, nodes, strategy, device)
    if planned.size == 1:
        return ALONE
    if not (outside or "LOCAL_RANK" in os.environ or _can_be_repeated()):
        message = "the other processes cannot be started from here, as no script or command is running"
        raise TrainError("E0670", message, helps=["start them by `torchrun --nproc-per-node N`"])
    from netdsl.train.fabric import together

    return together(devices or 1, nodes, strategy or "ddp", _kind_of(device), outside=bool(outside))


def plan(
    devices: int | None = None, nodes: int = 1, strategy: str | None = None, device: str | None = None
) -> Processes:
    """What `join` would give, of processes that have not been started; `TrainError` E0670 where it cannot be."""
    name = strategy or "ddp"
    if name not in STRATEGIES:
        helps = did_you_mean(name, STRATEGIES) or ["it is `ddp` or `fsdp`"]
        raise TrainError("E0670", f"there is no strategy `{name}`", helps=helps)
    planned = Processes()
    planned.size, planned.whole_model = (devices or 1) * nodes, name != "fsdp"
    if planned.size > 1:
        _check_devices(devices or 1, _kind_of(device))
    return planned


def silent() -> bool:
    """Whether this process is one of several and not the main one, so that what it prints is said twice.

    Read off the environment, before the processes have met.
    """
    return any(os.environ.get(name, "0") != "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


def launched_outside(environment: Mapping[str, str]) -> tuple[int, int]:
    """The processes on this machine and in all, as `torchrun` tells them; () where it has not started this one."""
    if not {"RANK", "WORLD_SIZE"} <= environment.keys():
        return ()  # type: ignore[return-value]
    world = int(environment["WORLD_SIZE"])
    return int(environment.get("LOCAL_WORLD_SIZE", world)), world


def _checked_launch(outside: tuple[int, int], devices: int | None, nodes: int) -> tuple[int, int]:
    """Devices and nodes as `torchrun` has started them, which what is asked for must not contradict."""
    local, world = outside
    if devices is not None and (devices, nodes) != (local, world // local):
        message = f"`torchrun` has started {world} processes, {local} on this machine, not {devices * nodes}"
        raise TrainError("E0670", message, helps=["leave `--devices` and `--nodes` out under `torchrun`"])
    os.environ.setdefault("LOCAL_RANK", str(int(os.environ["RANK"]) % local))
    return local, world // local


def _kind_of(device: str | None) -> str:
    import torch

    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda"):
        message = f"`{device}` is one device, and several are asked for"
        raise TrainError("E0670", message, helps=["name the kind alone: `--device cuda` or `--device cpu`"])
    return device


def _check_devices(devices: int, kind: str) -> None:
    import torch

    here = torch.cuda.device_count() if kind == "cuda" else (os.cpu_count() or 1) * CROWDED
    if devices > here:
        what = f"{here} CUDA devices here" if kind == "cuda" else f"{os.cpu_count()} processors here"
        raise TrainError("E0670", f"{devices} devices are asked for, and there are {what}")


CROWDED = 8  # processes a processor: more of them are a slip of the finger


def _can_be_repeated() -> bool:
    import __main__

    return getattr(__main__, "__spec__", None) is not None or Path(sys.argv[0]).is_file()
