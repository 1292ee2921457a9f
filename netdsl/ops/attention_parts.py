"""Attention with several heads: its tensors, its cost and its ONNX, for whatever layer contains it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from netdsl.ir.dims import Dim
from netdsl.ir.types import State
from netdsl.ops.onnx_parts import reshaped, tensor_of, transposed, unsqueezed
from netdsl.ops.target import OnnxTarget, OnnxValue


@dataclass(frozen=True)
class Masks:
    """What is not looked at. `more` elements are put behind the key, and all look at those."""

    attention: OnnxValue | None
    padding: OnnxValue | None
    batch: Dim
    more: int = 0

    def total(self, g: OnnxTarget, heads: int) -> OnnxValue | None:
        """What is added to the scores [N, heads, T, S], in a shape that is broadcast to it."""
        parts: list[OnnxValue] = []
        if self.attention is not None:
            type = tensor_of(self.attention)
            mask = self.added(g, self.attention)
            if type.rank == 3:
                mask = reshaped(g, mask, (self.batch, heads, type.shape[1], type.shape[2] + self.more))
            parts.append(mask)
        if self.padding is not None:
            parts.append(unsqueezed(g, self.added(g, self.padding), 1, 2))
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else g.op("Add", *parts)

    def added(self, g: OnnxTarget, mask: OnnxValue) -> OnnxValue:
        """A mask as numbers to add."""
        type = tensor_of(mask)
        if type.dtype == "bool":
            low, zero = g.constant(float("-inf"), "float32"), g.constant(0.0, "float32")
            mask = g.op("Where", mask, low, zero)
        if not self.more:
            return mask
        pads = [0] * (2 * type.rank - 1) + [self.more]
        return g.op("Pad", mask, g.constant(pads, "int64"))


@dataclass(frozen=True)
class Heads:
    """Attention of `count` heads, between a query, a key and a value of `widths` features."""

    count: int
    widths: tuple[int, int, int]
    bias: bool
    bias_kv: bool = False
    prefix: str = ""

    @property
    def packed(self) -> bool:
        """Whether one tensor has the three projections, as where all have the same features."""
        return len(set(self.widths)) == 1

    def parameters(self) -> dict[str, State]:
        width = self.widths[0]
        found: dict[str, State] = {}
        if self.packed:
            found["in_proj_weight"] = State((3 * width, width))
        else:
            for letter, size in zip("qkv", self.widths, strict=True):
                found[f"{letter}_proj_weight"] = State((width, size))
        if self.bias:
            found["in_proj_bias"] = State((3 * width,))
        if self.bias_kv:
            found["bias_k"] = found["bias_v"] = State((1, 1, width))
        found["out_proj.weight"] = State((width, width))
        if self.bias:
            found["out_proj.bias"] = State((width,))
        return {self.prefix + name: state for name, state in found.items()}

    def cost(self, length: Dim, source: Dim, more: int = 0) -> Dim:
        """Multiply-adds for one element of the batch: the four projections, the scores and the sums. `more` elements
        are looked at that are not projected."""
        width, key, value = self.widths
        return width * (2 * length * width + source * (key + value) + 2 * length * (source + more))

    def attend(
        self,
        g: OnnxTarget,
        query: OnnxValue,
        key: OnnxValue | None,
        value: OnnxValue | None,
        masks: Masks,
        *,
        zero: bool = False,
    ) -> tuple[OnnxValue, OnnxValue]:
        """What [N, T, width] sees of [N, S, …], or of itself, and the weights [N, heads, T, S]."""
        q, k, v = self.projections(g, query, key, value)
        width = self.widths[0]
        if self.bias_kv:
            k, v = (
                self.behind(g, x, g.state(f"{self.prefix}bias_{n}"), masks) for x, n in ((k, "k"), (v, "v"))
            )
        if zero:
            k, v = (self.behind(g, x, g.constant(0.0, "float32"), masks) for x in (k, v))
        size = width // self.count
        scale = g.constant(1 / math.sqrt(size), "float32")
        q, v = (self.split(g, x, [0, 2, 1, 3]) for x in (q, v))
        scores = g.op("MatMul", g.op("Mul", q, scale), self.split(g, k, [0, 2, 3, 1]))
        mask = masks.total(g, self.count)
        weights = g.op("Softmax", scores if mask is None else g.op("Add", scores, mask), axis=-1)
        seen = transposed(g, g.op("MatMul", weights, v), [0, 2, 1, 3])
        joined = g.op("Reshape", seen, g.constant([0, 0, width], "int64"))
        return projected(g, joined, f"{self.prefix}out_proj", self.bias), weights

    def projections(
        self, g: OnnxTarget, query: OnnxValue, key: OnnxValue | None, value: OnnxValue | None
    ) -> tuple[OnnxValue, OnnxValue, OnnxValue]:
        weight, bias, width = f"{self.prefix}in_proj_weight", f"{self.prefix}in_proj_bias", self.widths[0]
        if key is None:
            both = g.op("MatMul", query, g.derived(weight, "transpose"))
            both = g.op("Add", both, g.state(bias)) if self.bias else both
            return g.op("Split", both, results=3, axis=2, num_outputs=3)
        found: list[OnnxValue] = []
        for place, (letter, x) in enumerate(
            zip("qkv", (query, key, key if value is None else value), strict=True)
        ):
            rows = {"start": place * width, "stop": (place + 1) * width}
            if self.packed:
                matrix = transposed(g, g.derived(weight, "rows", **rows), [1, 0])
            else:
                matrix = g.derived(f"{self.prefix}{letter}_proj_weight", "transpose")
            part = g.op("MatMul", x, matrix)
            found.append(g.op("Add", part, g.derived(bias, "rows", **rows)) if self.bias else part)
        return found[0], found[1], found[2]

    def behind(self, g: OnnxTarget, x: OnnxValue, last: OnnxValue, masks: Masks) -> OnnxValue:
        """`x` [N, S, width] with one more element, the same for the whole batch."""
        more = g.op("Expand", last, g.sizes([masks.batch, 1, self.widths[0]]))
        return g.op("Concat", x, more, axis=1)

    def split(self, g: OnnxTarget, x: OnnxValue, order: list[int]) -> OnnxValue:
        """[N, T, width] as [N, T, heads, width/heads], in another order."""
        parts = g.constant([0, 0, self.count, self.widths[0] // self.count], "int64")
        return transposed(g, g.op("Reshape", x, parts), order)


def projected(g: OnnxTarget, x: OnnxValue, name: str, bias: bool) -> OnnxValue:
    """`x` through the linear layer whose tensors are `name.weight` and `name.bias`."""
    product = g.op("MatMul", x, g.derived(f"{name}.weight", "transpose"))
    return g.op("Add", product, g.state(f"{name}.bias")) if bias else product
