"""Functions that mean what a layer means, without its module: `relu(x)` and `x -> ReLU`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from netdsl.ir.types import Tensor
from netdsl.ops.base import Layer
from netdsl.ops.target import Arg, Call, call


class Twin(Layer):
    """Stands before a layer among the bases of a function, which takes fields, types, ONNX and cost from it."""

    is_layer = False
    namespace: ClassVar[str] = "F"

    if not TYPE_CHECKING:  # layers name their operand `x`, functions as torch does

        def infer(self, input: Tensor) -> Any:
            return super().infer(input)

    def given(self, input: Tensor) -> dict[str, Any]:
        """The arguments to write, by name."""
        return self.arguments()

    def torch(self, input: Tensor) -> Call:
        """`F.max_pool2d(x, 2, stride=1)`: those that may be, by position."""
        given = self.given(input)
        args: list[Any] = []
        for name in self.positional:
            if name not in given:
                break
            args.append(given.pop(name))
        return call(f"{self.namespace}.{self.kind}", Arg(0), *args, **given)
