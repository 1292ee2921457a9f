"""Functions that give a tensor another shape with the same elements, or other axes in another order.

Sizes may depend on free dimensions; one that is -1 is found by exact division.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any

from pydantic import field_validator

from netdsl.ir.decide import DimMismatch, holds, join
from netdsl.ir.dims import Dim, Expr, exact_div, product
from netdsl.ir.types import Tensor
from netdsl.ops.axes import axes, axis, show_axes
from netdsl.ops.base import AnyDim, Case, Function, ShapeProblem, op
from netdsl.ops.cases import any_axis, pick, shape, some_axes, tensor
from netdsl.ops.onnx_parts import expanded, reshaped, squeezed, tensor_of, transposed, unsqueezed
from netdsl.ops.promotion import mismatch_note
from netdsl.ops.target import Arg, Call, OnnxTarget, OnnxValue, call, method

Sizes = tuple[AnyDim, ...]


def check_sizes(argument: str, sizes: Sequence[Dim]) -> None:
    """Sizes are 1 or more; at most one is -1. Raises ValueError."""
    for size in sizes:
        if isinstance(size, int) and size < 1 and size != -1:
            raise ValueError(f"`{argument}` is made of sizes of 1 or more, and perhaps one -1, found {size}")
    if sum(1 for size in sizes if isinstance(size, int) and size == -1) > 1:
        raise ValueError(f"`{argument}` has more than one -1, so neither can be inferred")


def written(sizes: Sequence[Dim]) -> str:
    return "[" + ", ".join(map(str, sizes)) + "]"


def fill_in(kind: str, total: Dim, sizes: Sequence[Dim], x: Tensor, argument: str) -> tuple[Dim, ...]:
    """`sizes` with -1 replaced, so that their product is `total`; a condition where that holds for some sizes only."""
    known = product(size for size in sizes if not (isinstance(size, int) and size == -1))
    missing = any(isinstance(size, int) and size == -1 for size in sizes)
    rest = exact_div(total, known) if missing else 1
    if rest is None:
        rest = total // known
    try:
        join(total, rest * known)
    except DimMismatch as mismatch:
        raise _does_not_fill(kind, total, known, missing, sizes, x, argument, mismatch) from None
    return tuple(rest if isinstance(size, int) and size == -1 else size for size in sizes)


def _does_not_fill(
    kind: str,
    total: Dim,
    known: Dim,
    missing: bool,
    sizes: Sequence[Dim],
    x: Tensor,
    argument: str,
    mismatch: DimMismatch,
) -> ShapeProblem:
    if missing:
        message = f"`{kind}` to {written(sizes)}: {known} does not divide {total}"
    else:
        message = (
            f"`{kind}` keeps the number of elements, but {written(sizes)} has {known} and the input {total}"
        )
    example = mismatch.comparison.counterexample
    note = None
    if example:
        at = ", ".join(f"{name} = {value}" for name, value in sorted(example.items()))
        note = (
            f"for {at} these are {mismatch.comparison.left} and {mismatch.comparison.right}"
            if not missing
            else None
        )
        note = note or f"for {at} there are {mismatch.comparison.left} elements"
    return ShapeProblem(
        "E0406" if missing else "E0402",
        message,
        operand=0,
        label=f"this is {x}",
        argument=argument,
        note=note,
    )


@op
class FlattenFunction(Function):
    """The axes from `start_dim` to `end_dim` as one.

    flatten(1) : [N, 20, 4, 4] -> [N, 320]
    flatten : [2, 3] -> [6]
    """

    kind = "flatten"
    positional = ("start_dim", "end_dim")
    start_dim: int = 0
    end_dim: int = -1

    def infer(self, input: Tensor) -> Tensor:
        if not input.rank:
            return input.with_shape(1)
        first = axis(self.kind, self.start_dim, input, argument="start_dim")
        last = axis(self.kind, self.end_dim, input, argument="end_dim")
        if first > last:
            raise ShapeProblem(
                "E0407",
                f"`flatten` ends at axis {last}, before axis {first} where it starts",
                operand=0,
                label=f"this is {input}",
                argument="end_dim",
            )
        return input.with_shape(
            *input.shape[:first], product(input.shape[first : last + 1]), *input.shape[last + 1 :]
        )

    def torch(self, input: Tensor) -> Any:
        if self.end_dim != -1:
            return method(Arg(0), "flatten", self.start_dim, self.end_dim)
        return method(Arg(0), "flatten", self.start_dim) if self.start_dim else method(Arg(0), "flatten")

    def as_layer(self) -> Call:
        ends = () if self.end_dim == -1 else (self.end_dim,)
        return call("nn.Flatten", *((self.start_dim, *ends) if ends or self.start_dim != 1 else ()))

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        return reshaped(g, input, self.infer(tensor_of(input)).shape)

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tensor(random)
        start = any_axis(random, x.rank)
        end = random.randint(start % x.rank, x.rank - 1)
        return Case({"start_dim": start, "end_dim": end - x.rank if random.random() < 0.5 else end}, (x,))


@op
class UnflattenFunction(Function):
    """Axis `dim` as several of `sizes`, of which one may be -1.

    unflatten(-1, [8, -1]) : [N, T, 512] -> [N, T, 8, 64]
    """

    kind = "unflatten"
    positional = ("dim", "sizes")
    dim: int
    sizes: Sizes

    @field_validator("sizes")
    @classmethod
    def _sizes(cls, value: Sizes) -> Sizes:
        if not value:
            raise ValueError("`sizes` is an empty list")
        check_sizes("sizes", value)
        return value

    def infer(self, input: Tensor) -> Tensor:
        place = axis(self.kind, self.dim, input)
        sizes = fill_in(self.kind, input.shape[place], self.sizes, input, "sizes")
        return input.with_shape(*input.shape[:place], *sizes, *input.shape[place + 1 :])

    def torch(self, input: Tensor) -> Any:
        return method(Arg(0), "unflatten", self.dim, self.sizes)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        return reshaped(g, input, self.infer(tensor_of(input)).shape)

    @classmethod
    def sample(cls, random: Random) -> Case:
        parts = list(shape(random, 1, 3))
        x = shape(random, 1, 3)
        place = random.randrange(len(x))
        x = (*x[:place], math.prod(parts), *x[place + 1 :])
        if random.random() < 0.5:
            parts[random.randrange(len(parts))] = -1
        return Case(
            {"dim": place - len(x) if random.random() < 0.5 else place, "sizes": tuple(parts)}, (Tensor(x),)
        )


@op
class Reshape(Function):
    """The same elements in the shape `shape`, of which one size may be -1.

    reshape(-1, 4) : [N, 8] -> [2*N, 4]
    reshape(N, 8, -1) : [N, 512] -> [N, 8, 64]
    """

    kind = "reshape"
    positional = ("*shape",)
    shape: Sizes

    @field_validator("shape")
    @classmethod
    def _sizes(cls, value: Sizes) -> Sizes:
        check_sizes("shape", value)
        return value

    def infer(self, input: Tensor) -> Tensor:
        return input.with_shape(*fill_in(self.kind, product(input.shape), self.shape, input, "shape"))

    def torch(self, input: Tensor) -> Any:
        return method(Arg(0), "reshape", *self.shape) if self.shape else method(Arg(0), "reshape", [])

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        return reshaped(g, input, self.infer(tensor_of(input)).shape)

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = shape(random, 0, 4)
        rest = math.prod(x)
        sizes: list[int] = []
        while rest > 1 and len(sizes) < 4:
            sizes.append(pick(random, [d for d in range(1, rest + 1) if rest % d == 0]))
            rest //= sizes[-1]
        sizes.append(rest)
        random.shuffle(sizes)
        if random.random() < 0.5:
            sizes[random.randrange(len(sizes))] = -1
        return Case({"shape": tuple(sizes)}, (Tensor(x, pick(random, ("float32", "int64", "bool"))),))


@op
class Permute(Function):
    """All axes in another order: axis `dims[i]` of the input becomes axis `i`.

    permute(0, 2, 3, 1) : [N, 8, H, W] -> [N, H, W, 8]
    """

    kind = "permute"
    positional = ("*dims",)
    dims: tuple[int, ...]

    def infer(self, input: Tensor) -> Tensor:
        order = axes(self.kind, self.dims, input, argument="dims")
        if len(order) != input.rank:
            raise ShapeProblem(
                "E0401",
                f"`permute` names {len(order)} axes, {show_axes(self.dims)}, but its input has {input.rank}",
                operand=0,
                label=f"this is {input}",
                argument="dims",
            )
        return input.with_shape(*(input.shape[place] for place in order))

    def torch(self, input: Tensor) -> Any:
        return method(Arg(0), "permute", *self.dims) if self.dims else Arg(0)

    def as_layer(self) -> Call:
        return call("torchvision.ops.Permute", list(self.dims))

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        return transposed(g, input, axes(self.kind, self.dims, tensor_of(input), argument="dims"))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tensor(random, 1, 5, ("float32", "int64"))
        dims = random.sample(range(x.rank), x.rank)
        return Case({"dims": tuple(d - x.rank if random.random() < 0.3 else d for d in dims)}, (x,))


@op
class Transpose(Function):
    """Two axes exchanged.

    transpose(1, 2) : [N, 8, T] -> [N, T, 8]
    """

    kind = "transpose"
    positional = ("dim0", "dim1")
    dim0: int
    dim1: int

    def order(self, input: Tensor) -> list[int]:
        order = list(range(input.rank))
        first = axis(self.kind, self.dim0, input, argument="dim0")
        second = axis(self.kind, self.dim1, input, argument="dim1")
        order[first], order[second] = second, first
        return order

    def infer(self, input: Tensor) -> Tensor:
        return input.with_shape(*(input.shape[place] for place in self.order(input)))

    def torch(self, input: Tensor) -> Any:
        return method(Arg(0), "transpose", self.dim0, self.dim1)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        return transposed(g, input, self.order(tensor_of(input)))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tensor(random)
        return Case({"dim0": any_axis(random, x.rank), "dim1": any_axis(random, x.rank)}, (x,))


@op
class Movedim(Function):
    """The axes `source` moved to the places `destination`; the others keep their order.

    movedim(1, -1) : [N, 8, H, W] -> [N, H, W, 8]
    """

    kind = "movedim"
    positional = ("source", "destination")
    source: int | tuple[int, ...]
    destination: int | tuple[int, ...]

    def order(self, input: Tensor) -> list[int]:
        moved = axes(self.kind, self.source, input, argument="source")
        places = axes(self.kind, self.destination, input, argument="destination")
        if len(moved) != len(places):
            raise ShapeProblem(
                "E0401",
                f"`movedim` moves {len(moved)} axes to {len(places)} places",
                operand=0,
                label=f"this is {input}",
                argument="destination",
            )
        order = [place for place in range(input.rank) if place not in moved]
        for place, source in sorted(zip(places, moved, strict=True)):
            order.insert(place, source)
        return order

    def infer(self, input: Tensor) -> Tensor:
        return input.with_shape(*(input.shape[place] for place in self.order(input)))

    def torch(self, input: Tensor) -> Any:
        return method(Arg(0), "movedim", self.source, self.destination)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        return transposed(g, input, self.order(tensor_of(input)))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tensor(random)
        source = some_axes(random, x.rank)
        destination = tuple(random.sample(range(x.rank), len(source)))
        if len(source) == 1 and random.random() < 0.7:
            return Case({"source": source[0], "destination": destination[0]}, (x,))
        return Case({"source": source, "destination": destination}, (x,))


@op
class Squeeze(Function):
    """Without the axes `dim` whose size is 1; without `dim`, without all axes of size 1.

    squeeze(-1) : [N, 4, 1] -> [N, 4]
    squeeze(1) : [N, 4, 1] -> [N, 4, 1]
    """

    kind = "squeeze"
    positional = ("dim",)
    dim: int | tuple[int, ...] | None = None

    def removed(self, input: Tensor) -> list[int]:
        found: list[int] = []
        for place in sorted(axes(self.kind, self.dim, input)):
            size = input.shape[place]
            is_one = holds(size, "==", 1)
            if is_one is None:
                raise ShapeProblem(
                    "E0403",
                    f"`squeeze` removes axis {place} where it is 1, but `{size}` is known only at run time",
                    operand=0,
                    label=f"this is {input}",
                    argument="dim",
                    help="name the axes to remove: `squeeze(dim)`" if self.dim is None else None,
                )
            if is_one:
                found.append(place)
        return found

    def infer(self, input: Tensor) -> Tensor:
        removed = self.removed(input)
        return input.with_shape(*(size for place, size in enumerate(input.shape) if place not in removed))

    def torch(self, input: Tensor) -> Any:
        return method(Arg(0), "squeeze") if self.dim is None else method(Arg(0), "squeeze", self.dim)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        return squeezed(g, input, *self.removed(tensor_of(input)))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tuple(pick(random, (1, 1, 2, 3)) for _ in range(random.randint(1, 4)))
        dim = pick(random, (None, any_axis(random, len(x)), some_axes(random, len(x))))
        return Case({"dim": dim}, (Tensor(x),))


@op
class Unsqueeze(Function):
    """One more axis, of size 1, at the place `dim`.

    unsqueeze(1) : [N, T] -> [N, 1, T]
    """

    kind = "unsqueeze"
    positional = ("dim",)
    dim: int

    def infer(self, input: Tensor) -> Tensor:
        place = axis(self.kind, self.dim, input, extra=1)
        return input.with_shape(*input.shape[:place], 1, *input.shape[place:])

    def torch(self, input: Tensor) -> Any:
        return method(Arg(0), "unsqueeze", self.dim)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        return unsqueezed(g, input, axis(self.kind, self.dim, tensor_of(input), extra=1))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tensor(random, 0)
        return Case({"dim": any_axis(random, x.rank + 1)}, (x,))


@op
class Expand(Function):
    """Axes of size 1 repeated to the sizes `size`; -1 keeps a size, and axes may be added in front.

    expand(N, -1, -1) : [1, 1, 64] -> [N, 1, 64]
    """

    kind = "expand"
    positional = ("*size",)
    size: Sizes

    @field_validator("size")
    @classmethod
    def _sizes(cls, value: Sizes) -> Sizes:
        for size in value:
            if isinstance(size, int) and size < 1 and size != -1:
                raise ValueError(
                    f"`size` is made of sizes of 1 or more, and -1 for one that stays, found {size}"
                )
        return value

    def infer(self, input: Tensor) -> Tensor:
        added = len(self.size) - input.rank
        if added < 0:
            raise ShapeProblem(
                "E0401",
                f"`expand` to {written(self.size)} has {len(self.size)} axes, but its input has {input.rank}",
                operand=0,
                label=f"this is {input}",
                argument="size",
            )
        sizes = [self._expand(place, wanted, input) for place, wanted in enumerate(self.size, -added)]
        return input.with_shape(*sizes)

    def _expand(self, place: int, wanted: Dim, input: Tensor) -> Dim:
        """The size of axis `place` of the input, counted below 0 for an axis in front."""
        keeps = isinstance(wanted, int) and wanted == -1
        if place < 0:
            if keeps:
                raise ShapeProblem(
                    "E0402",
                    f"`expand` adds an axis in front of {input}, and -1 does not say its size",
                    argument="size",
                    operand=0,
                )
            return wanted
        size = input.shape[place]
        if keeps or (isinstance(size, int) and size == 1):
            return size if keeps else wanted
        try:
            return join(size, wanted)
        except DimMismatch as mismatch:
            raise ShapeProblem(
                "E0402",
                f"`expand` repeats axes of size 1, but axis {place} is {size} and would be {wanted}",
                note=mismatch_note(place, size, wanted, mismatch) if isinstance(size, Expr) else None,
                argument="size",
                operand=0,
            ) from None

    def torch(self, input: Tensor) -> Any:
        return method(Arg(0), "expand", *self.size) if self.size else Arg(0)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        """ONNX broadcasts both ways, so sizes that stay are written 1."""
        before = tensor_of(input)
        after = self.infer(before).shape
        added = len(after) - before.rank
        sizes = [1 if i >= added and before.shape[i - added] != 1 else size for i, size in enumerate(after)]
        return expanded(g, input, sizes) if after != before.shape else input

    @classmethod
    def sample(cls, random: Random) -> Case:
        full = shape(random)
        part = full[random.randint(0, len(full)) :]
        x = tuple(1 if random.random() < 0.4 else size for size in part)
        added = len(full) - len(x)
        size = tuple(
            -1 if i >= added and x[i - added] == s and random.random() < 0.5 else s
            for i, s in enumerate(full)
        )
        return Case({"size": size}, (Tensor(x),))
