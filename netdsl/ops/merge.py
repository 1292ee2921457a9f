"""Functions that make one tensor of several, and several of one."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar, Literal

from pydantic import field_validator

from netdsl.ir.decide import DimMismatch, join
from netdsl.ir.dims import Dim, Expr, exact_div
from netdsl.ir.types import Tensor
from netdsl.ops.axes import axis
from netdsl.ops.base import AnyDim, Case, Function, ShapeProblem, Size, fixed, op
from netdsl.ops.cases import any_axis, pick, shape, tensor
from netdsl.ops.onnx_parts import cast, expanded, reshaped, squeezed, tensor_of, unsqueezed
from netdsl.ops.promotion import mismatch_note, promote
from netdsl.ops.spatial import at_least
from netdsl.ops.target import AllArgs, Arg, OnnxTarget, OnnxValue, call, method


def some_tensors(kind: str, tensors: Sequence[Tensor]) -> None:
    if not tensors:
        raise ShapeProblem("E0412", f"`{kind}` needs at least one tensor, found none")


def join_shapes(kind: str, tensors: Sequence[Tensor], along: int | None) -> list[Dim]:
    """The sizes that all tensors share; along axis `along` they may differ."""
    sizes = list(tensors[0].shape)
    for number, x in enumerate(tensors[1:], 1):
        if x.rank != len(sizes):
            raise ShapeProblem(
                "E0401",
                f"`{kind}` needs tensors with as many axes each, but they have {len(sizes)} and {x.rank}",
                operand=number,
                label=f"this is {x}",
            )
        for place, size in enumerate(x.shape):
            if place == along:
                continue
            try:
                sizes[place] = join(sizes[place], size)
            except DimMismatch as mismatch:
                note = mismatch_note(place, sizes[place], size, mismatch)
                raise _differ(kind, tensors, along, place, note) from None
    return sizes


def _differ(kind: str, tensors: Sequence[Tensor], along: int | None, place: int, note: str) -> ShapeProblem:
    """The tensors differ on axis `place`, which may be the one that they were meant to be put together along."""
    fits = along is not None and _agree_beside(tensors, place)
    return ShapeProblem(
        "E0402",
        f"shapes do not match in `{kind}`",
        note=note if along is None else f"{note}; only axis {along} may differ",
        help=f"put them together along axis {place}: `dim = {place}`" if fits else None,
    )


def _agree_beside(tensors: Sequence[Tensor], along: int) -> bool:
    """Whether the tensors have the same sizes on all axes but `along`."""
    first = tensors[0].shape
    others = [place for place in range(len(first)) if place != along]
    try:
        for x in tensors[1:]:
            for place in others:
                join(first[place], x.shape[place])
    except (DimMismatch, IndexError):
        return False
    return True


@op
class Concat(Function):
    """Tensors one after the other along axis `dim`; their other sizes agree.

    concat(dim = 1) : [N, 3, H, W], [N, 5, H, W] -> [N, 8, H, W]
    concat : [2, 4], [3, 4] -> [5, 4]
    """

    kind = "concat"
    fresh: ClassVar[bool] = True
    dim: int = 0

    def infer(self, *tensors: Tensor) -> Tensor:
        some_tensors(self.kind, tensors)
        along = axis(self.kind, self.dim, tensors[0])
        sizes = join_shapes(self.kind, tensors, along)
        for x in tensors[1:]:
            sizes[along] = sizes[along] + x.shape[along]
        return Tensor(tuple(sizes), promote(*tensors))

    def torch(self, *tensors: Tensor) -> Any:
        return call("torch.cat", AllArgs(), dim=self.dim)

    def onnx(self, g: OnnxTarget, *tensors: OnnxValue) -> OnnxValue:
        types = [tensor_of(t) for t in tensors]
        dtype = promote(*types)
        return g.op("Concat", *(cast(g, t, dtype) for t in tensors), axis=axis(self.kind, self.dim, types[0]))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = shape(random)
        dim = any_axis(random, len(x))
        along = dim % len(x)
        count = random.randint(1, 4)
        parts = [(*x[:along], random.randint(1, 4), *x[along + 1 :]) for _ in range(count)]
        dtypes = ("float32", "float32", "float32", "int64")
        return Case({"dim": dim}, tuple(Tensor(part, pick(random, dtypes)) for part in parts))


@op
class Stack(Function):
    """Tensors of one shape, along a new axis at `dim`.

    stack(dim = 1) : [N, 4], [N, 4], [N, 4] -> [N, 3, 4]
    """

    kind = "stack"
    dim: int = 0

    def infer(self, *tensors: Tensor) -> Tensor:
        some_tensors(self.kind, tensors)
        along = axis(self.kind, self.dim, tensors[0], extra=1)
        sizes = join_shapes(self.kind, tensors, None)
        sizes.insert(along, len(tensors))
        return Tensor(tuple(sizes), promote(*tensors))

    def torch(self, *tensors: Tensor) -> Any:
        return call("torch.stack", AllArgs(), dim=self.dim)

    def onnx(self, g: OnnxTarget, *tensors: OnnxValue) -> OnnxValue:
        types = [tensor_of(t) for t in tensors]
        along = axis(self.kind, self.dim, types[0], extra=1)
        parts = [unsqueezed(g, cast(g, t, promote(*types)), along) for t in tensors]
        return g.op("Concat", *parts, axis=along)

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = shape(random, 0, 3)
        count = random.randint(1, 4)
        return Case({"dim": any_axis(random, len(x) + 1)}, tuple(Tensor(x) for _ in range(count)))


@op
class Meshgrid(Function):
    """The coordinates of a grid: each vector along an axis of its own, repeated along the others.

    meshgrid(indexing = "ij") : int64[7], int64[5] -> int64[7, 5], int64[7, 5]
    """

    kind = "meshgrid"
    indexing: Literal["ij", "xy"]

    def infer(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        some_tensors(self.kind, tensors)
        for number, x in enumerate(tensors):
            if x.rank > 1:
                raise ShapeProblem(
                    "E0401",
                    f"`meshgrid` takes vectors, but one has {x.rank} axes",
                    operand=number,
                    label=f"this is {x}",
                )
            if x.dtype != tensors[0].dtype:
                raise ShapeProblem(
                    "E0405",
                    f"`meshgrid` needs vectors of one dtype, but they are {tensors[0].dtype} and {x.dtype}",
                    operand=number,
                    label=f"this is {x}",
                )
        shape = tuple(
            tensors[number].shape[0] if tensors[number].rank else 1 for number in self._order(len(tensors))
        )
        return tuple(Tensor(shape, x.dtype) for x in tensors)

    def _order(self, count: int) -> list[int]:
        """Which vector each axis of the grid is for."""
        order = list(range(count))
        return [1, 0, *order[2:]] if self.indexing == "xy" and count > 1 else order

    def torch(self, *tensors: Tensor) -> Any:
        return call("torch.meshgrid", AllArgs(), indexing=self.indexing)

    def onnx(self, g: OnnxTarget, *tensors: OnnxValue) -> tuple[OnnxValue, ...]:
        shape = self.infer(*(tensor_of(t) for t in tensors))[0].shape
        order = self._order(len(tensors))
        grids: list[OnnxValue] = []
        for number, x in enumerate(tensors):
            line = [-1 if order[place] == number else 1 for place in range(len(shape))]
            grids.append(expanded(g, reshaped(g, x, line), shape))
        return tuple(grids)

    @classmethod
    def sample(cls, random: Random) -> Case:
        dtype = pick(random, ("float32", "int64"))
        vectors = tuple(tensor(random, 1, 1, (dtype,)) for _ in range(random.randint(1, 3)))
        return Case({"indexing": pick(random, ("ij", "xy"))}, vectors)


class _Parts(Function):
    """Cuts one axis in parts. torch gives a list of them, of one too, and so does `infer`."""

    dim: int = 0

    def sizes(self, input: Tensor) -> list[Dim]:
        """The sizes of the parts along the axis."""
        raise TypeError(f"{type(self).__name__} does not say its parts")

    def infer(self, input: Tensor) -> tuple[Tensor, ...]:
        along = axis(self.kind, self.dim, input)
        before, after = input.shape[:along], input.shape[along + 1 :]
        return tuple(input.with_shape(*before, size, *after) for size in self.sizes(input))

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> Any:
        x = tensor_of(input)
        sizes = self.sizes(x)
        if len(sizes) == 1:
            return (input,)
        return g.op("Split", input, g.sizes(sizes), results=len(sizes), axis=axis(self.kind, self.dim, x))


@op
class Chunk(_Parts):
    """An axis in `chunks` equal parts; where they cannot be equal the last one is smaller, as in torch.

    chunk(3, dim = 1) : [N, 96, T] -> [N, 32, T], [N, 32, T], [N, 32, T]
    """

    kind = "chunk"
    positional = ("chunks", "dim")
    chunks: Size
    dim: int = 0

    def sizes(self, input: Tensor) -> list[Dim]:
        along = axis(self.kind, self.dim, input)
        whole = input.shape[along]
        part = exact_div(whole, self.chunks)
        if part is not None:
            return [part] * self.chunks
        part = (whole + self.chunks - 1) // self.chunks
        if isinstance(whole, int) and isinstance(part, int):
            return [min(part, whole - start) for start in range(0, whole, part)]
        last = whole // 2 if self.chunks == 2 else whole - part * (self.chunks - 1)
        fewer = ShapeProblem(
            "E0404",
            f"{whole} elements never make {self.chunks} parts",
            operand=0,
            label=f"this is {input}",
            argument="chunks",
        )
        return [*[part] * (self.chunks - 1), at_least(last, 1, fewer)]

    def torch(self, input: Tensor) -> Any:
        return method(Arg(0), "chunk", self.chunks, dim=self.dim)

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = shape(random)
        dim = any_axis(random, len(x))
        chunks = random.randint(1, 4)
        wide = tuple(
            s * chunks if i == dim % len(x) and random.random() < 0.6 else s for i, s in enumerate(x)
        )
        return Case({"chunks": chunks, "dim": dim}, (Tensor(wide),))


@op
class Split(_Parts):
    """An axis in parts of the size `split_size_or_sections`, or in parts of the sizes of that list.

    split(16, dim = 1) : [N, 40] -> [N, 16], [N, 16], [N, 8]
    split([8, 24], dim = 1) : [N, 32] -> [N, 8], [N, 24]
    """

    kind = "split"
    positional = ("split_size_or_sections", "dim")
    split_size_or_sections: Size | Expr | tuple[Size | Expr, ...]
    dim: int = 0

    @field_validator("split_size_or_sections")
    @classmethod
    def _some(cls, value: AnyDim | tuple[AnyDim, ...]) -> AnyDim | tuple[AnyDim, ...]:
        if value == ():
            raise ValueError("`split_size_or_sections` is an empty list")
        return value

    def sizes(self, input: Tensor) -> list[Dim]:
        along = axis(self.kind, self.dim, input)
        whole, parts = input.shape[along], self.split_size_or_sections
        if not isinstance(parts, tuple):
            return self._equal(whole, parts)
        total: Dim = 0
        for size in parts:
            total = total + size
        try:
            join(whole, total)
        except DimMismatch as mismatch:
            raise ShapeProblem(
                "E0406",
                f"the parts of `split` are {total} together, but axis {along} is {whole}",
                operand=0,
                label=f"this is {input}",
                argument="split_size_or_sections",
                note=mismatch_note(along, whole, total, mismatch) if isinstance(whole, Expr) else None,
            ) from None
        return list(parts)

    def _equal(self, whole: Dim, size: Dim) -> list[Dim]:
        count = exact_div(whole, size)
        if isinstance(count, int):
            return [size] * count
        number = fixed(whole, "elements", self.kind) if isinstance(size, int) else None
        if number is None or not isinstance(size, int):
            raise ShapeProblem(
                "E0403",
                f"the number of parts of `split` depends on free dimensions: {whole} in parts of {size}",
                argument="split_size_or_sections",
                operand=0,
                help="say how many parts there are with `chunk`, or list their sizes",
            )
        return [min(size, number - start) for start in range(0, number, size)]

    def torch(self, input: Tensor) -> Any:
        sizes = self.split_size_or_sections
        return method(Arg(0), "split", list(sizes) if isinstance(sizes, tuple) else sizes, dim=self.dim)

    @classmethod
    def sample(cls, random: Random) -> Case:
        parts = tuple(random.randint(1, 4) for _ in range(random.randint(1, 4)))
        x = shape(random)
        dim = any_axis(random, len(x))
        wide = tuple(sum(parts) if i == dim % len(x) else s for i, s in enumerate(x))
        return Case({"split_size_or_sections": pick(random, (parts, parts[0])), "dim": dim}, (Tensor(wide),))


@op
class Unbind(_Parts):
    """The slices along axis `dim`, without it.

    unbind(2) : [N, T, 3, 8] -> [N, T, 8], [N, T, 8], [N, T, 8]
    """

    kind = "unbind"
    positional = ("dim",)
    dim: int = 0

    def infer(self, input: Tensor) -> tuple[Tensor, ...]:
        along = axis(self.kind, self.dim, input)
        count = fixed(input.shape[along], "slices", self.kind)
        return (input.with_shape(*input.shape[:along], *input.shape[along + 1 :]),) * count

    def torch(self, input: Tensor) -> Any:
        return method(Arg(0), "unbind", self.dim)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> Any:
        x = tensor_of(input)
        along = axis(self.kind, self.dim, x)
        count = len(self.infer(x))
        if count == 1:
            return (squeezed(g, input, along),)
        slices = g.op("Split", input, results=count, num_outputs=count, axis=along)
        return tuple(squeezed(g, part, along) for part in slices)

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = shape(random)
        return Case({"dim": any_axis(random, len(x))}, (Tensor(x),))
