"""`rearrange`, `reduce` and `repeat` in the notation of einops, checked, and written as plain torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, model_validator

from netdsl.ir.dims import Dim
from netdsl.ir.types import Tensor
from netdsl.ops.base import Case, Function, Op, op
from netdsl.ops.cases import pick
from netdsl.ops.onnx_parts import cast, expanded, finish, reshaped, tensor_of, transposed, unsqueezed
from netdsl.ops.patterns import Sized, Term, check_given, problem, sized
from netdsl.ops.reduce import All, Amax, Amin, Any_, Mean, Prod, Sum
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue, method


class _Pattern(Function):
    """What the three share. Sizes of axes are arguments of any name."""

    model_config = ConfigDict(extra="allow")

    positional = ("pattern",)
    open_keywords: ClassVar[bool] = True
    pattern: str

    @model_validator(mode="after")
    def _sizes(self) -> _Pattern:
        check_given(self.given)
        return self

    @property
    def given(self) -> Mapping[str, Any]:
        """The sizes that were given, by the names of the axes."""
        return self.__pydantic_extra__ or {}

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), **self.given}

    def sized(self, input: Tensor) -> Sized:
        found = sized(self.kind, self.pattern, self.given, input)
        self.check(found)
        return found

    def check(self, found: Sized) -> None:
        """Raises E0413 where the two sides do not go together."""

    def infer(self, input: Tensor) -> Tensor:
        found = self.sized(input)
        return input.with_shape(*found.shape(found.right))

    def only_on(self, side: str, names: Sequence[str]) -> None:
        if names:
            shown = "..." if names[0].startswith("...") else names[0]
            raise problem(self.pattern, f"`{shown}` is on the {side} only", help=self.advice(side, shown))

    def advice(self, side: str, name: str) -> str | None:
        """What to do about an axis that is on one side only."""
        if side == "left":
            return 'use `reduce` to sum or average over an axis, as `reduce(x, "n c h w -> n c", "mean")`'
        return f"use `repeat` for a new axis: `repeat(x, ..., {name} = ...)`" if not name.isdigit() else None


def split_axes(value: Any, found: Sized) -> Any:
    """`value` with every axis of the left side on its own, as torch."""
    for place, term in reversed(list(enumerate(found.left))):
        if len(term) > 1:
            sizes = tuple(-1 if name in found.inferred else found.sizes[name] for name in term)
            value = method(value, "unflatten", place, sizes)
        elif not term:
            value = method(value, "squeeze", place)
    return value


def put_in_order(value: Any, before: Sequence[str], after: Sequence[str]) -> Any:
    order = [before.index(name) for name in after]
    moved = [place for place, source in enumerate(order) if place != source]
    if not moved:
        return value
    if len(moved) == 2:
        return method(value, "transpose", *moved)
    return method(value, "permute", *order)


def join_axes(value: Any, right: Sequence[Term]) -> Any:
    """`value`, which has an axis for each name of the right side, with those in parentheses as one."""
    start = sum(len(term) for term in right)
    for term in reversed(right):
        start -= len(term)
        if len(term) > 1:
            value = method(value, "flatten", start, start + len(term) - 1)
        elif not term:
            value = method(value, "unsqueeze", start)
    return value


def onnx_split(g: OnnxTarget, input: OnnxValue, found: Sized) -> OnnxValue:
    if all(len(term) == 1 for term in found.left):
        return input
    return reshaped(g, input, [found.sizes[name] for name in found.names], tensor_of(input).shape)


def onnx_join(g: OnnxTarget, value: OnnxValue, found: Sized) -> OnnxValue:
    if all(len(term) == 1 for term in found.right):
        return value
    return reshaped(g, value, found.shape(found.right), [found.sizes[name] for name in found.result])


@op
class Rearrange(_Pattern):
    """Axes in another order, taken apart and put together, in the notation of einops.

    rearrange("n (h d) t -> n h t d", h = 8) : [N, 512, T] -> [N, 8, T, 64]
    rearrange("n c (h p) (w q) -> n (h w) (p q c)", p = 4, q = 4) : [N, 3, 32, 32] -> [N, 64, 48]
    rearrange("... h w -> ... (h w)") : [N, 8, 4, 4] -> [N, 8, 16]
    """

    kind = "rearrange"

    def check(self, found: Sized) -> None:
        self.only_on("left", [name for name in found.names if name not in found.result])
        self.only_on("right", [name for name in found.result if name not in found.names])

    def torch(self, input: Tensor) -> Any:
        found = self.sized(input)
        return join_axes(put_in_order(split_axes(Arg(0), found), found.names, found.result), found.right)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        found = self.sized(tensor_of(input))
        order = [found.names.index(name) for name in found.result]
        return onnx_join(g, transposed(g, onnx_split(g, input, found), order), found)

    @classmethod
    def sample(cls, random: Random) -> Case:
        names = random.sample("abcdef", random.randint(1, 5))
        sizes = {name: random.randint(1, 4) for name in names}
        left, shape, given = random_side(random, names, sizes, pick(random, (True, True, False)))
        right, _, _ = random_side(random, random.sample(names, len(names)), sizes, True)
        return Case({"pattern": f"{left} -> {right}", **given}, (Tensor(shape),))


@op
class Reduce(_Pattern):
    """Axes that are on the left only are reduced, by `reduction`; the others as in `rearrange`.

    reduce("n c (h p) (w q) -> n c h w", "max", p = 2, q = 2) : [N, 8, 16, 16] -> [N, 8, 8, 8]
    reduce("n c h w -> n c", "mean") : [N, 8, H, W] -> [N, 8]
    reduce("n c h w -> n c 1 1", "mean") : [N, 8, H, W] -> [N, 8, 1, 1]
    """

    kind = "reduce"
    positional = ("pattern", "reduction")
    reduction: Literal["mean", "sum", "max", "min", "prod", "any", "all"]

    def check(self, found: Sized) -> None:
        self.only_on("right", [name for name in found.result if name not in found.names])

    def gone(self, found: Sized) -> tuple[int, ...]:
        return tuple(place for place, name in enumerate(found.names) if name not in found.result)

    def operation(self, dims: tuple[int, ...], *, keepdim: bool = False) -> Op:
        """torch's reduction along `dims`."""
        kinds: dict[str, Any] = {"mean": Mean, "sum": Sum, "max": Amax, "min": Amin, "any": Any_, "all": All}
        first, *others = dims
        return kinds[self.reduction](dim=dims if others else first, keepdim=keepdim)

    def result_type(self, x: Tensor, gone: tuple[int, ...]) -> Tensor:
        if not gone:
            return Mean().infer(x).with_shape(*x.shape) if self.reduction == "mean" else x
        return Prod(dim=gone[0]).infer(x) if self.reduction == "prod" else self.operation(gone).infer(x)

    def infer(self, input: Tensor) -> Tensor:
        found = self.sized(input)
        whole = input.with_shape(*(found.sizes[name] for name in found.names))
        return Tensor(found.shape(found.right), self.result_type(whole, self.gone(found)).dtype)

    def torch(self, input: Tensor) -> Any:
        found = self.sized(input)
        gone = self.gone(found)
        value = split_axes(Arg(0), found)
        if gone and self.reduction != "prod" and self._keeps_places(found, gone):
            return method(value, *self._torch_reduction(gone, input), keepdim=True)
        left = [name for place, name in enumerate(found.names) if place not in gone]
        if self.reduction == "prod":
            for place in reversed(gone):
                value = method(value, "prod", place)
        elif gone:
            value = method(value, *self._torch_reduction(gone, input))
        return join_axes(put_in_order(value, left, found.result), found.right)

    def _torch_reduction(self, gone: tuple[int, ...], input: Tensor) -> tuple[Any, ...]:
        written = self.operation(gone).torch(input)
        return (written.name, *written.args)

    def _keeps_places(self, found: Sized, gone: tuple[int, ...]) -> bool:
        """Whether the right side has a 1 where each axis was reduced, and the others as they were."""
        kept = tuple(() if place in gone else (name,) for place, name in enumerate(found.names))
        return kept == found.right

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        found = self.sized(tensor_of(input))
        gone = self.gone(found)
        x = tensor_of(input).with_shape(*(found.sizes[name] for name in found.names))
        value = self._onnx_reduced(g, onnx_split(g, input, found), x, gone)
        left = [name for place, name in enumerate(found.names) if place not in gone]
        return onnx_join(g, transposed(g, value, [left.index(name) for name in found.result]), found)

    def _onnx_reduced(self, g: OnnxTarget, value: OnnxValue, x: Tensor, gone: tuple[int, ...]) -> OnnxValue:
        if not gone:
            return value
        typed = OnnxValue(value.name, x)
        if self.reduction != "prod":
            return self.operation(gone).onnx(g, typed)
        dtype = self.result_type(x, gone).dtype
        dims = g.constant(list(gone), "int64")
        return finish(g, g.op("ReduceProd", cast(g, typed, dtype), dims, keepdims=False), dtype, dtype)

    @classmethod
    def sample(cls, random: Random) -> Case:
        names = random.sample("abcdef", random.randint(1, 5))
        sizes = {name: random.randint(1, 4) for name in names}
        left, shape, given = random_side(random, names, sizes, pick(random, (True, False)))
        kept = random.sample(names, random.randint(0, len(names)))
        right, _, _ = random_side(random, kept, sizes, True)
        reduction = pick(random, ("mean", "sum", "max", "min", "prod", "any", "all"))
        dtype = "bool" if reduction in ("any", "all") else pick(random, ("float32", "float32", "int64"))
        pattern = f"{left} -> {right}"
        return Case({"pattern": pattern, "reduction": reduction, **given}, (Tensor(shape, dtype),))


@op
class Repeat(_Pattern):
    """Axes that are on the right only are new, and what is there is repeated along them; the others as in `rearrange`.

    repeat("n d -> n t d", t = 4) : [N, 64] -> [N, 4, 64]
    repeat("n c h w -> n c (h 2) (w 2)") : [N, 8, 4, 4] -> [N, 8, 8, 8]
    """

    kind = "repeat"

    def check(self, found: Sized) -> None:
        self.only_on("left", [name for name in found.names if name not in found.result])
        missing = [name for name in found.result if name not in found.sizes]
        if missing:
            raise problem(
                self.pattern,
                f"the size of the new axis `{missing[0]}` is not given",
                help=f"give it: `{missing[0]} = ...`",
            )

    def _new(self, found: Sized) -> list[int]:
        return [place for place, name in enumerate(found.result) if name not in found.names]

    def torch(self, input: Tensor) -> Any:
        found = self.sized(input)
        new = self._new(found)
        value = put_in_order(
            split_axes(Arg(0), found), found.names, [n for n in found.result if n in found.names]
        )
        for place in new:
            value = method(value, "unsqueeze", place)
        if new:
            sizes = [found.sizes[name] if place in new else -1 for place, name in enumerate(found.result)]
            value = method(value, "expand", *sizes)
        return join_axes(value, found.right)

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        found = self.sized(tensor_of(input))
        new = self._new(found)
        kept = [found.names.index(name) for name in found.result if name in found.names]
        value = unsqueezed(g, transposed(g, onnx_split(g, input, found), kept), *new)
        if new:
            value = expanded(
                g, value, [found.sizes[n] if i in new else 1 for i, n in enumerate(found.result)]
            )
        return onnx_join(g, value, found)

    @classmethod
    def sample(cls, random: Random) -> Case:
        names = random.sample("abcd", random.randint(1, 4))
        sizes = {name: random.randint(1, 4) for name in names}
        left, shape, given = random_side(random, names, sizes, pick(random, (True, False)))
        new = random.sample(["x", "y", "3"], random.randint(0, 2))
        added = {name: random.randint(1, 3) for name in new if name != "3"}
        everything = [*names, *new]
        right, _, _ = random_side(
            random, random.sample(everything, len(everything)), {**sizes, **added, "3": 3}, True
        )
        return Case({"pattern": f"{left} -> {right}", **given, **added}, (Tensor(shape),))


def random_side(
    random: Random, names: Sequence[str], sizes: Mapping[str, int], grouped: bool
) -> tuple[str, tuple[int, ...], dict[str, Dim]]:
    """Names in groups: the text, the shape, and the sizes that must be given to find all of them."""
    texts: list[str] = []
    shape: list[int] = []
    given: dict[str, Dim] = {}
    rest = list(names)
    while rest:
        count = random.randint(1, min(3, len(rest))) if grouped else 1
        group, rest = rest[:count], rest[count:]
        size = 1
        for name in group:
            size *= sizes[name]
        texts.append(f"({' '.join(group)})" if count > 1 else group[0])
        shape.append(size)
        given.update({name: sizes[name] for name in group[1:]})
        if random.random() < 0.1:
            texts.append(pick(random, ("1", "()")))
            shape.append(1)
    return " ".join(texts), tuple(shape), given
