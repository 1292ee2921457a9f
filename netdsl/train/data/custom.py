"""Samples from Python code of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from netdsl.train.component import Integers, as_tuple
from netdsl.train.data.base import Data, Input, Sample
from netdsl.train.data.divided import Divide, Divided, Fitted, class_target, undivided
from netdsl.train.data.division import Samples

Classes = (
    Annotated[int, Field(ge=2)] | Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=2)]
)


class Custom(Divided):
    """What `factory`, as `package.module:function`, returns: a `torch.utils.data.Dataset`, or one to learn from and
    one to measure on. It is imported only where that is allowed: `--allow-extern`.

    An item is an input of `shape` and a target: a class number where there are `classes`, else values of
    `target_shape`. A `kind` of `image` is uint8 of [C, H, W], `numbers` are made float32 and `ids` int64.
    """

    factory: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    shape: Annotated[Integers, Field(min_length=1)]
    classes: Classes | None = None
    target_shape: Integers = ()
    samples: Literal["image", "numbers", "ids"] = "numbers"
    test: bool = False

    @property
    def has_test(self) -> bool:
        return self.test

    def sample(self) -> Sample:
        return Sample(Input(self.shape, self.samples), class_target(self.classes, self.target_shape))

    def divided(self, folders: Sequence[Path], divide: Divide | None, fitted: Fitted | None) -> Data:  # noqa: ARG002
        from netdsl.train.data.custom_reader import unread_parts

        target = self.sample().target
        train, valid = unread_parts(self, folders)
        if divide is not None:
            train, valid = (train.rows(rows) for rows in divide(Samples(len(train))))
        if valid is None:
            raise undivided(self.kind)
        return Data(train, valid, target.classes, target.names)
