"""The laws for every layer, and what is particular to some."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from netdsl.ir.types import Tensor
from netdsl.ops import registry
from netdsl.ops.base import Case, ShapeProblem, initialisers
from netdsl.ops.norm import Norm
from netdsl.ops.pool import Pool
from netdsl.ops.target import Call
from tests.documented import example_holds, examples_of
from tests.laws import (
    NEEDS_NUMBERS,
    RANDOM,
    REFERENCES,
    VALUES,
    Trial,
    Values,
    constructor_names,
    cost_is_half_of_torchs,
    free_sizes_are_numbers_later,
    ids_below,
    onnx_is_torch,
    reference_module,
    shapes_are_torchs,
    state_is_the_modules,
    torch_class,
    torch_lowering_is_the_reference,
    trial,
    trials,
    value_of,
    values_of,
)
from tests.lowering import evaluated

# `extern` is declared by a file: it has a test of its own, and no twin in torch.
LAYERS = sorted(kind for kind, cls in registry.items() if cls.is_layer and kind != "extern")

# Modules of torch that are no layers of the language, by reason.
LEFT_OUT = {
    "base classes": "Module Container RNNBase RNNCellBase",
    "what a file says itself": "Sequential ModuleList ModuleDict ParameterList ParameterDict Transformer "
    "TransformerEncoder TransformerDecoder",
    "layers that read their sizes from the input, as all of ours do": "LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d "
    "LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d "
    "LazyInstanceNorm2d LazyInstanceNorm3d LazyLinear",
    "several machines": "DataParallel SyncBatchNorm",
    "a loss and its output layer in one": "AdaptiveLogSoftmaxWithLoss",
    "an older LocalResponseNorm, for CUDA only": "CrossMapLRN2d",
}

# Fields that torch has elsewhere or not at all, and arguments of torch that are not fields.
MORE_FIELDS = {
    "MultiheadAttention": {"need_weights", "average_attn_weights", "is_causal"},  # of its forward
    "TransformerEncoderLayer": {"is_causal"},
    "TransformerDecoderLayer": {"tgt_is_causal", "memory_is_causal"},
}
NOT_FIELDS = {
    "Hardtanh": {"min_value", "max_value"},  # old names of min_val and max_val
    "RNN": {"proj_size"},  # refused by torch
    "GRU": {"proj_size"},
}
OTHER_DEFAULTS = {
    ("TransformerEncoderLayer", "activation"): "torch's default is the function of that name",
    ("TransformerDecoderLayer", "activation"): "torch's default is the function of that name",
}


# ------------------------------------------------------------------------------------------- how torch is called


def bag(module: nn.Module, ids: torch.Tensor, weights: torch.Tensor | None = None) -> Any:
    return module(ids, per_sample_weights=weights)


def lstm(module: nn.Module, x: torch.Tensor, *states: torch.Tensor) -> Any:
    return module(x, states) if states else module(x)


def attention(module: nn.Module, *operands: Any, **flags: Any) -> Any:
    """One operand is self-attention, and a mask follows the three."""
    query, key, value, padding, mask = (*operands, *[None] * (5 - len(operands)))
    key = query if key is None else key
    value = key if value is None else value
    return module(query, key, value, key_padding_mask=padding, attn_mask=mask, **flags)


REFERENCES["EmbeddingBag"] = bag
REFERENCES["LSTM"] = REFERENCES["LSTMCell"] = lstm
REFERENCES["MultiheadAttention"] = attention


# ------------------------------------------------------------------------------------------------ values to try


def unpooled(kind: str) -> Values:
    """Indices that differ within a channel, as those of a pool do."""

    def make(arguments: Any, operands: Any, generator: torch.Generator) -> list[Any]:
        x, indices = operands
        found = trial(kind, Case(arguments, (x, Tensor(x.shape, "int64"))))
        plane = math.prod(found.types[0].shape[2:]) if found.types else 1
        count, channels = math.prod(indices.shape[2:]), math.prod(indices.shape[:2])
        rows = [torch.randperm(max(plane, count), generator=generator)[:count] for _ in range(channels)]
        places = torch.cat(rows).reshape(indices.shape)
        return [value_of(x, generator), places.to(getattr(torch, indices.dtype))]

    return make


def masked(masks: dict[int, str]) -> Values:
    """Bool masks leave the first element to look at; one whose flag in `masks` is set is causal."""

    def make(arguments: Any, operands: Any, generator: torch.Generator) -> list[Any]:
        values = [value_of(operand, generator) for operand in operands]
        for place, flag in masks.items():
            mask = values[place] if place < len(values) else None
            if mask is None:
                continue
            if flag and arguments[flag]:
                later = torch.ones(mask.shape, dtype=torch.bool).triu(1)
                added = torch.zeros(mask.shape).masked_fill(later, float("-inf"))
                values[place] = later if mask.dtype == torch.bool else added
            elif mask.dtype == torch.bool:
                mask[..., 0] = False
        return values

    return make


for axes in (1, 2, 3):
    VALUES[f"MaxUnpool{axes}d"] = unpooled(f"MaxUnpool{axes}d")
VALUES["Embedding"] = VALUES["EmbeddingBag"] = ids_below("num_embeddings")
VALUES["MultiheadAttention"] = masked({3: "", 4: "is_causal"})
VALUES["TransformerEncoderLayer"] = masked({1: "is_causal", 2: ""})
VALUES["TransformerDecoderLayer"] = masked({2: "tgt_is_causal", 3: "memory_is_causal", 4: "", 5: ""})


# ------------------------------------------------------------------------------------------ what is let pass, and why


def draws_windows(found: Trial) -> bool:
    """Whether the windows of a fractional pool are left to chance: an even stretch between them leaves none."""
    assert found.types is not None
    sizes = zip(found.case.operands[0].shape[2:], found.types[0].shape[2:], strict=True)
    spare = [(size - found.case.arguments["kernel_size"], target - 1) for size, target in sizes]
    return any(target and room % target for room, target in spare)


RANDOM["FractionalMaxPool2d"] = RANDOM["FractionalMaxPool3d"] = draws_windows
NEEDS_NUMBERS.update(
    {"AdaptiveMaxPool2d", "AdaptiveMaxPool3d"}
)  # places of maxima along an axis that is kept
NEEDS_NUMBERS.add("LSTM")  # a projection is written out step by step


def allowed(found: Trial) -> bool:
    """What torch takes and the language refuses, with the reason."""
    cls, x = registry[found.kind], found.case.operands[0]
    arguments, code = found.case.arguments, getattr(found.problem, "code", "")
    if issubclass(cls, Pool) and not x.is_float:
        return True  # torch pools integers in some of its kernels, and in others it does not
    if cls.training_only:
        return True  # in evaluation torch looks at nothing; in training it refuses integers and warns of other ranks
    if issubclass(cls, Norm) and x.is_float and x.dtype != "float32":
        return True  # weights and running statistics are float32, and torch lets only some of them mix
    if found.kind in ("RNN", "LSTM", "GRU") and arguments["dropout"]:
        return True  # dropout between the layers of a single layer: torch warns
    if found.kind.startswith("CircularPad") and not isinstance(arguments["padding"], int):
        return min(arguments["padding"]) < 0  # one side cropped and the other wrapped by more than is left
    if found.kind == "MultiheadAttention" and arguments["is_causal"]:
        return (
            arguments["add_bias_kv"] or arguments["add_zero_attn"]
        )  # its causal kernel does not know what is added
    if found.kind in ("MultiheadAttention", "TransformerEncoderLayer", "TransformerDecoderLayer"):
        causal = any(flag.endswith("is_causal") and arguments.get(flag) for flag in arguments)
        # Of masks of two kinds torch warns; at a mask that is said to be causal it does not look.
        return code == "E0405" or (causal and code == "E0402")
    # To one element torch pools inputs of any rank, to more it does not.
    return found.kind.startswith("AdaptiveAvgPool") and bool(found.op) and set(found.op.targets) == {1}  # type: ignore[attr-defined]


# --------------------------------------------------------------------------------------------------- the laws


def obeys(kind: str, count: int, onnx: int) -> None:
    """`count` random uses obey all laws, the first `onnx` valid ones that of ONNX."""
    valid = 0
    for found in trials(kind, count):
        if not shapes_are_torchs(found, allowed):
            continue
        valid += 1
        torch_lowering_is_the_reference(found)
        state_is_the_modules(found)
        free_sizes_are_numbers_later(found)
        if valid <= onnx:
            onnx_is_torch(found)
            onnx_is_torch(found, free=True)
    assert valid >= (count / 4 if count > 10 else 1), (
        f"only {valid} of {count} random uses of `{kind}` are valid"
    )


@pytest.mark.parametrize("kind", LAYERS)
def test_a_few_random_uses_obey_the_laws(kind: str) -> None:
    obeys(kind, 6, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LAYERS)
def test_many_random_uses_obey_the_laws(kind: str) -> None:
    obeys(kind, 120, 50)


@pytest.mark.parametrize("kind", LAYERS)
def test_documented_examples_hold(kind: str) -> None:
    examples = examples_of(kind)
    assert examples, f"`{kind}` has no example"
    for example in examples:
        example_holds(example)


@pytest.mark.parametrize("kind", LAYERS)
def test_arguments_are_torchs(kind: str) -> None:
    cls = registry[kind]
    wanted = {name for name in constructor_names(kind) if not name.startswith("_")}
    fields = cls.model_fields
    left_out = NOT_FIELDS.get(kind, set())
    assert set(fields) - MORE_FIELDS.get(kind, set()) == wanted - left_out
    read = {*cls.inferred, *MORE_FIELDS.get(kind, set())}
    in_order = [name for name in constructor_names(kind) if name in wanted - left_out - read]
    assert [name for name in fields if name not in read] == in_order
    for name, default in torch_defaults(kind).items():
        if name not in fields or name in cls.inferred or (kind, name) in OTHER_DEFAULTS:
            continue
        if default is inspect.Parameter.empty:
            assert fields[name].is_required(), name
        else:
            assert fields[name].default == default, name
            assert type(fields[name].default) is type(default) or not isinstance(default, bool), name


def torch_defaults(kind: str) -> dict[str, Any]:
    """The defaults of torch's constructor; those of recurrent layers are read off one."""
    if kind in ("RNN", "LSTM", "GRU"):
        module = getattr(nn, kind)(1, 1)
        return {name: getattr(module, name) for name in constructor_names(kind) if name != "hidden_size"}
    return {name: p.default for name, p in inspect.signature(torch_class(kind).__init__).parameters.items()}


@pytest.mark.parametrize("kind", sorted(MORE_FIELDS))
def test_arguments_of_forward_are_torchs(kind: str) -> None:
    parameters = inspect.signature(torch_class(kind).forward).parameters
    flags = {name: p.default for name, p in parameters.items() if isinstance(p.default, bool)}
    more = (
        MORE_FIELDS[kind] - {"memory_is_causal"} if kind == "TransformerDecoderLayer" else MORE_FIELDS[kind]
    )
    assert {name: registry[kind].model_fields[name].default for name in more} == {
        name: flags[name] for name in more
    }


@pytest.mark.parametrize("kind", LAYERS)
def test_positional_arguments_come_in_torchs_order(kind: str) -> None:
    names = [name for name in constructor_names(kind) if name not in registry[kind].inferred]
    positional = registry[kind].positional
    if "scale_factor" in positional:
        names.remove("size")  # by position it is the factor that is given
    assert list(positional) == names[: len(positional)]


def test_every_layer_of_torch_is_a_layer() -> None:
    modules = {name for name, cls in vars(nn).items() if isinstance(cls, type) and issubclass(cls, nn.Module)}
    losses = {name for name in modules if name.endswith(("Loss", "Loss2d"))}
    left_out = {name for names in LEFT_OUT.values() for name in names.split()}
    assert modules - losses - left_out - set(LAYERS) == set()
    assert set(LAYERS) - modules == {"StochasticDepth"}


@pytest.mark.parametrize("kind", LAYERS)
def test_costs_are_half_the_operations_that_torch_counts(kind: str) -> None:
    apply = REFERENCES.get(kind, lambda module, *values: module(*values))
    for found in trials(kind, 30):
        if found.types is not None:
            module, values = reference_module(found).eval(), values_of(found)
            cost_is_half_of_torchs(found, partial(apply, module, *values))


# ------------------------------------------------------------------------------------------------ the laws can fail


def spoilt(name: str, change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch, str], None]:
    """The method `name` of a layer with its result changed."""

    def spoil(patch: pytest.MonkeyPatch, kind: str) -> None:
        original = getattr(registry[kind], name)
        patch.setattr(registry[kind], name, lambda *args: change(original(*args)))

    return spoil


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("Conv2d", spoilt("pads", lambda pads: tuple((before, after + 1) for before, after in pads))),
        ("MaxPool2d", spoilt("places", lambda size: size + 1)),
        ("Conv2d", spoilt("filters", lambda filters: filters[::-1])),
        ("BatchNorm2d", spoilt("parameters_of", lambda found: dict(reversed(found.items())))),
        ("LSTM", lambda patch, kind: patch.setattr(registry[kind], "order", (0, 1, 2, 3))),
        ("GRU", lambda patch, kind: patch.setattr(registry[kind], "order", (0, 1, 2))),
        ("Softplus", spoilt("sample_arguments", lambda _: {"beta": 0.0, "threshold": "high"})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_planted_fault_is_caught(
    monkeypatch: pytest.MonkeyPatch, kind: str, spoil: Callable[[pytest.MonkeyPatch, str], None]
) -> None:
    spoil(monkeypatch, kind)
    with pytest.raises(AssertionError):
        obeys(kind, 40, 20)


# ----------------------------------------------------------------------------------------------------- initialisers


def signature_of(kind: str) -> dict[str, Any]:
    parameters = inspect.signature(getattr(nn.init, f"{kind}_")).parameters
    return {name: p.default for name, p in parameters.items() if name not in ("tensor", "generator")}


@pytest.mark.parametrize("kind", sorted(initialisers))
def test_arguments_of_initialisers_are_torchs(kind: str) -> None:
    fields = initialisers[kind].model_fields
    required = inspect.Parameter.empty
    ours = {name: required if field.is_required() else field.default for name, field in fields.items()}
    assert ours == signature_of(kind)
    assert initialisers[kind].positional == tuple(fields)


def test_every_initialiser_of_torch_is_one() -> None:
    ours = {f"{kind}_" for kind in initialisers}
    theirs = {name for name in vars(nn.init) if name.endswith("_") and not name.startswith("_")}
    assert ours == theirs


@pytest.mark.parametrize("kind", sorted(initialisers))
def test_initialisers_fill_the_tensors_that_torch_fills(kind: str) -> None:
    required = {"constant": {"val": 0.3}, "sparse": {"sparsity": 0.5}}
    made = initialisers[kind](**required.get(kind, {}))
    call = made.torch()
    assert isinstance(call, Call)
    for rank in range(7):
        shape = (3,) * rank
        fits = True
        try:
            made.check(shape)
        except ShapeProblem:
            fits = False
        if not fits:
            with pytest.raises((ValueError, RuntimeError)):
                evaluated(call, [torch.empty(shape)], {})
            continue
        tensor = torch.full(shape, math.nan)
        evaluated(call, [tensor], {})
        assert not tensor.isnan().any()
