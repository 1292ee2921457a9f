"""The 80 classifiers of torchvision."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torchvision
from torch import nn

from tests.zoo.entry import Entry, images


@dataclass(frozen=True)
class Family:
    """The builders of one file of torchvision, and how to make them small: smaller images where the model allows.

    `theirs` are arguments of torchvision's builder, `ours` those of our model.
    """

    file: str
    size: int = 64
    train_size: int | None = None
    theirs: Mapping[str, Any] = field(default_factory=dict)
    ours: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = True
    exact_training: bool = True


FAMILIES: Mapping[str, Family] = {
    "alexnet": Family("alexnet.net", 80),
    "vgg": Family("vgg.net"),
    "resnet": Family("resnet.net"),
    "squeezenet": Family("squeezenet.net"),
    "densenet": Family("densenet.net"),
    "googlenet": Family("googlenet.net", theirs={"init_weights": True}),
    "inception": Family("inception_v3.net", 299, theirs={"init_weights": True}),
    "shufflenetv2": Family("shufflenet_v2.net"),
    "mobilenetv2": Family("mobilenet_v2.net"),
    "mobilenetv3": Family("mobilenet_v3.net"),
    "mnasnet": Family("mnasnet.net"),
    "efficientnet": Family("efficientnet.net"),
    "regnet": Family("regnet.net"),
    "convnext": Family("convnext.net"),
    "vision_transformer": Family("vit.net", 64, theirs={"image_size": 64}, ours={"image_size": 64}),
    "swin_transformer": Family("swin.net", 64, ours={"image_size": 64}),
    "maxvit": Family("maxvit.net", 224),
}


def family(builder: Callable[..., nn.Module]) -> Family:
    return FAMILIES[builder.__module__.rpartition(".")[2]]


def model_name(builder: str) -> str:
    """The name of torchvision's weights, `ResNet50_Weights`, without its ending."""
    return torchvision.models.get_model_weights(builder).__name__.removesuffix("_Weights")


def built(builder: Callable[..., nn.Module], arguments: Mapping[str, Any]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some builders warn of what they are about to do
        return builder(**arguments)


def entry(name: str) -> Entry:
    builder = torchvision.models.get_model_builder(name)
    kind = family(builder)
    size = 56 if name == "vit_h_14" else kind.size  # a multiple of the patch
    sized = {"image_size": size}
    return Entry(
        name,
        kind.file,
        model_name(name),
        partial(built, builder, {**kind.theirs, **(sized if "image_size" in kind.theirs else {})}),
        images(size),
        {**kind.ours, **(sized if "image_size" in kind.ours else {})},
        images(kind.train_size or size),
        kind.exact,
        kind.exact_training,
    )


ENTRIES = tuple(entry(name) for name in torchvision.models.list_models(torchvision.models))
