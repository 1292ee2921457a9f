"""The laws that every operation obeys, shared by the tests of layers and of functions.

A law takes the kind of an operation and looks at its documented examples or at random uses of it (`Op.sample`). What is
true is asked of torch itself: the class or function of the same name, called with the arguments as they were drawn, on
small tensors on the CPU (the meta device would let some faults pass). Nothing of netdsl is used to find that out.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
import torchvision
from pydantic import ValidationError
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from netdsl.backends.onnx import single
from netdsl.ir.decide import Assumptions
from netdsl.ir.dims import Dim, substitute, symbol
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops import registry
from netdsl.ops.base import Case, Op, ShapeProblem
from tests.documented import example_holds as example_holds
from tests.documented import examples_of as examples_of
from tests.lowering import NAMESPACES as NAMESPACES
from tests.lowering import evaluated

torch.set_num_threads(1)
torch.backends.mha.set_fastpath_enabled(False)  # for evaluation only; it takes added masks for bools

TOLERANCE = 1e-5


def given(operands: Sequence[Any], place: int) -> Any:
    """The operand `place`, or the one before it that stands in for it."""
    return next(o for o in reversed(operands[: place + 1]) if o is not None)


# What torch needs to hear and the language reads from the operands, told here a second time and independently.
INFERRED: dict[str, Callable[[Sequence[Any]], Any]] = {
    "in_channels": lambda operands: operands[0].shape[1],
    "num_features": lambda operands: operands[0].shape[1],
    "num_channels": lambda operands: operands[0].shape[1],
    "in_features": lambda operands: operands[0].shape[-1],
    "in1_features": lambda operands: operands[0].shape[-1],
    "in2_features": lambda operands: operands[1].shape[-1],
    "input_size": lambda operands: operands[0].shape[-1],
    "embed_dim": lambda operands: operands[0].shape[-1],
    "d_model": lambda operands: operands[0].shape[-1],
    "kdim": lambda operands: given(operands, 1).shape[-1],
    "vdim": lambda operands: given(operands, 2).shape[-1],
    "normalized_shape": lambda operands: operands[0].shape[-1:],
}

# How torch is called for what an operation means, where `nn.Kind(...)(x)` or `torch.kind(x, ...)` is not it.
# A reference takes the arguments as drawn and the operands, and returns torch's results; for layers, from the module.
References = dict[str, Callable[..., Any]]
REFERENCES: References = {}

# Uses that draw random numbers in evaluation mode too: only the types of their results can be compared.
RANDOM: dict[str, Callable[[Any], bool]] = {}

# Operations whose ONNX needs more sizes as numbers than their torch does, for some arguments.
NEEDS_NUMBERS: set[str] = set()

# Values for the operands where normal numbers, integers from 1 to 4 and random bools will not do.
Values = Callable[[Mapping[str, Any], Sequence[Any], torch.Generator], list[Any]]
VALUES: dict[str, Values] = {}


def ids_below(limit: str) -> Values:
    """Integer operands below the argument `limit`, as `num_embeddings`."""

    def make(arguments: Mapping[str, Any], operands: Sequence[Any], generator: torch.Generator) -> list[Any]:
        return [value_of(operand, generator, 0, arguments[limit]) for operand in operands]

    return make


@dataclass(frozen=True)
class Trial:
    """One random use of an operation: the operation where its arguments are valid, its types where it applies."""

    kind: str
    case: Case
    op: Op | None
    types: tuple[Tensor, ...] | None
    problem: Exception | None

    def __str__(self) -> str:
        arguments = ", ".join(f"{name} = {value!r}" for name, value in self.case.arguments.items())
        return f"{self.kind}({arguments}) of {', '.join(map(str, self.case.operands))}"


def trials(kind: str, count: int, seed: int = 0) -> Iterator[Trial]:
    """`count` random uses of `kind`, always the same ones."""
    for number in range(count):
        yield trial(kind, registry[kind].sample(Random(f"{kind} {seed} {number}")))


def trial(kind: str, case: Case) -> Trial:
    try:
        op = registry[kind](**case.arguments)
    except ValidationError as problem:
        return Trial(kind, case, None, None, problem)
    try:
        return Trial(kind, case, op, op.result_types(*case.operands), None)
    except ShapeProblem as problem:
        return Trial(kind, case, op, None, problem)


def cost_is_half_of_torchs(found: Trial, run: Callable[[], Any]) -> None:
    """Multiply-adds are half the operations that torch's counter sees: none where it sees none, unless torch has taken a
    kernel for this use that it does not count, as for vectors and integers."""
    assert found.op is not None
    with FlopCounterMode(display=False) as counter, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of some arguments torch thinks little, which other laws look at
        run()
    counted = counter.get_total_flops()
    uncounted = counted == 0 and found.kind in ("Bilinear", "LSTM", "einsum", "matmul", "Linear", "linear")
    assert uncounted or 2 * found.op.multiply_adds(*found.case.operands) == counted, str(found)


# ------------------------------------------------------------------------------------------------- torch, two ways


def values_of(found: Trial) -> list[Any]:
    """Numbers for the operands, always the same ones for the same types."""
    generator = torch.Generator().manual_seed(1)
    make = VALUES.get(found.kind)
    if make is not None:
        return make(found.case.arguments, found.case.operands, generator)
    return [value_of(operand, generator) for operand in found.case.operands]


def value_of(type: Any, generator: torch.Generator, low: int = 1, high: int = 5) -> Any:
    """A tensor of `type`: normal numbers, integers from `low` to below `high`, or bools that are mostly False."""
    if type is None:
        return None
    if isinstance(type, Scalar):
        return type.value
    dtype = getattr(torch, type.dtype)
    if type.is_float:
        return torch.randn(type.shape, generator=generator).to(dtype)
    if type.dtype == "bool":
        return torch.rand(type.shape, generator=generator) < 0.3
    return torch.randint(low, high, type.shape, generator=generator).to(dtype)


def reference(found: Trial, values: Sequence[Any]) -> list[torch.Tensor]:
    """What torch makes of the arguments and operands as they were drawn; raises what torch raises."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(3)
        if registry[found.kind].is_layer:
            module = prepared(reference_module(found))
            flags = {n: v for n, v in found.case.arguments.items() if n not in constructor_names(found.kind)}
            apply = REFERENCES.get(found.kind, lambda module, *values, **flags: module(*values, **flags))
            return flat(apply(module, *copied(values), **flags))
        function = REFERENCES.get(found.kind) or getattr(torch, found.kind, None) or getattr(F, found.kind)
        return flat(function(*copied(values), **found.case.arguments))


def tried(found: Trial, values: Sequence[Any]) -> tuple[list[torch.Tensor], Exception | None]:
    try:
        return reference(found, values), None
    except Exception as refusal:
        return [], refusal


def reference_module(found: Trial) -> nn.Module:
    """torch's own module of that name, with the arguments as they were drawn."""
    names = constructor_names(found.kind)
    arguments = {n: v for n, v in found.case.arguments.items() if n in names}
    for name in registry[found.kind].inferred:
        if arguments.get(name) is None:
            arguments[name] = INFERRED[name](found.case.operands)
    return torch_class(found.kind)(**arguments)


def torch_class(kind: str) -> type[nn.Module]:
    return getattr(nn, kind, None) or getattr(torchvision.ops, kind)


def constructor_names(kind: str) -> list[str]:
    """The arguments of torch's constructor, less where tensors live and how wide they are."""
    recurrent = kind in ("RNN", "LSTM", "GRU")
    base: Any = nn.RNNBase if recurrent else torch_class(kind)
    parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
    plain = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    names = [name for name in plain if name not in ("device", "dtype", *(["mode"] if recurrent else []))]
    if kind == "RNN":
        names.insert(names.index("num_layers") + 1, "nonlinearity")
    return names


def prepared(module: nn.Module) -> nn.Module:
    """`module` in evaluation mode with numbers that differ everywhere, so that no two tensors can be taken for another."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.5)
            if name.endswith("running_var"):
                tensor.copy_(tensor.abs() + 0.5)
    return module.eval()


def lowered(
    op: Op, types: Sequence[Any], values: Sequence[Any], sizes: Mapping[str, int] | None = None
) -> Any:
    """The results of the torch that `op` is lowered to. A warning is an error here: nobody asked for it."""
    with torch.no_grad():
        values = copied(values)
        torch.manual_seed(3)
        if not op.is_layer:
            return flat(evaluated(op.torch(*types), values, sizes or {}))
        module = prepared(evaluated(op.torch(*types), [], {}))
        args, kwargs = op.forward(*types)
        args = evaluated(args, values, sizes or {})
        kwargs = {name: evaluated(value, values, sizes or {}) for name, value in kwargs.items()}
        return picked(module(*args, **kwargs), op.gives)


def module_of(op: Op, types: Sequence[Any]) -> nn.Module:
    """The module that a layer is lowered to."""
    return evaluated(op.torch(*types), [], {})


def copied(values: Sequence[Any]) -> list[Any]:
    """`inplace = True` writes into its operand."""
    return [value.clone() if isinstance(value, torch.Tensor) else value for value in values]


def flat(result: Any) -> list[torch.Tensor]:
    if result is None:
        return []
    if isinstance(result, torch.Tensor):
        return [result]
    return [tensor for part in result for tensor in flat(part)]


def picked(result: Any, gives: Any) -> list[torch.Tensor]:
    """The results by their numbers in `Op.gives`."""
    if gives is None:
        return [result]
    places: dict[int, torch.Tensor] = {}

    def walk(part: Any, number: Any) -> None:
        if isinstance(number, tuple):
            for inner, inner_number in zip(part, number, strict=True):
                walk(inner, inner_number)
        elif number is not None:
            places[number] = part

    walk(result, gives)
    return [places[number] for number in sorted(places)]


# ------------------------------------------------------------------------------------------------------------ laws


def shapes_are_torchs(found: Trial, allowed: Callable[[Trial], bool] = lambda _: False) -> bool:
    """Types of the results equal torch's, and what torch refuses is refused. Whether it was a valid use.

    `allowed` says which uses may be refused although torch takes them; a test lists them with the reason.
    """
    values = values_of(found)
    results, refusal = tried(found, values)
    if refusal is not None:
        assert found.types is None, f"{found} gives {shown(found.types)}, but torch says: {refusal}"
        return False
    theirs = [type_of(result) for result in results]
    if found.types is None:
        empty = any(0 in type.shape for type in theirs)  # the language has no tensors without elements
        assert empty or allowed(found), (
            f"{found} is refused ({found.problem}), but torch gives {shown(theirs)}"
        )
        return False
    assert list(found.types) == theirs, f"{found} gives {shown(found.types)}, but torch gives {shown(theirs)}"
    return True


def torch_lowering_is_the_reference(found: Trial) -> None:
    """The torch that is written does what torch's own function does with the arguments as they were drawn."""
    assert found.op is not None
    values = values_of(found)
    ours = lowered(found.op, found.case.operands, values)
    equal_numbers(found, "torch lowering", ours, reference(found, values), 0)


def state_is_the_modules(found: Trial) -> None:
    """Names, shapes, dtypes and order of `state()` are those of the module's `state_dict`."""
    assert found.op is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = reference_module(found)
    learned = {name for name, _ in module.named_parameters()}
    theirs = {
        name: (tuple(tensor.shape), dtype_of(tensor), name in learned)
        for name, tensor in module.state_dict().items()
    }
    ours = {n: (s.shape, s.dtype, s.learned) for n, s in found.op.state(*found.case.operands).items()}
    assert list(ours.items()) == list(theirs.items()), str(found)


def onnx_is_torch(found: Trial, *, free: bool = False, tolerance: float = TOLERANCE) -> None:
    """The ONNX of one operation gives torch's numbers in onnxruntime; `free` leaves the sizes that may be free so."""
    assert found.op is not None
    values = values_of(found)
    expected = reference(found, values)
    types = most_freed(found, Random(str(found)))[0] if free else found.case.operands
    try:
        model = single(found.op, types, torch_state(found))
    except ShapeProblem:
        may_need_numbers = free and found.kind in NEEDS_NUMBERS
        assert may_need_numbers, f"{found} has no ONNX for {shown(types)}"
        return
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    session = onnx_session(model.SerializeToString())
    feeds = {entry.name: tensors[int(entry.name[1:])].numpy() for entry in session.get_inputs()}
    results = [torch.from_numpy(np.asarray(result)) for result in session.run(None, feeds)]
    if found.kind in RANDOM and RANDOM[found.kind](found):
        tolerance = float("inf")
    equal_numbers(found, f"ONNX for {shown(types)}" if free else "ONNX", results, expected, tolerance)


def torch_state(found: Trial) -> dict[str, np.ndarray]:
    """The tensors of the module that `reference` asks."""
    if not registry[found.kind].is_layer:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: t.numpy() for name, t in prepared(reference_module(found)).state_dict().items()}


def onnx_session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def free_sizes_are_numbers_later(found: Trial) -> bool:
    """Inferring with free dimensions and then setting them is inferring with numbers. Whether it could be compared."""
    assert found.op is not None
    operands, sizes = freed(found.case.operands, Random(str(found)))
    refusal = None
    try:
        return types_with(found, operands, sizes)
    except ShapeProblem as problem:
        refusal = problem
    if found.types is None:
        return False
    needs_number = refusal.code in (
        "E0403",
        "E0402",
        "E0406",
    )  # a free size cannot be made to agree with a number
    assert needs_number, f"{found} as {shown(operands)}: {refusal.code} {refusal}"
    return types_with(found, *most_freed(found, Random(str(found))))


def types_with(found: Trial, operands: Sequence[Any], sizes: Mapping[str, int]) -> bool:
    """Whether the conditions for `operands` hold at `sizes`; then the types must be those with numbers."""
    assert found.op is not None
    with Assumptions() as assumed:
        types = found.op.result_types(*operands)
    if not sizes or not all(constraint.holds_at(sizes) for constraint in assumed.constraints):
        return False
    later = tuple(Tensor(tuple(substitute(d, dict(sizes)) for d in t.shape), t.dtype) for t in types)
    constraints = ", ".join(map(str, assumed.constraints))
    message = f"{found} as {shown(operands)} gives {shown(types)} [{constraints}]"
    assert found.types is not None, f"{message}, but with numbers: {found.problem}"
    assert found.types == later, message
    return True


def freed(
    operands: Sequence[Any], random: Random, share: float = 0.6
) -> tuple[tuple[Any, ...], dict[str, int]]:
    """The operands with some sizes free, equal ones by the same name, and what the free sizes are."""
    sizes: dict[str, int] = {}

    def free(size: Dim) -> Dim:
        if not isinstance(size, int) or size < 1 or random.random() > share:
            return size
        sizes[f"S{size}"] = size
        return symbol(f"S{size}")

    freed = [Tensor(tuple(map(free, o.shape)), o.dtype) if isinstance(o, Tensor) else o for o in operands]
    return tuple(freed), sizes


def most_freed(found: Trial, random: Random) -> tuple[tuple[Any, ...], dict[str, int]]:
    """The operands with one size after the other free, as far as the operation can be inferred with it."""
    operands, sizes = list(found.case.operands), dict[str, int]()
    for places in size_groups(operands, random):
        number, axis = places[0]
        size = operands[number].shape[axis]
        if not isinstance(size, int):
            continue
        attempt = [with_size(o, [a for n, a in places if n == k], size) for k, o in enumerate(operands)]
        if can_be_inferred(found, attempt, {**sizes, f"S{size}": size}):
            operands, sizes[f"S{size}"] = attempt, size
    return tuple(operands), sizes


def size_groups(operands: Sequence[Any], random: Random) -> list[list[tuple[int, int]]]:
    """Places of sizes that may have to agree, from the front, from the back or in one axis; then each alone."""
    places = [
        (n, a) for n, o in enumerate(operands) if isinstance(o, Tensor) for a in range(o.rank) if o.shape[a]
    ]
    groups: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    for n, a in places:
        size = operands[n].shape[a]
        for key in (("front", a, size), ("back", a - operands[n].rank, size), ("size", size)):
            groups.setdefault(key, []).append((n, a))
    shared = [group for group in groups.values() if len(group) > 1]
    singles = [[place] for place in places]
    return random.sample(shared, len(shared)) + random.sample(singles, len(singles))


def with_size(operand: Any, axes: Sequence[int], size: int) -> Any:
    """`operand` with some axes, which are `size`, free."""
    if not isinstance(operand, Tensor):
        return operand
    shape = tuple(symbol(f"S{size}") if a in axes and d == size else d for a, d in enumerate(operand.shape))
    return Tensor(shape, operand.dtype)


def can_be_inferred(found: Trial, operands: Sequence[Any], sizes: Mapping[str, int]) -> bool:
    assert found.op is not None
    try:
        with Assumptions() as assumed:
            found.op.result_types(*operands)
    except ShapeProblem:
        return False
    return all(constraint.holds_at(sizes) for constraint in assumed.constraints)


def equal_numbers(
    found: Trial, what: str, ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], tolerance: float
) -> None:
    assert len(ours) == len(theirs), f"{what} of {found}: {len(ours)} results, torch has {len(theirs)}"
    for number, (left, right) in enumerate(zip(ours, theirs, strict=True)):
        same_type = left.shape == right.shape and left.dtype == right.dtype
        assert same_type, f"{what} of {found}: {type_of(left)}, torch has {type_of(right)}"
        if torch.allclose(left.double(), right.double(), tolerance, tolerance, equal_nan=True):
            continue
        worst = (left.double() - right.double()).abs().max()
        raise AssertionError(f"{what} of {found}: result {number} differs by up to {worst:.3g}")


def type_of(tensor: torch.Tensor) -> Tensor:
    return Tensor(tuple(tensor.shape), dtype_of(tensor))


def dtype_of(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def shown(types: Sequence[Any] | None) -> str:
    return "nothing" if types is None else ", ".join(map(str, types))
