"""Segmentation, U-Net and video: models whose outputs are images or that take more than images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.transforms import functional

from tests.zoo.entry import Entry, images


class DoubleConv(nn.Module):
    """Two convolutions with batch normalisation, as the teaching notes have them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += [
                nn.Conv2d(channels, out_channels, 3, stride=1, padding=1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
            ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class UNet(nn.Module):
    """The U-Net of the teaching notes, which resizes what comes up where it does not fit the skip."""

    def __init__(
        self, in_channels: int = 3, out_channels: int = 1, features: tuple[int, ...] = (64, 128, 256, 512)
    ) -> None:
        super().__init__()
        widths = (in_channels, *features)
        self.downs = nn.ModuleList(map(DoubleConv, widths[:-1], features))
        self.ups = nn.ModuleList()
        for width in reversed(features):
            self.ups.append(nn.ConvTranspose2d(2 * width, width, kernel_size=2, stride=2))
            self.ups.append(DoubleConv(2 * width, width))
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.bottleneck = DoubleConv(features[-1], 2 * features[-1])
        self.final_conv = nn.Conv2d(features[0], out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for up, conv, skip in zip(self.ups[::2], self.ups[1::2], reversed(skips), strict=True):
            x = up(x)
            if x.shape != skip.shape:
                x = functional.resize(x, size=skip.shape[2:])
            x = conv(torch.cat((skip, x), dim=1))
        return self.final_conv(x)


def u_net(
    name: str, height: int, width: int, theirs: Mapping[str, Any] | None = None, **ours: object
) -> Entry:
    return Entry(
        name,
        "unet.net",
        "UNet",
        partial(UNet, **(theirs or {})),
        lambda random: (torch.randn(2, int(ours.get("in_channels", 3)), height, width, generator=random),),  # type: ignore[call-overload]
        ours,
    )


NARROW = {"in_channels": 1, "out_channels": 2, "features": (8, 16, 32)}
U_NETS = (
    u_net("unet", 64, 96),
    u_net("unet_at_any_size", 33, 50, any_size=True),
    u_net("unet_of_other_widths", 24, 40, NARROW, **NARROW),
)


def segmentation(name: str, model: str, *, aux: bool = False) -> Entry:
    builder: Callable[..., nn.Module] = torchvision.models.get_model_builder(name)
    return Entry(
        name + ("_with_aux_loss" if aux else ""),
        "segmentation.net",
        model,
        partial(builder, weights=None, weights_backbone=None, aux_loss=aux),
        images(65),  # a size that no stride divides
        {"aux_loss": aux},
    )


SEGMENTATION = (
    segmentation("fcn_resnet50", "FCN_ResNet50"),
    segmentation("fcn_resnet50", "FCN_ResNet50", aux=True),
    segmentation("fcn_resnet101", "FCN_ResNet101", aux=True),
    segmentation("deeplabv3_resnet50", "DeepLabV3_ResNet50"),
    segmentation("deeplabv3_resnet50", "DeepLabV3_ResNet50", aux=True),
    segmentation("deeplabv3_resnet101", "DeepLabV3_ResNet101", aux=True),
)


def video(name: str, model: str) -> Entry:
    return Entry(
        name,
        "video_resnet.net",
        model,
        partial(torchvision.models.get_model_builder(name), weights=None),
        lambda random: (torch.randn(2, 3, 5, 34, 34, generator=random),),
    )


VIDEO = (
    video("r3d_18", "R3D_18"),
    video("mc3_18", "MC3_18"),
    video("r2plus1d_18", "R2Plus1D_18"),
)

ENTRIES: tuple[Entry, ...] = (*U_NETS, *SEGMENTATION, *VIDEO)
