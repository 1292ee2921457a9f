"""What `target` may say: how the targets of the data become what the loss compares with."""

from __future__ import annotations

from netdsl.train.component import Component, Family


class Encoding(Component):
    """A form of the targets that the loss alone does not tell."""


class OneHot(Encoding):
    """Class numbers as values: 1 for the class of the sample and 0 for the others, for losses of values."""


ENCODINGS: Family[Encoding] = Family.of("form of targets", (OneHot,))
