"""Metrics of numbers against numbers, from a few sums."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from netdsl.train.metrics.base import VALUES, Metric, Sums, Tally, Task, wide

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 1.17e-06  # what torchmetrics and scikit-learn divide by at least


class MeanError(Sums):
    """A mean over all numbers."""

    takes = VALUES
    higher_is_better = False

    def terms(self, output: Tensor, target: Tensor, task: Task) -> list[Tensor]:  # noqa: ARG002
        errors = self.errors(output, target)
        return [errors.sum(), errors.new_full((), errors.numel())]

    @abstractmethod
    def errors(self, output: Tensor, target: Tensor) -> Tensor:
        """The error of each number."""


class MeanSquaredError(MeanError):
    """The mean of squared differences, or its root where `squared` is False."""

    kind = "mean_squared_error"

    squared: bool = True

    def errors(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square()

    def result(self, *sums: float) -> float:
        mean = super().result(*sums)
        return mean if self.squared else mean**0.5


class MeanAbsoluteError(MeanError):
    """The mean of absolute differences."""

    kind = "mean_absolute_error"

    def errors(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs()


class MeanAbsolutePercentageError(MeanError):
    """The mean of absolute differences as shares of the targets; 1 is one hundred percent."""

    kind = "mean_absolute_percentage_error"

    def errors(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs() / target.abs().clamp(min=SMALL)


class SymmetricMeanAbsolutePercentageError(MeanError):
    """Twice the mean of absolute differences as shares of target and output together."""

    kind = "symmetric_mean_absolute_percentage_error"

    def errors(self, output: Tensor, target: Tensor) -> Tensor:
        return 2 * (output - target).abs() / (target.abs() + output.abs()).clamp(min=SMALL)


class MeanSquaredLogError(MeanError):
    """The mean of squared differences of `log(1 + x)`."""

    kind = "mean_squared_log_error"

    def errors(self, output: Tensor, target: Tensor) -> Tensor:
        return (output.log1p() - target.log1p()).square()


class LogCoshError(MeanError):
    """The mean of `log(cosh(difference))`."""

    kind = "log_cosh_error"

    def errors(self, output: Tensor, target: Tensor) -> Tensor:
        from torch.nn.functional import softplus

        apart = (output - target).abs()
        return apart + softplus(-2 * apart) - 0.6931471805599453


class WeightedMeanAbsolutePercentageError(Sums):
    """The sum of absolute differences as a share of the sum of the targets."""

    kind = "weighted_mean_absolute_percentage_error"
    takes = VALUES
    higher_is_better = False

    def terms(self, output: Tensor, target: Tensor, task: Task) -> list[Tensor]:  # noqa: ARG002
        return [(output - target).abs().sum(), target.abs().sum()]

    def result(self, *sums: float) -> float:
        return sums[0] / max(sums[1], SMALL)


class Moments(Metric):
    """A metric of the variances of outputs, targets and their differences, for each number of a sample.

    The tally is [7, numbers]: the count, and the sums of t, t², o, o², o·t and (o-t)².
    """

    takes = VALUES

    def tally(self, output: Tensor, task: Task) -> Tensor:  # noqa: ARG002
        import torch

        width = output[0].numel()
        return torch.zeros(7, width, dtype=wide(output.device), device=output.device)

    def add(self, tally: Tally, output: Tensor, target: Tensor, task: Task) -> None:  # noqa: ARG002
        import torch

        assert not isinstance(tally, list)
        o, t = (part.reshape(len(part), -1).to(tally.dtype) for part in (output, target))
        terms = [torch.ones_like(t), t, t * t, o, o * o, o * t, (o - t).square()]
        tally += torch.stack([term.sum(0) for term in terms])

    def value(self, tally: Tally, task: Task) -> float:  # noqa: ARG002
        assert not isinstance(tally, list)
        return float(self.of(*tally.double().cpu()))

    @abstractmethod
    def of(self, n: Tensor, t: Tensor, tt: Tensor, o: Tensor, oo: Tensor, ot: Tensor, dd: Tensor) -> Tensor:
        """The metric of the sums."""


class R2Score(Moments):
    """The share of the targets' variance that the output explains."""

    kind = "r2_score"

    adjusted: int = Field(0, ge=0)
    multioutput: Literal["uniform_average", "variance_weighted"] = "uniform_average"

    def of(self, n: Tensor, t: Tensor, tt: Tensor, o: Tensor, oo: Tensor, ot: Tensor, dd: Tensor) -> Tensor:  # noqa: ARG002
        spread = tt - t * t / n
        r2 = _average(_share(dd, spread, 1e-4), spread, self.multioutput)
        free = n[0] - self.adjusted - 1
        return 1 - (1 - r2) * (n[0] - 1) / free if self.adjusted and float(free) > 0 else r2


class ExplainedVariance(Moments):
    """As `r2_score`, but a constant difference does not count."""

    kind = "explained_variance"

    multioutput: Literal["uniform_average", "variance_weighted"] = "uniform_average"

    def of(self, n: Tensor, t: Tensor, tt: Tensor, o: Tensor, oo: Tensor, ot: Tensor, dd: Tensor) -> Tensor:  # noqa: ARG002
        rest, spread = dd / n - ((t - o) / n) ** 2, tt / n - (t / n) ** 2
        return _average(_share(rest, spread, 0.0), spread, self.multioutput)


class RelativeSquaredError(Moments):
    """The squared differences as a share of those of the targets from their mean."""

    kind = "relative_squared_error"
    higher_is_better = False

    squared: bool = True

    def of(self, n: Tensor, t: Tensor, tt: Tensor, o: Tensor, oo: Tensor, ot: Tensor, dd: Tensor) -> Tensor:  # noqa: ARG002
        found = dd / (tt - t * t / n).clamp(min=1.1920929e-07)
        return (found if self.squared else found.sqrt()).mean()


class PearsonCorrcoef(Moments):
    """The correlation of outputs and targets, from -1 to 1; of several numbers a sample, its mean."""

    kind = "pearson_corrcoef"

    def of(self, n: Tensor, t: Tensor, tt: Tensor, o: Tensor, oo: Tensor, ot: Tensor, dd: Tensor) -> Tensor:  # noqa: ARG002
        return ((ot - o * t / n) / ((oo - o * o / n) * (tt - t * t / n)).sqrt()).clamp(-1, 1).mean()


class ConcordanceCorrcoef(Moments):
    """As `pearson_corrcoef`, but outputs must also be as large and as spread as the targets."""

    kind = "concordance_corrcoef"

    def of(self, n: Tensor, t: Tensor, tt: Tensor, o: Tensor, oo: Tensor, ot: Tensor, dd: Tensor) -> Tensor:  # noqa: ARG002
        together, apart = (ot - o * t / n) / (n - 1), ((o - t) / n) ** 2
        return (2 * together / ((oo - o * o / n + tt - t * t / n) / (n - 1) + apart)).mean()


def _share(rest: Tensor, spread: Tensor, least: float) -> Tensor:
    """`1 - rest / spread`, where there is something to explain."""
    has_rest, has_spread = rest.abs() > least, spread.abs() > least
    found = 1 - rest / spread.where(has_spread, spread.new_ones(()))
    return found.where(has_spread, spread.new_zeros(())).where(has_rest, spread.new_ones(()))


def _average(scores: Tensor, spread: Tensor, how: str) -> Tensor:
    return scores.mean() if how == "uniform_average" else (spread / spread.sum() * scores).sum()
