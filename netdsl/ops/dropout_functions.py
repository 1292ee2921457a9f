"""Dropping something at random in training, as functions. What they mean is said by the layers."""

from __future__ import annotations

from typing import Any

from netdsl.ir.types import Tensor
from netdsl.ops.base import op
from netdsl.ops.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout
from netdsl.ops.target import Symbol
from netdsl.ops.twins import Twin


class _InTraining(Twin):
    """torch's functions are told whether the model is in training."""

    def given(self, input: Tensor) -> dict[str, Any]:
        return {"p": self.p, "training": Symbol("self.training"), **super().given(input)}  # type: ignore[attr-defined]


@op
class DropoutFunction(_InTraining, Dropout):
    """In training, each element is zero with probability `p` and the others are scaled up.

    dropout(0.1) : [N, T, 64] -> [N, T, 64]
    """

    kind = "dropout"


@op
class Dropout1dFunction(_InTraining, Dropout1d):
    """In training, each channel of a sequence is zero with probability `p` and the others are scaled up.

    dropout1d(0.1) : [N, 8, L] -> [N, 8, L]
    """

    kind = "dropout1d"


@op
class Dropout2dFunction(_InTraining, Dropout2d):
    """In training, each channel of an image is zero with probability `p` and the others are scaled up.

    dropout2d(0.1) : [N, 8, H, W] -> [N, 8, H, W]
    """

    kind = "dropout2d"


@op
class Dropout3dFunction(_InTraining, Dropout3d):
    """In training, each channel of a volume is zero with probability `p` and the others are scaled up.

    dropout3d(0.1) : [N, 8, D, H, W] -> [N, 8, D, H, W]
    """

    kind = "dropout3d"


@op
class AlphaDropoutFunction(_InTraining, AlphaDropout):
    """The dropout that goes with `selu`: mean and variance stay what they are.

    alpha_dropout(0.1) : [N, 64] -> [N, 64]
    """

    kind = "alpha_dropout"


@op
class FeatureAlphaDropoutFunction(_InTraining, FeatureAlphaDropout):
    """The dropout of whole channels that goes with `selu`.

    feature_alpha_dropout(0.1) : [N, 8, H, W] -> [N, 8, H, W]
    """

    kind = "feature_alpha_dropout"
