"""Attention of several heads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from netdsl.ir.decide import DimMismatch, join
from netdsl.ir.dims import Dim
from netdsl.ir.types import State, Tensor
from netdsl.ops.agreement import agrees
from netdsl.ops.attention_parts import Heads, Masks
from netdsl.ops.base import (
    Case,
    Layer,
    Probability,
    ShapeProblem,
    Size,
    check_inferred,
    fixed,
    needs_float32,
    op,
)
from netdsl.ops.cases import pick
from netdsl.ops.onnx_parts import tensor_of, transposed
from netdsl.ops.promotion import mismatch_note
from netdsl.ops.target import Arg, Call, OnnxTarget, OnnxValue, call


class Attention(Layer):
    """What attention and the layers around it share: sequences, heads and masks."""

    pure: ClassVar[bool] = False  # dropout
    random: ClassVar[bool] = True

    if TYPE_CHECKING:  # each layer has it in torch's order
        batch_first: bool

    @property
    @abstractmethod
    def heads(self) -> int:
        """How many heads share the features."""

    def sequence(self, x: Tensor, operand: int = 0) -> int:
        """The features of a batch of sequences."""
        if x.rank != 3:
            layout = "[N, T, features]" if self.batch_first else "[T, N, features]"
            raise ShapeProblem(
                "E0401",
                f"`{self.kind}` needs 3 axes, {layout}, but the input has {x.rank}",
                operand=operand,
                label=f"this is {x}",
            )
        needs_float32(self.kind, x, operand=operand)
        return fixed(x.shape[2], "features", self.kind, operand=operand)

    def width(self, x: Tensor) -> int:
        found = self.sequence(x)
        if found % self.heads:
            raise ShapeProblem(
                "E0406",
                f"`{self.kind}` has {self.heads} heads, which do not divide {found} features",
                operand=0,
                label=f"this is {x}",
                argument=self.positional[0],
            )
        return found

    def batch(self, x: Tensor) -> Dim:
        return x.shape[0 if self.batch_first else 1]

    def length(self, x: Tensor) -> Dim:
        return x.shape[1 if self.batch_first else 0]

    def check_masks(
        self,
        query: Tensor,
        key: Tensor,
        attention: tuple[int, Tensor | None],
        padding: tuple[int, Tensor | None],
        causal: str,
    ) -> None:
        """Each mask comes with its number among the operands; `causal` is the flag that says that it is causal."""
        batch, length, source = self.batch(query), self.length(query), self.length(key)
        (place, mask), (padding_place, padding_mask) = attention, padding
        self.check_mask(padding_mask, (batch, source), "key padding mask", padding_place)
        wide = mask is not None and mask.rank == 3
        self.check_mask(
            mask, (batch * self.heads, length, source) if wide else (length, source), "mask", place
        )
        if mask is not None and padding_mask is not None and mask.dtype != padding_mask.dtype:
            raise ShapeProblem(
                "E0405",
                f"the masks of `{self.kind}` are {mask.dtype} and {padding_mask.dtype}, not both of one kind",
                operand=padding_place,
                label=f"this is {padding_mask}",
            )
        if getattr(self, causal) and mask is None:
            raise ShapeProblem(
                "E0412",
                f"`{causal} = True` says that a mask of `{self.kind}` is causal, but there is none",
                argument=causal,
                help=f"pass the mask too; `{causal}` only lets torch choose a faster kernel for it",
            )

    def check_mask(self, mask: Tensor | None, shape: tuple[Dim, ...], name: str, operand: int) -> None:
        if mask is None:
            return
        if mask.dtype not in ("bool", "float32"):
            raise ShapeProblem(
                "E0405",
                f"a {name} of `{self.kind}` is bool (True: left out) or float32 (added), not {mask.dtype}",
                operand=operand,
                label=f"this is {mask}",
            )
        fits, note = agrees(mask.shape, shape)
        if not fits:
            raise ShapeProblem(
                "E0402",
                f"the {name} of `{self.kind}` does not fit: it is {Tensor(shape, mask.dtype)}",
                operand=operand,
                label=f"this is {mask}",
                note=note,
            )

    @classmethod
    def sample_masks(cls, random: Random, *sizes: int) -> tuple[Tensor | None, Tensor | None]:
        """A mask and a padding mask for a batch, two lengths and heads; sometimes none, or one that is odd."""
        batch, length, source, heads = sizes
        dtype = pick(random, ("bool", "bool", "float32"))
        odd = 1 if random.random() < 0.05 else 0
        attention = pick(random, (None, (length, source + odd), (batch * heads, length, source)))
        padding = pick(random, (None, None, (batch, source + odd)))
        return (
            None if attention is None else Tensor(attention, dtype),
            None if padding is None else Tensor(padding, dtype if random.random() < 0.9 else "int64"),
        )


@op
class MultiheadAttention(Attention):
    """Let each element of a sequence look at all others, through `num_heads` learned projections.

    MultiheadAttention(8, batch_first = True) : [N, T, 64] -> [N, T, 64], [N, T, T]
    MultiheadAttention(8) : [T, N, 64], [S, N, 64], [S, N, 64] -> [T, N, 64], [N, T, S]
    MultiheadAttention(8, need_weights = False) : [T, N, 64] -> [T, N, 64]

    One operand is self-attention; three are the query, the key and the value. The masks `key_padding_mask`
    and `attn_mask` follow, or are given by name: what is True in a bool mask is not looked at, a float mask
    is added.
    The second result is the weights, unless `need_weights` is False.
    """

    optional_results: ClassVar[tuple[int, ...]] = (1,)
    positional: ClassVar[tuple[str, ...]] = ("num_heads",)
    inferred: ClassVar[tuple[str, ...]] = ("embed_dim", "kdim", "vdim")
    inside: ClassVar[Mapping[str, str]] = {"out_proj": "Linear"}

    num_heads: Size
    dropout: Probability = 0.0
    bias: bool = True
    add_bias_kv: bool = False
    add_zero_attn: bool = False
    batch_first: bool = False
    need_weights: bool = True
    average_attn_weights: bool = True
    is_causal: bool = False
    embed_dim: Size | None = None
    kdim: Size | None = None
    vdim: Size | None = None

    @model_validator(mode="after")
    def _causal_masks_are_square(self) -> MultiheadAttention:
        if self.is_causal and (self.add_bias_kv or self.add_zero_attn):
            raise ValueError(
                "with an added element of the key the mask is not causal: `is_causal` is left out"
            )
        return self

    @property
    def gives(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (0, 1) if self.need_weights else (0, None)

    @property
    def heads(self) -> int:
        return self.num_heads

    def widths(self, query: Tensor, key: Tensor | None, value: Tensor | None) -> tuple[int, int, int]:
        """The features of the query, the key and the value."""
        key = query if key is None else key
        value = key if value is None else value
        found = self.width(query), self.sequence(key, 1), self.sequence(value, 2)
        for name, size in zip(self.inferred, found, strict=True):
            check_inferred(self.kind, name, getattr(self, name), size)
        return found

    def inferred_sizes(
        self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None, *_: Any
    ) -> tuple[int, ...]:
        return self.widths(query, key, value)[:1]

    def infer(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        attn_mask: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        self.widths(query, key, value)
        key = query if key is None else key
        self.check_sequences(query, key, key if value is None else value)
        self.check_masks(query, key, (4, attn_mask), (3, key_padding_mask), "is_causal")
        if not self.need_weights:
            return query
        source = self.length(key) + self.add_bias_kv + self.add_zero_attn
        heads = () if self.average_attn_weights else (self.num_heads,)
        return query, query.with_shape(self.batch(query), *heads, self.length(query), source)

    def check_sequences(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        pairs = (
            ("batch", self.batch(query), self.batch(key), 1),
            ("batch", self.batch(key), self.batch(value), 2),
            ("length", self.length(key), self.length(value), 2),
        )
        for what, left, right, operand in pairs:
            try:
                join(left, right)
            except DimMismatch as mismatch:
                raise ShapeProblem(
                    "E0402",
                    f"the operands of `{self.kind}` differ in their {what}",
                    operand=operand,
                    label=f"this is {(key, value)[operand - 1]}",
                    note=mismatch_note(f"the {what}", left, right, mismatch),
                ) from None

    def parameters(
        self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None, *_: Any
    ) -> dict[str, State]:
        widths = self.widths(query, key, value)
        return Heads(self.num_heads, widths, self.bias, self.add_bias_kv).parameters()

    def module(self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None, *_: Any) -> Call:
        width, *others = self.widths(query, key, value)
        left_out = {"num_heads", "need_weights", "average_attn_weights", "is_causal", *self.inferred}
        given = {name: found for name, found in self.arguments().items() if name not in left_out}
        given |= {name: size for name, size in zip(("kdim", "vdim"), others, strict=True) if size != width}
        return call("nn.MultiheadAttention", width, self.num_heads, **given)

    def forward(self, *operands: Tensor | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        present = [n for n, operand in enumerate(operands) if operand is not None]
        key = 1 if 1 in present else 0
        kwargs: dict[str, Any] = {}
        if 3 in present:
            kwargs["key_padding_mask"] = Arg(3)
        if not self.need_weights:
            kwargs["need_weights"] = False
        if 4 in present:
            kwargs["attn_mask"] = Arg(4)
        if self.need_weights and not self.average_attn_weights:
            kwargs["average_attn_weights"] = False
        if self.is_causal:
            kwargs["is_causal"] = True
        return (Arg(0), Arg(key), Arg(2 if 2 in present else key)), kwargs

    def onnx(
        self,
        g: OnnxTarget,
        query: OnnxValue,
        key: OnnxValue | None = None,
        value: OnnxValue | None = None,
        key_padding_mask: OnnxValue | None = None,
        attn_mask: OnnxValue | None = None,
    ) -> Any:
        types = [None if v is None else tensor_of(v) for v in (query, key, value)]
        heads = Heads(self.num_heads, self.widths(tensor_of(query), *types[1:]), self.bias, self.add_bias_kv)
        key_type = tensor_of(query if key is None else key)
        masks = Masks(
            attn_mask, key_padding_mask, self.batch(key_type), self.add_bias_kv + self.add_zero_attn
        )
        given = [
            v if v is None or self.batch_first else transposed(g, v, [1, 0, 2]) for v in (query, key, value)
        ]
        out, weights = heads.attend(g, given[0] or query, given[1], given[2], masks, zero=self.add_zero_attn)
        out = out if self.batch_first else transposed(g, out, [1, 0, 2])
        if not self.need_weights:
            return out
        if self.average_attn_weights:
            weights = g.op("ReduceMean", weights, g.constant([1], "int64"), keepdims=0)
        return out, weights

    def cost(self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None, *_: Any) -> Dim:
        widths = self.widths(query, key, value)
        length, source = self.length(query), self.length(query if key is None else key)
        more = self.add_bias_kv + self.add_zero_attn
        return self.batch(query) * Heads(self.num_heads, widths, self.bias).cost(length, source, more)

    @classmethod
    def sample(cls, random: Random) -> Case:
        heads = random.randint(1, 3)
        width = heads * random.randint(1, 3) + (1 if random.random() < 0.05 else 0)
        batch, length, source = (random.randint(1, 4) for _ in range(3))
        arguments: dict[str, Any] = {"num_heads": heads}
        for name, share in (
            ("bias", 0.7),
            ("add_bias_kv", 0.3),
            ("add_zero_attn", 0.3),
            ("batch_first", 0.5),
        ):
            arguments[name] = random.random() < share
        arguments["need_weights"] = random.random() < 0.6
        arguments["average_attn_weights"] = random.random() < 0.6

        def sequence(length: int, width: int) -> Tensor:
            return Tensor((batch, length, width) if arguments["batch_first"] else (length, batch, width))

        operands: list[Tensor | None] = [sequence(length, width), None, None]
        if random.random() < 0.6:
            widths = [pick(random, (width, width, random.randint(1, 5))) for _ in range(2)]
            operands[1:] = [sequence(source, widths[0]), sequence(source, widths[1])]
        else:
            source = length
        attention, padding = cls.sample_masks(random, batch, length, source, heads)
        arguments["is_causal"] = random.random() < (0.3 if attention and attention.rank == 2 else 0.02)
        return Case(arguments, without_end((*operands, padding, attention)))


def without_end(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """Operands without those that are left out at the end."""
    while operands[-1] is None:
        operands = operands[:-1]
    return operands
