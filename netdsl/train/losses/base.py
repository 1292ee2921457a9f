"""What every loss is: a class with torch's arguments, and what it needs of the model's output and of the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from netdsl.train.component import Component

if TYPE_CHECKING:
    from torch import Tensor, nn

Reduction: TypeAlias = Literal["mean", "sum"]
Gives: TypeAlias = Literal["logits", "log-probabilities", "probabilities", "values"]


class Loss(Component):
    """A loss. `targets` says what it compares the output with: class numbers, or values of the output's
    shape.
    """

    targets: ClassVar[Literal["classes", "values"]] = "values"
    gives: ClassVar[Gives] = "values"  # what it takes the output for
    binary: ClassVar[bool] = False  # of two classes, as the numbers `low` and 1
    low: ClassVar[float] = 0.0
    scores: ClassVar[bool] = (
        True  # the output says how sure the model is, and metrics of decisions can be taken of it
    )
    indices: ClassVar[bool] = False  # takes the numbers of the classes that apply, and -1 for the rest
    tensors: ClassVar[tuple[str, ...]] = ()  # arguments that torch wants as tensors
    takes: ClassVar[tuple[str, ...]] = ("input",)  # the outputs of the model, as torch calls them
    mixable: ClassVar[bool] = True  # compares with what lies between two targets as well
    aligned: ClassVar[bool] = True  # there is a target for each place of the output
    compares: ClassVar[bool] = True  # with targets, and not outputs with each other alone
    single: ClassVar[bool] = False  # has one target a sample, whatever the outputs are

    if (
        TYPE_CHECKING
    ):  # every loss declares it, in torch's order; a field here would come first in all of them
        reduction: str

    @property
    def several(self) -> bool:
        """Whether it takes more than one output of the model."""
        return len(self.takes) > 1

    @property
    def averages(self) -> bool:
        """Whether the loss of a batch is a mean over its samples, and not their sum."""
        return self.reduction != "sum"

    @property
    def uneven(self) -> bool:
        """Whether it is a mean in which samples count differently, as `weight_of` says."""
        return False

    def weight_of(self, target: Tensor) -> Tensor:
        """What the batch of `target` counts for in the mean."""
        return target.new_tensor(float(len(target)))

    def refused(self, target: Tensor) -> str:  # noqa: ARG002
        """Why it cannot compare with such targets; "" where it can."""
        return ""

    @property
    def part(self) -> Loss:
        """The loss of a part of a batch: a sum where samples count differently, as only the whole can divide it."""
        return self.model_copy(update={"reduction": "sum"}) if self.uneven else self

    def build(self) -> nn.Module:
        """The module of `torch.nn`, called with the model's output, or a tuple where it takes several, and the targets.
        Its tensors move with `.to(device)`.
        """
        import torch
        from torch import nn

        arguments: dict[str, Any] = self.arguments()
        for name in self.tensors:
            if arguments[name] is not None:
                arguments[name] = torch.tensor(arguments[name], dtype=torch.float32)
        return getattr(nn, self.kind)(**arguments)
