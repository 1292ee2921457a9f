"""The laws for every function, and what is particular to some."""

from __future__ import annotations

import itertools
import linecache
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netdsl.backends.torch_expressions import Writer
from netdsl.backends.torch_trees import Value, on_values
from netdsl.ir.decide import Assumptions
from netdsl.ir.dims import symbol
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops import registry
from netdsl.ops.base import Case, ShapeProblem
from netdsl.ops.pool import Pool
from netdsl.ops.promotion import promote
from netdsl.ops.target import Arg, Stride
from netdsl.ops.twins import Twin
from tests.laws import (
    NAMESPACES,
    NEEDS_NUMBERS,
    REFERENCES,
    VALUES,
    Trial,
    equal_numbers,
    example_holds,
    examples_of,
    flat,
    free_sizes_are_numbers_later,
    lowered,
    onnx_is_torch,
    onnx_session,
    reference,
    shapes_are_torchs,
    torch_lowering_is_the_reference,
    trials,
    value_of,
    values_of,
)

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


def allowed(found: Trial) -> bool:
    """What torch takes and the language refuses, with the reason."""
    x = found.case.operands[0] if found.case.operands else None
    cls = registry[found.kind]
    if registry[found.kind].training_only:
        return True  # in evaluation torch looks at nothing; in training it refuses integers and warns of other ranks
    if issubclass(cls, Pool) and not x.is_float:
        return True  # torch pools integers in some of its kernels, and in others it does not
    # To one element torch pools inputs of any rank, to more it does not.
    return found.kind.startswith("adaptive_avg_pool") and bool(found.op) and set(found.op.targets) == {1}


# --------------------------------------------------------------------------------------------------- the laws


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_documented_examples_hold(kind: str) -> None:
    examples = examples_of(kind)
    assert examples, f"`{kind}` has no example"
    for example in examples:
        example_holds(example)


def obeys(kind: str, count: int, scripts: int) -> None:
    valid = 0
    for number, found in enumerate(trials(kind, count)):
        if not shapes_are_torchs(found, allowed):
            continue
        valid += 1
        lowering_is_the_reference(found)
        free_sizes_are_numbers_later(found)
        onnx_is_torch(found)
        onnx_is_torch(found, free=True)
        if number < scripts:
            torchscript_takes_it(found)
    assert valid >= count * 0.3 or count < 10, f"only {valid} of {count} samples of `{kind}` are valid"


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_few_random_uses_obey_the_laws(kind: str) -> None:
    obeys(kind, 2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_many_random_uses_obey_the_laws(kind: str) -> None:
    obeys(kind, 40, 12)


def lowering_is_the_reference(found: Trial) -> None:
    """To the bit, but for sums that the reference adds up in another order."""
    if found.kind != "reduce":
        torch_lowering_is_the_reference(found)
        return
    assert found.op is not None
    values = values_of(found)
    ours = lowered(found.op, found.case.operands, values)
    equal_numbers(found, "torch lowering", ours, reference(found, values), 1e-6)


def torchscript_takes_it(found: Trial) -> None:
    """The generated line compiles in TorchScript and gives the same numbers."""
    assert found.op is not None
    assert found.types is not None
    operands = tuple(
        o.value if isinstance(o, Scalar) else Value(i) for i, o in enumerate(found.case.operands)
    )
    names = [f"x{i}" for i, o in enumerate(found.case.operands) if isinstance(o, Tensor)]
    writer = Writer(values=lambda number: f"x{number}")
    text = writer.text(on_values(found.op.torch(*found.case.operands), operands))
    listed = isinstance(found.op.infer(*found.case.operands), tuple)
    results = ", ".join(f"y{i}" for i in range(len(found.types)))
    lines = [
        f"{results} = {text}"
        if listed and len(found.types) > 1
        else f"y0 = {text}" + ("[0]" if listed else "")
    ]
    module = scripted([*lines, f"return {results}"], names)
    values = [v for v, o in zip(values_of(found), found.case.operands, strict=True) if isinstance(o, Tensor)]
    ours, theirs = flat(module(*[v.clone() for v in values])), reference(found, values_of(found))
    for left, right in zip(ours, theirs, strict=True):
        assert left.dtype == right.dtype
        assert torch.allclose(left.double(), right.double(), 1e-5, 1e-6, equal_nan=True), f"{found}: {text}"


_number = itertools.count()


def scripted(lines: Sequence[str], names: Sequence[str]) -> nn.Module:
    """A module whose `forward` has these lines, compiled by TorchScript in evaluation mode."""
    inside = "".join(f"        {line}\n" for line in lines)
    text = f"class Written(nn.Module):\n    def forward({', '.join(['self', *names])}):\n{inside}"
    path = f"<written {next(_number)}>"
    linecache.cache[path] = (len(text), None, text.splitlines(True), path)
    space: dict[str, Any] = {"torch": torch, "nn": nn, "F": F, "__name__": "written"}
    exec(compile(text, path, "exec"), space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(space["Written"]().eval())


# ------------------------------------------------------------------------------------- what is particular to some


@pytest.mark.parametrize("kind", [kind for kind in FUNCTIONS if registry[kind].elementwise])
def test_an_element_of_an_elementwise_function_depends_on_its_own_place_only(kind: str) -> None:
    seen = 0
    for found in trials(kind, 12, seed=1):
        tensors = [o for o in found.case.operands if isinstance(o, Tensor)]
        if (
            found.types is None
            or not tensors
            or 0 in found.types[0].shape
            or found.case.arguments.get("inplace")
        ):
            continue
        if tensors[0].shape != found.types[0].shape or not tensors[0].is_float:
            continue
        seen += 1
        values = values_of(found)
        which = next(i for i, o in enumerate(found.case.operands) if o is tensors[0])
        before = reference(found, values)[0]
        changed = values[which].clone()
        changed.view(-1)[0] += 1.0
        after = reference(found, [changed if i == which else value for i, value in enumerate(values)])[0]
        assert torch.equal(before.reshape(-1)[1:].nan_to_num(), after.reshape(-1)[1:].nan_to_num()), str(
            found
        )
    assert seen or kind in ("where", "logical_not"), f"no sample of `{kind}` was looked at"


DTYPES = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")


def operands_of_every_kind() -> list[Tensor | Scalar]:
    tensors = [Tensor(shape, dtype) for dtype in DTYPES for shape in ((2,), ())]
    return [*tensors, Scalar(True), Scalar(2), Scalar(2.5)]


def test_dtypes_are_promoted_as_torch_promotes_them() -> None:
    def value(operand: Tensor | Scalar) -> Any:
        if isinstance(operand, Scalar):
            return operand.value
        return torch.ones(operand.shape, dtype=getattr(torch, operand.dtype))

    for left, right in itertools.product(operands_of_every_kind(), repeat=2):
        if isinstance(left, Scalar) and isinstance(right, Scalar):
            continue
        theirs = str(torch.result_type(value(left), value(right))).removeprefix("torch.")
        assert promote(left, right) == theirs, f"{left} and {right}"


def test_a_free_size_in_a_number_counts_as_an_integer() -> None:
    assert promote(Tensor((2,), "int64"), Scalar(symbol("N"))) == "int64"
    assert promote(Tensor((2,), "bool"), Scalar(symbol("N"))) == "int64"


N, C, H, T = (symbol(name) for name in "NCHT")
IMAGE = Tensor((N, 8, H, H))

FAULTS: list[tuple[str, dict[str, Any], tuple[Tensor | Scalar, ...], str, str]] = [
    ("add", {}, (Tensor((2, 3)), Tensor((2, 4))), "E0402", "shapes do not match in `+`"),
    ("add", {}, (Tensor((N, H)), Tensor((N, (H - 1) // 2 + 1))), "E0402", "shapes do not match in `+`"),
    ("sub", {}, (Tensor((2,), "bool"), Tensor((2,), "bool")), "E0405", "`-` is not defined for bools"),
    ("pow", {}, (Tensor((2,), "int64"), Scalar(-1)), "E0405", "an integer to a negative power"),
    ("matmul", {}, (Tensor((2, 3)), Tensor((4, 5))), "E0402", "shapes do not match in `@`"),
    ("matmul", {}, (Tensor((2, 3)), Tensor((3,), "int64")), "E0405", "one dtype"),
    ("where", {}, (Tensor((2,)), Tensor((2,)), Scalar(0)), "E0405", "a tensor of bools"),
    (
        "masked_fill",
        {"value": 0.5},
        (Tensor((2,), "int64"), Tensor((2,), "bool")),
        "E0405",
        "is not a value of int64",
    ),
    ("softmax", {"dim": 2}, (Tensor((N, 10)),), "E0407", "`dim = 2` of `softmax` is out of range"),
    ("mean", {"dim": (1, -1)}, (Tensor((2, 3)),), "E0407", "names an axis twice"),
    ("mean", {}, (Tensor((2,), "int64"),), "E0405", "works on floating point"),
    ("flatten", {"start_dim": 2, "end_dim": 1}, (Tensor((2, 3, 4)),), "E0407", "before axis 2"),
    ("reshape", {"shape": (4, -1)}, (Tensor((2, 3)),), "E0406", "4 does not divide 6"),
    ("reshape", {"shape": (4, 2)}, (Tensor((2, 3)),), "E0402", "keeps the number of elements"),
    ("reshape", {"shape": (N, 3, -1)}, (Tensor((N, 8)),), "E0406", "3*N does not divide 8*N"),
    ("unflatten", {"dim": 1, "sizes": (3, -1)}, (Tensor((N, 8)),), "E0406", "3 does not divide 8"),
    ("permute", {"dims": (1, 0)}, (Tensor((2, 3, 4)),), "E0401", "names 2 axes"),
    ("squeeze", {}, (Tensor((N, 1)),), "E0403", "known only at run time"),
    ("expand", {"size": (4, 5)}, (Tensor((2, 1)),), "E0402", "axis 0 is 2 and would be 4"),
    ("pad", {"pad": (3, 0), "mode": "reflect"}, (Tensor((1, 2, 3)),), "E0404", "`pad`"),
    ("pad", {"pad": (H - 3, 0)}, (Tensor((1, 2, 3)),), "E0409", "depends on its free dimensions"),
    ("concat", {"dim": 0}, (Tensor((2, 3)), Tensor((2, 4))), "E0402", "shapes do not match in `concat`"),
    ("concat", {"dim": 0}, (Tensor((2, 3)), Tensor((2,))), "E0401", "as many axes each"),
    ("concat", {}, (), "E0412", "at least one tensor"),
    ("stack", {"dim": 3}, (Tensor((2, 3)),), "E0407", "its result has 3 axes"),
    ("split", {"split_size_or_sections": (1, 1)}, (Tensor((3,)),), "E0406", "2 together, but axis 0 is 3"),
    ("split", {"split_size_or_sections": 2}, (Tensor((N,)),), "E0403", "fixed number of elements"),
    ("unbind", {}, (Tensor((N, 2)),), "E0403", "fixed number of slices"),
    ("index", {"indices": (12,)}, (Tensor((12,)),), "E0411", "index 12 is out of range for axis 0"),
    ("index", {"indices": (-13,)}, (Tensor((12,)),), "E0411", "index -13 is out of range"),
    ("index", {"indices": (0, 0)}, (Tensor((12,)),), "E0411", "2 indices, but the tensor has 1 axis"),
    ("index", {"indices": (Stride(5, 3),)}, (Tensor((12,)),), "E0411", "the slice `5:3` of axis 0"),
    ("index", {"indices": (Stride(None, None, -1),)}, (Tensor((12,)),), "E0411", "a step of 1 or more"),
    ("index", {"indices": (Arg(1),)}, (Tensor((4,)), Tensor((4,), "bool")), "E0405", "found bool"),
    ("gather", {"dim": 1}, (Tensor((2, 3)), Tensor((3, 3), "int64")), "E0402", "larger than its input"),
    ("arange", {"start": 5, "end": 3}, (), "E0404", "is empty"),
    ("tril", {}, (Tensor((3,)),), "E0401", "needs matrices"),
    ("one_hot", {"num_classes": 3}, (Tensor((3,)),), "E0405", "takes int64 classes"),
    ("einsum", {"equation": "ij,jk->il"}, (Tensor((2, 3)), Tensor((3, 4))), "E0413", "`l` of the result"),
    ("einsum", {"equation": "i;j"}, (Tensor((2, 3)),), "E0413", 'found ";"'),
    ("einsum", {"equation": "ij,jk->ik"}, (Tensor((2, 3)),), "E0412", "has 2 operands, found 1"),
    ("einsum", {"equation": "ij,jk->ik"}, (Tensor((2, 3)), Tensor((4, 5))), "E0402", "in `einsum`"),
    ("einsum", {"equation": "ijk->k"}, (Tensor((2, 3)),), "E0401", "names 3 axes"),
    ("rearrange", {"pattern": "a b"}, (Tensor((2, 3)),), "E0413", "`->` stands once"),
    ("rearrange", {"pattern": "a (b -> a b"}, (Tensor((2, 3)),), "E0413", "not closed"),
    ("rearrange", {"pattern": "a + -> a"}, (Tensor((2, 3)),), "E0413", '"+" is not part'),
    ("rearrange", {"pattern": "a a -> a"}, (Tensor((2, 3)),), "E0413", "`a` is twice on one side"),
    ("rearrange", {"pattern": "a b -> a"}, (Tensor((2, 3)),), "E0413", "`b` is on the left only"),
    ("rearrange", {"pattern": "a (b c) -> a b c"}, (Tensor((2, 6)),), "E0413", "do not follow from 6"),
    (
        "rearrange",
        {"pattern": "a (b c) -> a b c", "b": 4},
        (Tensor((2, 6)),),
        "E0406",
        "which 4 does not divide",
    ),
    (
        "rearrange",
        {"pattern": "a b -> b a", "b": 4},
        (Tensor((2, 6)),),
        "E0402",
        "is 4, but axis 1 of the input is 6",
    ),
    ("rearrange", {"pattern": "a b -> b a", "z": 4}, (Tensor((2, 6)),), "E0413", "`z` is not an axis"),
    ("rearrange", {"pattern": "a b -> b a"}, (Tensor((2, 6, 1)),), "E0401", "has 2 axes"),
    ("repeat", {"pattern": "a -> a b"}, (Tensor((2,)),), "E0413", "the new axis `b` is not given"),
    (
        "layer_norm",
        {"normalized_shape": (3,)},
        (Tensor((2, 4)),),
        "E0402",
        "is not the end of its input's shape",
    ),
    ("linear", {}, (Tensor((2, 4)), Tensor((5, 3))), "E0402", "shapes do not match in `linear`"),
    ("interpolate", {"scale_factor": 2, "mode": "bilinear"}, (Tensor((2, 3, 4)),), "E0401", "needs 4 axes"),
]


@pytest.mark.parametrize(("kind", "arguments", "operands", "code", "words"), FAULTS)
def test_a_fault_is_told_by_its_code_and_in_words(
    kind: str, arguments: dict[str, Any], operands: tuple[Any, ...], code: str, words: str
) -> None:
    with pytest.raises(ShapeProblem) as caught:
        registry[kind](**arguments).infer(*operands)
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.message[0].islower() or caught.value.message[0] in "`0123456789E"
    assert not caught.value.message.endswith(".")


INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("clamp", {}, "needs `min`, `max` or both"),
    ("reshape", {"shape": (-1, -1)}, "more than one -1"),
    ("reshape", {"shape": (0,)}, "found 0"),
    ("pad", {"pad": (1,)}, "two numbers for each axis"),
    ("pad", {"pad": (1, 1), "mode": "reflect", "value": 1.0}, "`value` is for"),
    ("roll", {"shifts": (1, 2), "dims": (0,)}, "one shift for each axis"),
    ("arange", {}, "needs `end`"),
    ("arange", {"end": 3, "step": 0}, "never ends"),
    ("tensor", {"data": ((1, 2), (3,))}, "lists of different lengths"),
    ("tensor", {"data": ("a",)}, "made of numbers"),
    ("to", {"dtype": "float31"}, "float32"),
    ("rearrange", {"pattern": "a -> a", "a": 0}, "positive integer"),
    ("sum", {"dim": ()}, "empty list"),
    ("chunk", {"chunks": 0}, "greater than 0"),
    ("chunk", {"chunks": True}, "integer"),
    ("interpolate", {"size": 3, "scale_factor": 2.0}, "one of `size` and `scale_factor`"),
]


@pytest.mark.parametrize(("kind", "arguments", "words"), INVALID)
def test_arguments_that_cannot_be_are_refused(kind: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="(?s).*" + words):
        registry[kind](**arguments)


CONDITIONS: list[tuple[str, dict[str, Any], tuple[Tensor, ...], str, list[str]]] = [
    ("add", {}, (Tensor((N, H)), Tensor((N, 2 * (H // 2)))), "[N, H]", ["H % 2 == 0"]),
    ("add", {}, (Tensor((N, C)), Tensor((T, 1))), "[N, C]", ["N == T"]),
    ("concat", {"dim": 1}, (Tensor((N, 3, H)), Tensor((N, C, H))), "[N, C + 3, H]", []),
    ("reshape", {"shape": (N, 2, -1)}, (Tensor((N, H)),), "[N, 2, H//2]", ["H % 2 == 0"]),
    ("reshape", {"shape": (-1, 4)}, (Tensor((N, 8)),), "[2*N, 4]", []),
    ("index", {"indices": (Stride(), Stride(None, 5))}, (Tensor((N, T)),), "[N, 5]", ["T >= 5"]),
    ("index", {"indices": (Stride(), 4)}, (Tensor((N, T)),), "[N]", ["T >= 5"]),
    ("index", {"indices": (Stride(), Stride(1, None))}, (Tensor((N, T)),), "[N, T - 1]", []),
    ("index", {"indices": (Stride(), Stride(None, -2))}, (Tensor((N, T)),), "[N, T - 2]", ["T >= 2"]),
    ("index", {"indices": (Ellipsis, Stride(None, None, 2))}, (Tensor((N, T)),), "[N, (T + 1)//2]", []),
    ("index", {"indices": (Ellipsis, T - 1)}, (Tensor((N, T)),), "[N]", []),
    ("pad", {"pad": (0, (7 - H % 7) % 7)}, (Tensor((N, H)),), "[N, 7*((H + 6)//7)]", []),
    ("pad", {"pad": (0, 3), "mode": "reflect"}, (Tensor((N, C, H)),), "[N, C, H + 3]", ["H >= 4"]),
    ("roll", {"shifts": -3, "dims": 1}, (Tensor((N, H)),), "[N, H]", []),
    ("arange", {"end": T}, (), "int64[T]", []),
    ("arange", {"start": 2, "end": T}, (), "int64[T - 2]", ["T >= 2"]),
    (
        "rearrange",
        {"pattern": "n (h p) -> (n h) p", "p": 7},
        (Tensor((N, H)),),
        "[N*(H//7), 7]",
        ["H % 7 == 0"],
    ),
    ("gather", {"dim": 1}, (Tensor((N, 8)), Tensor((T, 2), "int64")), "[T, 2]", ["N >= T"]),
    ("interpolate", {"scale_factor": 0.5}, (Tensor((N, 3, H, H)),), "[N, 3, H//2, H//2]", ["H >= 2"]),
]


@pytest.mark.parametrize(("kind", "arguments", "operands", "result", "conditions"), CONDITIONS)
def test_what_holds_for_some_sizes_only_is_a_condition(
    kind: str, arguments: dict[str, Any], operands: tuple[Any, ...], result: str, conditions: list[str]
) -> None:
    with Assumptions() as found:
        (type,) = registry[kind](**arguments).result_types(*operands)
    assert str(type) == result
    assert [str(constraint) for constraint in found.constraints] == conditions


def test_chunks_of_a_free_size_are_as_many_as_asked_for() -> None:
    with Assumptions() as found:
        types = registry["chunk"](chunks=2, dim=1).result_types(Tensor((N, T)))
    assert [str(type) for type in types] == ["[N, (T + 1)//2]", "[N, T//2]"]
    assert [str(constraint) for constraint in found.constraints] == ["T >= 2"]


def test_the_note_of_a_mismatch_has_sizes_that_show_it() -> None:
    with pytest.raises(ShapeProblem) as caught:
        registry["add"]().infer(Tensor((N, 8, H)), Tensor((N, 8, (H - 1) // 2 + 1)))
    assert caught.value.note == "axis 2 is `H` and `(H + 1)//2`: for H = 29 these are 29 and 15"


def test_a_residual_join_of_other_channels_is_helped_by_a_projection() -> None:
    with pytest.raises(ShapeProblem) as caught:
        registry["add"]().infer(Tensor((N, 64, 56, 56)), Tensor((N, 128, 28, 28)))
    assert caught.value.help == "project the left one first, for example `-> Conv2d(128, 1, stride = 2)`"


def test_multiply_adds_are_counted() -> None:
    q, k = Tensor((N, 8, T, 64)), Tensor((N, 8, T, 64))
    assert registry["matmul"]().cost(Tensor((N, 4, 5)), Tensor((5, 6))) == N * 4 * 5 * 6
    assert (
        registry["einsum"](equation="bij,bjk->bik").cost(Tensor((2, 3, 4)), Tensor((2, 4, 5)))
        == 2 * 3 * 4 * 5
    )
    assert registry["einsum"](equation="ij,jk,kl->il").cost(*map(Tensor, ((2, 3), (3, 4), (4, 5)))) == 24 + 40
    assert registry["scaled_dot_product_attention"]().cost(q, k, k) == N * 8 * T * T * 128
    assert registry["linear"]().cost(Tensor((N, T, 8)), Tensor((5, 8))) == N * T * 40
    assert registry["add"]().cost(q, k) == 0


def test_dropout_draws_in_training_only() -> None:
    attention = registry["scaled_dot_product_attention"]
    assert registry["dropout"].random
    assert not registry["dropout"].pure
    assert attention(dropout_p=0.1).random
    assert attention().pure
    assert not attention(dropout_p=0.1).pure


def test_sizes_of_a_pattern_are_arguments_of_any_name() -> None:
    op = registry["rearrange"](pattern="n (h d) -> n h d", h=8)
    assert op.arguments() == {"pattern": "n (h d) -> n h d", "h": 8}
    assert str(op) == 'rearrange(pattern = "n (h d) -> n h d", h = 8)'
    assert op != registry["rearrange"](pattern="n (h d) -> n h d", h=4)


# ------------------------------------------------------------------------------------------------ the laws can fail


def always(result: Any) -> Callable[..., Any]:
    """A method that looks at nothing."""

    def method(*_: Any) -> Any:
        return result

    return method


PLANTED: list[tuple[str, str, Any]] = [
    ("remainder", "compute", lambda _self, g, left, right, _dtype: g.op("Mod", left, right, fmod=1)),
    ("softmax", "infer", lambda _, input: input.with_dtype("float64")),
    ("transpose", "order", lambda _, input: list(range(input.rank))),
    ("concat", "infer", lambda _, *tensors: tensors[0]),
    ("roll", "torch", always(Arg(0))),
    ("var", "variance", lambda self, g, value, x, _: self.reduce(g, "ReduceMean", value, x)),
    ("rearrange", "torch", always(Arg(0))),
    ("cumsum", "result_dtype", lambda _, input: input.dtype),
    ("where", "infer", lambda _, condition, input, other: condition.with_dtype(promote(input, other))),
    ("arange", "infer", always(Tensor((3,), "int64"))),
]


@pytest.mark.parametrize(("kind", "method", "fault"), PLANTED)
def test_a_planted_fault_is_caught(
    kind: str, method: str, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry[kind], method, fault)
    with pytest.raises((AssertionError, RuntimeError, TypeError, ValueError)):
        obeys(kind, 25, 0)


def test_random_uses_are_the_same_every_time() -> None:
    for kind in ("index", "pad", "rearrange"):
        assert registry[kind].sample(Random(3)) == registry[kind].sample(Random(3))
        assert isinstance(registry[kind].sample(Random(3)), Case)


# ----------------------------------------------------------------------------- arguments that are known at run time

AT_RUN_TIME = [
    "x -> reshape(N * C, -1)",
    "x -> reshape(N, 2, -1, T)",
    "x[:1] -> expand(N, -1, T)",
    "x -> pad([T // 2, (4 - T % 4) % 4])",
    'x -> pad([0, (4 - T % 4) % 4], mode = "reflect")',
    'x -> pad([T % 3, -1], mode = "circular")',
    'x -> pad([T % 3, -1], mode = "replicate")',
    "x -> roll(T // 2, -1)",
    "x[:, :, T // 2:]",
    "x[..., :T - 1]",
    "x[:, :, T - 1]",
    "x[:, :, -1] * T + N",
    "x + arange(T)",
    "x + arange(T - 1, -1, -1)",
    "x @ eye(T)",
    "x @ tril(ones(T, T), diagonal = T // 3)",
    "x + full([N, 1, T], 0.5) - zeros(T)",
    "x + (arange(T) -> clamp(max = T - 2))",
    "x -> tile(1, 1, T)",
    "x -> repeat_interleave(T, dim = 0)",
    "x -> split([T // 2, T - T // 2], dim = 2) -> concat(dim = 2)",
    'x -> interpolate(size = 2 * T + 1, mode = "linear")',
    'x -> rearrange("n (c d) t -> (n t) c d", d = 2)',
    'x -> repeat("n c t -> n (c k) t", k = T)',
    'x -> reduce("n c (t s) -> n c t", "max", t = T)',
    "x -> unflatten(-1, [T, 1]) -> squeeze(-1)",
    "x -> var(-1, correction = 0) -> sqrt",
    "scaled_dot_product_attention(x, x, x, is_causal = True)",
]


@pytest.mark.parametrize("flow", AT_RUN_TIME)
def test_sizes_that_are_known_at_run_time_are_computed_there(flow: str) -> None:
    import netdsl
    from netdsl.backends.onnx import tensors_of, to_onnx

    entry = netdsl.loads(f"model M {{\n  input x: [N, 4, T]\n  C = 4\n  output {flow}\n}}\n").M
    model = entry().eval()
    onnx = onnx_session(to_onnx(entry.graph(), tensors_of(model)).SerializeToString())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.jit.script(model)
    for shape in ((2, 4, 7), (1, 4, 12)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
        expected = model(x)
        assert torch.equal(compiled(x), expected)
        feeds = {given.name: x.numpy() for given in onnx.get_inputs()}
        found = torch.from_numpy(onnx.run(None, feeds)[0])
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, 1e-5, 1e-5)
