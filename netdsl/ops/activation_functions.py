"""Activations as functions: `relu(x)`. What they mean is said by the layers."""

from __future__ import annotations

from netdsl.ops.activation import (
    CELU,
    ELU,
    GELU,
    SELU,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Softshrink,
    Softsign,
    Tanh,
    Tanhshrink,
    Threshold,
)
from netdsl.ops.base import op
from netdsl.ops.softmax import GLU
from netdsl.ops.twins import Twin


@op
class ReluFunction(Twin, ReLU):
    """The larger of each element and 0.

    relu : [N, C, H, W] -> [N, C, H, W]
    """

    kind = "relu"


@op
class Relu6Function(Twin, ReLU6):
    """Each element brought between 0 and 6.

    relu6 : [N, C, H, W] -> [N, C, H, W]
    """

    kind = "relu6"


@op
class HardtanhFunction(Twin, Hardtanh):
    """Each element brought between `min_val` and `max_val`.

    hardtanh(0.0, 1.0) : [N, C, H, W] -> [N, C, H, W]
    """

    kind = "hardtanh"
    positional = ("min_val", "max_val")


@op
class ThresholdFunction(Twin, Threshold):
    """Each element above `threshold`, and `value` elsewhere.

    threshold(0.1, 20.0) : [N, C, H, W] -> [N, C, H, W]
    """

    kind = "threshold"
    positional = ("threshold", "value")


@op
class LeakyReluFunction(Twin, LeakyReLU):
    """Each element above 0, and `negative_slope` times it below.

    leaky_relu(0.2) : [N, C, H, W] -> [N, C, H, W]
    """

    kind = "leaky_relu"
    positional = ("negative_slope",)


@op
class EluFunction(Twin, ELU):
    """Each element above 0, and `alpha*(exp(x) - 1)` below.

    elu : [N, C, H, W] -> [N, C, H, W]
    """

    kind = "elu"
    positional = ("alpha",)


@op
class SeluFunction(Twin, SELU):
    """The `elu` whose two constants keep mean 0 and variance 1.

    selu : [N, 64] -> [N, 64]
    """

    kind = "selu"


@op
class CeluFunction(Twin, CELU):
    """Each element above 0, and `alpha*(exp(x/alpha) - 1)` below.

    celu(0.5) : [N, 64] -> [N, 64]
    """

    kind = "celu"
    positional = ("alpha",)


@op
class GeluFunction(Twin, GELU):
    """Each element times the probability that a normal number is below it.

    gelu : [N, T, 64] -> [N, T, 64]
    gelu(approximate = "tanh") : [N, T, 64] -> [N, T, 64]
    """

    kind = "gelu"
    positional = ()


@op
class GluFunction(Twin, GLU):
    """The first half along axis `dim`, times the sigmoid of the second half.

    glu(1) : [N, 2*C, H, W] -> [N, C, H, W]
    """

    kind = "glu"
    positional = ("dim",)


@op
class SiluFunction(Twin, SiLU):
    """Each element times its sigmoid.

    silu : [N, C, H, W] -> [N, C, H, W]
    """

    kind = "silu"


@op
class MishFunction(Twin, Mish):
    """Each element times the `tanh` of its softplus.

    mish : [N, C, H, W] -> [N, C, H, W]
    """

    kind = "mish"


@op
class SigmoidFunction(Twin, Sigmoid):
    """`1/(1 + exp(-x))`, between 0 and 1.

    sigmoid : [N, 1] -> [N, 1]
    """

    kind = "sigmoid"
    namespace = "torch"


@op
class LogSigmoidFunction(Twin, LogSigmoid):
    """The logarithm of the sigmoid.

    logsigmoid : [N, 1] -> [N, 1]
    """

    kind = "logsigmoid"


@op
class TanhFunction(Twin, Tanh):
    """The hyperbolic tangent, between -1 and 1.

    tanh : [N, 64] -> [N, 64]
    """

    kind = "tanh"
    namespace = "torch"


@op
class TanhshrinkFunction(Twin, Tanhshrink):
    """Each element less its hyperbolic tangent.

    tanhshrink : [N, 64] -> [N, 64]
    """

    kind = "tanhshrink"


@op
class SoftsignFunction(Twin, Softsign):
    """`x/(1 + |x|)`, between -1 and 1.

    softsign : [N, 64] -> [N, 64]
    """

    kind = "softsign"


@op
class SoftplusFunction(Twin, Softplus):
    """`log(1 + exp(beta*x))/beta`, a smooth `relu`; the element itself where `beta*x` is above `threshold`.

    softplus : [N, 64] -> [N, 64]
    """

    kind = "softplus"
    positional = ("beta", "threshold")


@op
class SoftshrinkFunction(Twin, Softshrink):
    """Each element moved towards 0 by `lambd`, and 0 where it is nearer.

    softshrink : [N, 64] -> [N, 64]
    """

    kind = "softshrink"
    positional = ("lambd",)


@op
class HardshrinkFunction(Twin, Hardshrink):
    """Each element that is farther from 0 than `lambd`, and 0 elsewhere.

    hardshrink : [N, 64] -> [N, 64]
    """

    kind = "hardshrink"
    positional = ("lambd",)


@op
class HardswishFunction(Twin, Hardswish):
    """Each element times its `hardsigmoid`.

    hardswish : [N, C, H, W] -> [N, C, H, W]
    """

    kind = "hardswish"


@op
class HardsigmoidFunction(Twin, Hardsigmoid):
    """`x/6 + 1/2`, brought between 0 and 1.

    hardsigmoid : [N, C, H, W] -> [N, C, H, W]
    """

    kind = "hardsigmoid"
