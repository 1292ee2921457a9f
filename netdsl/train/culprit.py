"""Where the first number that is not finite came from: the steps before it are taken again, from the last checkpoint or
the start, and the last two are watched, layer by layer.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from netdsl.ir.graph import Graph
from netdsl.source import Span
from netdsl.train.checkpoint import Damaged, checkpoints, read_checkpoint
from netdsl.train.errors import TrainError
from netdsl.train.loop import fit
from netdsl.train.records import Step, Stopped
from netdsl.train.state import Run

SMALL = 2**28  # bytes of weights that are remembered for this from the start of a run
SECONDS = 120.0  # that taking the steps again may last


@dataclass(frozen=True)
class Culprit:
    """In words, and the path of the module in the model, where it is one."""

    text: str
    module: str = ""


def first_weights(model: nn.Module) -> dict[str, Tensor] | None:
    """The weights that a run begins with, where they are small enough to be kept for `find_culprit`."""
    state = model.state_dict()
    if sum(tensor.nbytes for tensor in state.values()) > SMALL:
        return None
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


def find_culprit(run: Run, folder: Path, first: Mapping[str, Tensor] | None, bad: int) -> Culprit | None:
    """What made the first number that is not finite in step `bad` of `run`, or in the one before; `run` stays as it is.

    None where there is nothing to begin from, it would take too long, or it does not happen again.
    """
    again = _at_last_checkpoint(run, folder, bad) or (first is not None and _at_start(run, first)) or None
    if again is None:
        return None
    begin = perf_counter()
    steps = fit(again)
    while again.step < bad - 2 and perf_counter() - begin < SECONDS:
        if isinstance(next(steps, None), Stopped | None):
            return None
    if again.step < bad - 2:
        return None
    with _watching(again) as seen:
        for record in steps:
            if isinstance(record, Step | Stopped):
                seen.after_step(record)
            if seen.found or again.step >= bad:
                break
    return seen.found


def _again(run: Run) -> Run:
    """The run from its first step, with a record for each."""
    recipe = run.recipe.model_copy(update={"log_every": 1, "checkpoint_every": None, "compile": False})
    return Run(copy.deepcopy(run.model), recipe, run.data, run.device, run.channels_last)


def _at_start(run: Run, first: Mapping[str, Tensor]) -> Run:
    begun = _again(run)
    begun.model.load_state_dict(first)
    return begun


def _at_last_checkpoint(run: Run, folder: Path, bad: int) -> Run | None:
    """The run where the newest whole checkpoint before step `bad` is."""
    for path in checkpoints(folder):
        if int(path.name.split("-")[-1]) >= bad:
            continue
        try:
            found = read_checkpoint(path)
        except Damaged:  # the one before it does as well
            continue
        begun = _again(run)
        begun.load(found.weights, found.state)
        return begun
    return None


class _Seen:
    """What the hooks have seen, until the first number that is not finite."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.found: Culprit | None = None
        self.names = {module: name for name, module in run.model.named_modules()}
        self.parameters = [(name, p) for name, p in run.model.named_parameters() if p.requires_grad]
        self.before: nn.Module | None = None  # the last one whose output was finite
        self.back: nn.Module | None = None  # and whose gradient was
        self.latest: Tensor | None = None  # that a hook is on

    def called(self, module: nn.Module) -> str:
        name = self.names[module] or "the model"
        return f"`{name}` ({type(module).__name__})" if self.names[module] else f"`{type(module).__name__}`"

    def say(self, text: str, module: nn.Module | None = None) -> None:
        if self.found is None:
            self.found = Culprit(text, self.names[module] if module is not None else "")

    @property
    def watching(self) -> bool:
        return self.found is None and self.run.model.training

    # -- hooks

    def entered(self, module: nn.Module, inputs: Any) -> None:
        if not self.watching or all(map(_finite, _tensors(inputs))):
            return
        if self.before is None:
            self.say(f"the batch of step {self.run.step + 1} has numbers that are not finite")
        else:
            where = f"between {self.called(self.before)} and {self.called(module)}"
            self.say(f"the first number that is not finite came up {where}, whose input it is", module)

    def left(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if not self.watching:
            return
        outputs = list(_tensors(output))
        if all(map(_finite, outputs)):
            self.before = module
            for tensor in outputs:
                if tensor.requires_grad and tensor is not self.latest:  # which is what a module inside gave
                    self.latest = tensor
                    tensor.register_hook(lambda gradient: self.passed_back(module, gradient))
            return
        wrong = next(t for t in outputs if not _finite(t))
        before = self._inside(module)
        inside = f", after {self.called(before)} inside it" if before is not None else ""
        self.say(
            f"{self.called(module)} gave the first numbers that are not finite, {_count(wrong)}{inside}; "
            f"its input was finite, up to {_largest(inputs):.3g}",
            module,
        )

    def _inside(self, module: nn.Module) -> nn.Module | None:
        """The last module whose output was finite, where it is one of those in `module`."""
        inside = [other for other in module.modules() if other is not module]
        return next((other for other in inside if other is self.before), None)

    def passed_back(self, module: nn.Module, gradient: Tensor) -> None:
        if (
            self.found is not None or self.run.scaler is not None
        ):  # which scales until some overflow, and skips them
            return
        if _finite(gradient):
            self.back = module
        elif self.back is None:
            self.say(
                f"the output of {self.called(module)} was finite, and the gradient of the loss at it was not",
                module,
            )
        else:
            self.say(
                f"going back from {self.called(self.back)}, whose gradient was finite, that of the output of "
                f"{self.called(module)} was not, with {_count(gradient)}",
                self.back,
            )

    def learned(self, name: str, gradient: Tensor) -> None:
        if self.found is None and self.run.scaler is None and not _finite(gradient):
            at = f", though the gradient of the output of {self.called(self.back)} was" if self.back else ""
            self.say(
                f"the gradient of `{name}` was not finite, with {_count(gradient)}{at}", self._module_of(name)
            )

    def after_step(self, record: Step | Stopped) -> None:
        """What a step has left: a loss that is none, or weights."""
        if self.found is None and isinstance(record, Stopped) and record.reason == "not finite":
            output = f"the output of {self.called(self.before)}" if self.before is not None else "the output"
            self.say(f"{output} was finite, and `{self.run.recipe.loss.kind}` made no finite loss of it")
        for name, parameter in self.parameters:
            if self.found is None and not _finite(parameter):
                text = f"`{self.run.recipe.optimizer.kind}` made `{name}` not finite in step {self.run.step}"
                self.say(f"{text}, from a gradient that was", self._module_of(name))
        self.before = self.back = self.latest = None

    def _module_of(self, parameter: str) -> nn.Module:
        return self.run.model.get_submodule(parameter.rpartition(".")[0])


@contextmanager
def _watching(run: Run) -> Iterator[_Seen]:
    """Hooks on every module and parameter of `run`."""
    seen = _Seen(run)
    handles: list[Any] = []
    for module in run.model.modules():
        handles.append(module.register_forward_pre_hook(seen.entered))
        handles.append(module.register_forward_hook(seen.left))
    for name, parameter in seen.parameters:
        handles.append(parameter.register_hook(lambda gradient, name=name: seen.learned(name, gradient)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of floating point in what a module takes or gives."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _count(tensor: Tensor) -> str:
    wrong = int((~torch.isfinite(tensor)).sum())
    kinds = [
        word for word, found in (("inf", tensor.isinf().any()), ("nan", tensor.isnan().any())) if bool(found)
    ]
    return f"{' and '.join(kinds)} in {wrong:,} of {tensor.numel():,}"


def _largest(inputs: Any) -> float:
    return max((float(t.detach().abs().max()) for t in _tensors(inputs) if t.numel()), default=0.0)


def place_of(graph: Graph | None, module: str) -> Span | None:
    """Where the layer with the path `module` stands in the text, as far as that is known.

    >>> from netdsl import loads
    >>> graph = loads("model M { input x: [N, 3]\\n output x -> fc: Linear(2) }").M.graph()
    >>> place_of(graph, "fc").text
    'Linear'
    """
    found: Span | None = None
    names = module.split(".") if module else []
    while graph is not None and names:
        for length in range(len(names), 0, -1):  # labels have dots where they nest
            node = graph.layers.get(".".join(names[:length]))
            if node is not None:
                break
        else:
            return found
        found = node.span or found
        graph, names = (node.op if isinstance(node.op, Graph) else None), names[length:]
    return found


def not_finite(
    run: Run, folder: Path, first: Mapping[str, Tensor] | None, stopped: Stopped, graph: Graph | None
) -> TrainError:
    """That a run has ended for this (E0634), with what made it so where that can be found out."""
    able = run.processes.main and run.processes.whole_model
    culprit = find_culprit(run, folder, first, stopped.step) if able else None
    recipe = run.recipe
    helps = [
        f"a smaller learning rate than {recipe.optimizer.lr:g}, or `clip_norm = 1.0`, may keep it finite"
    ]
    if stopped.step == 1:
        helps = ["no weight has changed by then: it follows from the samples and the first weights"]
    place = place_of(graph, culprit.module) if culprit else None
    notes = [culprit.text] if culprit else []
    return TrainError("E0634", stopped.message, place or recipe.places.of("optimizer"), notes, helps)
