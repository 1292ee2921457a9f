"""What the sizes of a body are in the free dimensions of the model it stands in."""

from __future__ import annotations

from collections.abc import Mapping

from netdsl.ir.dims import Dim, substitute
from netdsl.ir.graph import Node
from netdsl.ir.types import Tensor, Type


def inside(node: Node, meaning: Mapping[str, Dim]) -> dict[str, Dim]:
    """The sizes in the block that `node` applies, given those around it; a list has the symbols around it."""
    return {**meaning, **{name: substitute(dim, meaning) for name, dim in node.sizes}}


def outside(type: Type, meaning: Mapping[str, Dim]) -> Type:
    """A type of a body as the model sees it."""
    if not isinstance(type, Tensor):
        return type
    return type.with_shape(*(substitute(dim, meaning) for dim in type.shape))
