"""One step of a recurrence: for loops that a file writes out itself."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar, Literal

from netdsl.ir.dims import Dim
from netdsl.ir.types import State, Tensor
from netdsl.ops.agreement import agrees
from netdsl.ops.base import Case, Layer, ShapeProblem, Size, check_inferred, fixed, needs_float32, op
from netdsl.ops.cases import pick
from netdsl.ops.onnx_parts import tensor_of
from netdsl.ops.recurrent import lstm_step
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue


class _Cell(Layer):
    """What the three cells share. States that are not given are zeros."""

    positional: ClassVar[tuple[str, ...]] = ("hidden_size",)
    inferred: ClassVar[tuple[str, ...]] = ("input_size",)
    gates: ClassVar[int]  # parts that the rows of a weight are cut in
    states: ClassVar[int] = 1

    hidden_size: Size
    bias: bool = True
    input_size: Size | None = None

    def features(self, x: Tensor) -> int:
        if x.rank != 2:
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs 2 axes, [N, features], but the input has {x.rank}",
                operand=0,
                label=f"this is {x}",
            )
        needs_float32(self.kind, x)
        found = fixed(x.shape[1], "features", self.kind)
        check_inferred(self.kind, "input_size", self.input_size, found)
        return found

    def inferred_sizes(self, x: Tensor, *_: Any) -> tuple[int, ...]:
        return (self.features(x),)

    def state_after(self, x: Tensor, *given: Tensor | None) -> Tensor:
        self.features(x)
        expected = x.with_shape(x.shape[0], self.hidden_size)
        for number, state in enumerate(given, 1):
            if state is None:
                continue
            needs_float32(self.kind, state, operand=number)
            fits, note = agrees(state.shape, expected.shape)
            if not fits:
                raise ShapeProblem(
                    "E0402",
                    f"a state of `{self.kind}` does not fit: it is {expected}",
                    operand=number,
                    label=f"this is {state}",
                    note=note,
                )
        return expected

    def parameters(self, x: Tensor, *_: Any) -> dict[str, State]:
        rows = self.gates * self.hidden_size
        found = {"weight_ih": State((rows, self.features(x))), "weight_hh": State((rows, self.hidden_size))}
        return {**found, "bias_ih": State((rows,)), "bias_hh": State((rows,))} if self.bias else found

    def cost(self, x: Tensor, *_: Any) -> Dim:
        return x.shape[0] * (self.gates * self.hidden_size * (self.features(x) + self.hidden_size))

    def told(self, g: OnnxTarget, x: OnnxValue, which: str) -> OnnxValue:
        """What the gates are told by the input ("ih") or the state ("hh")."""
        product = g.op("MatMul", x, g.derived(f"weight_{which}", "transpose"))
        return g.op("Add", product, g.state(f"bias_{which}")) if self.bias else product

    def start(self, g: OnnxTarget, x: OnnxValue, state: OnnxValue | None) -> OnnxValue:
        if state is not None:
            return state
        zero = g.constant(0.0, "float32")
        return g.op("Expand", zero, g.sizes([tensor_of(x).shape[0], self.hidden_size]))

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {"hidden_size": random.randint(1, 4), "bias": random.random() < 0.7}

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments = cls.sample_arguments(random)
        sizes = tuple(random.randint(1, 4) for _ in range(2 if random.random() < 0.95 else 3))
        x = Tensor(sizes, "float64" if random.random() < 0.04 else "float32")
        if random.random() < 0.4:
            return Case(arguments, (x,))
        state = Tensor((sizes[0], arguments["hidden_size"] + (1 if random.random() < 0.1 else 0)))
        return Case(arguments, (x, *[state] * cls.states))


@op
class RNNCell(_Cell):
    """A step of `RNN`: `h' = tanh(W x + U h + b)`.

    RNNCell(64) : [N, 16] -> [N, 64]
    RNNCell(64, nonlinearity = "relu") : [N, 16], [N, 64] -> [N, 64]
    """

    gates: ClassVar[int] = 1

    nonlinearity: Literal["tanh", "relu"] = "tanh"

    def infer(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self.state_after(input, hx)

    def onnx(self, g: OnnxTarget, input: OnnxValue, hx: OnnxValue | None = None) -> OnnxValue:
        h = self.start(g, input, hx)
        total = g.op("Add", self.told(g, input, "ih"), self.told(g, h, "hh"))
        return g.op("Tanh" if self.nonlinearity == "tanh" else "Relu", total)

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {**super().sample_arguments(random), "nonlinearity": pick(random, ("tanh", "relu"))}


@op
class GRUCell(_Cell):
    """A step of `GRU`.

    GRUCell(64) : [N, 16], [N, 64] -> [N, 64]
    """

    gates: ClassVar[int] = 3

    def infer(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self.state_after(input, hx)

    def onnx(self, g: OnnxTarget, input: OnnxValue, hx: OnnxValue | None = None) -> OnnxValue:
        h = self.start(g, input, hx)
        told = (self.told(g, x, which) for x, which in ((input, "ih"), (h, "hh")))
        (reset, update, new), (reset_h, update_h, new_h) = (
            g.op("Split", part, results=3, axis=1, num_outputs=3) for part in told
        )
        reset = g.op("Sigmoid", g.op("Add", reset, reset_h))
        update = g.op("Sigmoid", g.op("Add", update, update_h))
        new = g.op("Tanh", g.op("Add", new, g.op("Mul", reset, new_h)))
        return g.op("Add", new, g.op("Mul", update, g.op("Sub", h, new)))


@op
class LSTMCell(_Cell):
    """A step of `LSTM`. Gives the new `h` and `c`.

    LSTMCell(64) : [N, 16] -> [N, 64], [N, 64]
    LSTMCell(64) : [N, 16], [N, 64], [N, 64] -> [N, 64], [N, 64]
    """

    gives: ClassVar[Any] = (0, 1)
    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2

    def infer(
        self, input: Tensor, h_0: Tensor | None = None, c_0: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if (h_0 is None) != (c_0 is None):
            raise ShapeProblem(
                "E0412",
                f"`{self.kind}` starts from `h_0` and `c_0`, but only one of them is given",
                operand=1 if c_0 is None else 2,
                help=f"pass both: `(x, h, c) -> {self.kind}`",
            )
        state = self.state_after(input, h_0, c_0)
        return state, state

    def forward(self, *operands: Tensor | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = sum(operand is not None for operand in operands)
        return ((Arg(0), (Arg(1), Arg(2))) if given == 3 else (Arg(0),)), {}

    def onnx(
        self, g: OnnxTarget, input: OnnxValue, h_0: OnnxValue | None = None, c_0: OnnxValue | None = None
    ) -> tuple[OnnxValue, OnnxValue]:
        h, c = self.start(g, input, h_0), self.start(g, input, c_0)
        return lstm_step(g, g.op("Add", self.told(g, input, "ih"), self.told(g, h, "hh")), c)
