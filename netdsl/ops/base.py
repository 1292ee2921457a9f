"""`Op`: one operation, one class, one place. The fields are its arguments in the language; the methods are all that the
compiler ever asks. Lowerings are plain data (`ops.target`), so nothing here imports torch or onnx.

An operation's methods receive the types of its operands. They raise `ShapeProblem` for a user's mistake; the
elaborator, which knows the places, turns it into a diagnostic. They are never called with an unknown type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from random import Random
from typing import Annotated, Any, ClassVar, TypeAlias, TypeVar, cast

from pydantic import ConfigDict, Field

from netdsl.ir.dims import Dim, Expr, symbol, symbols
from netdsl.ir.types import INTEGERS, Scalar, State, Tensor
from netdsl.ops.catalogue import Catalogue
from netdsl.ops.lean import LeanModel
from netdsl.ops.target import Arg, Call, OnnxTarget, OnnxValue, call

Size = Annotated[int, Field(gt=0)]  # a positive number of things
Count = Annotated[int, Field(ge=0)]  # a number of things, perhaps none
Probability = Annotated[float, Field(ge=0, le=1)]
AnyDim: TypeAlias = int | Expr  # a size that may depend on a free dimension: computed at run time

Operands: TypeAlias = "Tensor | Scalar"
Results: TypeAlias = "Tensor | tuple[Tensor, ...]"


class ShapeProblem(Exception):
    """The operands do not fit the operation. `code` is one of E0401-E0420 (see `diagnostics/pages`).

    `operand` is the number of the operand at fault (its place gets the label), `argument` the argument at fault.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        label: str = "",
        operand: int | None = None,
        argument: str | None = None,
        help: str | None = None,
        note: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.label = label
        self.operand = operand
        self.argument = argument
        self.help = help
        self.note = note


@dataclass(frozen=True)
class Case:
    """One random use of an operation, for the laws: `arguments` by name, and the operands' types."""

    arguments: dict[str, Any]
    operands: tuple[Tensor | Scalar, ...]


class Arguments(LeanModel):
    """What is called by name with arguments in the language: the fields are the arguments, frozen and validated."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, defer_build=True, arbitrary_types_allowed=True
    )

    kind: ClassVar[str]  # its name in the language
    positional: ClassVar[
        tuple[str, ...]
    ] = ()  # fields that may be given by position; a last "*dims" takes the rest

    def arguments(self) -> dict[str, Any]:
        """The arguments that were given and differ from the defaults, in the order of the fields."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self.__dict__.items()
            if name in self.model_fields_set and (fields[name].is_required() or value != fields[name].default)
        }

    def __str__(self) -> str:
        inside = ", ".join(f"{name} = {show(value)}" for name, value in self.arguments().items())
        return f"{self.kind}({inside})" if inside else self.kind


class Op(Arguments):
    """The base of all operations. Subclasses are registered with `@op`.

    The class docstring is the reference: a first line, then examples, which are tests, then prose. An example is
    `Conv2d(8, 3, padding = 1) : [N, 3, H, W] -> [N, 8, H, W]`; several operands or results stand as
    `[N, 4], [N, 3] -> [N, 7]`.
    """

    is_layer: ClassVar[bool] = False
    inferred: ClassVar[
        tuple[str, ...]
    ] = ()  # fields read from the operands when they are not given, checked when they are
    pure: ClassVar[bool] = True  # no randomness and no state that changes
    random: ClassVar[bool] = False  # draws random numbers (in training mode)
    elementwise: ClassVar[bool] = (
        False  # each result element depends on the operands' elements at its place only
    )
    training_only: ClassVar[bool] = False  # the identity in evaluation mode
    linear: ClassVar[bool] = False  # an affine map with weights: two in a row without a nonlinearity are one
    removes_mean: ClassVar[bool] = False  # subtracts each channel's mean, so a bias before it has no effect
    fresh: ClassVar[bool] = False  # gives a tensor of its own, which its gradient does not look at again
    in_place: ClassVar[bool] = False  # its gradient needs the result alone, so `inplace` saves a tensor
    takes_scalars: ClassVar[bool] = False  # numbers may stand for operands
    optional_results: ClassVar[tuple[int, ...]] = ()  # results that torch's own types call optional
    inside: ClassVar[
        Mapping[str, str]
    ] = {}  # the kinds of the layers that torch's layer is made of, by dotted name
    gives: ClassVar[Any] = (
        None  # several results: their nesting in torch, as `(0, (1, 2))` for LSTM; else None
    )

    # -- what every operation says

    def infer(self, *operands: Any, **named: Any) -> Any:
        """The types of the results. Subclasses name their operands: `infer(self, x: Tensor)`, `infer(self, *xs)`."""
        raise TypeError(f"{type(self).__name__} has no infer")

    def parameters(self, *operands: Any, **named: Any) -> Mapping[str, State]:
        """Names and shapes of the layer's tensors, as in torch's `state_dict`, in its order."""
        return {}

    def torch(self, *operands: Any, **named: Any) -> Any:
        """The constructor call of a layer, or the expression of a function over `Arg(i)`."""
        raise TypeError(f"{type(self).__name__} has no torch lowering")

    def as_layer(self) -> Call | None:
        """The constructor call of a module that does what a function of one operand does, where torch has one."""
        return None

    def forward(self, *operands: Any, **named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """How a layer's module is called: positional and keyword arguments over `Arg(i)`. All operands, by default."""
        return tuple(Arg(i) for i in range(len(operands))), {}

    def onnx(self, g: OnnxTarget, *operands: Any, **named: Any) -> Any:
        """Write the evaluation-mode meaning into `g`; an OnnxValue, or a tuple of them for several results."""
        raise TypeError(f"{type(self).__name__} has no ONNX lowering")

    def cost(self, *operands: Any, **named: Any) -> Dim:
        """Multiply-adds of one application."""
        return 0

    @classmethod
    def sample(cls, random: Random) -> Case:
        """A random use that may or may not be valid, for the laws: most should be valid, sizes small."""
        raise TypeError(f"{cls.__name__} has no sample")

    # -- the protocol of the graph (`ir.graph.Operation`)

    def result_types(self, *operands: Tensor | Scalar) -> tuple[Tensor, ...]:
        results: Tensor | tuple[Tensor, ...] = self.infer(*operands)
        return results if isinstance(results, tuple) else (results,)

    def state(self, *operands: Tensor | Scalar) -> Mapping[str, State]:
        return self.parameters(*operands)

    def multiply_adds(self, *operands: Tensor | Scalar) -> Dim:
        return self.cost(*operands)


class Layer(Op):
    """A `torch.nn` module. `kind` is the class's name, and `torch()` by default its constructor with `arguments()`."""

    is_layer: ClassVar[bool] = True

    def torch(self, *operands: Any, **named: Any) -> Any:
        return self.module(*operands)

    def module(self, *operands: Any, **named: Any) -> Call:
        """`nn.Kind(...)`: the inferred sizes, then the arguments given, positional ones by position."""
        inferred = self.inferred_sizes(*operands)
        given = {name: value for name, value in self.arguments().items() if name not in self.inferred}
        args: list[Any] = list(inferred)
        for name in self.positional:
            if name not in given:
                break
            args.append(given.pop(name))
        return call(f"nn.{self.kind}", *args, **given)

    def inferred_sizes(self, *operands: Any, **named: Any) -> tuple[int, ...]:
        """What torch's constructor takes first and the language infers, as `in_channels`."""
        return ()


class Function(Op):
    """A torch function. Its `kind` is written in the class: `kind: ClassVar[str] = "relu"`."""


registry: Catalogue[type[Op]] = Catalogue("op")
initialisers: Catalogue[type[Any]] = Catalogue("initialiser")

OpClass = TypeVar("OpClass", bound=type[Op])


def op(cls: OpClass) -> OpClass:
    """Register an operation under its `kind` (a layer's is its class name, where it names none)."""
    if "kind" not in cls.__dict__:
        cls.kind = cls.__name__
    registry.add(cls.kind, cls)
    return cls


@dataclass(frozen=True)
class OperandNames:
    """The tensor operands of an operation, read off its `infer`: names, how many must be given, and `*rest`."""

    names: tuple[str, ...]
    required: int
    rest: bool  # any number of operands


_operand_names: dict[type[Op], OperandNames] = {}


def operands_of(cls: type[Op]) -> OperandNames:
    """The operands that `cls.infer` names.

    >>> from netdsl.ops import registry
    >>> operands_of(registry["where"]).names
    ('condition', 'input', 'other')
    """
    known = _operand_names.get(cls)
    if known is None:
        parameters = list(signature(cls.infer).parameters.values())[1:]
        plain = [p for p in parameters if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
        known = OperandNames(
            names=tuple(p.name for p in plain),
            required=sum(1 for p in plain if p.default is Parameter.empty),
            rest=any(p.kind is Parameter.VAR_POSITIONAL for p in parameters),
        )
        _operand_names[cls] = known
    return known


# ----------------------------------------------------------------------------------- what several families share


def show(value: Any) -> str:
    """A static value as the language writes it."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(show, cast("tuple[Any, ...]", value))) + "]"
    return str(value)


def fixed(dim: Dim, what: str, kind: str, *, operand: int = 0) -> int:
    """`dim` as an integer; a free dimension where torch needs a number is the user's problem."""
    if isinstance(dim, int):
        return dim
    grows = dim not in map(symbol, symbols(dim))
    raise ShapeProblem(
        "E0403",
        f"`{kind}` needs a fixed number of {what}, but it is `{dim}`, which is known only at run time",
        operand=operand,
        help=(
            "it grows with the input: pool to a fixed size before, as `AdaptiveAvgPool2d(1)` does, "
            "or fix the input's size with `--set`"
            if grows
            else f"write the number of {what} in the model's input, or fix it with `--set`"
        ),
    )


def check_inferred(kind: str, argument: str, written: int | None, found: int) -> None:
    """An inferred argument that was written anyway must be what is there."""
    if written is not None and written != found:
        raise ShapeProblem(
            "E0410",
            f"`{argument} = {written}`, but the input of `{kind}` has {found}",
            argument=argument,
            label=f"the input has {found}",
            help=f"leave `{argument}` out: it is read from the input",
        )


def repeat(value: int | tuple[int, ...], times: int) -> tuple[int, ...]:
    """torch's shorthand: one number for all axes, or one for each."""
    return (value,) * times if isinstance(value, int) else value


def needs_float32(kind: str, x: Tensor, *, operand: int = 0) -> None:
    """Layers with weights, which are float32, compute in it."""
    if x.dtype == "float32":
        return
    ids = x.dtype in INTEGERS
    raise ShapeProblem(
        "E0405",
        f"`{kind}` needs a float32 input, but it is {x.dtype}",
        operand=operand,
        label=f"this is {x}",
        help=(
            "look ids up first: `-> Embedding(...)`, or convert numbers: `-> to(float32)`"
            if ids
            else "convert it first: `-> to(float32)`"
        ),
    )


__all__ = [
    "AnyDim",
    "Callable",
    "Case",
    "Count",
    "Function",
    "Layer",
    "OnnxValue",
    "Op",
    "Probability",
    "ShapeProblem",
    "Size",
    "check_inferred",
    "fixed",
    "initialisers",
    "needs_float32",
    "op",
    "operands_of",
    "registry",
    "repeat",
    "show",
]
