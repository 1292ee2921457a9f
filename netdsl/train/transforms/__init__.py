"""Transforms of images by their names in `torchvision.transforms.v2`, applied to whole batches on the device.

A batch is [B, C, H, W], float32, with values in [0, 1] before the first of them.
"""

from __future__ import annotations

from netdsl.train.component import Family
from netdsl.train.transforms.base import Augmentation, ImageShape, Misfit, Transform
from netdsl.train.transforms.choices import RandomApply, RandomChoice, RandomOrder
from netdsl.train.transforms.colours import ColorJitter, GaussianNoise, RandomGrayscale, RandomInvert
from netdsl.train.transforms.fixed import CenterCrop, Grayscale, Normalize, Pad, Resize
from netdsl.train.transforms.mixing import CutMix, MixUp
from netdsl.train.transforms.moving import (
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    RandomVerticalFlip,
)
from netdsl.train.transforms.sampled import (
    AugMix,
    AutoAugment,
    ElasticTransform,
    GaussianBlur,
    RandAugment,
    RandomAdjustSharpness,
    RandomAffine,
    RandomAutocontrast,
    RandomChannelPermutation,
    RandomEqualize,
    RandomErasing,
    RandomPerspective,
    RandomPhotometricDistort,
    RandomPosterize,
    RandomResizedCrop,
    RandomSolarize,
    TrivialAugmentWide,
)

TRANSFORMS: Family[Transform] = Family.of(
    "transform",
    (Normalize, Resize, CenterCrop, Pad, Grayscale),
    {
        "Compose": "`transform` is a list of what is applied",
        **dict.fromkeys(
            (
                "ToTensor",
                "ToImage",
                "ToDtype",
                "ToPureTensor",
                "ToPILImage",
                "PILToTensor",
                "ConvertImageDtype",
                "RGB",
            ),
            "images are tensors from 0 to 1 already",
        ),
        "Identity": "it does nothing",
        "Lambda": "it takes a Python function",
        "LinearTransformation": "its matrix has as many rows as an image has values; put it into the model",
        "FiveCrop": "it makes five samples of one",
        "TenCrop": "it makes ten samples of one",
        **dict.fromkeys(
            (
                "ClampBoundingBoxes",
                "ClampKeyPoints",
                "ConvertBoundingBoxFormat",
                "SetClampingMode",
                "SanitizeBoundingBoxes",
                "SanitizeKeyPoints",
            ),
            "it is for boxes and points in images",
        ),
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
        AutoAugment,
        RandomChannelPermutation,
        RandomPhotometricDistort,
        RandomApply,
        RandomOrder,
        RandomChoice,
        MixUp,
        CutMix,
    ),
    {
        "RandomResize": "images of a batch have one size; `RandomResizedCrop` keeps it",
        "RandomShortestSize": "images of a batch have one size; `RandomResizedCrop` keeps it",
        "ScaleJitter": "images of a batch have one size; `RandomResizedCrop` keeps it",
        "RandomZoomOut": "images of a batch have one size; `RandomAffine` with a `scale` below 1 keeps it",
        "RandomIoUCrop": "it is for images with boxes around objects",
        "JPEG": "it is for uint8, and images are tensors from 0 to 1 here",
        "UniformTemporalSubsample": "it is for videos",
    },
)
RandomApply.nested = RandomOrder.nested = RandomChoice.nested = {"transforms": AUGMENTATIONS}

__all__ = [
    "AUGMENTATIONS",
    "TRANSFORMS",
    "AugMix",
    "Augmentation",
    "AutoAugment",
    "CenterCrop",
    "ColorJitter",
    "CutMix",
    "ElasticTransform",
    "GaussianBlur",
    "GaussianNoise",
    "Grayscale",
    "ImageShape",
    "Misfit",
    "MixUp",
    "Normalize",
    "Pad",
    "RandAugment",
    "RandomAdjustSharpness",
    "RandomAffine",
    "RandomApply",
    "RandomAutocontrast",
    "RandomChannelPermutation",
    "RandomChoice",
    "RandomCrop",
    "RandomEqualize",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomInvert",
    "RandomOrder",
    "RandomPerspective",
    "RandomPhotometricDistort",
    "RandomPosterize",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSolarize",
    "RandomVerticalFlip",
    "Resize",
    "Transform",
    "TrivialAugmentWide",
]
