"""`scaled_dot_product_attention`: the softmax of the products of queries and keys weighs the values."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from netdsl.ir.decide import DimMismatch, join
from netdsl.ir.dims import Dim, Expr, exact_div, product
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.base import Case, Function, Probability, ShapeProblem, op
from netdsl.ops.cases import pick
from netdsl.ops.onnx_parts import cast, expanded, reshaped, tensor_of, unsqueezed
from netdsl.ops.promotion import broadcast, mismatch_note, need_float
from netdsl.ops.target import Arg, Infix, OnnxTarget, OnnxValue, Symbol, call

NAME = "scaled_dot_product_attention"


@op
class ScaledDotProductAttention(Function):
    """`softmax(query @ keyᵀ * scale + mask) @ value`, over the last two axes: places, and the features of each.

    scaled_dot_product_attention(is_causal = True) : [N, 8, T, 64], [N, 8, T, 64], [N, 8, T, 64] -> [N, 8, T, 64]
    scaled_dot_product_attention : [N, 8, T, 64], [N, 8, S, 64], [N, 8, S, 32], bool[T, S] -> [N, 8, T, 32]

    A mask of bools is true where attention may go; one of floats is added. `scale` is one divided by the root of the
    number of features where it is left out. `is_causal` hides what comes later. With `enable_gqa`, several heads of the
    query share one of key and value. `dropout_p` drops weights, in training only.
    """

    kind = "scaled_dot_product_attention"
    positional = ("dropout_p", "is_causal")
    dropout_p: Probability = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False

    @property
    def pure(self) -> bool:  # type: ignore[override]
        return self.dropout_p == 0

    @property
    def random(self) -> bool:  # type: ignore[override]
        return self.dropout_p != 0

    def infer(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        self._check_each(query, key, value)
        self._same("features of query and key", query.shape[-1], key.shape[-1])
        self._same("places of key and value", key.shape[-2], value.shape[-2])
        groups = self.groups(query, key, value)
        shared = [
            t.with_shape(*self._batch(t, groups if number else 1))
            for number, t in enumerate((query, key, value))
        ]
        batch = broadcast(NAME, *shared)
        if isinstance(attn_mask, Tensor):
            self._check_mask(attn_mask, query, (*batch, query.shape[-2], key.shape[-2]))
        return query.with_shape(*batch, query.shape[-2], value.shape[-1])

    def _check_each(self, *tensors: Tensor) -> None:
        for number, (name, x) in enumerate(zip(("query", "key", "value"), tensors, strict=True)):
            need_float(NAME, x, operand=number)
            least = 3 if self.enable_gqa else 2
            if x.rank < least:
                raise ShapeProblem(
                    "E0401",
                    f"the {name} of `{NAME}` needs at least {least} axes, but it has {x.rank}",
                    operand=number,
                    label=f"this is {x}",
                )
            if x.dtype != tensors[0].dtype:
                raise ShapeProblem(
                    "E0405",
                    f"`{NAME}` needs operands of one dtype, but they are {tensors[0].dtype} and {x.dtype}",
                    operand=number,
                    label=f"this is {x}",
                )

    def _same(self, what: str, left: Dim, right: Dim) -> None:
        try:
            join(left, right)
        except DimMismatch as mismatch:
            note = mismatch_note("X", left, right, mismatch).replace("X is", f"the {what} are", 1)
            raise ShapeProblem("E0402", f"shapes do not match in `{NAME}`", note=note) from None

    def groups(self, query: Tensor, key: Tensor, value: Tensor) -> int:
        """How many heads of the query share one of key and value."""
        if not self.enable_gqa:
            return 1
        heads = query.shape[-3]
        self._same("heads of key and value", key.shape[-3], value.shape[-3])
        groups = exact_div(heads, key.shape[-3])
        if not isinstance(groups, int):
            raise ShapeProblem(
                "E0406",
                f"the {key.shape[-3]} heads of the key do not divide the {heads} heads of the query",
                operand=1,
                label=f"this is {key}",
            )
        return groups

    def _batch(self, x: Tensor, groups: int) -> tuple[Dim, ...]:
        return (*x.shape[:-3], x.shape[-3] * groups) if groups != 1 else x.shape[:-2]

    def _check_mask(self, mask: Tensor, query: Tensor, weights: tuple[Dim, ...]) -> None:
        if self.is_causal:
            raise ShapeProblem(
                "E0412",
                f"`{NAME}` takes no mask together with `is_causal = True`",
                operand=3,
                argument="is_causal",
                help="make one mask of both: `mask.logical_and(...)`, or leave `is_causal` out",
            )
        if mask.dtype not in ("bool", query.dtype):
            raise ShapeProblem(
                "E0405",
                f"the mask of `{NAME}` is bool or {query.dtype}, found {mask.dtype}",
                operand=3,
                label=f"this is {mask}",
            )
        joined = broadcast(NAME, mask, Tensor(weights))
        if len(joined) > len(weights) or any(
            isinstance(a, int) and a == 1 != b for a, b in zip(weights, joined, strict=True)
        ):
            raise ShapeProblem(
                "E0402",
                f"the mask of `{NAME}` has more than the weights, {Tensor(weights)}",
                operand=3,
                label=f"this is {mask}",
            )

    def torch(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Any:
        mask = {"attn_mask": Arg(3)} if isinstance(attn_mask, Tensor) else {}
        more = self.arguments()
        if "dropout_p" in more:
            more["dropout_p"] = Infix("*", self.dropout_p, call("float", Symbol("self.training")))
        return call(f"F.{NAME}", Arg(0), Arg(1), Arg(2), **mask, **more)

    def onnx(
        self,
        g: OnnxTarget,
        query: OnnxValue,
        key: OnnxValue,
        value: OnnxValue,
        attn_mask: OnnxValue | None = None,
    ) -> OnnxValue:
        q, k, v = (tensor_of(x) for x in (query, key, value))
        groups = self.groups(q, k, v)
        key, value = self._shared(g, key, groups), self._shared(g, value, groups)
        order = [*range(k.rank - 2), k.rank - 1, k.rank - 2]
        scores = g.op("MatMul", g.op("Mul", query, self._scale(g, q)), g.op("Transpose", key, perm=order))
        return g.op("MatMul", self._weights(g, scores, q, k, attn_mask), value)

    def _scale(self, g: OnnxTarget, query: Tensor) -> OnnxValue:
        features = query.shape[-1]
        if self.scale is None and isinstance(features, Expr):
            return g.op("Reciprocal", g.op("Sqrt", cast(g, Scalar(features), query.dtype)))
        return g.constant(1 / math.sqrt(features) if self.scale is None else self.scale, query.dtype)  # type: ignore[arg-type]

    def _shared(self, g: OnnxTarget, x: OnnxValue, groups: int) -> OnnxValue:
        """Each head `groups` times."""
        if groups == 1:
            return x
        shape = tensor_of(x).shape
        wide = expanded(g, unsqueezed(g, x, -3), [*[1] * (len(shape) - 2), groups, 1, 1])
        before = (*shape[:-2], groups, *shape[-2:])
        return reshaped(g, wide, (*shape[:-3], shape[-3] * groups, *shape[-2:]), before)

    def _weights(
        self, g: OnnxTarget, scores: OnnxValue, query: Tensor, key: Tensor, mask: OnnxValue | None
    ) -> OnnxValue:
        """What may not be seen weighs nothing; where nothing may be seen, torch gives zeros."""
        nothing = g.constant(-math.inf, query.dtype)
        zero = g.constant(0, query.dtype)
        if self.is_causal:
            seen = self._causal(g, query.shape[-2], key.shape[-2])
            return g.op("Softmax", g.op("Where", seen, scores, nothing), axis=-1)
        if not isinstance(mask, OnnxValue):
            return g.op("Softmax", scores, axis=-1)
        if tensor_of(mask).dtype == "bool":
            weights = g.op("Softmax", g.op("Where", mask, scores, nothing), axis=-1)
            return g.op("Where", mask, weights, zero)
        scores = g.op("Add", scores, mask)
        return g.op("Where", g.op("Equal", scores, nothing), zero, g.op("Softmax", scores, axis=-1))

    def _causal(self, g: OnnxTarget, queries: Dim, keys: Dim) -> OnnxValue:
        rows = g.op("Range", g.size(0), g.size(queries), g.size(1))
        columns = g.op("Range", g.size(0), g.size(keys), g.size(1))
        return g.op("GreaterOrEqual", unsqueezed(g, rows, 1), unsqueezed(g, columns, 0))

    def cost(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Dim:
        result = self.infer(query, key, value)
        return product(result.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])

    @classmethod
    def sample(cls, random: Random) -> Case:
        gqa = random.random() < 0.3
        heads, shared = (4, pick(random, (1, 2, 4))) if gqa else (3, 3)
        n, t, s, e, v = (random.randint(1, 4) for _ in range(5))
        batch = [] if gqa or random.random() < 0.7 else [2]
        q, k, w = ((*batch, n, heads, t, e), (*batch, n, shared, s, e), (*batch, n, shared, s, v))
        if not gqa and random.random() < 0.2:
            q, k, w = q[-2:], k[-2:], w[-2:]
        arguments: dict[str, Any] = {"enable_gqa": True} if gqa else {}
        arguments["scale"] = pick(random, (None, None, 0.5))
        operands = [Tensor(q), Tensor(k), Tensor(w)]
        choice = random.random()
        if choice < 0.3:
            arguments["is_causal"] = True
        elif choice < 0.8:
            operands.append(
                Tensor(pick(random, ((t, s), (1, s), (*q[:-2], t, s))), pick(random, ("bool", "float32")))
            )
        return Case(arguments, tuple(operands))
