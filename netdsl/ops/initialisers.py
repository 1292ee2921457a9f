"""How a tensor gets its first values: the initialisers of `torch.nn.init`, with its argument names and defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, TypeVar

from pydantic import Field, InstanceOf, model_validator

from netdsl.ir.dims import Dim
from netdsl.ir.formulas import INFIX, Formula, fans
from netdsl.ops.base import Arguments, ShapeProblem, Size, fixed, initialisers
from netdsl.ops.target import Arg, Call, Index, Infix, Prefix, Stride, method

Nonlinearity: TypeAlias = Literal[
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "selu",
]

# Numbers that may be formulas over the fans of what is filled.
Amount: TypeAlias = float | InstanceOf[Formula]
Spread: TypeAlias = Annotated[float, Field(ge=0)] | InstanceOf[Formula]
PositiveSpread: TypeAlias = Annotated[float, Field(gt=0)] | InstanceOf[Formula]

InitialiserClass = TypeVar("InitialiserClass", bound="type[Initialiser]")


class Initialiser(Arguments):
    """Fills a tensor with `nn.init.KIND_(tensor, ...)`. `ranks` are the numbers of axes that it is made for."""

    ranks: ClassVar[Sequence[int]] = range(1000)

    def check(self, shape: Sequence[Dim]) -> None:
        """Raises `ShapeProblem` where a tensor of `shape` cannot be filled."""
        if len(shape) in self.ranks:
            self.resolved(shape)
            return
        low, high = self.ranks[0], self.ranks[-1]
        needs = (
            f"{low} axes"
            if low == high
            else f"{low} to {high} axes"
            if high < 100
            else f"at least {low} axes"
        )
        raise ShapeProblem(
            "E0401",
            f"`{self.kind}` fills a tensor of {needs}, but this one has {len(shape)}",
            label=f"this is [{', '.join(map(str, shape))}]",
        )

    def resolved(self, shape: Sequence[Dim]) -> Self:
        """The same for a tensor of `shape`, where `fan_in` and `fan_out` are numbers."""
        formulas = {name: given for name, given in self.arguments().items() if isinstance(given, Formula)}
        if not formulas:
            return self
        if len(shape) < 2:
            raise ShapeProblem(
                "E0401", "`fan_in` and `fan_out` are those of a tensor of at least 2 axes, but this one has 1"
            )
        known = fans([fixed(dim, "numbers", self.kind) for dim in shape])
        values: dict[str, float] = {}
        for name, formula in formulas.items():
            try:
                values[name] = formula.value(known)
                type(self).model_validate({**self.arguments(), **values})
            except (ArithmeticError, ValueError):
                sizes = " and ".join(f"`{fan} = {size}`" for fan, size in known.items())
                raise ShapeProblem(
                    "E0303", f"`{name}` of `{self.kind}` cannot be `{formula}` where {sizes}"
                ) from None
        return type(self)(**{**self.arguments(), **values})

    def torch(self) -> Call:
        """The call that fills `Arg(0)`."""
        given = {name: _tree(value) for name, value in self.arguments().items()}
        required = [name for name, entry in type(self).model_fields.items() if entry.is_required()]
        args = tuple(given.pop(name) for name in required)
        return Call(f"nn.init.{self.kind}_", (Arg(0), *args), tuple(given.items()))


def _tree(value: Any) -> Any:
    """A formula as torch computes it of the tensor `Arg(0)`."""
    if not isinstance(value, Formula):
        return value
    if value.op == "fan_in":
        return method(Index(Arg(0), (0,)), "numel")
    if value.op == "fan_out":
        return method(Index(Arg(0), (Stride(), 0)), "numel")
    parts = tuple(map(_tree, value.parts))
    if value.op in INFIX:
        return Infix(value.op, *parts) if len(parts) == 2 else Prefix(value.op, *parts)
    return Call(value.op if value.op in ("abs", "min", "max") else f"math.{value.op}", parts)


def initialiser(cls: InitialiserClass) -> InitialiserClass:
    """Register an initialiser under its kind. All its arguments may be given by position."""
    initialisers.add(cls.kind, cls)
    return cls


@initialiser
class Zeros(Initialiser):
    """0 everywhere."""

    kind: ClassVar[str] = "zeros"


@initialiser
class Ones(Initialiser):
    """1 everywhere."""

    kind: ClassVar[str] = "ones"


@initialiser
class Constant(Initialiser):
    """`val` everywhere."""

    kind: ClassVar[str] = "constant"
    positional: ClassVar[tuple[str, ...]] = ("val",)

    val: Amount


@initialiser
class Normal(Initialiser):
    """Normal numbers."""

    kind: ClassVar[str] = "normal"
    positional: ClassVar[tuple[str, ...]] = ("mean", "std")

    mean: Amount = 0.0
    std: Spread = 1.0


@initialiser
class TruncNormal(Initialiser):
    """Normal numbers, drawn again where they are below `a` or above `b`."""

    kind: ClassVar[str] = "trunc_normal"
    positional: ClassVar[tuple[str, ...]] = ("mean", "std", "a", "b")

    mean: Amount = 0.0
    std: PositiveSpread = 1.0
    a: Amount = -2.0
    b: Amount = 2.0

    @model_validator(mode="after")
    def _in_order(self) -> TruncNormal:
        if isinstance(self.a, float) and isinstance(self.b, float) and self.a >= self.b:
            raise ValueError(f"`a = {self.a}` is not below `b = {self.b}`")
        return self


@initialiser
class Uniform(Initialiser):
    """Numbers from `a` to `b`, all as likely."""

    kind: ClassVar[str] = "uniform"
    positional: ClassVar[tuple[str, ...]] = ("a", "b")

    a: Amount = 0.0
    b: Amount = 1.0

    @model_validator(mode="after")
    def _in_order(self) -> Uniform:
        if isinstance(self.a, float) and isinstance(self.b, float) and self.a > self.b:
            raise ValueError(f"`a = {self.a}` is above `b = {self.b}`")
        return self


@initialiser
class XavierUniform(Initialiser):
    """Uniform numbers, as wide as keeps the variance both forward and backward (Glorot and Bengio, 2010)."""

    kind: ClassVar[str] = "xavier_uniform"
    positional: ClassVar[tuple[str, ...]] = ("gain",)
    ranks: ClassVar[Sequence[int]] = range(2, 1000)

    gain: Amount = 1.0


@initialiser
class XavierNormal(Initialiser):
    """Normal numbers, as wide as keeps the variance both forward and backward (Glorot and Bengio, 2010)."""

    kind: ClassVar[str] = "xavier_normal"
    positional: ClassVar[tuple[str, ...]] = ("gain",)
    ranks: ClassVar[Sequence[int]] = range(2, 1000)

    gain: Amount = 1.0


class _Kaiming(Initialiser):
    """Numbers as wide as keeps the variance through a `nonlinearity` (He et al., 2015)."""

    positional: ClassVar[tuple[str, ...]] = ("a", "mode", "nonlinearity")
    ranks: ClassVar[Sequence[int]] = range(2, 1000)

    a: float = 0
    mode: Literal["fan_in", "fan_out"] = "fan_in"
    nonlinearity: Nonlinearity = "leaky_relu"


@initialiser
class KaimingUniform(_Kaiming):
    """Uniform numbers, as wide as keeps the variance through a `nonlinearity` (He et al., 2015)."""

    kind: ClassVar[str] = "kaiming_uniform"


@initialiser
class KaimingNormal(_Kaiming):
    """Normal numbers, as wide as keeps the variance through a `nonlinearity` (He et al., 2015)."""

    kind: ClassVar[str] = "kaiming_normal"


@initialiser
class Orthogonal(Initialiser):
    """A matrix whose rows or columns are orthogonal (Saxe et al., 2013), times `gain`."""

    kind: ClassVar[str] = "orthogonal"
    positional: ClassVar[tuple[str, ...]] = ("gain",)
    ranks: ClassVar[Sequence[int]] = range(2, 1000)

    gain: Amount = 1


@initialiser
class Eye(Initialiser):
    """The identity matrix."""

    kind: ClassVar[str] = "eye"
    ranks: ClassVar[Sequence[int]] = (2,)


@initialiser
class Dirac(Initialiser):
    """A convolution that passes its input on, in each of `groups`."""

    kind: ClassVar[str] = "dirac"
    positional: ClassVar[tuple[str, ...]] = ("groups",)
    ranks: ClassVar[Sequence[int]] = (3, 4, 5)

    groups: Size = 1

    def check(self, shape: Sequence[Dim]) -> None:
        super().check(shape)
        if isinstance(shape[0], int) and shape[0] % self.groups:
            raise ShapeProblem(
                "E0406", f"`groups = {self.groups}` of `{self.kind}` does not divide {shape[0]} filters"
            )


@initialiser
class Sparse(Initialiser):
    """Normal numbers, a share `sparsity` of each column 0 (Martens, 2010)."""

    kind: ClassVar[str] = "sparse"
    positional: ClassVar[tuple[str, ...]] = ("sparsity", "std")
    ranks: ClassVar[Sequence[int]] = (2,)

    sparsity: float = Field(ge=0, le=1)
    std: float = 0.01
