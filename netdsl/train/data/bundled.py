"""The small data sets that come with scikit-learn: always there, for a first model or a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from netdsl.train.data.base import Data, Input, Sample
from netdsl.train.data.divided import Divide, Divided, Fitted, class_target, parts, tensors
from netdsl.train.data.division import Samples
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Bundled(Divided):
    """Measured numbers and a class or a value. `standardise` brings each number to mean 0 and deviation 1 over the
    training part. Every fifth sample is a test sample, unless the recipe says what is `valid`.
    """

    function: ClassVar[str]  # of `sklearn.datasets`
    inputs: ClassVar[int]
    names: ClassVar[tuple[str, ...]] = ()  # of the classes; none for values

    standardise: bool = False

    @property
    def has_test(self) -> bool:
        return True

    def sample(self) -> Sample:
        return Sample(Input((self.inputs,)), class_target(self.names or None))

    def divided(self, folders: Sequence[Path], divide: Divide | None, fitted: Fitted | None) -> Data:  # noqa: ARG002
        import numpy

        x, y = self.arrays()
        train, valid = (divide or _every_fifth)(Samples(len(x), y if self.names else None))
        if not self.standardise:
            return parts(self, x, y, lambda _: (train, valid))
        if fitted is None:
            from sklearn.preprocessing import StandardScaler

            scaler: Any = StandardScaler().fit(x[train])
            fitted = {"mean": scaler.mean_.tolist(), "scale": scaler.scale_.tolist()}
        if len(fitted.get("mean", ())) != self.inputs:
            raise TrainError(
                "E0655", f"the preprocessing that was saved with the weights is not of `{self.kind}`"
            )
        x = (x - numpy.array(fitted["mean"])) / numpy.array(fitted["scale"])
        halves = [tensors(x[rows], y[rows]) for rows in (train, valid)]
        return Data(halves[0], halves[1], len(self.names) or None, self.names, fitted)

    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Inputs in float64, and class numbers or values."""
        try:
            from sklearn import datasets
        except ImportError as problem:
            message = f"`{self.kind}` comes with scikit-learn, which is not installed"
            raise TrainError("E0621", message, helps=['install it: pip install "netdsl[train]"']) from problem
        return getattr(datasets, self.function)(return_X_y=True)


def _every_fifth(samples: Samples) -> tuple[NDArray[Any], NDArray[Any]]:
    """Classes follow each other in these files, so every fifth sample has each of them in both parts."""
    import numpy

    numbers = numpy.arange(samples.count)
    return numbers[numbers % 5 != 0], numbers[numbers % 5 == 0]
