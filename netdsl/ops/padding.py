"""Paddings with a number, a mirror image, the edge or the other side, over 1, 2 and 3 axes."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Literal, TypeAlias

from pydantic import field_validator

from netdsl.ir.dims import Dim
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.base import Case, Layer, ShapeProblem, op
from netdsl.ops.cases import pick
from netdsl.ops.onnx_parts import cast, tensor_of
from netdsl.ops.spatial import at_least
from netdsl.ops.target import OnnxTarget, OnnxValue

Mode: TypeAlias = Literal["constant", "reflect", "replicate", "circular"]
Pads: TypeAlias = Sequence[tuple[int, int]]  # before and after, for each of the last axes in their order

_ONNX_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def padded_sizes(kind: str, mode: str, x: Tensor, pads: Pads) -> tuple[Dim, ...]:
    """The sizes of the last axes of `x` after padding. What is mirrored or wrapped must be there."""
    sizes: list[Dim] = []
    for size, (before, after) in zip(x.shape[x.rank - len(pads) :], pads, strict=True):
        if mode in ("reflect", "circular"):
            most = max(before, after)
            room = size - most - 1 if mode == "reflect" else size + min(before, 0) + min(after, 0) - most
            at_least(room, 0, _too_small(kind, x, f"pads an axis of {size} with {most} of its own elements"))
        padded = size + before + after
        sizes.append(
            at_least(padded, 1, _too_small(kind, x, f"leaves nothing of an axis: {size} becomes {padded}"))
        )
    return tuple(sizes)


def _too_small(kind: str, x: Tensor, what: str) -> ShapeProblem:
    return ShapeProblem("E0404", f"`{kind}` {what}", operand=0, label=f"this is {x}", argument="padding")


def pad(
    g: OnnxTarget, x: OnnxValue, rank: int, pads: Pads, mode: str, fill: OnnxValue | None = None
) -> OnnxValue:
    """`x`, of `rank` axes, with its last axes padded, or cropped where a pad is negative."""
    added = [(max(before, 0), max(after, 0)) for before, after in pads]
    removed = [(max(-before, 0), max(-after, 0)) for before, after in pads]
    if mode == "circular":  # what is cropped is not wrapped; but it is mirrored
        return _grown(g, _cropped(g, x, rank, removed), rank, added, mode, fill)
    return _cropped(g, _grown(g, x, rank, added, mode, fill), rank, removed)


def _grown(
    g: OnnxTarget, x: OnnxValue, rank: int, pads: Pads, mode: str, fill: OnnxValue | None
) -> OnnxValue:
    if not any(map(any, pads)):
        return x
    none = [0] * (rank - len(pads))
    amounts = [*none, *(before for before, _ in pads), *none, *(after for _, after in pads)]
    inputs = [x, g.constant(amounts, "int64"), *([] if fill is None else [fill])]
    return g.op("Pad", *inputs, mode=_ONNX_MODES[mode])


def _cropped(g: OnnxTarget, x: OnnxValue, rank: int, pads: Pads) -> OnnxValue:
    cut = {rank - len(pads) + place: pair for place, pair in enumerate(pads) if any(pair)}
    if not cut:
        return x
    starts = [before for before, _ in cut.values()]
    ends = [-after if after else 2**31 - 1 for _, after in cut.values()]
    return g.op("Slice", x, *(g.constant(part, "int64") for part in (starts, ends, list(cut))))


class _Padding(Layer):
    """What all paddings share: torch counts the pads from the last axis on, `[left, right, top, bottom]`."""

    axes: ClassVar[int]
    mode: ClassVar[Mode]
    positional: ClassVar[tuple[str, ...]] = ("padding",)

    padding: int | tuple[int, ...]

    @field_validator("padding")
    @classmethod
    def _two_for_each_axis(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if isinstance(value, tuple) and len(value) != 2 * cls.axes:
            raise ValueError(
                f"`padding` of `{cls.kind}` is one number, or a list of {2 * cls.axes}, two for each axis "
                f"from the last one on, but this list has {len(value)}"
            )
        return value

    def pads(self) -> list[tuple[int, int]]:
        if isinstance(self.padding, int):
            return [(self.padding, self.padding)] * self.axes
        pairs = zip(self.padding[::2], self.padding[1::2], strict=True)
        return list(pairs)[::-1]

    def infer(self, x: Tensor) -> Tensor:
        self.check(x)
        return x.with_shape(
            *x.shape[: x.rank - self.axes], *padded_sizes(self.kind, self.mode, x, self.pads())
        )

    def check(self, x: Tensor) -> None:
        if x.rank not in (self.axes + 1, self.axes + 2):
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs {self.axes + 2} axes, or {self.axes + 1} without a batch, "
                f"but the input has {x.rank}",
                operand=0,
                label=f"this is {x}",
            )
        if x.dtype == "bool" and self.mode != "circular":
            raise ShapeProblem(
                "E0405",
                f"`{self.kind}` does not copy bools",
                operand=0,
                label=f"this is {x}",
                help="convert it first: `-> to(float32)`",
            )

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        return pad(g, x, tensor_of(x).rank, self.pads(), self.mode)

    @classmethod
    def sample(cls, random: Random) -> Case:
        low = -1 if random.random() < 0.2 else 0
        each = tuple(random.randint(low, 2) for _ in range(2 * cls.axes))
        padding = each if random.random() < 0.6 else random.randint(low, 3)
        rank = cls.axes + random.choice((2, 2, 2, 2, 1, 0))
        shape = tuple(random.randint(2, 5) for _ in range(rank))
        return Case(
            {"padding": padding}, (Tensor(shape, pick(random, ("float32",) * 6 + ("int64", "bool"))),)
        )


class _ConstantPadding(_Padding):
    """Paddings with a number take any rank."""

    mode: ClassVar[Mode] = "constant"

    def fill(self) -> float | int | bool:
        return 0

    def check(self, x: Tensor) -> None:
        if x.rank < self.axes:
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs at least {self.axes} axes, but the input has {x.rank}",
                operand=0,
                label=f"this is {x}",
            )

    def onnx(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        type = tensor_of(x)
        fill = cast(g, Scalar(self.fill()), type.dtype) if self.fill() else None
        return pad(g, x, type.rank, self.pads(), self.mode, fill)


class _NumberPadding(_ConstantPadding):
    positional: ClassVar[tuple[str, ...]] = ("padding", "value")

    value: float | int | bool

    def fill(self) -> float | int | bool:
        return self.value

    @classmethod
    def sample(cls, random: Random) -> Case:
        case = super().sample(random)
        return Case({**case.arguments, "value": pick(random, (0.0, 1.5, -2, 3))}, case.operands)


@op
class ConstantPad1d(_NumberPadding):
    """Put `value` around a sequence.

    ConstantPad1d(1, 0.5) : [N, 3, L] -> [N, 3, L + 2]
    """

    axes: ClassVar[int] = 1


@op
class ConstantPad2d(_NumberPadding):
    """Put `value` around an image.

    ConstantPad2d(1, 0.5) : [N, 3, H, W] -> [N, 3, H + 2, W + 2]
    ConstantPad2d([1, 0, 2, 0], 0.5) : [N, 3, H, W] -> [N, 3, H + 2, W + 1]
    """

    axes: ClassVar[int] = 2


@op
class ConstantPad3d(_NumberPadding):
    """Put `value` around a volume.

    ConstantPad3d(1, 0.5) : [N, 3, D, H, W] -> [N, 3, D + 2, H + 2, W + 2]
    """

    axes: ClassVar[int] = 3


@op
class ZeroPad1d(_ConstantPadding):
    """Put zeros around a sequence.

    ZeroPad1d(1) : [N, 3, L] -> [N, 3, L + 2]
    """

    axes: ClassVar[int] = 1


@op
class ZeroPad2d(_ConstantPadding):
    """Put zeros around an image.

    ZeroPad2d(1) : [N, 3, H, W] -> [N, 3, H + 2, W + 2]
    ZeroPad2d([1, 0, 2, 0]) : [N, 3, H, W] -> [N, 3, H + 2, W + 1]
    """

    axes: ClassVar[int] = 2


@op
class ZeroPad3d(_ConstantPadding):
    """Put zeros around a volume.

    ZeroPad3d(1) : [N, 3, D, H, W] -> [N, 3, D + 2, H + 2, W + 2]
    """

    axes: ClassVar[int] = 3


@op
class ReflectionPad1d(_Padding):
    """Put a mirror image around a sequence; the edge itself is not repeated.

    ReflectionPad1d(1) : [N, 3, L] -> [N, 3, L + 2]
    ReflectionPad1d([3, 0]) : [N, 3, 8] -> [N, 3, 11]
    """

    axes: ClassVar[int] = 1
    mode: ClassVar[Mode] = "reflect"


@op
class ReflectionPad2d(_Padding):
    """Put a mirror image around an image; the edge itself is not repeated.

    ReflectionPad2d(1) : [N, 3, H, W] -> [N, 3, H + 2, W + 2]
    """

    axes: ClassVar[int] = 2
    mode: ClassVar[Mode] = "reflect"


@op
class ReflectionPad3d(_Padding):
    """Put a mirror image around a volume; the edge itself is not repeated.

    ReflectionPad3d(1) : [N, 3, D, H, W] -> [N, 3, D + 2, H + 2, W + 2]
    """

    axes: ClassVar[int] = 3
    mode: ClassVar[Mode] = "reflect"


@op
class ReplicationPad1d(_Padding):
    """Put copies of the edge around a sequence.

    ReplicationPad1d(1) : [N, 3, L] -> [N, 3, L + 2]
    """

    axes: ClassVar[int] = 1
    mode: ClassVar[Mode] = "replicate"


@op
class ReplicationPad2d(_Padding):
    """Put copies of the edge around an image.

    ReplicationPad2d(1) : [N, 3, H, W] -> [N, 3, H + 2, W + 2]
    """

    axes: ClassVar[int] = 2
    mode: ClassVar[Mode] = "replicate"


@op
class ReplicationPad3d(_Padding):
    """Put copies of the edge around a volume.

    ReplicationPad3d(1) : [N, 3, D, H, W] -> [N, 3, D + 2, H + 2, W + 2]
    """

    axes: ClassVar[int] = 3
    mode: ClassVar[Mode] = "replicate"


@op
class CircularPad1d(_Padding):
    """Put the other side of a sequence at each side.

    CircularPad1d(1) : [N, 3, L] -> [N, 3, L + 2]
    """

    axes: ClassVar[int] = 1
    mode: ClassVar[Mode] = "circular"


@op
class CircularPad2d(_Padding):
    """Put the other side of an image at each side.

    CircularPad2d(1) : [N, 3, H, W] -> [N, 3, H + 2, W + 2]
    """

    axes: ClassVar[int] = 2
    mode: ClassVar[Mode] = "circular"


@op
class CircularPad3d(_Padding):
    """Put the other side of a volume at each side.

    CircularPad3d(1) : [N, 3, D, H, W] -> [N, 3, D + 2, H + 2, W + 2]
    """

    axes: ClassVar[int] = 3
    mode: ClassVar[Mode] = "circular"
