"""What a diagram is made of: boxes, frames around blocks, and arrows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["input", "output", "tensor", "layer", "step", "sign", "block"]


@dataclass(frozen=True)
class Row:
    """A line of a box that shows several things: `title` in bold, `caption` and `note` beside it."""

    title: str = ""
    caption: str = ""
    note: str = ""
    owned: int = 0  # parameters


@dataclass
class Box:
    """One thing drawn: `title` in bold, `caption` beside it, and `note`; `hint` is the tooltip.

    `rows` stand below the first line: what follows a layer in its box, or the blocks inside a block.
    """

    id: str
    role: Role
    title: str = ""
    caption: str = ""
    note: str = ""
    family: str = ""
    hint: str = ""
    dashed: bool = False
    rows: list[Row] = field(default_factory=list[Row])
    owned: int = 0  # parameters of a layer


@dataclass
class Frame:
    """A block drawn open."""

    id: str
    title: str = ""
    caption: str = ""
    note: str = ""
    items: list[Box | Frame] = field(default_factory=list)  # pyright: ignore[reportUnknownVariableType]
    entry: str = ""  # the box that alone takes what comes in, leaps aside
    beside: bool = False  # it stands at the right of another branch


@dataclass
class Arrow:
    """A value on its way. `leap` marks one that passes by what its other readers do, as a skip connection.

    `course` is where it belongs: "chain" between boxes with no other way, "fork" and "join" at branches. `rises`
    where it goes up, on the right arm of a U.
    """

    tail: str
    head: str
    text: str = ""
    leap: bool = False
    course: Literal["chain", "fork", "join"] = "chain"
    rises: bool = False


@dataclass
class Picture:
    """A model, and beside it the blocks that are closed in it.

    `levels` are pairs of boxes that stand side by side: the ends of the skip connections of a U, and its bottom.
    `length` is the number of boxes on the longest way through the model.
    """

    title: str
    note: str
    model: Frame
    arrows: list[Arrow]
    insets: list[Frame] = field(default_factory=list[Frame])
    levels: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    length: int = 0


def all_boxes(frame: Frame) -> list[Box]:
    """The boxes in a frame and the frames in it, in order."""
    found: list[Box] = []
    for item in frame.items:
        found += all_boxes(item) if isinstance(item, Frame) else [item]
    return found
