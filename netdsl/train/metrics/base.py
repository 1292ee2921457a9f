"""What every metric is: it adds a batch to its tally on the device, without waiting for it, and turns the tally of all
batches into a number, so that a short last batch counts as what it is.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from netdsl.train.component import Component
from netdsl.train.losses.base import Gives

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Kind: TypeAlias = Literal["multiclass", "binary", "multilabel", "values"]
Average: TypeAlias = Literal["micro", "macro", "weighted"]
Tally: TypeAlias = (
    "Tensor | list[Tensor]"  # sums, which add up over processes; or rows, which are put together
)

DECISIONS: frozenset[Kind] = frozenset({"multiclass", "binary", "multilabel"})
VALUES: frozenset[Kind] = frozenset({"values"})


@dataclass(frozen=True)
class Task:
    """What outputs and targets are, as the loss and the data say.

    `multiclass`: scores [B, classes, ...] and class numbers [B, ...], those of `ignore` not counting. `binary`: a score
    for each yes or no, which is 1 or `low` in the target; of several for each sample (`labels`), one says `multilabel`.
    `values`: of equal shapes.
    """

    kind: Kind
    gives: Gives = "logits"  # what the scores are
    low: float = 0.0
    one_hot: bool = False  # the targets are scores too, of the right class
    ignore: int | None = None

    def numbers(self, target: Tensor) -> Tensor:
        """The class numbers of `target`, or whether each answer is yes."""
        if self.kind == "multiclass":
            return target.argmax(1) if self.one_hot else target
        return target > (self.low + 1) / 2

    def probabilities(self, output: Tensor) -> Tensor:
        """`output` as probabilities, [B, ...] as it is."""
        if self.gives == "probabilities":
            return output
        if self.gives == "log-probabilities":
            return output.exp()
        return output.softmax(1) if self.kind == "multiclass" else output.sigmoid()

    def decided(self, output: Tensor, threshold: float = 0.5) -> Tensor:
        """The class numbers that `output` stands for, or whether each answer is yes."""
        if self.kind == "multiclass":
            return output.argmax(1)
        if self.gives == "logits" and threshold == 0.5:
            return output > 0
        return self.probabilities(output) > threshold

    def labels(self, output: Tensor) -> int:
        """How many questions a sample answers, once or at many places: [B, labels, ...], [B], [B, H, W]."""
        return output.shape[1] if output.dim() not in (1, 3) else 1


class Metric(Component):
    """A metric, over outputs and targets of one of the kinds `takes`."""

    takes: ClassVar[frozenset[Kind]]
    higher_is_better: ClassVar[bool] = True

    def counts_exactly(self, task: Task) -> bool:  # noqa: ARG002
        """Whether several batches may be added as one: the tally is then the same to the bit, as it counts decisions
        that no arithmetic goes before.
        """
        return False

    @abstractmethod
    def tally(self, output: Tensor, task: Task) -> Tally:
        """An empty tally for outputs like `output`."""

    @abstractmethod
    def add(self, tally: Tally, output: Tensor, target: Tensor, task: Task) -> None:
        """Add a batch to the tally, in place."""

    @abstractmethod
    def value(self, tally: Tally, task: Task) -> float:
        """The metric over all that was added; this waits for the device."""


class Sums(Metric):
    """A metric of which the tally is a few sums."""

    sums: ClassVar[int] = 2

    def tally(self, output: Tensor, task: Task) -> Tensor:  # noqa: ARG002
        import torch

        return torch.zeros(self.sums, dtype=wide(output.device), device=output.device)

    def add(self, tally: Tally, output: Tensor, target: Tensor, task: Task) -> None:
        import torch

        tally += torch.stack(self.terms(output, target, task)).to(tally.dtype)  # type: ignore[operator, union-attr]

    @abstractmethod
    def terms(self, output: Tensor, target: Tensor, task: Task) -> list[Tensor]:
        """What a batch adds, as tensors of one number."""

    def value(self, tally: Tally, task: Task) -> float:  # noqa: ARG002
        assert not isinstance(tally, list)
        return self.result(*tally.tolist())

    def result(self, *sums: float) -> float:
        """The metric of the sums; a mean where nothing else is said."""
        total, count = sums
        return total / count if count else float("nan")


def wide(device: torch.device) -> torch.dtype:
    """A dtype for sums of many numbers."""
    import torch

    return torch.float32 if device.type == "mps" else torch.float64
