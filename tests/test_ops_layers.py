"""The laws for every layer, and what is particular to some."""

from __future__ import annotations

import math
from typing import Any

import torch

from netdsl.ir.types import Tensor
from netdsl.ops import registry
from netdsl.ops.base import Case
from netdsl.ops.norm import Norm
from netdsl.ops.pool import Pool
from tests.laws import NEEDS_NUMBERS, RANDOM, REFERENCES, VALUES, Trial, Values, ids_below, trial, value_of

VALUES["Embedding"] = ids_below("num_embeddings")
VALUES["EmbeddingBag"] = ids_below("num_embeddings")


def bag(module: Any, ids: torch.Tensor, weights: torch.Tensor | None = None) -> Any:
    return module(ids, per_sample_weights=weights)


def lstm(module: Any, x: torch.Tensor, *states: torch.Tensor) -> Any:
    return module(x, states) if states else module(x)


REFERENCES["EmbeddingBag"] = bag
REFERENCES["LSTM"] = lstm
NEEDS_NUMBERS.add("LSTM")  # a projection is written out step by step


def unpooled(kind: str) -> Values:
    """Indices that differ within a channel, as those of a pool do."""

    def make(arguments: Any, operands: Any, generator: torch.Generator) -> list[Any]:
        x, indices = operands
        found = trial(kind, Case(arguments, (x, Tensor(x.shape, "int64"))))
        plane = math.prod(found.types[0].shape[2:]) if found.types else 1
        count = math.prod(indices.shape[2:])
        shuffled = [
            torch.randperm(max(plane, count), generator=generator)[:count]
            for _ in range(math.prod(indices.shape[:2]))
        ]
        places = torch.cat(shuffled).reshape(indices.shape)
        return [value_of(x, generator), places.to(getattr(torch, indices.dtype))]

    return make


for axes in (1, 2, 3):
    VALUES[f"MaxUnpool{axes}d"] = unpooled(f"MaxUnpool{axes}d")


def attention(module: Any, *operands: Any, **flags: Any) -> Any:
    """One operand is self-attention, and a mask follows the three."""
    query, key, value, padding, mask = (*operands, *[None] * (5 - len(operands)))
    key = query if key is None else key
    value = key if value is None else value
    return module(query, key, value, key_padding_mask=padding, attn_mask=mask, **flags)


REFERENCES["MultiheadAttention"] = attention


def masks(places: tuple[int, ...]) -> Values:
    """Masks that leave something to look at; those that are said to be causal are."""

    def make(arguments: Any, operands: Any, generator: torch.Generator) -> list[Any]:
        values = [value_of(operand, generator) for operand in operands]
        for place in places:
            mask = values[place] if place < len(values) else None
            if mask is None:
                continue
            if arguments["is_causal"] and mask.ndim == 2 and place != places[0]:
                causal = torch.ones(mask.shape, dtype=torch.bool).triu(1)
                mask = torch.zeros(mask.shape).masked_fill(causal, float("-inf")) if mask.is_floating_point() else causal
            elif mask.dtype == torch.bool:
                mask[..., 0] = False
            values[place] = mask
        return values

    return make


VALUES["MultiheadAttention"] = masks((3, 4))
VALUES["TransformerEncoderLayer"] = masks((2, 1))


def allowed(found: Trial) -> bool:
    """What torch takes and the language refuses, with the reason."""
    x = found.case.operands[0]
    if issubclass(registry[found.kind], Pool) and not x.is_float:
        return True  # torch pools integers in some of its kernels, and in others it does not
    if registry[found.kind].training_only:
        return True  # in evaluation torch looks at nothing; in training it refuses integers and warns of other ranks
    if issubclass(registry[found.kind], Norm) and x.is_float and x.dtype != "float32":
        return True  # weights and running statistics are float32, and torch lets only some of them mix
    if found.kind in ("RNN", "LSTM", "GRU") and found.case.arguments["dropout"]:
        return True  # dropout between the layers of a single layer: torch warns
    if found.kind in ("MultiheadAttention", "TransformerEncoderLayer"):
        added = found.case.arguments.get("add_bias_kv") or found.case.arguments.get("add_zero_attn")
        if found.case.arguments["is_causal"] and added:
            return True  # torch's faster kernel for causal masks does not know of the added element
        return getattr(found.problem, "code", "") == "E0405"  # masks of two kinds: torch warns
    if found.kind in ("AdaptiveAvgPool2d", "AdaptiveAvgPool3d") and found.op and set(found.op.targets) == {1}:
        return True  # to one element torch pools inputs of any rank, to more it does not
    return False


def draws_windows(found: Trial) -> bool:
    """Whether the windows of a fractional pool are left to chance; with an even stretch between them they are not."""
    x = found.case.operands[0]
    pooled = found.types[0]
    spare = [
        (size - found.case.arguments["kernel_size"], target - 1)
        for size, target in zip(x.shape[2:], pooled.shape[2:])
    ]
    return any(target and room % target for room, target in spare)


RANDOM["FractionalMaxPool2d"] = RANDOM["FractionalMaxPool3d"] = draws_windows
NEEDS_NUMBERS.update(
    {f"AdaptiveMaxPool{axes}d" for axes in (2, 3)}
)  # places of maxima along an axis that is kept
