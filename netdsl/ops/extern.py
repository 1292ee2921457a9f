"""A layer written in Python, declared with `extern`: its shapes are as declared, its code is imported to build it."""

from __future__ import annotations

from typing import Any, ClassVar

from netdsl.ir.types import Tensor
from netdsl.ops.base import Layer, ShapeProblem, op, show
from netdsl.ops.target import Call, OnnxTarget


@op
class Extern(Layer):
    """A class of a Python package as a layer: `extern Name(width) from "package.module:Class" { ... }`.

    `name` is what the file calls it, `given` its arguments, `results` the declared types.
    """

    kind: ClassVar[str] = "extern"
    pure: ClassVar[bool] = False  # nothing is known of its code

    name: str
    target: str
    given: tuple[tuple[str, Any], ...] = ()
    results: tuple[Any, ...] = ()

    @property
    def gives(self) -> Any:  # type: ignore[override]
        return tuple(range(len(self.results))) if len(self.results) > 1 else None

    def infer(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.results

    def torch(self, *inputs: Tensor) -> Call:
        return Call(self.target.replace(":", "."), (), self.given)

    def onnx(self, g: OnnxTarget, *inputs: Any) -> Any:
        raise ShapeProblem(
            "E0418",
            f"`{self.name}` is written in Python, so it has no ONNX form",
            help="export to `.pt2`, or write the layer in the language",
        )

    def __str__(self) -> str:
        inside = ", ".join(f"{name} = {show(value)}" for name, value in self.given)
        return f"{self.name}({inside})" if inside else self.name
