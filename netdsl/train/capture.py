"""A step as one program: the operations of forward, backward and optimizer, written down as they happen, and from then
on run by torch's interpreter, without Python and without building a graph of gradients.

The operations and their order are those of the step as it is, so the numbers are the same bit for bit: one step is done
both ways, and only where all that it leaves is equal the program takes over. For small models, where the loop is the
cost, it is several times as fast.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from netdsl.backends.module import graph_of
from netdsl.ir.measure import externs
from netdsl.train.program import Replayed, as_written, program_of

if TYPE_CHECKING:
    from netdsl.train.state import Run

WORTHWHILE = 1000  # steps to go: writing a program takes as long as it saves in some hundred
LAYERS = 100  # of larger models the loop is no cost worth mentioning

Result: TypeAlias = tuple[Tensor, Tensor, Tensor | None]  # loss, output, norm of the gradients
Step: TypeAlias = Callable[[Tensor, Tensor], Result]


def can_capture(run: Run) -> bool:
    """Whether every step of `run` is the same operations on the same tensors, and writing them down pays.

    The model must be one that netdsl has built, which does nothing but what its graph says.
    """
    recipe, graph = run.recipe, graph_of(run.model)
    plain = (
        run.processes.size == 1
        and recipe.accumulate == 1
        and run.scaler is None
        and not recipe.compile
        and not recipe.optimizer.repeats
        and (recipe.schedule is None or recipe.schedule.momentum(0, run.total_steps) is None)
    )
    if not plain or graph is None or any(True for _ in externs(graph)):
        return False
    leaves = [module for module in run.model.modules() if not any(True for _ in module.children())]
    return len(leaves) <= LAYERS and run.total_steps - run.step >= WORTHWHILE


class Captured:
    """The steps of `run` on whole batches; `step` is one as it is, which does all others, and those with hooks on the
    model, as a program calls none.
    """

    def __init__(self, run: Run, step: Step) -> None:
        self.run, self.step = run, step
        self.optimizer = run.optimizer
        self.moving = run.recipe.schedule is not None  # whether rates change
        self.warm = bool(run.optimizer.state)  # the first step of an optimizer makes its state
        self.off = False
        self.program: Callable[..., Any] | None = None
        self.taken: tuple[Any, ...] = ()  # what the program was written for
        self.tensors: list[Tensor] = []
        self.rates: list[Tensor] = []
        modules = [module for part in {run.network, run.model} for module in part.modules()]
        self.hooks = [getattr(module, kind) for module in modules for kind in _HOOKS]

    def __call__(self, x: Tensor, y: Tensor) -> Result:
        if self.off or len(x) != self.run.recipe.batch or any(self.hooks):
            return self.step(x, y)
        if self.program is not None:
            return self._run(x, y) if self.taken == self._takes(x, y) else self.step(x, y)
        if self.warm:
            return self._captured(x, y)
        self.warm = True
        return self.step(x, y)

    def _run(self, x: Tensor, y: Tensor) -> Result:
        assert self.program is not None
        for rate, group in zip(self.rates, self.optimizer.param_groups, strict=False):
            rate.fill_(group["lr"])
        with torch.inference_mode(), as_written():
            loss, output, *norm = self.program(*self.tensors, *self.rates, x, y)
        return loss, output, norm[0] if norm else None

    def _takes(self, x: Tensor, y: Tensor) -> tuple[Any, ...]:
        """What a program has in it as it is: shapes, and the arguments of the optimizer."""
        passed = ("params", "lr") if self.moving else ("params",)
        groups = [
            tuple(v for k, v in group.items() if k not in passed) for group in self.optimizer.param_groups
        ]
        return x.shape, x.stride(), y.shape, groups

    def _captured(self, x: Tensor, y: Tensor) -> Result:
        """Do this step, and find its program; where there is none that does the same, all steps stay as they are."""
        tensors = _tensors(self.run)
        before = _State(tensors)
        try:
            program, rates = self._written(tensors, x, y)
        except Exception:  # whatever torch cannot trace or write down
            program, rates = None, []
        self.optimizer.zero_grad(set_to_none=True)
        before.restore()
        found = self.step(x, y)
        if program is None:
            self.off = True
            return found
        after = _State(tensors)
        before.restore()
        self.rates, self.taken = rates, self._takes(x, y)
        self.tensors = [t.detach() for t in tensors]
        try:
            self.program = Replayed(program, [*self.tensors, *rates], x, y) if x.is_cuda else program
            before.restore()
            again = self._run(x, y)
            self.off = not (all(map(_same, found, again)) and after.is_now())
        except RuntimeError:
            self.off = True
        after.restore()
        return found

    def _written(
        self, tensors: list[Tensor], x: Tensor, y: Tensor
    ) -> tuple[Callable[..., Any], list[Tensor]]:
        """The program of a step, and the rates that it takes, where a schedule moves them; the step is done by that."""
        from torch.fx.experimental.proxy_tensor import make_fx

        groups = self.optimizer.param_groups
        kept = [group["lr"] for group in groups]
        kind = torch.float32 if x.is_cuda else torch.float64  # of which fused kernels read rates
        rates = [torch.tensor(lr, dtype=kind, device=x.device) for lr in kept] if self.moving else []

        def step(tensors: list[Tensor], rates: list[Tensor], x: Tensor, y: Tensor) -> list[Tensor]:
            del tensors
            for group, rate in zip(groups, rates, strict=False):
                group["lr"] = rate
            return [part for part in self.step(x, y) if part is not None]

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                traced = make_fx(step)(tensors, rates, x, y)
        finally:
            for group, lr in zip(groups, kept, strict=True):
                group["lr"] = lr
        return program_of(traced), rates


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class _State:
    """What tensors and random numbers were at some time."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tensors
        self.values = [t.detach().clone() for t in tensors]
        self.random = torch.get_rng_state()
        self.device = next((t.device for t in tensors if t.is_cuda), None)
        self.drawn = torch.cuda.get_rng_state(self.device) if self.device else self.random

    @torch.no_grad()
    def restore(self) -> None:
        for tensor, value in zip(self.tensors, self.values, strict=True):
            tensor.copy_(value)
        torch.set_rng_state(self.random)
        if self.device:
            torch.cuda.set_rng_state(self.drawn, self.device)

    def is_now(self) -> bool:
        drawn = torch.cuda.get_rng_state(self.device) if self.device else self.drawn
        same = torch.equal(self.random, torch.get_rng_state()) and torch.equal(self.drawn, drawn)
        return same and all(map(_same, self.tensors, self.values))


def _tensors(run: Run) -> list[Tensor]:
    """Everything that a step reads or changes, but the batch."""
    found: dict[int, Tensor] = {}
    modules: list[nn.Module] = [run.model, run.network, run.loss]
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            found[id(tensor)] = tensor
    for state in run.optimizer.state.values():
        for value in state.values():
            if isinstance(value, Tensor):
                found[id(value)] = value
    for tensor in run.ema.average if run.ema else ():
        found[id(tensor)] = tensor
    return list(found.values())


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    """Equal to the bit, with what is no number where it was. GPUs add up in any order: there, all but equal."""
    if a is None or b is None:
        return a is b
    if a.is_cuda and a.is_floating_point():
        return bool((a - b).float().norm() <= 1e-3 * b.float().norm() + 1e-6)
    return (
        a.dtype == b.dtype
        and torch.equal(a.isnan(), b.isnan())
        and torch.equal(a.nan_to_num(), b.nan_to_num())
    )
