"""Functions that move, mirror, repeat or pad the elements of a tensor along its axes."""

from __future__ import annotations

from random import Random
from typing import Any, Literal

from pydantic import field_validator, model_validator

from netdsl.ir.decide import holds
from netdsl.ir.dims import Dim, Expr, product
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.axes import axes, axis
from netdsl.ops.base import AnyDim, Case, Function, ShapeProblem, Size, op
from netdsl.ops.cases import any_axis, pick, shape, some_axes, tensor
from netdsl.ops.onnx_parts import cast, expanded, finish, reshaped, sliced, tensor_of, unsqueezed, width
from netdsl.ops.padding import pad, padded_sizes
from netdsl.ops.promotion import category
from netdsl.ops.spatial import at_least
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue, call, method

FIRST = -(2**31)  # before any axis begins: where a slice that runs backwards ends


@op
class Roll(Function):
    """The elements moved by `shifts` along the axes `dims`; what leaves at one end enters at the other.

    roll([-3, -3], [1, 2]) : [N, 56, 56, 96] -> [N, 56, 56, 96]
    roll(1) : [2, 3] -> [2, 3]
    """

    kind = "roll"
    positional = ("shifts", "dims")
    shifts: AnyDim | tuple[AnyDim, ...]
    dims: int | tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _one_shift_for_each_axis(self) -> Roll:
        shifts = len(self.shifts) if isinstance(self.shifts, tuple) else 1
        if self.dims is None:
            if shifts != 1:
                raise ValueError(f"{shifts} `shifts` need as many `dims`")
            return self
        dims = len(self.dims) if isinstance(self.dims, tuple) else 1
        if dims != shifts:
            raise ValueError(f"`shifts` has {shifts} and `dims` has {dims}: one shift for each axis")
        return self

    def _moves(self, input: Tensor) -> list[tuple[int, Dim]]:
        """Axis and shift, one after the other."""
        shifts = self.shifts if isinstance(self.shifts, tuple) else (self.shifts,)
        dims = self.dims if isinstance(self.dims, tuple) else (self.dims or 0,)
        return [
            (axis(self.kind, dim, input, argument="dims"), shift)
            for dim, shift in zip(dims, shifts, strict=True)
        ]

    def infer(self, input: Tensor) -> Tensor:
        if self.dims is not None:
            self._moves(input)
        return input

    def torch(self, input: Tensor) -> Any:
        return call("torch.roll", Arg(0), self.shifts, *(() if self.dims is None else (self.dims,)))

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        if self.dims is None:
            flat = x.with_shape(product(x.shape))
            rolled = self._onnx_moves(g, reshaped(g, input, [-1]), flat)
            return reshaped(g, rolled, x.shape, flat.shape)
        return self._onnx_moves(g, input, x)

    def _onnx_moves(self, g: OnnxTarget, value: OnnxValue, x: Tensor) -> OnnxValue:
        for place, shift in self._moves(x):
            size = x.shape[place]
            cut = -shift % size
            if isinstance(cut, Expr) or cut:
                end = sliced(g, value, place, cut, size)
                value = g.op("Concat", end, sliced(g, value, place, 0, cut), axis=place)
        return value

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tensor(random)
        if random.random() < 0.2:
            return Case({"shifts": random.randint(-9, 9)}, (x,))
        dims = some_axes(random, x.rank)
        shifts = tuple(random.randint(-6, 6) for _ in dims)
        if len(dims) == 1 and random.random() < 0.5:
            return Case({"shifts": shifts[0], "dims": dims[0]}, (x,))
        return Case({"shifts": shifts, "dims": dims}, (x,))


@op
class Flip(Function):
    """The axes `dims` in the opposite order.

    flip(1, 2) : [N, 56, 56, 96] -> [N, 56, 56, 96]
    """

    kind = "flip"
    positional = ("*dims",)
    dims: int | tuple[int, ...]

    def infer(self, input: Tensor) -> Tensor:
        axes(self.kind, self.dims, input, argument="dims")
        return input

    def torch(self, input: Tensor) -> Any:
        return method(Arg(0), "flip", *(self.dims if isinstance(self.dims, tuple) else (self.dims,)))

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        turned = axes(self.kind, self.dims, tensor_of(input), argument="dims")
        parts = ([-1] * len(turned), [FIRST] * len(turned), list(turned), [-1] * len(turned))
        return g.op("Slice", input, *(g.constant(part, "int64") for part in parts))

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tensor(random, dtypes=("float32", "int64"))
        return Case({"dims": pick(random, (some_axes(random, x.rank), any_axis(random, x.rank)))}, (x,))


@op
class PadFunction(Function):
    """Elements added around a tensor, or removed where a number is negative. `pad` counts from the last axis on: left,
    right, top, bottom.

    pad([1, 1]) : [N, 3, L] -> [N, 3, L + 2]
    pad([0, 1, 0, 1], mode = "reflect") : [N, 3, H, W] -> [N, 3, H + 1, W + 1]
    pad([0, (7 - W % 7) % 7]) : [N, 3, W] -> [N, 3, W + (7 - W % 7) % 7]
    """

    kind = "pad"
    positional = ("pad", "mode", "value")
    pad: tuple[AnyDim, ...]
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant"
    value: int | float | None = None

    @field_validator("pad")
    @classmethod
    def _pairs(cls, value: tuple[AnyDim, ...]) -> tuple[AnyDim, ...]:
        if not value or len(value) % 2:
            raise ValueError(
                f"`pad` has two numbers for each axis, before and after, but this list has {len(value)}"
            )
        return value

    @model_validator(mode="after")
    def _value_of_constant(self) -> PadFunction:
        if self.value is not None and self.mode != "constant":
            raise ValueError(f'`value` is for `mode = "constant"`, not "{self.mode}"')
        return self

    def pads(self) -> list[tuple[Dim, Dim]]:
        """Before and after, for the last axes in their order."""
        return list(zip(self.pad[::2], self.pad[1::2], strict=True))[::-1]

    def infer(self, input: Tensor) -> Tensor:
        pads = self.pads()
        self._check(input, len(pads))
        self._check_signs(input)
        before = input.shape[: input.rank - len(pads)]
        if not any(isinstance(size, Expr) for size in self.pad):
            return input.with_shape(*before, *padded_sizes(self.kind, self.mode, input, pads))  # type: ignore[arg-type]
        last = zip(input.shape[input.rank - len(pads) :], pads, strict=True)
        return input.with_shape(*before, *(self._padded(size, *pair, input) for size, pair in last))

    def _padded(self, size: Dim, before: Dim, after: Dim, input: Tensor) -> Dim:
        """The size of an axis with pads that may be symbolic; what is mirrored or wrapped must be there."""
        least = {"reflect": 1, "circular": 0}.get(self.mode)
        for amount in (before, after):
            if least is not None:
                at_least(size - amount - least, 0, self._too_small(size, amount, input))
        padded = size + before + after
        return at_least(padded, 1, self._too_small(size, padded - size, input))

    def _too_small(self, size: Dim, amount: Dim, input: Tensor) -> ShapeProblem:
        return ShapeProblem(
            "E0404",
            f'`pad` by "{self.mode}" cannot add {amount} to an axis of {size}',
            operand=0,
            label=f"this is {input}",
            argument="pad",
        )

    def _check(self, input: Tensor, padded: int) -> None:
        fits = padded <= input.rank
        if self.mode != "constant":
            fits = padded <= 3 and input.rank - padded in (1, 2)
        if not fits:
            needs = f"{padded + 1} or {padded + 2}" if self.mode != "constant" else f"at least {padded}"
            raise ShapeProblem(
                "E0401",
                f'`pad` of {padded} {"axis" if padded == 1 else "axes"} by "{self.mode}" needs {needs} axes, '
                f"but its input has {input.rank}",
                operand=0,
                label=f"this is {input}",
                argument="pad",
            )
        if self.mode in ("reflect", "replicate") and input.dtype == "bool":
            raise ShapeProblem(
                "E0405", f'`pad` by "{self.mode}" does not copy bools', operand=0, label=f"this is {input}"
            )
        if isinstance(self.value, float) and category(input.dtype) < 2 and not self.value.is_integer():
            raise ShapeProblem(
                "E0405",
                f"`value = {self.value}` of `pad` is not a value of {input.dtype}",
                operand=0,
                label=f"this is {input}",
                argument="value",
            )

    def _check_signs(self, input: Tensor) -> None:
        """Whether a size adds or removes must be certain, and only numbers remove."""
        for size in self.pad:
            if isinstance(size, Expr) and holds(size, ">=", 0) is not True:
                raise ShapeProblem(
                    "E0409",
                    f"whether `{size}` adds elements or removes them depends on its free dimensions",
                    argument="pad",
                    operand=0,
                    label=f"this is {input}",
                    help="pad by a remainder, such as `(7 - H % 7) % 7`, or take a slice to remove elements",
                )

    def torch(self, input: Tensor) -> Any:
        more: dict[str, Any] = {} if self.mode == "constant" else {"mode": self.mode}
        if self.value is not None:
            more["value"] = float(self.value)
        return call("F.pad", Arg(0), self.pad, **more)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        fill = cast(g, Scalar(self.value), x.dtype) if self.value else None
        pads = self.pads()
        if all(isinstance(size, int) for pair in pads for size in pair):
            return pad(g, input, x.rank, pads, self.mode, fill)  # type: ignore[arg-type]
        return self._onnx_symbolic(g, input, fill)

    def _onnx_symbolic(self, g: OnnxTarget, value: OnnxValue, fill: OnnxValue | None) -> OnnxValue:
        """What is removed is a number, and is removed first or last as torch does it; what is added is computed."""
        x = tensor_of(value)
        pads = self.pads()
        removed = [tuple(s if isinstance(s, int) and s < 0 else 0 for s in pair) for pair in pads]
        added = [tuple(0 if isinstance(s, int) and s < 0 else s for s in pair) for pair in pads]
        if self.mode == "circular":
            value = pad(g, value, x.rank, removed, self.mode)  # type: ignore[arg-type]
        none: list[Dim] = [0] * (x.rank - len(pads))
        amounts = [*none, *(before for before, _ in added), *none, *(after for _, after in added)]
        onnx_mode = {"replicate": "edge", "circular": "wrap"}.get(self.mode, self.mode)
        value = g.op("Pad", value, g.sizes(amounts), *([] if fill is None else [fill]), mode=onnx_mode)
        return value if self.mode == "circular" else pad(g, value, x.rank, removed, self.mode)  # type: ignore[arg-type]

    @classmethod
    def sample(cls, random: Random) -> Case:
        mode = pick(random, ("constant", "constant", "reflect", "replicate", "circular"))
        count = random.randint(1, 3)
        rank = max(count + pick(random, (1, 2)), 1) if mode != "constant" else random.randint(count, 5)
        low = -1 if random.random() < 0.3 else 0
        amounts = tuple(random.randint(low, 2) for _ in range(2 * count))
        arguments: dict[str, Any] = {"pad": amounts, "mode": mode}
        if mode == "constant" and random.random() < 0.5:
            arguments["value"] = pick(random, (1.5, 0, 2, float("-inf")))
        return Case(arguments, (Tensor(tuple(random.randint(2, 5) for _ in range(rank))),))


@op
class Tile(Function):
    """The whole tensor repeated, `dims[i]` times along axis `i`.

    tile(2, 1) : [N, 4] -> [2*N, 4]
    tile(3) : [N, 4] -> [N, 12]
    """

    kind = "tile"
    positional = ("*dims",)
    dims: tuple[Size | Expr, ...]

    def _aligned(self, input: Tensor) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
        """Shape and times, both with as many axes as the longer has."""
        rank = max(input.rank, len(self.dims))
        return (1,) * (rank - input.rank) + input.shape, (1,) * (rank - len(self.dims)) + self.dims

    def infer(self, input: Tensor) -> Tensor:
        return input.with_shape(*(size * times for size, times in zip(*self._aligned(input), strict=True)))

    def torch(self, input: Tensor) -> Any:
        return call("torch.tile", Arg(0), self.dims)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        shape, times = self._aligned(tensor_of(input))
        added = len(shape) - tensor_of(input).rank
        return g.op("Tile", unsqueezed(g, input, *range(added)), g.sizes(times))

    @classmethod
    def sample(cls, random: Random) -> Case:
        dims = tuple(random.randint(1, 3) for _ in range(random.randint(1, 4)))
        return Case({"dims": dims}, (tensor(random, 0, 3),))


@op
class RepeatInterleave(Function):
    """Each element `repeats` times in a row along axis `dim`; without `dim`, of the flattened tensor.

    repeat_interleave(4, dim = 1) : [N, 2, T, 64] -> [N, 8, T, 64]
    repeat_interleave(2) : [2, 3] -> [12]
    """

    kind = "repeat_interleave"
    positional = ("repeats", "dim")
    repeats: Size | Expr
    dim: int | None = None

    def infer(self, input: Tensor) -> Tensor:
        if self.dim is None:
            return input.with_shape(product(input.shape) * self.repeats)
        place = axis(self.kind, self.dim, input)
        return input.with_shape(
            *input.shape[:place], input.shape[place] * self.repeats, *input.shape[place + 1 :]
        )

    def torch(self, input: Tensor) -> Any:
        more = {} if self.dim is None else {"dim": self.dim}
        return call("torch.repeat_interleave", Arg(0), self.repeats, **more)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        place = x.rank - 1 if self.dim is None else axis(self.kind, self.dim, x)
        ones: list[Dim] = [1] * x.rank
        ones.insert(place + 1, self.repeats)
        wide = expanded(g, unsqueezed(g, input, place + 1), ones)
        return reshaped(
            g, wide, self.infer(x).shape, (*x.shape[: place + 1], self.repeats, *x.shape[place + 1 :])
        )

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = tensor(random)
        dim = pick(random, (None, any_axis(random, x.rank), any_axis(random, x.rank)))
        return Case({"repeats": random.randint(1, 3), "dim": dim}, (x,))


@op
class Diff(Function):
    """Each element less the one before it along axis `dim`, `n` times over.

    diff : [N, 5] -> [N, 4]
    """

    kind = "diff"
    positional = ("n", "dim")
    n: Size = 1
    dim: int = -1

    def infer(self, input: Tensor) -> Tensor:
        place = axis(self.kind, self.dim, input)
        if input.dtype == "bool":
            raise ShapeProblem(
                "E0405", "`diff` works on numbers, found bool", operand=0, label=f"this is {input}"
            )
        left = input.shape[place] - self.n
        if holds(left, ">=", 1) is False:
            raise ShapeProblem(
                "E0404",
                f"`diff` leaves nothing of axis {place}: {input.shape[place]} becomes {left}",
                operand=0,
                label=f"this is {input}",
            )
        return input.with_shape(*input.shape[:place], left, *input.shape[place + 1 :])

    def torch(self, input: Tensor) -> Any:
        return call("torch.diff", Arg(0), **self.arguments())

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        x = tensor_of(input)
        place = axis(self.kind, self.dim, x)
        computed = width(x.dtype)
        value, size = cast(g, input, computed), x.shape[place]
        for _ in range(self.n):
            value = g.op("Sub", sliced(g, value, place, 1, size), sliced(g, value, place, 0, size - 1))
            size = size - 1
        return finish(g, value, computed, x.dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        x = shape(random)
        return Case({"n": pick(random, (1, 1, 2)), "dim": any_axis(random, len(x))}, (Tensor(x),))
