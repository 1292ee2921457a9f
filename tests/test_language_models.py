"""The transformers of `specs/` in their published sizes, from text alone; `tests/zoo` has their numbers, small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import netdsl
from netdsl.ir.measure import parameter_count

SPECS = Path(__file__).parent.parent / "specs"
PUBLISHED = {
    "gpt2.net": {
        "GPT2": 124_439_808,
        "GPT2LM": 124_439_808,
        "GPT2Medium": 354_823_168,
        "GPT2Large": 774_030_080,
        "GPT2XL": 1_557_611_200,
        "GPT2LMXL": 1_557_611_200,
    },
    "bert.net": {"BERTBase": 109_482_240, "BERTLarge": 335_141_888},
    "llama.net": {
        "Llama2_7B": 6_738_415_616,
        "Llama2_13B": 13_015_864_320,
        "Llama2_70B": 68_976_648_192,
        "TinyLlama": 1_100_048_384,
        "Llama3_8B": 8_030_261_248,
        "Llama3_70B": 70_553_706_496,
        "Llama3_1_8B": 8_030_261_248,
        "Llama3_2_1B": 1_235_814_400,
        "Llama3_2_3B": 3_212_749_824,
    },
    "t5.net": {
        "T5SmallEncoder": 35_330_816,
        "T5BaseEncoder": 109_628_544,
        "T5LargeEncoder": 334_939_648,
        "T5V1_1SmallEncoder": 35_332_800,
        "T5V1_1BaseEncoder": 109_628_544,
    },
}
CASES = [(file, model, count) for file, models in PUBLISHED.items() for model, count in models.items()]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "model", "count"), CASES)
def test_a_published_model_has_its_published_number_of_parameters(file: str, model: str, count: int) -> None:
    assert parameter_count(getattr(netdsl.load(SPECS / file), model).graph()) == count


def test_gpt2_starts_as_the_paper_says() -> None:
    """Weights that end a residual branch are smaller by the root of the number of branches."""
    torch.manual_seed(0)
    model = netdsl.load(SPECS / "gpt2.net").GPT2LM(layers=8, width=128, heads=4, vocabulary=500)
    spread = {
        name: parameter.std().item() for name, parameter in model.named_parameters() if parameter.ndim > 1
    }
    for name, found in spread.items():
        expected = 0.02 / 4 if name.endswith("c_proj.weight") else 0.02
        assert found == pytest.approx(expected, rel=0.1), name
    assert model.lm_head.weight is model.transformer.wte.weight


def test_padding_does_not_change_what_comes_before_it() -> None:
    nets = netdsl.load(SPECS / "llama.net")
    model = nets.LlamaLM(layers=2, width=32, heads=4, groups=2, inner=48, vocabulary=50, padded=True).eval()
    ids = torch.randint(50, (2, 9))
    mask = torch.ones_like(ids)
    mask[:, 6:] = 0
    longer, shorter = model(ids, mask), model(ids[:, :6], mask[:, :6])
    assert torch.allclose(longer[:, :6], shorter, atol=1e-6)
