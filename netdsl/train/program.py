"""A traced function as a program of torch's interpreter, which runs its operations one after the other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from operator import getitem
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.graph import CodeGen

_ATEN = torch.ops.aten
_SAME = frozenset((_ATEN.alias.default, _ATEN.detach.default))  # other names for a tensor
WARM_UP = 3  # times, as torch asks for
_VIEWS = frozenset((*_SAME, _ATEN.t.default, _ATEN.view.default, _ATEN.transpose.int))


Program: TypeAlias = Callable[..., tuple[Tensor, ...]]


class Unwritable(Exception):
    """An operation that has no place in a program."""


def program_of(traced: fx.GraphModule) -> Program:
    """`traced`, a list of operations on tensors, as a function of its inputs, one after the other, that gives a tuple.

    Operations may change tensors in place. `Unwritable` where one has arguments that cannot be written down.

    >>> from torch.fx.experimental.proxy_tensor import make_fx
    >>> traced = make_fx(lambda x, y: [x * y + 1])(torch.ones(2), torch.ones(2))
    >>> program_of(traced)(torch.ones(2), torch.full((2,), 3.0))
    (tensor([4., 4.]),)
    """
    nodes = _needed(traced.graph)
    written, named = fx.Graph(), dict[str, fx.Node]()
    part: list[fx.Node] = []
    last = {user: place for place, node in enumerate(nodes) for user in node.all_input_nodes}

    def close(place: int) -> None:
        if part:
            outside = [node for node in part if last.get(node, -1) >= place]
            _add_part(written, named, part, outside)
            part.clear()

    for place, node in enumerate(nodes):
        if node.op in ("placeholder", "get_attr"):
            named[node.name] = written.node_copy(node)
        elif node.op == "output":
            close(place)
            results = tuple(named[value.name] for value in node.args[0])  # type: ignore[union-attr]
            written.output(results)
        elif _changes_a_list(node):
            close(place)
            changed = written.node_copy(node, lambda operand: named[operand.name])
            changed.target = getattr(
                torch, _schema(node).name.split("::")[1], node.target
            )  # the shortest way
        else:
            part.append(node)
    return fx.GraphModule(traced, written).forward


def as_written() -> AbstractContextManager[Any]:
    """The context in which a program runs as it stands. What torch would optimise after some steps would not add up in
    the same order any more.
    """
    return torch.jit.optimized_execution(False)  # pyright: ignore[reportPrivateImportUsage]


class Replayed:
    """A program on a GPU as a CUDA graph: its kernels start without the host. `held` are the inputs that stay what they
    are, tensors that it may change; it is run `WARM_UP` times for this, and once a call.
    """

    def __init__(self, program: Program, held: Sequence[Tensor], x: Tensor, y: Tensor) -> None:
        self.x, self.y = x.clone(), y.clone()
        inputs = (*held, self.x, self.y)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(x.device), torch.inference_mode(), as_written():
            # What libraries make at their first call on a stream must be there before the graph is recorded on it.
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    program(*inputs)
            torch.cuda.current_stream().wait_stream(side)
            # Threads that read ahead may go on meanwhile: they pin memory.
            with torch.cuda.graph(self.graph, stream=side, capture_error_mode="thread_local"):
                self.results = program(*inputs)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.cuda.device(self.x.device):
            self.x.copy_(inputs[-2])
            self.y.copy_(inputs[-1])
            self.graph.replay()
            return tuple(result.clone() for result in self.results)  # the next replay writes over them


def _needed(graph: fx.Graph) -> list[fx.Node]:
    """The operations, without those that only name a tensor or look at it in vain, and without marks for profilers."""
    for node in list(graph.nodes):
        if node.target in _SAME:
            node.replace_all_uses_with(node.args[0])
    for node in reversed(list(graph.nodes)):
        mark = isinstance(node.target, OpOverload) and node.target.namespace == "profiler"
        if not node.users and (mark or node.target in _VIEWS):
            graph.erase_node(node)
    graph.set_codegen(CodeGen())  # the inputs one by one
    return list(graph.nodes)


def _changes_a_list(node: fx.Node) -> bool:
    """Whether an operation changes tensors in a list. The interpreter does not see that and would leave it out."""
    if not isinstance(node.target, OpOverload) or not _schema(node).is_mutable:
        return False
    return any(str(argument.type) == "List[Tensor]" for argument in _schema(node).arguments)


def _schema(node: fx.Node) -> Any:
    operation = node.target
    if not isinstance(operation, OpOverload):
        raise Unwritable(str(operation))
    return operation._schema


def _add_part(
    written: fx.Graph, named: dict[str, fx.Node], part: Sequence[fx.Node], outside: Sequence[fx.Node]
) -> None:
    """Add the operations of `part` as one function; `outside` are those whose results are used after it."""
    own = {node.name for node in part}
    inputs = dict.fromkeys(o.name for node in part for o in node.all_input_nodes if o.name not in own)
    parameters = ", ".join(f"{name}: Tensor" for name in inputs)
    kinds = ", ".join(["Tensor"] * len(outside))
    results = "".join(f"{node.name}, " for node in outside)
    returned = f"Tuple[{kinds}]" if outside else "None"
    lines = [
        f"def part({parameters}) -> {returned}:",
        *map(_line, part),
        f"return ({results})" if outside else "return",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch recommends its compilers, which change the numbers
        interpreted: Any = torch.jit.CompilationUnit("\n    ".join(lines) + "\n").part

    def operations(*operands: Tensor) -> tuple[Tensor, ...]:
        return interpreted(*operands)

    found = written.call_function(operations, tuple(named[name] for name in inputs))
    for place, node in enumerate(outside):
        named[node.name] = written.call_function(getitem, (found, place))


def _line(node: fx.Node) -> str:
    if node.target is getitem:
        return f"{node.name} = {node.args[0]}[{node.args[1]}]"
    schema = _schema(node)
    types = {argument.name: argument.type for argument in schema.arguments}
    arguments = [_literal(value, type_) for value, type_ in zip(node.args, types.values(), strict=False)]
    arguments += [f"{name} = {_literal(value, types[name])}" for name, value in node.kwargs.items()]
    call = f"torch.ops.{schema.name.replace('::', '.')}({', '.join(arguments)})"
    return f"{node.name} = {call}" if node.users else call


def _literal(value: Any, type_: Any) -> str:
    """`value` as a program writes an argument of `type_`."""
    if isinstance(value, fx.Node):
        return value.name
    if value is None or isinstance(value, bool | int | str):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f"float('{value}')"
    if isinstance(value, list | tuple):
        if not value:
            return f"torch.jit.annotate({type_.annotation_str}, [])"
        return f"[{', '.join(_literal(item, None) for item in value)}]"
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
        return str(value)
    if isinstance(value, torch.device):
        return f"torch.device({str(value)!r})"
    raise Unwritable(f"{value} of {type_}")
