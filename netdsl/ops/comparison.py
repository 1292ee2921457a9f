"""Comparisons, `x < y`, and logic: element by element, with a bool for each."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar

from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.arithmetic import Binary, Operand
from netdsl.ops.base import Case, Function, op
from netdsl.ops.cases import tensor
from netdsl.ops.onnx_parts import cast, numeric
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue, call


class _Comparison(Binary):
    """Both operands are promoted, then compared by the ONNX operator `operator`."""

    operator: ClassVar[str]

    def result_dtype(self, input: Operand, other: Operand) -> str:
        return "bool"

    def computed_dtype(self, dtype: str) -> str:
        return numeric(dtype)

    def gives_dtype(self, computed: str) -> str:
        return "bool"

    def compute(self, g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
        return g.op(self.operator, left, right)


@op
class Lt(_Comparison):
    """Where the first is less than the second: `x < y`.

    lt : [N, 4], [4] -> bool[N, 4]
    """

    kind = "lt"
    symbol = "<"
    operator = "Less"


@op
class Le(_Comparison):
    """Where the first is at most the second: `x <= y`.

    le : [N, 4], [4] -> bool[N, 4]
    """

    kind = "le"
    symbol = "<="
    operator = "LessOrEqual"


@op
class Gt(_Comparison):
    """Where the first is greater than the second: `x > y`.

    gt : [N, 4], [4] -> bool[N, 4]
    """

    kind = "gt"
    symbol = ">"
    operator = "Greater"


@op
class Ge(_Comparison):
    """Where the first is at least the second: `x >= y`.

    ge : [N, 4], [4] -> bool[N, 4]
    """

    kind = "ge"
    symbol = ">="
    operator = "GreaterOrEqual"


@op
class Eq(_Comparison):
    """Where both are equal: `x == y`.

    eq : int64[T, 1], int64[1, T] -> bool[T, T]
    """

    kind = "eq"
    symbol = "=="
    operator = "Equal"


@op
class Ne(_Comparison):
    """Where both differ: `x != y`.

    ne : int64[N], int64[N] -> bool[N]
    """

    kind = "ne"
    symbol = "!="

    def compute(self, g: OnnxTarget, left: OnnxValue, right: OnnxValue, dtype: str) -> OnnxValue:
        return g.op("Not", g.op("Equal", left, right))


class _Logic(Binary):
    """Everything but zero counts as true."""

    operator: ClassVar[str]
    takes_scalars = False

    def result_dtype(self, input: Operand, other: Operand) -> str:
        return "bool"

    def onnx(self, g: OnnxTarget, input: OnnxValue | Scalar, other: OnnxValue | Scalar) -> OnnxValue:
        return g.op(self.operator, cast(g, input, "bool"), cast(g, other, "bool"))


@op
class LogicalAnd(_Logic):
    """Where both are true.

    logical_and : bool[N, 4], bool[4] -> bool[N, 4]
    """

    kind = "logical_and"
    operator = "And"


@op
class LogicalOr(_Logic):
    """Where at least one is true.

    logical_or : bool[N, 4], bool[4] -> bool[N, 4]
    """

    kind = "logical_or"
    operator = "Or"


@op
class LogicalXor(_Logic):
    """Where exactly one is true.

    logical_xor : bool[N, 4], bool[4] -> bool[N, 4]
    """

    kind = "logical_xor"
    operator = "Xor"


@op
class LogicalNot(Function):
    """Where it is false, or zero.

    logical_not : bool[N, 4] -> bool[N, 4]
    """

    kind = "logical_not"
    elementwise = True

    def infer(self, input: Tensor) -> Tensor:
        return input.with_dtype("bool")

    def torch(self, input: Tensor) -> Any:
        return call("torch.logical_not", Arg(0))

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        return g.op("Not", cast(g, input, "bool"))

    @classmethod
    def sample(cls, random: Random) -> Case:
        return Case({}, (tensor(random, dtypes=("bool", "float32", "int64")),))
