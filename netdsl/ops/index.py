"""Indexing, `x[:, 0, ::2]`, and the functions that gather elements by tensors of indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from netdsl.ir.decide import Constraint, assume, holds, maximum_value, minimum_value
from netdsl.ir.dims import Dim, Expr, product
from netdsl.ir.types import Tensor
from netdsl.ops.axes import axis
from netdsl.ops.base import Case, Function, ShapeProblem, op
from netdsl.ops.cases import any_axis, pick, shape
from netdsl.ops.onnx_parts import cast, expanded, reshaped, tensor_of, transposed, unsqueezed
from netdsl.ops.promotion import broadcast
from netdsl.ops.target import Arg, Call, Index, OnnxTarget, OnnxValue, Stride, call


@dataclass(frozen=True, slots=True)
class Taken:
    """What happens to one axis: `start:stop:step` of it stays, or its element `start` where `step` is None."""

    start: Dim
    stop: Dim
    step: int | None
    size: Dim  # of what stays

    @property
    def whole(self) -> bool:
        return self.step == 1 and self.start == 0


@dataclass(frozen=True, slots=True)
class Plan:
    """An index sorted out: what is taken of each axis of the operand, and the axes before tensors gather.

    `axes` has one entry for each axis that the basic indices leave: its size, or the number of an operand that gathers.
    """

    taken: tuple[Taken, ...]
    added: tuple[int, ...]  # where `None` adds an axis
    sizes: tuple[Dim, ...]
    gathers: tuple[tuple[int, int], ...]  # axis and operand

    @property
    def adjacent(self) -> bool:
        first, last = self.gathers[0][0], self.gathers[-1][0]
        return last - first + 1 == len(self.gathers)


@op
class TensorIndex(Function):
    """A part of a tensor, with Python's syntax: `x[:, 0]`, `x[..., ::2]`, `x[:, None]`; tensors of integers gather.

    index(indices = [0]) : [N, 8] -> [8]
    index(indices = [..., None, -1]) : [N, T, 8] -> [N, T, 1]

    Each index is an integer or a size, a slice, `None`, `...`, or one of the operands after the first.
    """

    kind = "index"
    indices: tuple[Any, ...]

    def infer(self, input: Tensor, *tensors: Tensor) -> Tensor:
        plan = self.plan(input, tensors)
        if not plan.gathers:
            return input.with_shape(*plan.sizes)
        joint = broadcast("[ ]", *(tensors[number - 1] for _, number in plan.gathers))
        gathered = {axis for axis, _ in plan.gathers}
        rest = [size for axis, size in enumerate(plan.sizes) if axis not in gathered]
        place = plan.gathers[0][0] if plan.adjacent else 0
        return input.with_shape(*rest[:place], *joint, *rest[place:])

    def plan(self, input: Tensor, tensors: Sequence[Tensor]) -> Plan:
        """Every index with the axis it is for. Raises E0411 for one that is out of range, and for too many."""
        written = self._complete(input)
        taken: list[Taken] = []
        added: list[int] = []
        sizes: list[Dim] = []
        gathers: list[tuple[int, int]] = []
        for index in written:
            if index is None:
                added.append(len(sizes))
                sizes.append(1)
                continue
            size = input.shape[len(taken)]
            if isinstance(index, Stride):
                taken.append(_slice(index, size, input, len(taken)))
                sizes.append(taken[-1].size)
            elif isinstance(index, Arg):
                check_index_dtype("[ ]", tensors[index.index - 1], index.index, ("int64", "int32"))
                gathers.append((len(sizes), index.index))
                taken.append(Taken(0, size, 1, size))
                sizes.append(size)
            else:
                taken.append(_element(index, size, input, len(taken)))
        return Plan(tuple(taken), tuple(added), tuple(sizes), tuple(gathers))

    def _complete(self, input: Tensor) -> list[Any]:
        """The indices with `...` written out, so that every axis has one."""
        used = sum(1 for index in self.indices if index is not None and index is not Ellipsis)
        if used > input.rank:
            raise ShapeProblem(
                "E0411",
                f"{used} indices, but the tensor has {input.rank} {'axis' if input.rank == 1 else 'axes'}",
                operand=0,
                label=f"this is {input}",
            )
        if sum(1 for index in self.indices if index is Ellipsis) > 1:
            raise ShapeProblem("E0411", "`...` stands twice among the indices", operand=0)
        rest = [Stride()] * (input.rank - used)
        where = next((i for i, index in enumerate(self.indices) if index is Ellipsis), len(self.indices))
        return [*self.indices[:where], *rest, *self.indices[where + 1 :]]

    def torch(self, input: Tensor, *tensors: Tensor) -> Index | Arg:
        """`x[...]` is `x`, and TorchScript does not take it."""
        return Index(Arg(0), self.indices) if self.indices != (Ellipsis,) else Arg(0)

    def onnx(self, g: OnnxTarget, input: OnnxValue, *tensors: OnnxValue) -> OnnxValue:
        plan = self.plan(tensor_of(input), [tensor_of(t) for t in tensors])
        value = self._onnx_slices(g, input, plan)
        for place in reversed(range(len(plan.taken))):
            if plan.taken[place].step is None:
                value = g.op("Gather", value, g.size(plan.taken[place].start), axis=place)
        value = unsqueezed(g, value, *plan.added)
        if len(plan.gathers) == 1:
            place, number = plan.gathers[0]
            value = g.op("Gather", value, tensors[number - 1], axis=place)
        elif plan.gathers:
            value = self._onnx_gather(g, value, plan, tensors)
        return value

    def _onnx_slices(self, g: OnnxTarget, input: OnnxValue, plan: Plan) -> OnnxValue:
        sizes = tensor_of(input).shape
        cut = [
            (axis, taken)
            for axis, taken in enumerate(plan.taken)
            if taken.step is not None and not (taken.whole and taken.stop == sizes[axis])
        ]
        if not cut:
            return input
        return g.op(
            "Slice",
            input,
            g.sizes([taken.start for _, taken in cut]),
            g.sizes([taken.stop for _, taken in cut]),
            g.constant([axis for axis, _ in cut], "int64"),
            g.constant([taken.step for _, taken in cut], "int64"),
        )

    def _onnx_gather(
        self, g: OnnxTarget, value: OnnxValue, plan: Plan, tensors: Sequence[OnnxValue]
    ) -> OnnxValue:
        """Several tensors index together: the axes they index come first, and back to their place where it is one."""
        indexed = [axis for axis, _ in plan.gathers]
        rest = [axis for axis in range(len(plan.sizes)) if axis not in indexed]
        operands = [tensors[number - 1] for _, number in plan.gathers]
        joint = broadcast("[ ]", *map(tensor_of, operands))
        columns = [unsqueezed(g, expanded(g, cast(g, t, "int64"), joint), len(joint)) for t in operands]
        found = g.op("GatherND", transposed(g, value, indexed + rest), g.op("Concat", *columns, axis=-1))
        place = indexed[0] if plan.adjacent else 0
        order = list(range(len(joint), len(joint) + len(rest)))
        return transposed(g, found, order[:place] + list(range(len(joint))) + order[place:])

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = shape(random, 1, 4)
        indices: list[Any] = []
        tensors: list[Tensor] = []
        joint = shape(random, 0, 2)
        for size in x[: random.randint(0, len(x))]:
            choice = random.random()
            if choice < 0.25:
                indices.append(random.randrange(-size, size))
            elif choice < 0.75:
                indices.append(_random_slice(random, size))
            else:
                tensors.append(
                    Tensor(joint if random.random() < 0.7 else joint[1:], pick(random, ("int64", "int32")))
                )
                indices.append(Arg(len(tensors)))
        if random.random() < 0.3:
            indices.insert(random.randint(0, len(indices)), None)
        if random.random() < 0.3 or not indices:
            indices.insert(len(indices) if tensors else random.randint(0, len(indices)), Ellipsis)
        return Case({"indices": tuple(indices)}, (Tensor(x), *tensors))


def _random_slice(random: Random, size: int) -> Stride:
    start, stop = sorted((random.randint(0, size - 1), random.randint(1, size + 1)))
    return Stride(
        pick(random, (None, start, start - size)) if start else None,
        pick(random, (None, stop)) if stop > start else None,
        pick(random, (None, None, 1, 2, 3)),
    )


def _element(index: Any, size: Dim, input: Tensor, axis: int) -> Taken:
    if isinstance(index, bool) or not isinstance(index, int | Expr):
        raise ShapeProblem(
            "E0411", f"`{index}` is not an index of a tensor", operand=0, label=f"this is {input}"
        )
    place = _from_front(index, size)
    within = None if place is None else (holds(place, ">=", 0), holds(place, "<", size))
    if within is None or False in within or place is None:
        raise ShapeProblem(
            "E0411",
            f"index {index} is out of range for axis {axis}, which has {size}",
            operand=0,
            label=f"this is {input}",
        )
    if within[0] is None:
        assume(Constraint(place, ">=", 0))
    if within[1] is None:
        assume(Constraint(size, ">=", place + 1))
    return Taken(place, place + 1, None, 1)


def _from_front(index: Dim, size: Dim) -> Dim | None:
    """`index` counted from the front; None where its sign depends on free dimensions."""
    low, high = minimum_value(index), maximum_value(index)
    if low is not None and low >= 0:
        return index
    return size + index if high is not None and high < 0 else None


def _slice(index: Stride, size: Dim, input: Tensor, axis: int) -> Taken:
    step = 1 if index.step is None else index.step
    if step < 1:
        raise ShapeProblem(
            "E0411",
            f"a slice of a tensor has a step of 1 or more, found {step}",
            operand=0,
            help=f"turn the axis around with `flip({axis})`",
        )
    start = _bound(0 if index.start is None else index.start, size, input, axis)
    stop = size if index.stop is None else _bound(index.stop, size, input, axis)
    length = stop - start
    some = holds(length, ">=", 1)
    if some is False:
        raise ShapeProblem(
            "E0411",
            f"the slice `{_written(index)}` of axis {axis}, which has {size}, is empty",
            operand=0,
            label=f"this is {input}",
        )
    if some is None and holds(length, ">=", 0) is None:
        assume(Constraint(stop, ">=", start))
    return Taken(start, stop, step, (length + step - 1) // step)


def _bound(bound: Dim, size: Dim, input: Tensor, axis: int) -> Dim:
    """A bound of a slice counted from the front and within the axis, as Python cuts it off."""
    place = _from_front(bound, size)
    if place is None:
        raise ShapeProblem(
            "E0409",
            f"whether `{bound}` counts from the front or from the back of axis {axis} depends on its free dimensions",
            operand=0,
            label=f"this is {input}",
        )
    low, high = holds(place, ">=", 0), holds(place, "<=", size)
    if low is False:
        return 0
    if high is False:
        return size
    if low is None:
        assume(Constraint(place, ">=", 0))
    if high is None:
        assume(Constraint(size, ">=", place))
    return place


def _written(index: Stride) -> str:
    parts = ["" if part is None else str(part) for part in (index.start, index.stop)]
    return ":".join(parts if index.step is None else [*parts, str(index.step)])


def check_index_dtype(what: str, index: Tensor, operand: int, allowed: tuple[str, ...]) -> None:
    """Indices are integers; a tensor of bools would give a size that depends on its values."""
    if index.dtype in allowed:
        return
    is_mask = index.dtype in ("bool", "uint8")
    raise ShapeProblem(
        "E0405",
        f"`{what}` takes {' or '.join(allowed)} indices, found {index.dtype}",
        operand=operand,
        label=f"this is {index}",
        help="a mask would give a size that depends on its values: use `where` or `masked_fill`"
        if is_mask
        else "convert it: `-> to(int64)`",
    )


@op
class Gather(Function):
    """The elements of `input` at the places that `index` names along axis `dim`.

    gather(dim = 1) : [N, 10], int64[N, 3] -> [N, 3]
    """

    kind = "gather"
    positional = ("dim",)
    dim: int

    def infer(self, input: Tensor, index: Tensor) -> Tensor:
        check_index_dtype(self.kind, index, 1, ("int64", "int32"))
        along = axis(self.kind, self.dim, input)
        if input.rank != index.rank:
            raise ShapeProblem(
                "E0401",
                f"`gather` needs an index with as many axes as its input, {input.rank}, but it has {index.rank}",
                operand=1,
                label=f"this is {index}",
            )
        for number, (size, wanted) in enumerate(zip(input.shape, index.shape, strict=True)):
            if number == along:
                continue
            fits = holds(size, ">=", wanted)
            if fits is False:
                raise ShapeProblem(
                    "E0402",
                    "the index of `gather` is larger than its input",
                    note=f"axis {number} is {size} and {wanted}; only axis {along} may be larger",
                )
            if fits is None:
                assume(Constraint(size, ">=", wanted))
        return input.with_shape(*index.shape)

    def torch(self, input: Tensor, index: Tensor) -> Call:
        return call("torch.gather", Arg(0), self.dim, Arg(1))

    def onnx(self, g: OnnxTarget, input: OnnxValue, index: OnnxValue) -> OnnxValue:
        return g.op("GatherElements", input, index, axis=axis(self.kind, self.dim, tensor_of(input)))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = shape(random)
        along = any_axis(random, len(x))
        index = tuple(random.randint(1, size) for size in x)
        return Case({"dim": along}, (Tensor(x), Tensor(index, pick(random, ("int64", "int64", "int32")))))


@op
class IndexSelect(Function):
    """The slices of `input` along axis `dim` that the vector `index` names, in its order.

    index_select(dim = 1) : [N, 10, 4], int64[3] -> [N, 3, 4]
    """

    kind = "index_select"
    positional = ("dim",)
    dim: int

    def infer(self, input: Tensor, index: Tensor) -> Tensor:
        check_index_dtype(self.kind, index, 1, ("int64", "int32"))
        along = axis(self.kind, self.dim, input)
        if index.rank > 1:
            raise ShapeProblem(
                "E0401",
                f"`index_select` needs a vector of indices, but it has {index.rank} axes",
                operand=1,
                label=f"this is {index}",
                help="index with the tensor itself: `x[:, index]`",
            )
        return input.with_shape(*input.shape[:along], *(index.shape or (1,)), *input.shape[along + 1 :])

    def torch(self, input: Tensor, index: Tensor) -> Call:
        return call("torch.index_select", Arg(0), self.dim, Arg(1))

    def onnx(self, g: OnnxTarget, input: OnnxValue, index: OnnxValue) -> OnnxValue:
        vector = index if tensor_of(index).rank else reshaped(g, index, [1])
        return g.op("Gather", input, vector, axis=axis(self.kind, self.dim, tensor_of(input)))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = shape(random)
        index = Tensor(shape(random, 0, 1), pick(random, ("int64", "int32")))
        return Case({"dim": any_axis(random, len(x))}, (Tensor(x), index))


@op
class TakeAlongDim(Function):
    """The elements of `input` at the places that `indices` name along axis `dim`; the other axes broadcast.

    take_along_dim(dim = 1) : [N, 10, 4], int64[N, 3, 1] -> [N, 3, 4]
    take_along_dim : [2, 3], int64[4] -> [4]
    """

    kind = "take_along_dim"
    positional = ("dim",)
    dim: int | None = None

    def infer(self, input: Tensor, indices: Tensor) -> Tensor:
        check_index_dtype(self.kind, indices, 1, ("int64",))
        if self.dim is None:
            return input.with_shape(product(indices.shape))
        return input.with_shape(*self._shapes(input, indices)[1])

    def _shapes(self, input: Tensor, indices: Tensor) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
        """What input and indices are broadcast to: the same but along `dim`."""
        along = axis(self.kind, self.dim or 0, input)
        if input.rank != indices.rank:
            raise ShapeProblem(
                "E0401",
                f"`take_along_dim` needs indices with as many axes as its input, {input.rank}, found {indices.rank}",
                operand=1,
                label=f"this is {indices}",
            )
        flat = [Tensor((*t.shape[:along], 1, *t.shape[along + 1 :]), t.dtype) for t in (input, indices)]
        joint = broadcast(self.kind, *flat)
        before, after = joint[:along], joint[along + 1 :]
        return (*before, input.shape[along], *after), (*before, indices.shape[along], *after)

    def torch(self, input: Tensor, indices: Tensor) -> Call:
        more = {} if self.dim is None else {"dim": self.dim}
        return call("torch.take_along_dim", Arg(0), Arg(1), **more)

    def onnx(self, g: OnnxTarget, input: OnnxValue, indices: OnnxValue) -> OnnxValue:
        if self.dim is None:
            return g.op("Gather", reshaped(g, input, [-1]), reshaped(g, indices, [-1]), axis=0)
        shapes = self._shapes(tensor_of(input), tensor_of(indices))
        values = [
            value if tensor_of(value).shape == wanted else expanded(g, value, wanted)
            for value, wanted in zip((input, indices), shapes, strict=True)
        ]
        return g.op("GatherElements", *values, axis=axis(self.kind, self.dim, tensor_of(input)))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = shape(random)
        along = random.choice((None, any_axis(random, len(x))))
        place = (along or 0) % len(x)
        index = tuple(
            random.randint(1, 5) if i == place else random.choice((1, size)) for i, size in enumerate(x)
        )
        return Case({"dim": along}, (Tensor(x), Tensor(index, "int64")))


__all__ = ["Gather", "IndexSelect", "TakeAlongDim", "TensorIndex", "check_index_dtype"]
