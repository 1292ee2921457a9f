"""How torch is called for what each function means, and with which values, for the laws of functions."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

from netdsl.ops import registry
from netdsl.ops.target import Arg, Stride
from netdsl.ops.twins import Twin
from tests.laws import NAMESPACES, NEEDS_NUMBERS, REFERENCES, VALUES, value_of

# `extern` is declared by a file: it has a test of its own, and no twin in torch.
FUNCTIONS = sorted(
    kind for kind, cls in registry.items() if not cls.is_layer and cls.__module__ != "netdsl.ops.extern"
)
NAMESPACES["self"] = SimpleNamespace(training=False)
NAMESPACES["float"] = float

NEEDS_NUMBERS.update({"interpolate", "adaptive_max_pool2d", "adaptive_max_pool3d"})


# ------------------------------------------------------------------------------------------- how torch is called


def typed(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with a `dtype` that is a name, as the language has it."""

    def call(*operands: Any, dtype: str | None = None, **arguments: Any) -> Any:
        more = {} if dtype is None else {"dtype": getattr(torch, dtype)}
        return function(*operands, **arguments, **more)

    return call


def infix(
    function: Callable[[Any, Any], Any], otherwise: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Python's operator, or torch's function where there are arguments."""

    def call(left: Any, right: Any, **arguments: Any) -> Any:
        given = {name: value for name, value in arguments.items() if value is not None}
        return otherwise(left, right, **given) if given and otherwise else function(left, right)

    return call


def without_none(function: Callable[..., Any]) -> Callable[..., Any]:
    """torch takes no `dim=None` where it takes no `dim`."""
    return lambda *operands, **arguments: function(
        *operands, **{n: v for n, v in arguments.items() if v is not None}
    )


def indexed(x: torch.Tensor, *tensors: torch.Tensor, indices: Sequence[Any]) -> torch.Tensor:
    def one(index: Any) -> Any:
        if isinstance(index, Arg):
            return tensors[index.index - 1]
        return slice(index.start, index.stop, index.step) if isinstance(index, Stride) else index

    return x[tuple(map(one, indices))]


def lists(data: Any) -> Any:
    return [lists(item) for item in data] if isinstance(data, tuple) else data


def arange(start: Any = None, end: Any = None, step: Any = 1, **dtype: Any) -> torch.Tensor:
    return torch.arange(start, **dtype) if end is None else torch.arange(start or 0, end, step, **dtype)


def all_axes(function: Callable[..., Any], every: Any) -> Callable[..., Any]:
    """torch writes `every` for the `dim` of all axes."""
    return lambda x, dim=None, keepdim=False: function(x, every(x) if dim is None else dim, keepdim)


for kind in FUNCTIONS:
    if issubclass(registry[kind], Twin):
        evaluation = {"training": False} if registry[kind].training_only else {}
        REFERENCES[kind] = partial(getattr(F, kind), **evaluation)
for kind in (
    "sum",
    "mean",
    "softmax",
    "log_softmax",
    "cumsum",
    "zeros",
    "ones",
    "full",
    "zeros_like",
    "ones_like",
):
    REFERENCES[kind] = typed(getattr(torch, kind))
for kind in ("mul", "lt", "le", "gt", "ge", "eq", "ne", "neg", "matmul"):
    REFERENCES[kind] = getattr(operator, kind)
REFERENCES.update(
    add=infix(operator.add, torch.add),
    sub=infix(operator.sub, torch.sub),
    div=infix(operator.truediv, torch.div),
    pow=operator.pow,
    floor_divide=operator.floordiv,
    remainder=operator.mod,
    linspace=typed(torch.linspace),
    eye=without_none(typed(torch.eye)),
    arange=typed(arange),
    tensor=typed(lambda data, **more: torch.tensor(lists(data), **more)),
    prod=typed(without_none(torch.prod)),
    amax=all_axes(torch.amax, lambda _: ()),
    amin=all_axes(torch.amin, lambda _: ()),
    all=all_axes(torch.all, lambda x: tuple(range(x.dim()))),
    any=all_axes(torch.any, lambda x: tuple(range(x.dim()))),
    squeeze=without_none(torch.squeeze),
    expand=lambda x, size: x.expand(size),
    flip=lambda x, dims: x.flip(dims),
    pad=F.pad,
    concat=lambda *tensors, dim=0: torch.cat(tensors, dim),
    stack=lambda *tensors, dim=0: torch.stack(tensors, dim),
    einsum=lambda *tensors, equation: torch.einsum(equation, *tensors),
    index=indexed,
    gather=lambda x, index, dim: torch.gather(x, dim, index),
    index_select=lambda x, index, dim: torch.index_select(x, dim, index),
    to=lambda x, dtype: x.to(getattr(torch, dtype)),
    layer_norm=lambda x, weight=None, bias=None, *, normalized_shape, eps=1e-5: F.layer_norm(
        x, normalized_shape, weight, bias, eps
    ),
    rms_norm=lambda x, weight=None, *, normalized_shape, eps=None: F.rms_norm(
        x, normalized_shape, weight, eps
    ),
    embedding=F.embedding,
    norm=typed(torch.norm),
    round=lambda x, decimals: torch.round(x, decimals=decimals) if decimals else torch.round(x),
)


# ------------------------------------------------------------------ einops, element by element, to hold ours against


def axes_of(side: str) -> list[list[str]]:
    """`n (h d) 1` as [["n"], ["h", "d"], []]."""
    found: list[list[str]] = []
    inside: list[str] | None = None
    for token in side.replace("(", " ( ").replace(")", " ) ").split():
        if token == "(":
            inside = []
        elif token == ")":
            found.append(inside or [])
            inside = None
        elif inside is not None:
            inside.append(token)
        else:
            found.append([] if token == "1" else [token])
    return found


def element_by_element(
    x: torch.Tensor, /, pattern: str, reduction: str | None = None, **given: int
) -> torch.Tensor:
    """What a pattern means: every element of the result collects the elements of `x` whose named places are its own."""
    left, right = (axes_of(side) for side in pattern.split("->"))
    sizes = dict(given)
    for term, size in zip(left, x.shape, strict=True):
        known = [sizes[name] for name in term if name in sizes]
        for name in term:
            sizes.setdefault(name, size // int(torch.tensor([1, *known]).prod()))
    sizes.update({name: int(name) for term in right for name in term if name.isdigit()})
    names = list(dict.fromkeys(name for term in left for name in term))
    cells: dict[tuple[int, ...], list[torch.Tensor]] = {}
    shape = [int(torch.tensor([1, *(sizes[n] for n in term)]).prod()) for term in right]
    new = [name for term in right for name in term if name not in names]
    for places in itertools.product(*(range(sizes[name]) for name in [*names, *new])):
        at = dict(zip([*names, *new], places, strict=True))
        source = x[tuple(place(term, at, sizes) for term in left)]
        cells.setdefault(tuple(place(term, at, sizes) for term in right), []).append(source)
    reduced = {at: reduce_cells(torch.stack(found), reduction) for at, found in cells.items()}
    flat_cells = [reduced[at] for at in itertools.product(*map(range, shape))]
    return torch.stack(flat_cells).reshape(shape)


def place(term: Sequence[str], at: Mapping[str, int], sizes: Mapping[str, int]) -> int:
    number = 0
    for name in term:
        number = number * sizes[name] + at[name]
    return number


def reduce_cells(cells: torch.Tensor, reduction: str | None) -> torch.Tensor:
    if reduction is None:
        assert len(cells) == 1
        return cells[0]
    alone = reduction in ("sum", "prod") and not cells.is_floating_point() and len(cells) > 1
    found = getattr(torch, {"max": "amax", "min": "amin"}.get(reduction, reduction))(cells, 0)
    return found if alone else found.to(cells.dtype)


REFERENCES["rearrange"] = REFERENCES["repeat"] = REFERENCES["reduce"] = element_by_element


# ------------------------------------------------------------------------------------------------ values to try


def nonzero(arguments: Mapping[str, Any], operands: Sequence[Any], generator: torch.Generator) -> list[Any]:
    """Divisors of both signs."""
    values = [value_of(operand, generator) for operand in operands]
    signs = [
        torch.rand(v.shape, generator=generator) < 0.5 if isinstance(v, torch.Tensor) else None
        for v in values
    ]
    return [
        torch.where(sign, -value, value)
        if sign is not None and value.dtype not in (torch.bool, torch.uint8)
        else value
        for value, sign in zip(values, signs, strict=True)
    ]


def places_within(
    arguments: Mapping[str, Any], operands: Sequence[Any], generator: torch.Generator
) -> list[Any]:
    """Indices along `dim` that are there."""
    x, index = operands
    dim = arguments["dim"]
    size = x.shape[dim] if dim is not None else int(torch.tensor([1, *x.shape]).prod())
    return [value_of(x, generator), value_of(index, generator, 0, size)]


def gathering(arguments: Mapping[str, Any], operands: Sequence[Any], generator: torch.Generator) -> list[Any]:
    """Each tensor among the indices holds places of its own axis, from either end."""
    x, *tensors = operands
    values: list[Any] = [value_of(x, generator), *[None] * len(tensors)]
    written = [i for i in arguments["indices"] if i is not None]
    if Ellipsis in written:
        where = written.index(Ellipsis)
        written[where : where + 1] = [Stride()] * (x.rank - len(written) + 1)
    for axis, index in enumerate(written):
        if isinstance(index, Arg):
            size = x.shape[axis]
            values[index.index] = value_of(tensors[index.index - 1], generator, -size, size)
    return values


for kind in ("div", "floor_divide", "remainder", "pow"):
    VALUES[kind] = nonzero
for kind in ("gather", "index_select", "take_along_dim"):
    VALUES[kind] = places_within
VALUES["index"] = gathering
VALUES["one_hot"] = lambda arguments, operands, generator: [
    value_of(operands[0], generator, 0, arguments["num_classes"])
]
VALUES["embedding"] = lambda _, operands, generator: [
    value_of(operands[0], generator, 0, operands[1].shape[0]),
    value_of(operands[1], generator),
]
