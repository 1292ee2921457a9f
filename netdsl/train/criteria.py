"""A `block` of the file as the loss or a metric: inputs `prediction` and `target`, and a number, or one for each
element.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict

from netdsl.diagnostics import Report
from netdsl.elaborate.criteria import block_of, called_with, criterion, function_of, inputs_of
from netdsl.elaborate.program import Program
from netdsl.elaborate.settings import Choice
from netdsl.elaborate.values import display
from netdsl.ir.graph import Graph
from netdsl.ir.text import print_graph
from netdsl.ir.types import Tensor as TensorType
from netdsl.ir.types import Type
from netdsl.source import Span
from netdsl.train.component import AS_COMPILED
from netdsl.train.data.base import Target
from netdsl.train.endings import gives
from netdsl.train.errors import TrainError
from netdsl.train.losses.base import Gives, Loss
from netdsl.train.metrics.base import DECISIONS, VALUES, Kind, Sums, Task
from netdsl.train.schedules import SCHEDULES, FileFunction

if TYPE_CHECKING:
    from torch import Tensor, nn

INPUTS = {"prediction", "target"}
TRIED = 3  # times that a function of the time is called with, before any run


@dataclass(frozen=True)
class Block:
    """A block with its arguments, elaborated for what it compares; without a graph where that is not known."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    graph: Graph | None = None
    targets: Literal["classes", "values"] = "values"
    gives: Gives = "values"
    binary: bool = False
    modules: dict[Any, Any] = field(
        default_factory=dict[Any, Any], compare=False, repr=False
    )  # by device, as built

    def described(self) -> dict[str, Any]:
        """As plain data; the text is that of the graph, so that another body is another recipe."""
        text = print_graph(self.graph) if self.graph else ""
        return {"kind": self.name, **{k: _plain(v) for k, v in self.arguments.items()}, AS_COMPILED: text}

    def build(self) -> nn.Module:
        """The block as a module of `prediction` and `target`, whose result is one number, a mean over the elements."""
        from netdsl.backends.module import build
        from netdsl.train.elements import Mean

        assert self.graph is not None
        return Mean(build(self.graph))


class BlockLoss(Loss):
    """A loss that the file declares."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    block: Any  # a `Block`; pydantic would look into the graph

    @property
    def reduction(self) -> str:  # type: ignore[override]
        """A block gives a mean, or its elements are averaged."""
        return "mean"

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.block.name

    @property
    def targets(self) -> Literal["classes", "values"]:  # type: ignore[override]
        return self.block.targets

    @property
    def mixable(self) -> bool:  # type: ignore[override]
        return self.targets == "values"

    @property
    def gives(self) -> Gives:  # type: ignore[override]
        return self.block.gives

    @property
    def binary(self) -> bool:  # type: ignore[override]
        return self.block.binary

    def described(self) -> dict[str, Any]:
        return self.block.described()

    def build(self) -> nn.Module:
        return self.block.build()


class BlockMetric(Sums):
    """A metric that the file declares: the mean over the samples. Less of it is better, where `mode` says nothing."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    higher_is_better: ClassVar[bool] = False

    block: Any  # a `Block`; pydantic would look into the graph

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.block.name

    @property
    def takes(self) -> frozenset[Kind]:  # type: ignore[override]
        return DECISIONS if self.block.targets == "classes" or self.block.binary else DECISIONS | VALUES

    def described(self) -> dict[str, Any]:
        return self.block.described()

    def terms(self, output: Tensor, target: Tensor, task: Task) -> list[Tensor]:  # noqa: ARG002
        modules, device = self.block.modules, output.device
        if device not in modules:
            modules[device] = self.block.build().to(device)
        value = modules[device](output, target)
        return [value * len(output), value.new_full((), len(output))]


class Criteria:
    """The blocks of a file that a recipe may name, for a model with these outputs, which `graph` makes."""

    def __init__(self, program: Program, outputs: Sequence[Type], graph: Graph | None) -> None:
        self.program, self.graph = program, graph
        self.output = outputs[0] if outputs and isinstance(outputs[0], TensorType) else None

    def has(self, name: str) -> bool:
        return block_of(self.program, name) is not None

    def construct(
        self, key: str, choice: Choice, target: Target | None, one_hot: bool, report: Report
    ) -> BlockLoss | BlockMetric | None:
        """The block that `choice` names, or None after reporting what is wrong with it (E0641, or what checking a block
        finds).
        """
        declared = block_of(self.program, choice.name)
        assert declared is not None
        arguments = {name: value for name, value in choice.arguments.items() if name != AS_COMPILED}
        choice = replace(choice, arguments=arguments)
        inputs = inputs_of(declared)
        if set(inputs) != INPUTS:
            has = ", ".join(f"`{name}`" for name in inputs) or "none"
            message = f"`{choice.name}` cannot be a {_NOUN[key]}: its inputs are {has}"
            help = "a loss or metric is a block with the inputs `prediction` and `target`"
            report.error("E0641", message, choice.span, helps=[help])
            return None
        classes = _is_integer(inputs["target"])
        make: Any = BlockLoss if key == "loss" else BlockMetric
        pairs = not classes and not one_hot and target is not None and target.kind == "classes"
        block = Block(
            choice.name, targets="classes" if classes else "values", gives=gives(self.graph), binary=pairs
        )
        if self.output is None:
            return make(block=block)
        compared = self.output
        if classes:
            shape = self.output.shape
            compared = TensorType((shape[0], *shape[2:]), inputs["target"] or "int64")
        found = criterion(self.program, choice, {"prediction": self.output, "target": compared}, report)
        if found is None or not self._suits(key, choice, found[0], report):
            return None
        return make(block=Block(block.name, found[1], found[0], block.targets, block.gives, pairs))

    def resolved(self, choice: Choice, report: Report) -> Choice | None:
        """`choice`, a schedule, with each `fn` of the file in its place; None after reporting one that will not do."""
        found = SCHEDULES.members.get(choice.name)
        names = list(found.model_fields) if found else []
        before = len(report.errors)

        def put(name: str, value: Any, place: str | int) -> Any:
            if isinstance(value, (list, tuple)):
                return [put(name, item, place) for item in value]
            if not isinstance(value, Choice) or found is None:
                return value
            if name in found.nested:
                return self.resolved(value, report) or value
            if name not in found.functions:
                return value
            return self._function(value, choice.place(place), report)

        positional = [put(n, v, i) for i, (n, v) in enumerate(zip(names, choice.positional, strict=False))]
        positional += choice.positional[len(names) :]
        arguments = {name: put(name, value, name) for name, value in choice.arguments.items()}
        if len(report.errors) > before:
            return None
        return replace(choice, arguments=arguments, positional=tuple(positional))

    def _function(self, choice: Choice, span: Span | None, report: Report) -> Any:
        """The `fn` that `choice` names, called for some times; as it is where the file has none of that name."""
        declared = function_of(self.program, choice.name)
        if declared is None:
            return choice
        program, at = self.program, choice.span or span or declared.decl.name.span
        given = [name for name in choice.arguments if name != AS_COMPILED]
        if given or choice.positional:
            message, help = f"`{choice.name}` is called with the time alone", f"write `{choice.name}`"
            report.error("E0607", message, at, helps=[help])
            return choice

        def call(time: int) -> float:
            problems = Report()
            value = called_with(program, declared, time, at, problems)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value):
                return float(value)
            said = (
                problems.errors[0].message
                if problems.errors
                else f"it gives {display(value)}, no finite number"
            )
            helps = ["it is called with the number of the epoch, or of the step, from 0"]
            raise TrainError(
                "E0607", f"`{choice.name}` cannot be a schedule", at, [f"for {time}: {said}"], helps
            )

        function = FileFunction(choice.name, declared.decl.span.text, call)
        try:
            for time in range(TRIED):
                function(time)
        except TrainError as problem:
            report.add(problem.diagnostic)
        return function

    def _suits(self, key: str, choice: Choice, graph: Graph, report: Report) -> bool:
        """Whether the block gives one number, or one for each sample or element, and learns nothing itself."""
        assert self.output is not None
        types = [graph.types[o.value] for o in graph.outputs]
        one = types[0] if len(types) == 1 and isinstance(types[0], TensorType) else None
        problem, help = "", ""
        if any(state.learned for _, state in graph.state()):
            problem, help = "it has weights of its own, which nothing would learn", "put them into the model"
        elif (
            one is None or not one.is_float or one.shape not in ((), self.output.shape[:1], self.output.shape)
        ):
            result = " and ".join(map(str, types))
            problem = f"it gives {result} for a prediction of {self.output}"
            help = "end it with `-> mean`, which gives one number, or give one for each element of the prediction"
        if problem:
            message = f"`{choice.name}` cannot be a {_NOUN[key]}: {problem}"
            report.error("E0641", message, choice.span, helps=[help])
        return not problem


_NOUN = {"loss": "loss", "metrics": "metric"}


def _is_integer(dtype: str | None) -> bool:
    return dtype is not None and dtype.startswith(("int", "uint"))


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
