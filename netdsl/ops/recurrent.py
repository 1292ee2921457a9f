"""Recurrent layers: RNN, LSTM and GRU, of several layers, in one direction or in both."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from netdsl.ir.dims import Dim
from netdsl.ir.types import State, Tensor
from netdsl.ops.agreement import agrees
from netdsl.ops.base import (
    Case,
    Count,
    Layer,
    Probability,
    ShapeProblem,
    Size,
    check_inferred,
    fixed,
    needs_float32,
    op,
)
from netdsl.ops.cases import pick
from netdsl.ops.onnx_parts import sliced, squeezed, tensor_of, transposed, unsqueezed
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue


class _Recurrent(Layer):
    """What the three share. The tensors of a layer and direction are named as `weight_ih_l0_reverse`."""

    positional: ClassVar[tuple[str, ...]] = ("hidden_size", "num_layers")
    inferred: ClassVar[tuple[str, ...]] = ("input_size",)
    gates: ClassVar[int]  # parts that the rows of a weight are cut in
    order: ClassVar[tuple[int, ...]]  # the parts as ONNX wants them

    if TYPE_CHECKING:  # each layer has these in torch's order, which differs
        hidden_size: Size
        num_layers: Size
        bias: bool
        batch_first: bool
        dropout: float
        bidirectional: bool
        input_size: Size | None

    @model_validator(mode="after")
    def _dropout_needs_layers(self) -> _Recurrent:
        if self.dropout and self.num_layers == 1:
            raise ValueError("`dropout` is applied between the layers, and there is one")
        return self

    @property
    def pure(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not self.dropout

    @property
    def random(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return bool(self.dropout)

    @property
    def directions(self) -> tuple[str, ...]:
        """The endings of the names of their tensors."""
        return ("", "_reverse") if self.bidirectional else ("",)

    @property
    def width(self) -> int:
        """The size of what one direction gives."""
        return self.hidden_size

    # -- types

    def features(self, x: Tensor) -> int:
        if x.rank != 3:
            layout = "[N, T, features]" if self.batch_first else "[T, N, features]"
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs 3 axes, {layout}, but the input has {x.rank}",
                operand=0,
                label=f"this is {x}",
                help="add the batch: `unsqueeze` makes an axis of 1" if x.rank == 2 else None,
            )
        needs_float32(self.kind, x)
        found = fixed(x.shape[2], "features", self.kind)
        check_inferred(self.kind, "input_size", self.input_size, found)
        return found

    def inferred_sizes(self, x: Tensor, *_: Any) -> tuple[int, ...]:
        return (self.features(x),)

    def batch(self, x: Tensor) -> Dim:
        return x.shape[0 if self.batch_first else 1]

    def steps(self, x: Tensor) -> Dim:
        return x.shape[1 if self.batch_first else 0]

    def outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What all steps give, and the state after the last one."""
        self.features(x)
        out = x.with_shape(*x.shape[:2], len(self.directions) * self.width)
        return out, x.with_shape(len(self.directions) * self.num_layers, self.batch(x), self.width)

    def check_state(self, state: Tensor | None, expected: Tensor, operand: int) -> None:
        """An initial state has the type of the final one."""
        if state is None:
            return
        needs_float32(self.kind, state, operand=operand)
        fits, note = agrees(state.shape, expected.shape)
        if not fits:
            raise ShapeProblem(
                "E0402",
                f"the initial state of `{self.kind}` does not fit: it is {expected}, "
                "a row for each layer and direction",
                operand=operand,
                label=f"this is {state}",
                note=note,
            )

    def parameters(self, x: Tensor, *_: Any) -> dict[str, State]:
        found: dict[str, State] = {}
        rows, width = self.gates * self.hidden_size, self.features(x)
        for layer in range(self.num_layers):
            for ending in self.directions:
                name = f"l{layer}{ending}"
                found[f"weight_ih_{name}"] = State((rows, width))
                found[f"weight_hh_{name}"] = State((rows, self.width))
                if self.bias:
                    found[f"bias_ih_{name}"] = found[f"bias_hh_{name}"] = State((rows,))
                if self.width != self.hidden_size:
                    found[f"weight_hr_{name}"] = State((self.width, self.hidden_size))
            width = len(self.directions) * self.width
        return found

    def cost(self, x: Tensor, *_: Any) -> Dim:
        weights = (state.shape for state in self.parameters(x).values() if len(state.shape) == 2)
        return self.batch(x) * self.steps(x) * sum(int(rows * columns) for rows, columns in weights)

    # -- ONNX

    def layer(
        self, g: OnnxTarget, layer: int, x: OnnxValue, states: list[OnnxValue | None]
    ) -> tuple[OnnxValue, ...]:
        """One layer, in all its directions, of [T, N, features]: what it gives, and its last states."""
        weights = [self.stacked(g, f"weight_{which}_l{layer}") for which in ("ih", "hh")]
        bias = self.biases(g, layer) if self.bias else None
        inputs: list[OnnxValue | None] = [x, *weights, bias, None, *states]
        while inputs[-1] is None:
            inputs.pop()
        given, *last = g.op(
            self.kind,
            *inputs,
            results=1 + len(states),
            hidden_size=self.hidden_size,
            direction="bidirectional" if self.bidirectional else "forward",
            **self.attributes(),
        )
        if not self.bidirectional:
            return (squeezed(g, given, 1), *last)
        return (g.op("Reshape", transposed(g, given, [0, 2, 1, 3]), g.constant([0, 0, -1], "int64")), *last)

    def attributes(self) -> dict[str, Any]:
        return {}

    def stacked(self, g: OnnxTarget, name: str) -> OnnxValue:
        """A tensor of all directions, its gates in the order of ONNX."""
        parts = [unsqueezed(g, self.ordered(g, name + ending), 0) for ending in self.directions]
        return together(g, parts)

    def ordered(self, g: OnnxTarget, name: str) -> OnnxValue:
        if self.gates == 1:
            return g.state(name)
        return g.derived(name, "reorder_gates", order=list(self.order))

    def biases(self, g: OnnxTarget, layer: int) -> OnnxValue:
        both = [self.stacked(g, f"bias_{which}_l{layer}") for which in ("ih", "hh")]
        return g.op("Concat", *both, axis=1)

    def onnx(self, g: OnnxTarget, input: OnnxValue, *states: OnnxValue | None) -> tuple[OnnxValue, ...]:
        x = transposed(g, input, [1, 0, 2]) if self.batch_first else input
        given = list(states) + [None] * (self.state_count - len(states))
        lasts: list[list[OnnxValue]] = [[] for _ in given]
        for layer in range(self.num_layers):
            rows = (layer * len(self.directions), (layer + 1) * len(self.directions))
            initial = [None if s is None else self.rows(g, s, rows) for s in given]
            x, *last = self.layer(g, layer, x, initial)
            for found, state in zip(lasts, last, strict=True):
                found.append(state)
        return (
            transposed(g, x, [1, 0, 2]) if self.batch_first else x,
            *(together(g, found) for found in lasts),
        )

    @property
    def state_count(self) -> int:
        return 1

    def rows(self, g: OnnxTarget, state: OnnxValue, rows: tuple[int, int]) -> OnnxValue:
        return state if self.num_layers == 1 else sliced(g, state, 0, *rows)

    # -- random uses

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        layers = random.randint(1, 2)
        return {
            "hidden_size": random.randint(2, 4),
            "num_layers": layers,
            "bias": random.random() < 0.7,
            "batch_first": random.random() < 0.5,
            "dropout": pick(random, (0.0, 0.0, 0.2)),
            "bidirectional": random.random() < 0.5,
        }

    @classmethod
    def sample_input(cls, random: Random) -> Tensor:
        sizes = tuple(random.randint(1, 4) for _ in range(3 + (random.random() < 0.05)))
        return Tensor(sizes, "float64" if random.random() < 0.04 else "float32")

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments, x = cls.sample_arguments(random), cls.sample_input(random)
        if x.rank != 3 or random.random() < 0.5:
            return Case(arguments, (x,))
        return Case(arguments, (x, *cls.sample_states(random, arguments, x)))

    @classmethod
    def sample_states(cls, random: Random, arguments: dict[str, Any], x: Tensor) -> tuple[Tensor, ...]:
        rows = arguments["num_layers"] * (1 + arguments["bidirectional"])
        batch = x.shape[0 if arguments["batch_first"] else 1]
        size = arguments["hidden_size"] + (1 if random.random() < 0.1 else 0)
        return (Tensor((rows, batch, size)),)


def together(g: OnnxTarget, parts: list[OnnxValue], axis: int = 0) -> OnnxValue:
    """One value of several."""
    return parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=axis)


def lstm_step(g: OnnxTarget, gates: OnnxValue, c: OnnxValue) -> tuple[OnnxValue, OnnxValue]:
    """The new `h`, not yet projected, and `c`, from what the four gates are told: i, f, g, o on the last axis."""
    let_in, keep, new, out = g.op("Split", gates, results=4, axis=-1, num_outputs=4)
    added = g.op("Mul", g.op("Sigmoid", let_in), g.op("Tanh", new))
    c = g.op("Add", g.op("Mul", g.op("Sigmoid", keep), c), added)
    return g.op("Mul", g.op("Sigmoid", out), g.op("Tanh", c)), c


class _OneState(_Recurrent):
    """`(out, h)`."""

    gives: ClassVar[Any] = (0, 1)

    def infer(self, input: Tensor, h_0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        out, last = self.outputs(input)
        self.check_state(h_0, last, 1)
        return out, last


@op
class RNN(_OneState):
    """The plain recurrence `h' = tanh(W x + U h + b)` over a sequence. Gives all of them, and the last.

    RNN(64) : [T, N, 16] -> [T, N, 64], [1, N, 64]
    RNN(64, batch_first = True, nonlinearity = "relu") : [N, T, 16] -> [N, T, 64], [1, N, 64]
    RNN(64) : [T, N, 16], [1, N, 64] -> [T, N, 64], [1, N, 64]
    """

    gates: ClassVar[int] = 1
    order: ClassVar[tuple[int, ...]] = (0,)

    hidden_size: Size
    num_layers: Size = 1
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    bias: bool = True
    batch_first: bool = False
    dropout: Probability = 0.0
    bidirectional: bool = False
    input_size: Size | None = None

    def attributes(self) -> dict[str, Any]:
        return {"activations": [self.nonlinearity.capitalize()] * len(self.directions)}

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {**super().sample_arguments(random), "nonlinearity": pick(random, ("tanh", "relu"))}


@op
class GRU(_OneState):
    """Gated recurrent units over a sequence. Gives what all steps give, and the last state.

    GRU(64, batch_first = True) : [N, T, 16] -> [N, T, 64], [1, N, 64]
    GRU(64, num_layers = 2, bidirectional = True) : [T, N, 16] -> [T, N, 128], [4, N, 64]
    """

    gates: ClassVar[int] = 3
    order: ClassVar[tuple[int, ...]] = (1, 0, 2)  # torch has r, z, n; ONNX z, r, h

    hidden_size: Size
    num_layers: Size = 1
    bias: bool = True
    batch_first: bool = False
    dropout: Probability = 0.0
    bidirectional: bool = False
    input_size: Size | None = None

    def attributes(self) -> dict[str, Any]:
        return {"linear_before_reset": 1}


@op
class LSTM(_Recurrent):
    """Long short-term memory over a sequence. Gives what all steps give, and the last state: `h` and `c`.

    LSTM(64, batch_first = True) : [N, T, 16] -> [N, T, 64], [1, N, 64], [1, N, 64]
    LSTM(64, num_layers = 2, bidirectional = True) : [T, N, 16] -> [T, N, 128], [4, N, 64], [4, N, 64]
    LSTM(64, proj_size = 8) : [T, N, 16], [1, N, 8], [1, N, 64] -> [T, N, 8], [1, N, 8], [1, N, 64]
    """

    gives: ClassVar[Any] = (0, (1, 2))
    gates: ClassVar[int] = 4
    order: ClassVar[tuple[int, ...]] = (0, 3, 1, 2)  # torch has i, f, g, o; ONNX i, o, f, c

    hidden_size: Size
    num_layers: Size = 1
    bias: bool = True
    batch_first: bool = False
    dropout: Probability = 0.0
    bidirectional: bool = False
    proj_size: Count = 0
    input_size: Size | None = None

    @model_validator(mode="after")
    def _projection_is_smaller(self) -> LSTM:
        if self.proj_size >= self.hidden_size:
            raise ValueError(
                f"`proj_size = {self.proj_size}` is not below `hidden_size = {self.hidden_size}`"
            )
        return self

    @property
    def width(self) -> int:
        return self.proj_size or self.hidden_size

    @property
    def state_count(self) -> int:
        return 2

    def infer(
        self, input: Tensor, h_0: Tensor | None = None, c_0: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        out, last = self.outputs(input)
        cell = last.with_shape(*last.shape[:2], self.hidden_size)
        if (h_0 is None) != (c_0 is None):
            raise ShapeProblem(
                "E0412",
                f"`{self.kind}` starts from `h_0` and `c_0`, but only one of them is given",
                operand=1 if c_0 is None else 2,
                help=f"pass both: `(x, h, c) -> {self.kind}`",
            )
        self.check_state(h_0, last, 1)
        self.check_state(c_0, cell, 2)
        return out, last, cell

    def forward(self, *operands: Tensor | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = [operand is not None for operand in operands]
        return ((Arg(0), (Arg(1), Arg(2))) if sum(given) == 3 else (Arg(0),)), {}

    def onnx(self, g: OnnxTarget, input: OnnxValue, *states: OnnxValue | None) -> tuple[OnnxValue, ...]:
        if not self.proj_size:
            return super().onnx(g, input, *states)
        type = tensor_of(input)
        x = transposed(g, input, [1, 0, 2]) if self.batch_first else input
        lasts: tuple[list[OnnxValue], list[OnnxValue]] = ([], [])
        for layer in range(self.num_layers):
            outs: list[OnnxValue] = []
            for ending in self.directions:
                start = [self.start(g, type, len(lasts[0]), which, states) for which in (0, 1)]
                out, h, c = self.written_out(g, f"l{layer}{ending}", x, type, start)
                outs.append(out)
                lasts[0].append(h)
                lasts[1].append(c)
            x = together(g, outs, axis=2)
        return (
            transposed(g, x, [1, 0, 2]) if self.batch_first else x,
            *(together(g, found) for found in lasts),
        )

    def start(
        self, g: OnnxTarget, type: Tensor, row: int, which: int, states: tuple[OnnxValue | None, ...]
    ) -> OnnxValue:
        """The first `h` or `c` of a layer and direction: a row of what is given, or zeros."""
        given = states[which] if len(states) == 2 else None
        if given is not None:
            return sliced(g, given, 0, row, row + 1)
        size = self.hidden_size if which else self.proj_size
        return g.op("Expand", g.constant(0.0, "float32"), g.sizes([1, self.batch(type), size]))

    def written_out(
        self, g: OnnxTarget, name: str, x: OnnxValue, type: Tensor, state: list[OnnxValue]
    ) -> tuple[OnnxValue, OnnxValue, OnnxValue]:
        """The steps of one layer and direction, one after the other: ONNX has no LSTM with a projection."""
        count = self.steps(type)
        if not isinstance(count, int):
            raise ShapeProblem(
                "E0403",
                f"ONNX has no `{self.kind}` with a projection; written out it needs a fixed number of steps, "
                f"but there are `{count}`",
                argument="proj_size",
                help="fix it with `--set`, or leave `proj_size` out",
            )
        inputs, again, project = (
            g.derived(f"weight_{which}_{name}", "transpose") for which in ("ih", "hh", "hr")
        )
        gates = g.op("MatMul", x, inputs)
        if self.bias:
            gates = g.op("Add", gates, g.op("Add", g.state(f"bias_ih_{name}"), g.state(f"bias_hh_{name}")))
        parts = (
            [gates] if count == 1 else list(g.op("Split", gates, results=count, axis=0, num_outputs=count))
        )
        h, c = state
        given: dict[int, OnnxValue] = {}
        for step in reversed(range(count)) if name.endswith("_reverse") else range(count):
            total = g.op("Add", parts[step], g.op("MatMul", h, again))
            out, c = lstm_step(g, total, c)
            h = given[step] = g.op("MatMul", out, project)
        all_steps = [given[step] for step in range(count)]
        return together(g, all_steps), h, c

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {**super().sample_arguments(random), "proj_size": pick(random, (0, 0, 1, 1, 3))}

    @classmethod
    def sample_states(cls, random: Random, arguments: dict[str, Any], x: Tensor) -> tuple[Tensor, ...]:
        (h,) = super().sample_states(random, arguments, x)
        c = h.with_shape(*h.shape[:2], arguments["hidden_size"])
        if arguments["proj_size"] and random.random() < 0.9:
            h = h.with_shape(*h.shape[:2], arguments["proj_size"])
        return (h, c) if random.random() < 0.95 else (h,)
