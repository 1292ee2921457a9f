"""Several processes as one run, by Lightning Fabric: it starts them, lets them talk, and shares the gradients out."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from importlib import import_module
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from netdsl.train.errors import TrainError
from netdsl.train.processes import Processes
from netdsl.train.synced import sync

T = TypeVar("T")

GONE = (
    "connection closed",
    "connection reset",
    "broken pipe",
    "socket",
    "gloo",
    "nccl",
    "timed out",
)  # as torch says it

FOREVER = timedelta(0)  # as torch has it

_joined: dict[tuple[Any, ...], Together] = {}


def together(devices: int, nodes: int, strategy: str, kind: str, *, outside: bool) -> Together:
    """The processes, which have met when this returns; the same ones for the same request."""
    request = (devices, nodes, strategy, kind)
    if request not in _joined:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module("lightning.fabric")  # which sets what its loggers say
        with _quiet():
            _joined[request] = Together(devices, nodes, strategy, kind, outside=outside)
    return _joined[request]


class Together(Processes):
    """One of several processes."""

    def __init__(self, devices: int, nodes: int, strategy: str, kind: str, *, outside: bool) -> None:
        from lightning.fabric import Fabric
        from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
        from lightning.fabric.strategies.ddp import DDPStrategy
        from lightning.fabric.strategies.model_parallel import ModelParallelStrategy

        self.sharded = strategy == "fsdp"
        self.whole_model = not self.sharded
        size = devices * nodes
        # Statistics are the same everywhere, as they are taken of all samples: nothing is to be sent around for them.
        ways: Any = (
            ModelParallelStrategy(_sharded, data_parallel_size=size, tensor_parallel_size=1)
            if self.sharded
            else DDPStrategy(broadcast_buffers=False, find_unused_parameters=False)
        )
        try:
            self.fabric: Any = Fabric(
                accelerator=kind,
                devices=devices,
                num_nodes=nodes,
                strategy=ways,
                plugins=[TorchElasticEnvironment()] if outside else None,
            )
            self.fabric.launch()
        except (RuntimeError, ValueError) as problem:
            reason = str(problem).splitlines()[0]
            raise TrainError(
                "E0670", f"{size} processes cannot work together here", notes=[reason]
            ) from problem
        atexit.register(_leave)
        self.rank, self.size = self.fabric.global_rank, self.fabric.world_size
        self.device = str(self.fabric.device)
        # Between the hosts: what they agree on must not wait for the devices.
        self._hosts: Any = distributed.new_group(backend="gloo")
        self._asked: tuple[Any, Tensor] | None = None

    @contextmanager
    def alive(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings(
                    "ignore", "Grad strides do not match"
                )  # which costs a copy, and is said once
                yield
        except RuntimeError as problem:
            if not any(word in str(problem).lower() for word in GONE):
                raise
            helps = ["what it says itself tells why; `--resume` goes on from the last checkpoint"]
            raise TrainError("E0672", "another process of the run has ended", helps=helps) from problem

    def network(self, model: nn.Module) -> nn.Module:
        self._heard()
        sync(model)
        with _quiet():
            return self.fabric.setup_module(model)

    def shared_gradients(self, network: nn.Module, due: bool) -> AbstractContextManager[Any]:
        return self.fabric.no_backward_sync(network, enabled=not due)

    def total(self, tensor: Tensor) -> Tensor:
        found = tensor.clone()
        distributed.all_reduce(found)
        return found

    def gathered(self, value: T) -> list[T]:
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value, group=self._hosts)
        return found

    def from_main(self, make: Callable[[], T]) -> T:
        made: list[Any] = [None, None]
        if self.main:
            try:
                made[0] = make()
            except TrainError as problem:
                made[1] = problem
        problem = made[1]
        distributed.broadcast_object_list(made, 0, group=self._hosts)
        if made[1] is not None:
            raise problem or _told(made[1])
        return made[0]

    @contextmanager
    def agreed(self) -> Iterator[None]:
        own: TrainError | None = None
        try:
            yield
        except TrainError as problem:
            own = problem
        found = [problem for problem in self.gathered(own) if problem is not None]
        if found:
            raise (own or found[0]) if self.main else _told(found[0])

    def stopping(self, wanted: bool) -> bool:
        """The answer to what was asked a step ago, so that nobody waits for it."""
        before = self._asked
        flag = torch.tensor([int(wanted)])
        self._asked = distributed.all_reduce(flag, group=self._hosts, async_op=True), flag
        if before is None:
            return False
        work, answer = before
        work.wait()
        return bool(answer.item())

    def _heard(self, patience: timedelta = FOREVER) -> None:
        """What the last step of a run asked is answered, and nobody wants to know."""
        if self._asked is not None:
            self._asked[0].wait(patience)
            self._asked = None

    def leave(self) -> None:
        """Lets go of the groups, whose threads end with them; but not while one waits for a process that is gone."""
        with suppress(RuntimeError):
            self._heard(timedelta(seconds=5))
            self._hosts = self.fabric = None

    def whole(self, tensor: Tensor) -> Tensor:
        return tensor.full_tensor() if self.sharded and hasattr(tensor, "full_tensor") else tensor  # type: ignore[attr-defined]

    def like(self, tensor: Tensor, kept: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(kept, DTensor) or tensor.shape != kept.shape:
            return tensor
        return distribute_tensor(tensor.to(kept.device), kept.device_mesh, kept.placements)


def _sharded(model: nn.Module, mesh: Any) -> nn.Module:
    """`model` with its parameters in pieces: those of each part of a list together, and then the rest."""
    from torch.distributed.fsdp import fully_shard

    seen: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            seen[id(parameter)] = seen.get(id(parameter), 0) + 1
    own = mesh["data_parallel"]
    for module in list(model.modules()):
        if not isinstance(module, (nn.ModuleList, nn.Sequential)) or module is model:
            continue
        for part in module:
            parameters = list(part.parameters())
            if parameters and all(seen[id(p)] == 1 for p in parameters):
                fully_shard(part, mesh=own)
    fully_shard(model, mesh=own, reshard_after_forward=True)  # else averages stay where weights should be
    return model


def _told(problem: TrainError) -> TrainError:
    """A problem that the main process tells of."""
    problem.told = True
    return problem


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's announcements and its advice on loops that are not ours."""
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _leave() -> None:
    """The processes part, so that none waits for another at the end.

    A thread of gloo that frees the tensor of its last work when the interpreter is on its way out aborts the process.
    Such threads end with the last reference to their group; where caches of torch keep one (those of sharded tensors
    do), it gets the time to free what is to be freed.
    """
    for joined in _joined.values():
        joined.leave()
    if distributed.is_initialized():
        distributed.destroy_process_group()
    gc.collect()
    time.sleep(0.05)
    os.environ.pop("WORLD_SIZE", None)
