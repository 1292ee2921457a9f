"""The laws for every function, and faults that they must catch."""

from __future__ import annotations

import itertools
import linecache
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netdsl.backends.torch_expressions import Writer
from netdsl.backends.torch_trees import Value, on_values
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops import registry
from netdsl.ops.base import Case
from netdsl.ops.pool import Pool
from netdsl.ops.promotion import promote
from netdsl.ops.target import Arg
from tests.functions import FUNCTIONS
from tests.laws import (
    Trial,
    cost_is_half_of_torchs,
    equal_numbers,
    example_holds,
    examples_of,
    flat,
    free_sizes_are_numbers_later,
    lowered,
    onnx_is_torch,
    reference,
    shapes_are_torchs,
    torch_lowering_is_the_reference,
    trials,
    values_of,
)


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


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_costs_are_half_the_operations_that_torch_counts(kind: str) -> None:
    for found in trials(kind, 12):
        if found.types is not None:
            cost_is_half_of_torchs(found, partial(reference, found, values_of(found)))


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
