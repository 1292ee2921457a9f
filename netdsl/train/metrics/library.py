"""Metrics that torchmetrics itself computes, over the whole set at once. Importing it takes seconds: only these do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from netdsl.train.metrics.base import DECISIONS, VALUES, Task
from netdsl.train.metrics.ranking import Kept

if TYPE_CHECKING:
    from torch import Tensor


class OfLibrary(Kept):
    """A function of `torchmetrics.functional` with the arguments of the class."""

    def of(self, scores: Tensor, right: Tensor, task: Task) -> float:
        import torchmetrics.functional

        arguments: dict[str, Any] = self.arguments()
        if task.kind == "multiclass":
            arguments |= {"task": "multiclass", "num_classes": scores.shape[1]}
        elif task.kind != "values":
            scores, right = task.probabilities(scores)[:, 0].contiguous(), right[:, 0].long()
            arguments |= {"task": "binary"}
        elif scores.shape[1] == 1:
            scores, right = scores[:, 0], right[:, 0]
        return float(getattr(torchmetrics.functional, self.kind)(scores, right, **arguments).mean())


class CalibrationError(OfLibrary):
    """How far probabilities are from the shares of right answers."""

    kind = "calibration_error"
    takes = DECISIONS - {"multilabel"}
    higher_is_better = False

    n_bins: int = Field(15, gt=0)
    norm: Literal["l1", "l2", "max"] = "l1"


class HingeLoss(OfLibrary):
    """How far right answers are from leading by 1."""

    kind = "hinge_loss"
    takes = DECISIONS - {"multilabel"}
    higher_is_better = False

    squared: bool = False
    multiclass_mode: Literal["crammer-singer", "one-vs-all"] = "crammer-singer"


class NormalizedRootMeanSquaredError(OfLibrary):
    """The root of the mean of squared differences, as a share of what the targets are like; of several numbers a
    sample, its mean.
    """

    kind = "normalized_root_mean_squared_error"
    takes = VALUES
    higher_is_better = False

    normalization: Literal["mean", "range", "std", "l2"] = "mean"

    def of(self, scores: Tensor, right: Tensor, task: Task) -> float:
        columns = zip(scores.split(1, 1), right.split(1, 1), strict=True)
        each = [super(NormalizedRootMeanSquaredError, self).of(one, its, task) for one, its in columns]
        return sum(each) / len(each)


class SpearmanCorrcoef(OfLibrary):
    """The correlation of the ranks of outputs and targets; of several numbers a sample, its mean."""

    kind = "spearman_corrcoef"
    takes = VALUES


class KendallRankCorrcoef(OfLibrary):
    """How many pairs of samples the outputs order as the targets do; of several numbers a sample, its mean."""

    kind = "kendall_rank_corrcoef"
    takes = VALUES

    variant: Literal["a", "b", "c"] = "b"
