"""Transformers of language, beside their Hugging Face implementations: small ones, with random weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from tests.zoo.entry import Entry, tokens

VOCABULARY: Final = 97
LENGTH: Final = 11
FAR: Final = 150  # further than T5 tells distances apart


def built(model: str, config: str, **settings: Any) -> nn.Module:
    """A model of `transformers`, made of settings: nothing is loaded. Its attention is torch's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns, of what others of its packages do
        import transformers

        transformers.logging.set_verbosity_error()  # it would have special tokens within the vocabulary
        settings |= {"vocab_size": VOCABULARY, "attn_implementation": "sdpa"}
        return getattr(transformers, model)(getattr(transformers, config)(**settings))


def padded(random: torch.Generator, length: int = LENGTH) -> tuple[Tensor, Tensor]:
    """Ids, and a mask that is 0 where the second sequence has ended."""
    (ids,) = tokens(VOCABULARY, length)(random)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    return ids, mask


def with_segments(random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, their mask, and which of two sentences each is of."""
    ids, mask = padded(random)
    return ids, mask, (torch.arange(LENGTH) > 4).long().expand_as(ids)


def decode(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """Without the cache of keys and values, which is returned beside the result; the second input is the mask."""
    return model(inputs[0], attention_mask=inputs[1] if len(inputs) > 1 else None, use_cache=False)


def decoder(
    name: str,
    file: str,
    model: tuple[str, str, str],
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    *,
    masked: bool = False,
    exact: bool = True,
) -> Entry:
    """`model` is the name of ours, of theirs and of their configuration."""
    mine, reference, config = model
    inputs: Callable[[torch.Generator], tuple[Tensor, ...]] = padded if masked else tokens(VOCABULARY, LENGTH)
    return Entry(
        name,
        file,
        mine,
        partial(built, reference, config, **theirs),
        inputs,
        {**ours, "vocabulary": VOCABULARY, "padded": masked},
        exact=exact,
        exact_training=exact,
        call=decode,
    )


# --------------------------------------------------------------------------------------------------------------- GPT-2


def gpt2(
    name: str, *, head: bool = False, masked: bool = False, activation: str = "gelu_pytorch_tanh"
) -> Entry:
    ours = {"layers": 3, "width": 24, "heads": 3, "context": 32}
    theirs = {"n_layer": 3, "n_embd": 24, "n_head": 3, "n_positions": 32, "activation_function": activation}
    names = ("GPT2LM", "GPT2LMHeadModel") if head else ("GPT2", "GPT2Model")
    exact = activation != "gelu_new"  # the same function, written out
    return decoder(name, "gpt2.net", (*names, "GPT2Config"), ours, theirs, masked=masked, exact=exact)


GPT2 = (
    gpt2("gpt2"),
    gpt2("gpt2_with_gelu_new", activation="gelu_new"),
    gpt2("gpt2_padded", masked=True),
    gpt2("gpt2_lm", head=True),
    gpt2("gpt2_lm_padded", head=True, masked=True),
)

# --------------------------------------------------------------------------------------------------------------- Llama


def llama(
    name: str,
    *,
    head: bool = False,
    masked: bool = False,
    groups: int = 2,
    factor: float = 1.0,
    tied: bool = False,
) -> Entry:
    theta = 1e4 if factor == 1.0 else 5e5
    ours: dict[str, Any] = {"layers": 3, "width": 32, "heads": 4, "groups": groups, "inner": 48}
    ours |= {"theta": theta, "factor": factor}
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": theta}
    if factor != 1.0:
        rope |= {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
        rope |= {"original_max_position_embeddings": 8192}
    theirs = {
        "num_hidden_layers": 3,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "num_key_value_heads": groups,
        "intermediate_size": 48,
        "rms_norm_eps": 1e-5,
        "rope_parameters": rope,
        "tie_word_embeddings": tied,
    }
    names = ("LlamaLM", "LlamaForCausalLM") if head else ("Llama", "LlamaModel")
    ours |= {"tied": tied} if head else {}
    return decoder(name, "llama.net", (*names, "LlamaConfig"), ours, theirs, masked=masked)


LLAMA = (
    llama("llama"),
    llama("llama_without_groups", groups=4),
    llama("llama_padded", masked=True),
    llama("llama_lm", head=True),
    llama("llama_lm_of_3_2", head=True, factor=32.0, tied=True),
)

# ---------------------------------------------------------------------------------------------------------------- BERT


def bert(name: str) -> Entry:
    theirs = {"num_hidden_layers": 3, "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 96}
    theirs |= {"max_position_embeddings": 32}
    ours = {"layers": 3, "width": 24, "heads": 3, "context": 32, "vocabulary": VOCABULARY}
    return Entry(
        name, "bert.net", "BERT", partial(built, "BertModel", "BertConfig", **theirs), with_segments, ours
    )


# ------------------------------------------------------------------------------------------------------------------ T5


def t5(name: str, *, projection: str = "relu") -> Entry:
    theirs = {
        "num_layers": 4,
        "d_model": 24,
        "num_heads": 3,
        "d_kv": 8,
        "d_ff": 40,
        "feed_forward_proj": projection,
    }
    ours = {"layers": 4, "width": 24, "heads": 3, "size": 8, "inner": 40, "vocabulary": VOCABULARY}
    return Entry(
        name,
        "t5.net",
        "T5Encoder",
        partial(built, "T5EncoderModel", "T5Config", **theirs),
        partial(padded, length=FAR),
        {**ours, "gated": projection.startswith("gated")},
    )


ENTRIES: tuple[Entry, ...] = (
    *GPT2,
    *LLAMA,
    bert("bert"),
    t5("t5_encoder"),
    t5("t5_encoder_of_1_1", projection="gated-gelu_pytorch_tanh"),
)
