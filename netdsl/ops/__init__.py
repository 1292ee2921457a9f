"""What can be in a graph: one class an operation. A module is imported when an operation of it is first used."""

from netdsl.ops.base import Op, ShapeProblem, operands_of, registry

__all__ = ["Op", "ShapeProblem", "operands_of", "registry"]
