"""Fresh weights beside those of the reference: two samples that must be of one distribution, parameter by parameter.

A constant must be the same constant. Of what is drawn, four figures are compared, each against the noise that samples
of this size have: the mean and the logarithm of the standard deviation, the kurtosis (1.8 of a uniform distribution, 3
of a normal one, less of one whose ends are cut off) and the whole distribution (Kolmogorov and Smirnov's distance); and
the largest of both samples together must not all be of one. A difference counts beyond `NOISE` standard errors, or where
its probability is below `CHANCE`, which is the same: among the 20,000 comparisons of the zoo noise alone gets there once
in 50,000 runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torchvision.models import VisionTransformer

from tests.zoo import GROUPS
from tests.zoo.compare import model_of
from tests.zoo.entry import SEED, Entry, images

CHANCE = 1e-9  # of one comparison to fail where nothing is wrong
NOISE = 6.1  # the standard errors that a normal variable exceeds with that probability
MOST = 200_000  # values of a tensor: more would say no more
FEW = 16  # of fewer values no more can be said than whether they are constant
ENDS = 31  # the largest of two samples of the same size are all of one with the probability 2 ** (1 - 31)


@dataclass(frozen=True)
class Sample:
    """Some numbers, with their figures and the standard errors of those."""

    values: Tensor

    @classmethod
    def of(cls, tensor: Tensor) -> Sample:
        """At most `MOST` values of `tensor`, from all over it."""
        values = tensor.detach().flatten()
        return cls(values[:: math.ceil(len(values) / MOST)].double())

    @property
    def standardised(self) -> Tensor:
        centred = self.values - self.values.mean()
        return centred / centred.square().mean().sqrt()

    def figures(self) -> Iterator[tuple[str, float, float]]:
        """Name, figure, and its standard error: that of the mean of what one more value would change it by."""
        z, count = self.standardised, math.sqrt(len(self.values))
        scale, kurtosis = self.values.std(correction=0).item(), z.pow(4).mean().item()
        yield "mean", self.values.mean().item(), scale / count
        yield "standard deviation", math.log(scale), math.sqrt(max(kurtosis - 1, 0.5)) / 2 / count
        change = z.pow(4) - 2 * kurtosis * z.square() + kurtosis
        yield "kurtosis", kurtosis, max(change.std().item(), 0.5) / count


def differences(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """What tells the tensors in `found` from those of `expected`, by name; nothing where it may be noise."""
    told = [
        f"{key}: {'missing' if key in expected else 'unexpected'}" for key in found.keys() ^ expected.keys()
    ]
    for key in found.keys() & expected.keys():
        told += [f"{key}: {text}" for text in told_apart(found[key], expected[key])]
    return sorted(told)


def told_apart(found: Tensor, expected: Tensor) -> Iterator[str]:
    if found.shape != expected.shape:
        yield f"shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
        return
    if not found.is_floating_point() or is_constant(found) or is_constant(expected):
        if not torch.equal(found, expected):
            yield f"{brief(found)}, expected {brief(expected)}"
        return
    if found.numel() < FEW:
        return
    ours, theirs = Sample.of(found), Sample.of(expected)
    for (name, left, error), (_, right, other) in zip(ours.figures(), theirs.figures(), strict=True):
        if abs(left - right) > NOISE * math.hypot(error, other):
            apart = (left - right) / math.hypot(error, other)
            yield f"{name} {apart:+.1f} standard errors apart: {brief(found)}, expected {brief(expected)}"
    yield from shapes_apart(ours, theirs)


def shapes_apart(ours: Sample, theirs: Sample) -> Iterator[str]:
    """How the two distributions differ as a whole, and at their ends."""
    both = torch.cat([ours.values, theirs.values])
    count = len(ours.values)
    order = both.argsort()
    steps = torch.where(order < count, 1 / count, -1 / count)
    distance = steps.cumsum(0).abs().max().item()
    if distance > math.sqrt(-math.log(CHANCE / 2) / count):
        yield f"distributions {distance:.3f} apart"
    if count >= 2 * ENDS:
        for end, places in (("smallest", order[:ENDS]), ("largest", order[-ENDS:])):
            own = int((places < count).sum())
            if own in (0, ENDS):
                yield f"the {end} {ENDS} values of both are all {'ours' if own else 'of the reference'}"


def is_constant(tensor: Tensor) -> bool:
    """Whether nothing was drawn; of a single number only 0 and 1 tell that."""
    first = tensor.flatten()[0]
    return bool((tensor == first).all()) and (tensor.numel() > 1 or first.item() in (0, 1))


def brief(tensor: Tensor) -> str:
    if not tensor.is_floating_point():
        return f"{tensor.dtype} of another content"
    if tensor.numel() == 1 or is_constant(tensor):
        return f"{tensor.flatten()[0].item():g} everywhere"
    low, high = tensor.min().item(), tensor.max().item()
    return f"mean {tensor.mean().item():.3g}, standard deviation {tensor.std().item():.3g}, {low:.3g} to {high:.3g}"


# ---------------------------------------------------------------------------------------------------- families

# The smallest builder of each family of classifiers.
SMALLEST = frozenset(
    {
        "alexnet",
        "vgg11_bn",
        "resnet18",
        "squeezenet1_1",
        "densenet121",
        "googlenet",
        "inception_v3",
        "shufflenet_v2_x0_5",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "mnasnet0_5",
        "efficientnet_b0",
        "regnet_y_400mf",
        "convnext_tiny",
        "swin_t",
        "swin_v2_t",
        "maxvit_t",
    }
)
OTHERS = frozenset(
    {
        "unet_of_other_widths",
        "deeplabv3_resnet50_with_aux_loss",
        "mc3_18",
        "gpt2_lm",
        "llama_lm",
        "bert",
        "t5_encoder",
    }
)

# The smallest vision transformer has 88 million parameters; one of two layers has them of the same kinds.
SIZES = {"image_size": 64, "representation_size": 48}
VIT = Entry(
    "vision_transformer",
    "vit.net",
    "VisionTransformer",
    partial(VisionTransformer, 64, 16, 2, 4, 128, 256, representation_size=48),
    images(64),
    {"patch": 16, "layers": 2, "heads": 4, "width": 128, "mlp": 256, **SIZES},
)
REPRESENTATIVES = (
    *(entry for entries in GROUPS.values() for entry in entries if entry.name in SMALLEST | OTHERS),
    VIT,
)


def initial_differences(entry: Entry) -> list[str]:
    """What tells a fresh model of ours from a fresh reference: parameters and buffers."""
    torch.manual_seed(SEED)
    expected = entry.rename(entry.reference().state_dict())
    torch.manual_seed(SEED + 1)  # two samples, not one twice
    return differences(model_of(entry)(**entry.arguments).state_dict(), expected)
