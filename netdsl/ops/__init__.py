"""What can be in a graph: one class an operation. Importing this package registers all of them."""

# layers
from netdsl.ops import adaptive as adaptive
from netdsl.ops import conv as conv
from netdsl.ops import embedding as embedding
from netdsl.ops import fractional as fractional
from netdsl.ops import linear as linear
from netdsl.ops import padding as padding
from netdsl.ops import pool as pool
from netdsl.ops import unpool as unpool

# functions
from netdsl.ops.base import Op, ShapeProblem, initialisers, operands_of, registry

__all__ = ["Op", "ShapeProblem", "initialisers", "operands_of", "registry"]
