"""Activations, element by element."""

from __future__ import annotations

from abc import abstractmethod
from random import Random
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.base import Case, Layer, ShapeProblem, op
from netdsl.ops.cases import pick, shape
from netdsl.ops.onnx_parts import cast, tensor_of
from netdsl.ops.target import OnnxTarget, OnnxValue


class Activation(Layer):
    """An activation of floating-point numbers. What becomes of integers and bools is torch's, and differs."""

    elementwise: ClassVar[bool] = True
    integers: ClassVar[Literal["refused", "kept", "converted"]] = "refused"
    bools: ClassVar[bool] = False  # converted, as integers are

    def infer(self, x: Tensor) -> Tensor:
        return x.with_dtype(self.result_dtype(x))

    def result_dtype(self, x: Tensor) -> str:
        if x.is_float:
            return x.dtype
        if self.integers == "refused" or (x.dtype == "bool" and not self.bools):
            raise ShapeProblem(
                "E0405",
                f"`{self.kind}` needs floating-point numbers, but its input is {x.dtype}",
                operand=0,
                label=f"this is {x}",
                help="convert it first: `-> to(float32)`",
            )
        return "float32" if self.integers == "converted" else x.dtype

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return self.compute(g, cast(g, x, self.result_dtype(tensor_of(x))))

    @abstractmethod
    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        """The activation of an operand that has the result's dtype."""

    @classmethod
    def sample(cls, random: Random) -> Case:
        dtype = pick(random, ("float32",) * 8 + ("int64", "bool"))
        return Case(cls.sample_arguments(random), (Tensor(shape(random, 0, 4), dtype),))

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {"inplace": True} if "inplace" in cls.model_fields and random.random() < 0.3 else {}


@op
class ReLU(Activation):
    """The larger of `x` and 0.

    ReLU : [N, C, H, W] -> [N, C, H, W]
    """

    integers = "kept"
    in_place: ClassVar[bool] = True

    inplace: bool = False

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        integer = x.type is not None and isinstance(x.type, Tensor) and not x.type.is_float
        return g.op("Max", x, g.like(Scalar(0), x)) if integer else g.op("Relu", x)


@op
class ReLU6(Activation):
    """`x` between 0 and 6, and those beyond.

    ReLU6 : [N, C, H, W] -> [N, C, H, W]
    """

    integers = "kept"
    in_place: ClassVar[bool] = True

    inplace: bool = False

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Clip", x, g.like(Scalar(0), x), g.like(Scalar(6), x))


@op
class Hardtanh(Activation):
    """`x` between `min_val` and `max_val`, and those beyond.

    Hardtanh : [N, C] -> [N, C]
    Hardtanh(0.0, 1.0) : [N, C] -> [N, C]
    """

    positional: ClassVar[tuple[str, ...]] = ("min_val", "max_val")
    integers = "kept"

    min_val: float = -1.0
    max_val: float = 1.0
    inplace: bool = False

    @model_validator(mode="after")
    def _some_room(self) -> Hardtanh:
        if self.min_val >= self.max_val:
            raise ValueError(f"`min_val = {self.min_val}` is not below `max_val = {self.max_val}`")
        return self

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        low, high = self.min_val, self.max_val
        if isinstance(x.type, Tensor) and not x.type.is_float:
            low, high = int(low), int(high)
        return g.op("Clip", x, g.like(Scalar(low), x), g.like(Scalar(high), x))

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        bounds = pick(random, ({}, {"min_val": 0.0}, {"max_val": 0.5}, {"min_val": 2.0}))
        return {**super().sample_arguments(random), **bounds}


@op
class Threshold(Activation):
    """`x` above `threshold`, and `value` elsewhere.

    Threshold(0.1, 20.0) : [N, C] -> [N, C]
    """

    positional: ClassVar[tuple[str, ...]] = ("threshold", "value")
    integers = "kept"

    threshold: float
    value: float
    inplace: bool = False

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        threshold, value = self.threshold, self.value
        if isinstance(x.type, Tensor) and not x.type.is_float:
            threshold, value = int(threshold), int(value)
        above = g.op("Greater", x, g.like(Scalar(threshold), x))
        return g.op("Where", above, x, g.like(Scalar(value), x))

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        bounds = {"threshold": pick(random, (0.0, 0.5, 2.0)), "value": pick(random, (-1.0, 20.0))}
        return {**super().sample_arguments(random), **bounds}


@op
class LeakyReLU(Activation):
    """`x` above 0, and `negative_slope` times `x` below.

    LeakyReLU(0.2) : [N, C, H, W] -> [N, C, H, W]
    """

    positional: ClassVar[tuple[str, ...]] = ("negative_slope",)

    negative_slope: float = 0.01
    inplace: bool = False

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("LeakyRelu", x, alpha=self.negative_slope)

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {**super().sample_arguments(random), "negative_slope": pick(random, (0.01, 0.2, 1.5))}


@op
class RReLU(Activation):
    """`x` above 0, and below a multiple of `x` that training draws at random; evaluation takes its mean.

    RReLU : [N, C] -> [N, C]
    """

    positional: ClassVar[tuple[str, ...]] = ("lower", "upper")
    pure: ClassVar[bool] = False
    random: ClassVar[bool] = True

    lower: float = 0.125
    upper: float = 1 / 3
    inplace: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> RReLU:
        if self.lower > self.upper:
            raise ValueError(f"`lower = {self.lower}` is above `upper = {self.upper}`")
        return self

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("LeakyRelu", x, alpha=(self.lower + self.upper) / 2)

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {**super().sample_arguments(random), "lower": pick(random, (0.125, 0.2, 0.5))}


@op
class ELU(Activation):
    """`x` above 0, and `alpha*(exp(x) - 1)` below.

    ELU : [N, C] -> [N, C]
    """

    positional: ClassVar[tuple[str, ...]] = ("alpha",)

    alpha: float = 1.0
    inplace: bool = False

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Elu", x, alpha=self.alpha)

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {**super().sample_arguments(random), "alpha": pick(random, (1.0, 0.5, 2.0))}


@op
class SELU(Activation):
    """The `ELU` whose two constants keep mean 0 and variance 1 from layer to layer.

    SELU : [N, C] -> [N, C]
    """

    inplace: bool = False

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Selu", x)


@op
class CELU(Activation):
    """`x` above 0, and `alpha*(exp(x/alpha) - 1)` below, which is smooth at 0.

    CELU(0.5) : [N, C] -> [N, C]
    """

    positional: ClassVar[tuple[str, ...]] = ("alpha",)

    alpha: float = 1.0
    inplace: bool = False

    @model_validator(mode="after")
    def _a_divisor(self) -> CELU:
        if self.alpha == 0:
            raise ValueError("`alpha` divides, and is 0")
        return self

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Celu", x, alpha=self.alpha)

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {**super().sample_arguments(random), "alpha": pick(random, (1.0, 0.5, 2.0, 0.0))}


@op
class GELU(Activation):
    """`x` times the probability that a normal number is below it, exactly or by a formula with `tanh`.

    GELU : [N, T, 64] -> [N, T, 64]
    GELU(approximate = "tanh") : [N, T, 64] -> [N, T, 64]
    """

    positional: ClassVar[tuple[str, ...]] = ("approximate",)

    approximate: Literal["none", "tanh"] = "none"

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Gelu", x, approximate=self.approximate)

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {"approximate": pick(random, ("none", "none", "tanh", "tanh", "erf"))}


@op
class SiLU(Activation):
    """`x` times the sigmoid of `x`.

    SiLU : [N, C, H, W] -> [N, C, H, W]
    """

    inplace: bool = False

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Mul", x, g.op("Sigmoid", x))


@op
class Mish(Activation):
    """`x` times the `tanh` of the softplus of `x`.

    Mish : [N, C, H, W] -> [N, C, H, W]
    """

    inplace: bool = False

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Mish", x)


@op
class Sigmoid(Activation):
    """`1/(1 + exp(-x))`, between 0 and 1.

    Sigmoid : [N, 1] -> [N, 1]
    """

    integers = "converted"
    bools = True

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Sigmoid", x)


@op
class LogSigmoid(Activation):
    """The logarithm of the sigmoid.

    LogSigmoid : [N, C] -> [N, C]
    """

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Neg", g.op("Softplus", g.op("Neg", x)))


@op
class Tanh(Activation):
    """The hyperbolic tangent, between -1 and 1.

    Tanh : [N, C] -> [N, C]
    """

    integers = "converted"
    bools = True

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Tanh", x)


@op
class Tanhshrink(Activation):
    """`x` less its hyperbolic tangent.

    Tanhshrink : [N, C] -> [N, C]
    """

    integers = "converted"

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Sub", x, g.op("Tanh", x))


@op
class Softsign(Activation):
    """`x/(1 + |x|)`, between -1 and 1.

    Softsign : [N, C] -> [N, C]
    """

    integers = "converted"

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Softsign", x)


@op
class Softplus(Activation):
    """`log(1 + exp(beta*x))/beta`, a smooth ReLU; `x` itself where `beta*x` is above `threshold`.

    Softplus : [N, C] -> [N, C]
    """

    positional: ClassVar[tuple[str, ...]] = ("beta", "threshold")

    beta: float = 1.0
    threshold: float = 20.0

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        beta = g.like(Scalar(self.beta), x)
        inner = x if self.beta == 1 else g.op("Mul", x, beta)
        soft = g.op("Softplus", inner)
        soft = soft if self.beta == 1 else g.op("Div", soft, beta)
        if self.threshold >= 20:  # from where on there is no difference in single precision
            return soft
        return g.op("Where", g.op("Greater", inner, g.like(Scalar(self.threshold), x)), x, soft)

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {"beta": pick(random, (1.0, 2.0, 0.5)), "threshold": pick(random, (20.0, 1.0))}


@op
class Softshrink(Activation):
    """`x` moved towards 0 by `lambd`, and 0 where it is nearer.

    Softshrink : [N, C] -> [N, C]
    """

    positional: ClassVar[tuple[str, ...]] = ("lambd",)

    lambd: float = 0.5

    @model_validator(mode="after")
    def _a_distance(self) -> Softshrink:
        if self.lambd < 0:
            raise ValueError(f"`lambd = {self.lambd}` is below 0")
        return self

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Shrink", x, lambd=self.lambd, bias=self.lambd)

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {"lambd": pick(random, (0.5, 0.25, 1.0, -1.0))}


@op
class Hardshrink(Activation):
    """`x` where it is farther than `lambd` from 0, and 0 elsewhere.

    Hardshrink(0.25) : [N, C] -> [N, C]
    """

    positional: ClassVar[tuple[str, ...]] = ("lambd",)

    lambd: float = 0.5

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("Shrink", x, lambd=self.lambd, bias=0.0)

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        return {"lambd": pick(random, (0.5, 0.25, 1.0))}


@op
class Hardswish(Activation):
    """`x*relu6(x + 3)/6`, near `x` times its sigmoid.

    Hardswish : [N, C, H, W] -> [N, C, H, W]
    """

    inplace: bool = False

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("HardSwish", x)


@op
class Hardsigmoid(Activation):
    """`relu6(x + 3)/6`, near the sigmoid.

    Hardsigmoid : [N, C, 1, 1] -> [N, C, 1, 1]
    """

    inplace: bool = False

    def compute(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return g.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)
