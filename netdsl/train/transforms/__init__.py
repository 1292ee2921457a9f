"""Transforms of images by their names in `torchvision.transforms.v2`, applied to whole batches on the device.

A batch is [B, C, H, W], float32, with values in [0, 1] before the first of them.
"""

from __future__ import annotations

from netdsl.train.component import Family
from netdsl.train.transforms.base import Augmentation, ImageShape, Misfit, Transform
from netdsl.train.transforms.colours import ColorJitter, GaussianNoise, RandomGrayscale, RandomInvert
from netdsl.train.transforms.fixed import CenterCrop, Grayscale, Normalize, Pad, Resize
from netdsl.train.transforms.moving import (
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    RandomVerticalFlip,
)
from netdsl.train.transforms.sampled import (
    AugMix,
    ElasticTransform,
    GaussianBlur,
    RandAugment,
    RandomAdjustSharpness,
    RandomAffine,
    RandomAutocontrast,
    RandomEqualize,
    RandomErasing,
    RandomPerspective,
    RandomPosterize,
    RandomResizedCrop,
    RandomSolarize,
    TrivialAugmentWide,
)

TRANSFORMS: Family[Transform] = Family.of(
    "transform",
    (Normalize, Resize, CenterCrop, Pad, Grayscale),
    {
        "ToTensor": "images are tensors from 0 to 1 already",
        "Compose": "`transform` is a list of what is applied",
    },
)
AUGMENTATIONS: Family[Augmentation] = Family.of(
    "random transform",
    (
        RandomHorizontalFlip,
        RandomVerticalFlip,
        RandomCrop,
        RandomResizedCrop,
        RandomRotation,
        RandomAffine,
        RandomPerspective,
        ElasticTransform,
        RandomErasing,
        ColorJitter,
        RandomGrayscale,
        RandomInvert,
        RandomSolarize,
        RandomPosterize,
        RandomEqualize,
        RandomAutocontrast,
        RandomAdjustSharpness,
        GaussianBlur,
        GaussianNoise,
        TrivialAugmentWide,
        RandAugment,
        AugMix,
    ),
    {
        "MixUp": "it mixes the targets too, which are class numbers here",
        "CutMix": "it mixes the targets too, which are class numbers here",
        "AutoAugment": "its policies were searched for three data sets; `TrivialAugmentWide` needs none",
    },
)

__all__ = [
    "AUGMENTATIONS",
    "TRANSFORMS",
    "AugMix",
    "Augmentation",
    "CenterCrop",
    "ColorJitter",
    "ElasticTransform",
    "GaussianBlur",
    "GaussianNoise",
    "Grayscale",
    "ImageShape",
    "Misfit",
    "Normalize",
    "Pad",
    "RandAugment",
    "RandomAdjustSharpness",
    "RandomAffine",
    "RandomAutocontrast",
    "RandomCrop",
    "RandomEqualize",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterize",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSolarize",
    "RandomVerticalFlip",
    "Resize",
    "Transform",
    "TrivialAugmentWide",
]
