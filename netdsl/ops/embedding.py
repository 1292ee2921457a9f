"""Look-up tables of learned vectors."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from netdsl.ir.types import Scalar, State, Tensor
from netdsl.ops.agreement import agrees
from netdsl.ops.base import Case, Layer, ShapeProblem, Size, needs_float32, op
from netdsl.ops.cases import pick, shape
from netdsl.ops.linear import vector_norm
from netdsl.ops.onnx_parts import cast, unsqueezed
from netdsl.ops.target import Arg, OnnxTarget, OnnxValue


class _Table(Layer):
    """`num_embeddings` rows, looked up by number; those longer than `max_norm` are cut down when read."""

    positional: ClassVar[tuple[str, ...]] = ("num_embeddings", "embedding_dim")

    if TYPE_CHECKING:  # both layers have these in torch's order, which differs
        num_embeddings: Size
        embedding_dim: Size
        padding_idx: int | None
        max_norm: float | None
        norm_type: float

    @model_validator(mode="after")
    def _padding_is_a_row(self) -> _Table:
        rows = self.num_embeddings
        if self.padding_idx is not None and not -rows <= self.padding_idx < rows:
            raise ValueError(f"`padding_idx = {self.padding_idx}` is not one of the {rows} rows")
        return self

    def check_ids(self, ids: Tensor) -> None:
        if ids.dtype not in ("int32", "int64"):
            raise ShapeProblem(
                "E0405",
                f"`{self.kind}` looks up int64 or int32 ids, but its input is {ids.dtype}",
                operand=0,
                label=f"this is {ids}",
                help="declare the input as `input ids: int64[N, T]`, or convert it: `-> to(int64)`",
            )

    def parameters(self, *_: Tensor) -> dict[str, State]:
        return {"weight": State((self.num_embeddings, self.embedding_dim))}

    def rows(self, g: OnnxTarget, ids: OnnxValue) -> OnnxValue:
        """The rows that are looked up."""
        found = g.op("Gather", g.state("weight"), ids, axis=0)
        if self.max_norm is None:
            return found
        norm = vector_norm(g, found, self.norm_type)
        limit = g.constant(self.max_norm, "float32")
        scale = g.op("Div", limit, g.op("Add", norm, g.constant(1e-7, "float32")))
        scale = g.op("Where", g.op("Greater", norm, limit), scale, g.constant(1.0, "float32"))
        return g.op("Mul", found, scale)

    @classmethod
    def sample_arguments(cls, random: Random) -> dict[str, Any]:
        rows = random.randint(4, 8)
        return {
            "num_embeddings": rows,
            "embedding_dim": random.randint(1, 5),
            "padding_idx": pick(random, (None, None, 0, 1, -1, 8 if random.random() < 0.3 else 2)),
            "max_norm": pick(random, (None, None, 0.5, 1.5)),
            "norm_type": pick(random, (2.0, 2.0, 1.0, 3.0)),
        }


@op
class Embedding(_Table):
    """Replace ids by the learned vectors of those numbers.

    Embedding(30522, 768) : int64[N, T] -> [N, T, 768]
    """

    num_embeddings: Size
    embedding_dim: Size
    padding_idx: int | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    sparse: bool = False

    def infer(self, input: Tensor) -> Tensor:
        self.check_ids(input)
        return Tensor((*input.shape, self.embedding_dim))

    def onnx(self, g: OnnxTarget, input: OnnxValue) -> OnnxValue:
        return self.rows(g, input)

    @classmethod
    def sample(cls, random: Random) -> Case:
        dtype = pick(random, ("int64",) * 6 + ("int32", "int32", "int16", "float32"))
        return Case(cls.sample_arguments(random), (Tensor(shape(random, 0, 3), dtype),))


@op
class EmbeddingBag(_Table):
    """The mean, sum or maximum of the vectors of each row of ids; sums may be weighted.

    EmbeddingBag(1000, 64) : int64[N, 12] -> [N, 64]
    EmbeddingBag(1000, 64, mode = "sum") : int64[N, T], [N, T] -> [N, 64]

    Ids at `padding_idx` do not count. Without offsets, `include_last_offset` changes nothing.
    """

    num_embeddings: Size
    embedding_dim: Size
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    mode: Literal["sum", "mean", "max"] = "mean"
    sparse: bool = False
    include_last_offset: bool = False
    padding_idx: int | None = None

    @model_validator(mode="after")
    def _max_has_plain_gradients(self) -> EmbeddingBag:
        for name in ("scale_grad_by_freq", "sparse"):
            if self.mode == "max" and getattr(self, name):
                raise ValueError(f'`{name} = True` does not go with `mode = "max"`')
        return self

    def infer(self, input: Tensor, per_sample_weights: Tensor | None = None) -> Tensor:
        self.check_ids(input)
        if input.rank != 2:
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs 2 axes, [N, T], a bag in each row, but the input has {input.rank}",
                operand=0,
                label=f"this is {input}",
            )
        if per_sample_weights is not None:
            self.check_weights(input, per_sample_weights)
        return Tensor((input.shape[0], self.embedding_dim))

    def check_weights(self, ids: Tensor, weights: Tensor) -> None:
        needs_float32(self.kind, weights, operand=1)
        if self.mode != "sum":
            raise ShapeProblem(
                "E0412",
                f'`{self.kind}` takes weights with `mode = "sum"` only, but its `mode` is "{self.mode}"',
                operand=1,
                label="these are the weights",
                argument="mode",
            )
        fits, note = agrees(ids.shape, weights.shape)
        if not fits:
            raise ShapeProblem(
                "E0402",
                f"the weights of `{self.kind}` are not one for each id",
                operand=1,
                label=f"this is {weights}, and the ids are {ids}",
                note=note,
            )

    def forward(self, *operands: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (Arg(0),), {"per_sample_weights": Arg(1)} if len(operands) > 1 else {}

    def onnx(self, g: OnnxTarget, input: OnnxValue, per_sample_weights: OnnxValue | None = None) -> OnnxValue:
        rows = self.rows(g, input)
        axis = g.constant([1], "int64")
        if per_sample_weights is not None:
            rows = g.op("Mul", rows, unsqueezed(g, per_sample_weights, 2))
        if self.padding_idx is None:
            kind = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax"}[self.mode]
            return g.op(kind, rows, axis, keepdims=0)
        padding = cast(g, Scalar(self.padding_idx % self.num_embeddings), "int64")
        counts = g.op("Not", g.op("Equal", g.op("Cast", input, to="int64"), padding))
        counts = unsqueezed(g, counts, 2)
        if self.mode == "max":
            return self.greatest(g, rows, counts, axis)
        number = g.op("Cast", counts, to="float32")
        total = g.op("ReduceSum", g.op("Mul", rows, number), axis, keepdims=0)
        if self.mode == "sum":
            return total
        size = g.op("ReduceSum", number, axis, keepdims=0)
        return g.op("Div", total, g.op("Max", size, g.constant(1.0, "float32")))

    def greatest(self, g: OnnxTarget, rows: OnnxValue, counts: OnnxValue, axis: OnnxValue) -> OnnxValue:
        """The maximum of the rows that count, and 0 where none does."""
        low = g.op("Where", counts, rows, g.constant(float("-inf"), "float32"))
        some = g.op("ReduceMax", g.op("Cast", counts, to="int32"), axis, keepdims=0)
        greatest = g.op("ReduceMax", low, axis, keepdims=0)
        return g.op("Where", g.op("Cast", some, to="bool"), greatest, g.constant(0.0, "float32"))

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments = {**cls.sample_arguments(random), "mode": pick(random, ("sum", "sum", "mean", "max"))}
        ids = Tensor(
            (random.randint(1, 4), random.randint(1, 5)), pick(random, ("int64",) * 6 + ("int32", "int8"))
        )
        weighted = random.random() < (0.6 if arguments["mode"] == "sum" else 0.1)
        weights = Tensor((ids.shape[0], 4) if random.random() < 0.1 else ids.shape)
        return Case(arguments, (ids, weights) if weighted else (ids,))
