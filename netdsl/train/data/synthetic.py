"""Samples that are drawn: the shapes that teaching material fits, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from netdsl.train.component import Numbers, as_tuple
from netdsl.train.data.base import Data, Input, Sample
from netdsl.train.data.divided import Divide, Divided, Fitted, class_target, parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Draw = Callable[[int], Array]

Count = Annotated[int, Field(ge=1)]
COEFFICIENTS = {
    "line": (0.0, 1.0),
    "parabola": (0.0, 0.0, 1.0),
    "plane": (0.0, 1.0, 1.0),
    "rings": (5.0, 8.0),
}


class Synthetic(Divided):
    """Samples of a `shape`, with normal noise of the deviation `noise`.

    `line`, `parabola`: y = c0 + c1 x + c2 x**2 + noise, for one x. `plane`: y = c0 + c1 x1 + c2 x2 + noise.
    `coefficients` are c0, c1 and so on; x is uniform from `low` to `high`, or evenly spaced where `spaced`.
    `rings`: points around the origin at a distance of `coefficients` plus noise, each ring a class, the last ring
    class 0; `samples` may be a number for each ring.

    `seed` is that of `generator`: numpy's `RandomState` or torch's. With `test`, as many samples are drawn after
    the others, in the same way, to measure on.
    """

    shape: Literal["line", "parabola", "plane", "rings"]
    samples: Annotated[Count | tuple[Count, ...], BeforeValidator(as_tuple)] = 100
    noise: float = Field(1.0, ge=0)
    coefficients: Annotated[Numbers, Field(min_length=2)] | None = None
    low: float = 0.0
    high: float = 1.0
    spaced: bool = False
    seed: int = Field(0, ge=0, lt=2**32)
    generator: Literal["numpy", "torch"] = "numpy"
    test: bool = False

    @model_validator(mode="after")
    def _goes_together(self) -> Synthetic:
        if self.low >= self.high:
            raise ValueError("`low` is not below `high`")
        if self.shape != "rings" and not isinstance(self.samples, int):
            raise ValueError("`samples` is one number, but for `rings`")
        if isinstance(self.samples, tuple) and len(self.samples) != len(self.constants):
            raise ValueError(f"there are {len(self.constants)} rings and {len(self.samples)} `samples`")
        if self.spaced and self.shape not in ("line", "parabola"):
            raise ValueError("`spaced` is for one x: `line` and `parabola`")
        most = {"line": 2, "parabola": 3}.get(self.shape)
        if most and len(self.constants) > most:
            raise ValueError(f"a `{self.shape}` has {most} `coefficients`")
        return self

    @property
    def constants(self) -> tuple[float, ...]:
        return self.coefficients or COEFFICIENTS[self.shape]

    @property
    def has_test(self) -> bool:
        return self.test

    def sample(self) -> Sample:
        if self.shape == "rings":
            return Sample(Input((2,)), class_target(len(self.constants)))
        return Sample(Input((len(self.constants) - 1 if self.shape == "plane" else 1,)), class_target(None))

    def divided(self, folders: Sequence[Path], divide: Divide | None, fitted: Fitted | None) -> Data:  # noqa: ARG002
        uniform, normal = _torch(self.seed) if self.generator == "torch" else _numpy(self.seed)
        make = self._rings if self.shape == "rings" else self._curve
        x, y = make(uniform, normal)
        return parts(self, x, y, divide, make(uniform, normal) if self.test else None)

    def _curve(self, uniform: Draw, normal: Draw) -> tuple[Array, Array]:
        """Inputs [N, inputs] and values [N]; x is drawn first, then the noise."""
        import numpy

        assert isinstance(self.samples, int)
        inputs = self.sample().input.shape[0] or 1
        if self.spaced:
            x = numpy.linspace(self.low, self.high, self.samples)[:, None]
        else:
            x = uniform(self.samples * inputs).reshape(self.samples, inputs)
            x = self.low + (self.high - self.low) * x
        powers = x if self.shape == "plane" else x ** numpy.arange(1, len(self.constants))
        y = self.constants[0] + powers @ numpy.array(self.constants[1:])
        return x, y + self.noise * normal(self.samples)

    def _rings(self, uniform: Draw, normal: Draw) -> tuple[Array, Array]:
        """Points [N, 2] and classes [N]; of each ring the distances are drawn first, then the angles."""
        import numpy

        count = len(self.constants)
        samples = self.samples if isinstance(self.samples, tuple) else _shared(self.samples, count)
        x: list[Array] = []
        y: list[Array] = []
        for ring, (radius, number) in enumerate(zip(self.constants, samples, strict=True)):
            distance = radius + self.noise * normal(number)
            angle = 2 * numpy.pi * uniform(number)
            x.append(numpy.stack([distance * numpy.cos(angle), distance * numpy.sin(angle)], 1))
            y.append(numpy.full(number, count - 1 - ring))
        return numpy.concatenate(x), numpy.concatenate(y)


def _shared(samples: int, count: int) -> list[int]:
    return [samples // count + (i < samples % count) for i in range(count)]


def _numpy(seed: int) -> tuple[Draw, Draw]:
    """Uniform and normal numbers, as `numpy.random.seed(seed)` gives them."""
    import numpy

    random = numpy.random.RandomState(seed)
    return random.random_sample, random.standard_normal


def _torch(seed: int) -> tuple[Draw, Draw]:
    """Uniform and normal numbers, as `torch.manual_seed(seed)` gives them on the CPU."""
    import torch

    random = torch.Generator().manual_seed(seed)
    return (
        lambda count: torch.rand(count, generator=random).double().numpy(),
        lambda count: torch.randn(count, generator=random).double().numpy(),
    )
