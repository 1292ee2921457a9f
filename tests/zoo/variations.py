"""Parameters of the classifiers other than torchvision's defaults: widths, depths, dropout, dilation, paper formulas."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision.models import (
    efficientnet,
    get_model,
    mnasnet,
    mobilenetv2,
    mobilenetv3,
    regnet,
    swin_transformer,
)

from tests.zoo.entry import Entry, images


def variation(
    name: str, model: str, reference: Callable[[], nn.Module], size: int = 50, **ours: object
) -> Entry:
    return Entry(name, f"{name.partition(':')[0]}.net", model, reference, images(size), ours)


def mobilenet_v3(name: str, width: float, *, small_tail: bool = False, **theirs: object) -> nn.Module:
    rows, features = mobilenetv3._mobilenet_v3_conf(
        name, width_mult=width, reduced_tail=small_tail, dilated=small_tail
    )
    return mobilenetv3.MobileNetV3(rows, features, **theirs)  # type: ignore[arg-type]


def efficientnet_v1(width: float, depth: float, **theirs: object) -> nn.Module:
    rows, features = efficientnet._efficientnet_conf("efficientnet_b0", width_mult=width, depth_mult=depth)
    return efficientnet.EfficientNet(rows, last_channel=features, **theirs)  # type: ignore[arg-type]


def regnet_of(depth: int, w_0: int, w_a: float, w_m: float, group_width: int, se_ratio: float) -> nn.Module:
    return regnet.RegNet(
        regnet.BlockParams.from_init_params(depth, w_0, w_a, w_m, group_width, 1.0, se_ratio)
    )


def swin(name: str, model: str, image_size: int) -> Entry:
    reference = partial(get_model, model.lower())
    return variation(f"swin:{name}", model, reference, image_size, image_size=image_size)


def small_swin(version: int) -> nn.Module:
    """Two stages, with all kinds of dropout."""
    parts = (
        (swin_transformer.SwinTransformerBlock, swin_transformer.PatchMerging),
        (swin_transformer.SwinTransformerBlockV2, swin_transformer.PatchMergingV2),
    )
    block, merging = parts[version - 1]
    return swin_transformer.SwinTransformer(
        [4, 4],
        24,
        [2, 2],
        [2, 3],
        [4, 4],
        dropout=0.2,
        attention_dropout=0.3,
        stochastic_depth_prob=0.4,
        block=block,
        downsample_layer=merging,
    )


SMALL_SWIN = {
    "width": 24,
    "depths": (2, 2),
    "heads": (2, 3),
    "window": 4,
    "dropout": 0.2,
    "attention_dropout": 0.3,
    "stochastic_depth": 0.4,
    "image_size": 32,
}

ENTRIES: tuple[Entry, ...] = (
    # Windows that fit, so that three stages are shifted, and sizes that none of them and no merging divides.
    swin("as_published", "Swin_T", 224),
    swin("v2_as_published", "Swin_V2_T", 256),
    swin("odd", "Swin_T", 100),
    swin("v2_odd", "Swin_V2_T", 148),
    variation("swin:small", "Swin", partial(small_swin, 1), 32, **SMALL_SWIN),
    variation("swin:v2_small", "SwinV2", partial(small_swin, 2), 32, **SMALL_SWIN),
    variation(
        "mobilenet_v2:narrow",
        "MobileNet_V2",
        partial(mobilenetv2.MobileNetV2, width_mult=0.35, num_classes=7, dropout=0.5),
        width=0.35,
        classes=7,
        dropout=0.5,
    ),
    variation(
        "mobilenet_v2:wide", "MobileNet_V2", partial(mobilenetv2.MobileNetV2, width_mult=1.4), width=1.4
    ),
    variation(
        "mobilenet_v3:narrow_dilated",
        "MobileNet_V3_Small",
        partial(mobilenet_v3, "mobilenet_v3_small", 0.75, small_tail=True, dropout=0.4),
        width=0.75,
        tail=2,
        dilation=2,
        dropout=0.4,
    ),
    variation(
        "mobilenet_v3:wide",
        "MobileNet_V3_Large",
        partial(mobilenet_v3, "mobilenet_v3_large", 1.25),
        width=1.25,
    ),
    variation(
        "mnasnet:narrow", "MNASNet", partial(mnasnet.MNASNet, 0.35, dropout=0.6), width=0.35, dropout=0.6
    ),
    variation(
        "efficientnet:narrow_deep",
        "EfficientNetV1",
        partial(efficientnet_v1, 0.5, 1.7, dropout=0.1, stochastic_depth_prob=0.7),
        width=0.5,
        depth=1.7,
        dropout=0.1,
        stochastic_depth=0.7,
    ),
    variation(
        "regnet:of_other_numbers",
        "RegNet",
        partial(regnet_of, 13, 24, 36.44, 2.49, 8, 0.3),
        depth=13,
        w_0=24,
        w_a=36.44,
        w_m=2.49,
        group_width=8,
        se_ratio=0.3,
    ),
)
