"""What each node of a graph becomes in torch, before names are chosen: a constructor call and an expression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from netdsl.backends.torch_names import CONTAINER_ATTRIBUTES, MODULE_ATTRIBUTES
from netdsl.backends.torch_sizes import size_places
from netdsl.backends.torch_trees import Chain, Make, Use, Value, on_device, on_values, sizes_in
from netdsl.ir.dims import symbol
from netdsl.ir.graph import Buffer, Graph, Initialiser, Literal, Node, Parameter
from netdsl.ops.base import Layer
from netdsl.ops.target import Call, Symbol, call


@dataclass(frozen=True, slots=True)
class Applied:
    """A node: what makes its module (None for a function), and its use, a tree over `Value`s.

    `gives` is None where the use is the result itself, else how torch nests several, as `(0, (1, 2))`.
    """

    node: Node
    make: Make | Chain | None
    use: Any
    gives: Any = None


@dataclass(frozen=True, slots=True)
class Learned:
    """A `param`: the call that makes its tensor, and that of `nn.init` on it, without it, where there is one."""

    parameter: Parameter
    make: Call
    fill: Call | None


@dataclass(frozen=True, slots=True)
class Fixed:
    """A `buffer`, with the sketch of what computes it."""

    buffer: Buffer
    make: Sketch


@dataclass(frozen=True, slots=True)
class Sketch:
    """A graph in torch's terms. Trees hold literals, or slots where graphs that share a class differ."""

    graph: Graph
    nodes: tuple[Applied, ...]
    learned: tuple[Learned, ...] = ()
    fixed: tuple[Fixed, ...] = ()
    passed: tuple[str, ...] = ()  # free dimensions that are arguments of `forward`


class Block(NamedTuple):
    """How a block is made, and the free dimensions that its caller passes because no input of it has them."""

    make: Make | Chain
    passed: tuple[str, ...] = ()


MakeBlock = Callable[[Graph], Block]


def sketch(graph: Graph, make_block: MakeBlock) -> Sketch:
    """`graph` in torch's terms; `make_block` says how its blocks are made."""
    nodes = tuple(_applied(graph, node, make_block) for node in graph.nodes)
    places = size_places(graph)
    needed = dict.fromkeys(name for entry in nodes for name in sizes_in(entry.use))
    return Sketch(
        graph,
        nodes,
        tuple(_learned(parameter) for parameter in graph.parameters),
        tuple(Fixed(buffer, sketch(buffer.make, make_block)) for buffer in graph.buffers),
        tuple(name for name in needed if name not in places),
    )


def as_chain(graph: Graph, applied: tuple[Applied, ...]) -> Chain | None:
    """A labelled list as `nn.Sequential`, where that says all of it: one value passed from layer to layer."""
    if graph.kind != "sequential" or len(graph.inputs) != 1 or len(graph.outputs) != 1 or graph.inits:
        return None
    if graph.parameters or graph.buffers or graph.outputs[0].when_training:
        return None
    value = 0
    items: dict[str, Make | Chain] = {}
    for place, one in enumerate(applied):
        made = one.make or _as_layer(one.node)
        label = one.node.label or (str(place) if one.make is None else "")
        if made is None or label in items or not _can_name_item(label) or len(one.node.results) != 1:
            return None
        if one.node.operands != (value,) or one.gives is not None:
            return None
        if one.make is not None and one.use != Use((Value(value),), ()):
            return None
        items[label] = made
        value = one.node.results[0]
    if graph.outputs[0].value != value:
        return None
    return Chain(tuple(items), tuple(items.values()))


def _as_layer(node: Node) -> Make | None:
    """A function as a layer, for want of a name of its own numbered by its place, as all items of a list are."""
    op: Any = node.op
    call = op.as_layer()
    return call and Make(call.function, tuple(("", value) for value in call.args), len(call.args))


def filled(init: Initialiser, tensor: Any) -> Call:
    """The call of `nn.init` that fills `tensor`."""
    return on_values(init.torch(), (tensor,))


def _can_name_item(label: str) -> bool:
    return (
        label != ""
        and "." not in label
        and label not in MODULE_ATTRIBUTES
        and label not in CONTAINER_ATTRIBUTES
    )


def _applied(graph: Graph, node: Node, make_block: MakeBlock) -> Applied:
    operands = tuple(o.value if isinstance(o, Literal) else Value(o) for o in node.operands)
    if isinstance(node.op, Graph):
        block, sizes = make_block(node.op), dict(node.sizes)
        passed = tuple(sizes.get(name, symbol(name)) for name in block.passed)
        gives = tuple(range(len(node.results))) if len(node.results) > 1 else None
        return Applied(node, block.make, Use((*operands, *passed), ()), gives)
    types = graph.operand_types(node)
    op: Any = node.op
    tree = op.torch(*types)
    if not op.is_layer:
        use = on_values(tree, operands)
        return Applied(node, None, on_device(use) if graph.inputs else use, _nesting(op, types))
    args, kwargs = op.forward(*types)
    use = on_values(Call("", tuple(args), tuple(kwargs.items())), operands)
    return Applied(node, _constructor(op, tree), Use(use.args, use.kwargs), _nesting(op, types))


def _nesting(op: Any, types: tuple[Any, ...]) -> Any:
    """How the results come from torch: a list of one is a list."""
    if op.gives is not None:
        return op.gives
    results = op.infer(*types)
    listed = isinstance(results, tuple) and (len(results) > 1 or not op.is_layer)
    return tuple(range(len(results))) if listed else None


def _constructor(op: Any, made: Call) -> Make:
    """A layer's constructor call, with the names and defaults of its arguments where it is made the usual way."""
    given = [name for name in op.positional if name in op.arguments()][: len(made.args)]
    before = op.inferred[: len(made.args) - len(given)]
    usual = type(op).torch is Layer.torch and type(op).module is Layer.module
    if usual:
        names = (*before, *given)
    else:
        values = [op.arguments()[name] for name in given]
        names = (*before, *given) if [*made.args[len(before) :]] == values else (*given, *before)
    args = tuple((names[i] if usual else "", value) for i, value in enumerate(made.args))
    defaults = tuple(
        (name, entry.get_default(call_default_factory=True))
        for name, entry in type(op).model_fields.items()
        if usual and not entry.is_required()
    )
    return Make(made.function, args + made.kwargs, len(made.args), names, defaults)


def _learned(parameter: Parameter) -> Learned:
    shape = tuple(parameter.type.shape)
    init = parameter.init
    dtype = parameter.type.dtype
    kwargs = {} if dtype == "float32" else {"dtype": Symbol(f"torch.{dtype}")}
    if init.kind in ("zeros", "ones"):
        return Learned(parameter, call(f"torch.{init.kind}", *shape, **kwargs), None)
    fill = init.torch()
    given = fill.args[1:]  # after the tensor
    if init.kind == "constant":
        return Learned(parameter, call("torch.full", shape, *given, **kwargs), None)
    return Learned(parameter, call("torch.empty", *shape, **kwargs), replace(fill, args=given))
