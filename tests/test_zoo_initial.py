"""Fresh models of the library have the weights of the reference's constructor, and the comparison sees where not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.zoo.entry import Entry
from tests.zoo.initial import REPRESENTATIVES, differences, initial_differences


@pytest.mark.slow
@pytest.mark.parametrize("entry", REPRESENTATIVES, ids=lambda entry: entry.name)
def test_a_fresh_model_has_weights_of_the_distributions_of_its_reference(entry: Entry) -> None:
    assert initial_differences(entry) == []


def normal(tensor: Tensor) -> Tensor:
    return nn.init.normal_(tensor, std=0.02)


PAIRS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], tuple[str, ...]]] = {
    "a wider one": (normal, lambda t: nn.init.normal_(t, std=0.0206), ("standard deviation",)),
    "a mean that is not 0": (normal, lambda t: nn.init.normal_(t, 0.0005, 0.02), ("mean",)),
    "a uniform one of the same width": (
        normal,
        lambda t: nn.init.uniform_(t, -0.02 * 3**0.5, 0.02 * 3**0.5),
        ("kurtosis", "distributions", "largest", "smallest"),
    ),
    "cut off beyond 3 standard deviations": (
        normal,
        lambda t: nn.init.trunc_normal_(t, std=0.02, a=-0.06, b=0.06),
        ("largest", "smallest"),
    ),
    "another fan": (
        nn.init.kaiming_normal_,
        lambda t: nn.init.kaiming_normal_(t, mode="fan_out"),
        ("standard deviation",),
    ),
    "another nonlinearity": (
        lambda t: nn.init.kaiming_normal_(t, nonlinearity="relu"),
        lambda t: nn.init.kaiming_normal_(t, nonlinearity="tanh"),
        ("standard deviation",),
    ),
    "nearly a constant": (nn.init.zeros_, lambda t: nn.init.normal_(t, std=1e-6), ("0 everywhere",)),
    "another constant": (nn.init.zeros_, nn.init.ones_, ("1 everywhere, expected 0 everywhere",)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_another_distribution_is_told_apart(name: str) -> None:
    one, other, words = PAIRS[name]
    torch.manual_seed(0)
    found = differences({"weight": other(torch.empty(256, 480))}, {"weight": one(torch.empty(256, 480))})
    assert all(any(word in text for text in found) for word in words), found


@pytest.mark.parametrize("fill", [normal, nn.init.kaiming_uniform_, nn.init.zeros_, nn.init.ones_])
@pytest.mark.parametrize("shape", [(1, 2), (3, 5), (64, 3), (64, 64), (512, 512)])
def test_two_samples_of_one_distribution_are_not(
    fill: Callable[[Tensor], Tensor], shape: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    for _ in range(200 if shape[0] < 100 else 5):
        assert differences({"weight": fill(torch.empty(shape))}, {"weight": fill(torch.empty(shape))}) == []


def test_keys_and_shapes_and_integers_count() -> None:
    found = {"a": torch.zeros(2), "b": torch.zeros(2), "index": torch.arange(3)}
    expected = {"b": torch.zeros(3), "c": torch.zeros(2), "index": torch.arange(1, 4)}
    assert differences(found, expected) == [
        "a: unexpected",
        "b: shape (2,), expected (3,)",
        "c: missing",
        "index: torch.int64 of another content, expected torch.int64 of another content",
    ]
