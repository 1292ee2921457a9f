"""Moving elements between windows, channels and pixels, as functions. What they mean is said by the layers."""

from __future__ import annotations

from netdsl.ops.base import op
from netdsl.ops.fold import ChannelShuffle, Fold, PixelShuffle, PixelUnshuffle, Unfold
from netdsl.ops.twins import Twin


@op
class PixelShuffleFunction(Twin, PixelShuffle):
    """Channels become pixels: `upscale_factor` times as many along each side.

    pixel_shuffle(2) : [N, 12, H, W] -> [N, 3, 2*H, 2*W]
    """

    kind = "pixel_shuffle"


@op
class PixelUnshuffleFunction(Twin, PixelUnshuffle):
    """Pixels become channels: `downscale_factor` times fewer along each side.

    pixel_unshuffle(2) : [N, 3, 8, 8] -> [N, 12, 4, 4]
    """

    kind = "pixel_unshuffle"


@op
class ChannelShuffleFunction(Twin, ChannelShuffle):
    """The channels of `groups` groups in turn.

    channel_shuffle(2) : [N, 8, H, W] -> [N, 8, H, W]
    """

    kind = "channel_shuffle"


@op
class UnfoldFunction(Twin, Unfold):
    """Every window of an image as a column.

    unfold(2, stride = 2) : [N, 3, 8, 8] -> [N, 12, 16]
    """

    kind = "unfold"
    positional = ("kernel_size", "dilation", "padding", "stride")


@op
class FoldFunction(Twin, Fold):
    """Columns put back into an image as windows, and added up where those overlap.

    fold([8, 8], 2, stride = 2) : [N, 12, 16] -> [N, 3, 8, 8]
    """

    kind = "fold"
    positional = ("output_size", "kernel_size", "dilation", "padding", "stride")
