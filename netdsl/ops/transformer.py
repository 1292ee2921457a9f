"""The layers of the transformer: attention and a feed-forward layer, each with a shortcut and a `LayerNorm`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from random import Random
from typing import Any, ClassVar, Literal

from netdsl.ir.dims import Dim
from netdsl.ir.types import State, Tensor
from netdsl.ops.agreement import agrees
from netdsl.ops.attention import Attention, without_end
from netdsl.ops.attention_parts import Heads, Masks, projected
from netdsl.ops.base import Case, Probability, ShapeProblem, Size, check_inferred, op
from netdsl.ops.cases import pick
from netdsl.ops.norm import Epsilon
from netdsl.ops.onnx_parts import tensor_of, transposed
from netdsl.ops.target import Arg, Call, OnnxTarget, OnnxValue, call


def _inside(*attentions: str) -> dict[str, str]:
    """The kinds of the layers in a layer of the transformer."""
    found = {"linear1": "Linear", "linear2": "Linear"}
    found |= {f"norm{number}": "LayerNorm" for number in range(1, len(attentions) + 2)}
    for name in attentions:
        found |= {name: "MultiheadAttention", f"{name}.out_proj": "Linear"}
    return found


class _TransformerLayer(Attention):
    """What the layers of the encoder and of the decoder share. `attentions` are the names of their attentions."""

    positional: ClassVar[tuple[str, ...]] = ("nhead", "dim_feedforward")
    inferred: ClassVar[tuple[str, ...]] = ("d_model",)
    attentions: ClassVar[tuple[str, ...]]
    flags: ClassVar[tuple[str, ...]]  # arguments of torch's `forward`

    nhead: Size
    dim_feedforward: Size = 2048
    dropout: Probability = 0.1
    activation: Literal["relu", "gelu"] = "relu"
    layer_norm_eps: Epsilon = 1e-5
    batch_first: bool = False
    norm_first: bool = False
    bias: bool = True
    d_model: Size | None = None

    @property
    def heads(self) -> int:
        return self.nhead

    def model(self, x: Tensor) -> int:
        found = self.width(x)
        check_inferred(self.kind, "d_model", self.d_model, found)
        return found

    def attention(self, x: Tensor, name: str) -> Heads:
        width = self.model(x)
        return Heads(self.nhead, (width, width, width), self.bias, prefix=f"{name}.")

    def inferred_sizes(self, x: Tensor, *_: Any) -> tuple[int, ...]:
        return (self.model(x),)

    def parameters(self, x: Tensor, *_: Any) -> dict[str, State]:
        width, inner = self.model(x), self.dim_feedforward
        found: dict[str, State] = {}
        for name in self.attentions:
            found |= self.attention(x, name).parameters()
        shapes = {"linear1": (inner, width), "linear2": (width, inner)}
        norms = {f"norm{number}": (width,) for number in range(1, len(self.attentions) + 2)}
        for name, shape in {**shapes, **norms}.items():
            found[f"{name}.weight"] = State(shape)
            found |= {f"{name}.bias": State(shape[:1])} if self.bias else {}
        return found

    def module(self, x: Tensor, *_: Any) -> Call:
        left_out = ("nhead", "d_model", *self.flags)
        given = {name: value for name, value in self.arguments().items() if name not in left_out}
        return call(f"nn.{self.kind}", self.model(x), self.nhead, **given)

    @property
    @abstractmethod
    def operand_names(self) -> tuple[str, ...]:
        """The operands as torch's `forward` has them."""

    def forward(self, *operands: Tensor | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        tensors = len(self.attentions)
        names = enumerate(self.operand_names)
        kwargs: dict[str, Any] = {
            name: Arg(n) for n, name in names if tensors <= n < len(operands) and operands[n] is not None
        }
        kwargs |= {name: True for name in self.flags if getattr(self, name)}
        return tuple(Arg(n) for n in range(tensors)), kwargs

    def swapped(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        """From or to [N, T, features]."""
        return x if self.batch_first else transposed(g, x, [1, 0, 2])

    def feedforward(self, g: OnnxTarget, x: OnnxValue) -> OnnxValue:
        inner = projected(g, x, "linear1", self.bias)
        active = g.op("Relu", inner) if self.activation == "relu" else g.op("Gelu", inner)
        return projected(g, active, "linear2", self.bias)

    def normalised(self, g: OnnxTarget, x: OnnxValue, name: str) -> OnnxValue:
        bias = [g.state(f"{name}.bias")] if self.bias else []
        weight = g.state(f"{name}.weight")
        return g.op("LayerNormalization", x, weight, *bias, axis=-1, epsilon=self.layer_norm_eps)

    def before(self, g: OnnxTarget, x: OnnxValue, name: str) -> OnnxValue:
        """What goes into a part of the layer."""
        return self.normalised(g, x, name) if self.norm_first else x

    def after(self, g: OnnxTarget, x: OnnxValue, part: OnnxValue, name: str) -> OnnxValue:
        """The shortcut around a part of the layer."""
        total = g.op("Add", x, part)
        return total if self.norm_first else self.normalised(g, total, name)

    @classmethod
    def sample_arguments(cls, random: Random) -> tuple[dict[str, Any], int]:
        """Arguments, and the features of the input."""
        heads = random.randint(1, 3)
        arguments: dict[str, Any] = {"nhead": heads, "dim_feedforward": random.randint(1, 6)}
        for name in ("bias", "norm_first", "batch_first"):
            arguments[name] = random.random() < 0.6
        arguments["activation"] = pick(random, ("relu", "gelu"))
        arguments["layer_norm_eps"] = pick(random, (1e-5, 1e-3))
        return arguments, heads * random.randint(1, 3) + (1 if random.random() < 0.05 else 0)


@op
class TransformerEncoderLayer(_TransformerLayer):
    """Self-attention and a layer of `dim_feedforward`, each with a shortcut around it and a `LayerNorm`.

    TransformerEncoderLayer(8, batch_first = True) : [N, T, 64] -> [N, T, 64]
    TransformerEncoderLayer(8, dim_feedforward = 256, norm_first = True) : [T, N, 64] -> [T, N, 64]

    The masks `src_mask` and `src_key_padding_mask` follow, or are given by name.
    """

    attentions: ClassVar[tuple[str, ...]] = ("self_attn",)
    inside: ClassVar[Mapping[str, str]] = _inside(*attentions)
    flags: ClassVar[tuple[str, ...]] = ("is_causal",)

    is_causal: bool = False

    @property
    def operand_names(self) -> tuple[str, ...]:
        return "src", "src_mask", "src_key_padding_mask"

    def infer(
        self, src: Tensor, src_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None
    ) -> Tensor:
        self.model(src)
        self.check_masks(src, src, (1, src_mask), (2, src_key_padding_mask), "is_causal")
        return src

    def onnx(
        self,
        g: OnnxTarget,
        src: OnnxValue,
        src_mask: OnnxValue | None = None,
        src_key_padding_mask: OnnxValue | None = None,
    ) -> OnnxValue:
        type = tensor_of(src)
        masks = Masks(src_mask, src_key_padding_mask, self.batch(type))
        x = self.swapped(g, src)
        part, _ = self.attention(type, "self_attn").attend(g, self.before(g, x, "norm1"), None, None, masks)
        x = self.after(g, x, part, "norm1")
        x = self.after(g, x, self.feedforward(g, self.before(g, x, "norm2")), "norm2")
        return self.swapped(g, x)

    def cost(self, src: Tensor, *_: Any) -> Dim:
        width, length = self.model(src), self.length(src)
        attention = self.attention(src, "self_attn").cost(length, length)
        return self.batch(src) * (attention + 2 * length * width * self.dim_feedforward)

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments, width = cls.sample_arguments(random)
        batch, length = random.randint(1, 4), random.randint(1, 4)
        src = Tensor((batch, length, width) if arguments["batch_first"] else (length, batch, width))
        mask, padding = cls.sample_masks(random, batch, length, length, arguments["nhead"])
        arguments["is_causal"] = random.random() < (0.3 if mask and mask.rank == 2 else 0.02)
        return Case(arguments, without_end((src, mask, padding)))


@op
class TransformerDecoderLayer(_TransformerLayer):
    """Self-attention, attention to what the encoder gives, and a layer of `dim_feedforward`.

    TransformerDecoderLayer(8, batch_first = True) : [N, T, 64], [N, S, 64] -> [N, T, 64]
    TransformerDecoderLayer(8, norm_first = True) : [T, N, 64], [S, N, 64] -> [T, N, 64]

    The masks `tgt_mask`, `memory_mask`, `tgt_key_padding_mask` and `memory_key_padding_mask` follow, or are given
    by name.
    """

    attentions: ClassVar[tuple[str, ...]] = ("self_attn", "multihead_attn")
    inside: ClassVar[Mapping[str, str]] = _inside(*attentions)
    flags: ClassVar[tuple[str, ...]] = ("tgt_is_causal", "memory_is_causal")

    tgt_is_causal: bool = False
    memory_is_causal: bool = False

    @property
    def operand_names(self) -> tuple[str, ...]:
        masks = ("tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask")
        return "tgt", "memory", *masks

    def infer(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        width = self.model(tgt)
        self.sequence(memory, 1)
        pairs = (self.batch(memory), memory.shape[2]), (self.batch(tgt), width)
        fits, note = agrees(*pairs)
        if not fits:
            raise ShapeProblem(
                "E0402",
                f"the operands of `{self.kind}` differ in their batch or their features",
                operand=1,
                label=f"this is {memory}, and the first is {tgt}",
                note=note and note.replace("axis 0", "the batch").replace("axis 1", "the features"),
            )
        self.check_masks(tgt, tgt, (2, tgt_mask), (4, tgt_key_padding_mask), "tgt_is_causal")
        self.check_masks(tgt, memory, (3, memory_mask), (5, memory_key_padding_mask), "memory_is_causal")
        return tgt

    def onnx(
        self,
        g: OnnxTarget,
        tgt: OnnxValue,
        memory: OnnxValue,
        tgt_mask: OnnxValue | None = None,
        memory_mask: OnnxValue | None = None,
        tgt_key_padding_mask: OnnxValue | None = None,
        memory_key_padding_mask: OnnxValue | None = None,
    ) -> OnnxValue:
        type = tensor_of(tgt)
        own = Masks(tgt_mask, tgt_key_padding_mask, self.batch(type))
        other = Masks(memory_mask, memory_key_padding_mask, self.batch(type))
        x, seen = self.swapped(g, tgt), self.swapped(g, memory)
        part, _ = self.attention(type, "self_attn").attend(g, self.before(g, x, "norm1"), None, None, own)
        x = self.after(g, x, part, "norm1")
        query = self.before(g, x, "norm2")
        part, _ = self.attention(type, "multihead_attn").attend(g, query, seen, seen, other)
        x = self.after(g, x, part, "norm2")
        x = self.after(g, x, self.feedforward(g, self.before(g, x, "norm3")), "norm3")
        return self.swapped(g, x)

    def cost(self, tgt: Tensor, memory: Tensor, *_: Any) -> Dim:
        width, length = self.model(tgt), self.length(tgt)
        own = self.attention(tgt, "self_attn").cost(length, length)
        other = self.attention(tgt, "multihead_attn").cost(length, self.length(memory))
        return self.batch(tgt) * (own + other + 2 * length * width * self.dim_feedforward)

    @classmethod
    def sample(cls, random: Random) -> Case:
        arguments, width = cls.sample_arguments(random)
        batch, length, source = (random.randint(1, 4) for _ in range(3))

        def sequence(length: int, width: int) -> Tensor:
            return Tensor((batch, length, width) if arguments["batch_first"] else (length, batch, width))

        tgt = sequence(length, width)
        memory = sequence(source, width + (1 if random.random() < 0.05 else 0))
        mask, padding = cls.sample_masks(random, batch, length, length, arguments["nhead"])
        other_mask, other_padding = cls.sample_masks(random, batch, length, source, arguments["nhead"])
        arguments["tgt_is_causal"] = random.random() < (0.3 if mask and mask.rank == 2 else 0.02)
        arguments["memory_is_causal"] = random.random() < (
            0.3 if other_mask and other_mask.rank == 2 else 0.02
        )
        return Case(arguments, without_end((tgt, memory, mask, other_mask, padding, other_padding)))
