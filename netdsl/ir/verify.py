"""The laws that every graph obeys. A pass that breaks one has a fault, and so has such a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from netdsl.ir.decide import same
from netdsl.ir.dims import Dim, DimTooLarge, substitute
from netdsl.ir.graph import Graph, Literal, Node
from netdsl.ir.types import UNKNOWN, Tensor, Type

KINDS = ("model", "block", "sequential", "buffer")

Types: TypeAlias = dict[int, Type]


def verify(graph: Graph) -> list[str]:
    """What is wrong with `graph` and the blocks in it, each looked at once; nothing for a sound graph."""
    known: dict[int, Types] = {}
    found: list[str] = []
    for body in bodies(graph):
        known[id(body)] = known_types(body)
        found += [f"{body.name}: {problem}" for problem in _problems(body, known)]
    return found


def bodies(graph: Graph) -> Iterator[Graph]:
    """Every distinct graph in this one, also those of buffers: callees before callers, this one last."""
    seen: set[int] = {id(graph)}
    pending: list[tuple[Graph, Iterator[Graph]]] = [(graph, _inside(graph))]
    while pending:
        body, rest = pending[-1]
        inner = next((part for part in rest if id(part) not in seen), None)
        if inner is None:
            pending.pop()
            yield body
        else:
            seen.add(id(inner))
            pending.append((inner, _inside(inner)))


def _inside(graph: Graph) -> Iterator[Graph]:
    yield from (buffer.make for buffer in graph.buffers)
    yield from (node.op for node in graph.nodes if isinstance(node.op, Graph))


def _problems(graph: Graph, known: dict[int, Types]) -> Iterator[str]:
    if graph.kind not in KINDS:
        yield f"the kind of a graph is one of {', '.join(KINDS)}, not `{graph.kind}`"
    yield from _numbering(graph)
    yield from _names(graph)
    types = known[id(graph)]
    yield from _labels(graph, types)
    yield from _ties(graph)
    for place, node in enumerate(graph.nodes):
        where = f"node {place} ({_title(node)})"
        yield from (f"{where}: {problem}" for problem in _node_problems(node, types, known))
    yield from _buffers(graph, known)
    for output in graph.outputs:
        if output.value not in types:
            yield f"output {output.name or output.value}: value {output.value} does not exist"
    if not graph.outputs:
        yield "there is no output"


def known_types(graph: Graph) -> Types:
    """The type of every value, as far as the graph says it: `Graph.types` for graphs that may be unsound."""
    types: Types = {number: entry.type for number, entry in enumerate(graph.inputs)}
    types.update((entry.value, entry.type) for entry in (*graph.parameters, *graph.buffers))
    for node in graph.nodes:
        types.update(zip(node.results, node.types, strict=False))
    return types


def _title(node: Node) -> str:
    kind = node.op.name if isinstance(node.op, Graph) else node.op.kind
    return f"{node.label}: {kind}" if node.label else kind


# Values and names


def _numbering(graph: Graph) -> Iterator[str]:
    """Values are numbered in the order in which they come to be, and used only afterwards."""
    after = len(graph.inputs)
    for kind, entries in (("param", graph.parameters), ("buffer", graph.buffers)):
        for entry in entries:
            if entry.value != after:
                yield f"{kind} `{entry.name}` is value {entry.value}, but {after} comes next"
            after += 1
    for place, node in enumerate(graph.nodes):
        where = f"node {place} ({_title(node)})"
        for operand in node.operands:
            if not isinstance(operand, Literal) and not 0 <= operand < after:
                yield f"{where}: value {operand} is used before it is there"
        for result in node.results:
            if result != after:
                yield f"{where}: a result is value {result}, but {after} comes next"
            after += 1


def _names(graph: Graph) -> Iterator[str]:
    tensors = [entry.name for entry in (*graph.parameters, *graph.buffers)]
    yield from _repeated("input", [entry.name for entry in graph.inputs])
    yield from _repeated("param or buffer", tensors)
    yield from _repeated("output", [output.name for output in graph.outputs if output.name is not None])
    yield from _repeated("argument", [name for name, _ in graph.arguments])
    modules = {node.label.partition(".")[0] for node in graph.nodes if node.label}
    yield from (f"`{name}` is a tensor and a layer" for name in sorted(modules.intersection(tensors)))


def _ties(graph: Graph) -> Iterator[str]:
    """Both names of a tie are paths into this body; a layer's second name is new in a block."""
    for tie in graph.ties:
        if not tie.source or not _leads(graph, tie.source):
            yield f"tie `{tie.name}`: there is no `{tie.source}`"
        elif not _leads(graph, tie.name) and not _leads(graph, tie.name.rpartition(".")[0]):
            yield f"tie `{tie.name}`: there is no place for it"


def _leads(graph: Graph, path: str) -> bool:
    """Whether a path ends at a layer or, as far as it can be seen without the operation, at a tensor of one."""
    if not path or any(path == entry.name for entry in graph.parameters):
        return True
    for label, node in graph.layers.items():
        if path == label:
            return True
        if path.startswith(f"{label}."):
            return not isinstance(node.op, Graph) or _leads(node.op, path[len(label) + 1 :])
    return False


def _repeated(kind: str, names: list[str]) -> Iterable[str]:
    return [f"{kind} `{name}` is there {count} times" for name, count in Counter(names).items() if count > 1]


def _labels(graph: Graph, types: Types) -> Iterator[str]:
    """A label names one layer; a layer with tensors has one; no layer lies inside another's label."""
    layers: dict[str, Node] = {}
    for place, node in enumerate(graph.nodes):
        if node.label is None:
            if _has_state(node, types):
                yield f"node {place} ({_title(node)}): it has tensors and no label"
            continue
        if not all(node.label.split(".")):
            yield f"node {place} ({_title(node)}): `{node.label}` is no label"
        if not _is_same_layer(layers.setdefault(node.label, node), node):
            yield f"node {place} ({_title(node)}): `{node.label}` names another layer already"
    for label in layers:
        outer = label
        while "." in outer:
            outer = outer.rpartition(".")[0]
            if outer in layers:
                yield f"`{label}` lies inside the layer `{outer}`"


def _is_same_layer(known: Node, node: Node) -> bool:
    if isinstance(known.op, Graph) and isinstance(node.op, Graph):
        return known.op is node.op or known.op.code == node.op.code
    return known.op == node.op


def _has_state(node: Node, types: Types) -> bool:
    """Whether an operation has tensors of its own; not asked where an operand has no type."""
    operands = [types.get(o, UNKNOWN) for o in node.operands if not isinstance(o, Literal)]
    tensors = [type for type in operands if isinstance(type, Tensor)]
    if isinstance(node.op, Graph) or not node.op.is_layer or len(tensors) < len(node.operands):
        return False
    try:
        return bool(node.op.state(*tensors))
    except Exception:  # operands that the operation does not take: which, only `ops` knows
        return False


# Nodes


def _node_problems(node: Node, types: Types, known: dict[int, Types]) -> Iterator[str]:
    if len(node.results) != len(node.types):
        yield f"{len(node.results)} results and {len(node.types)} types"
    if not node.results:
        yield "there is no result"
    yield from _repeated("size", [name for name, _ in node.sizes])
    if isinstance(node.op, Graph):
        yield from _application(node, node.op, types, known[id(node.op)])
    elif node.sizes:
        yield "an operation has no sizes of its own"


def _application(node: Node, block: Graph, types: Types, inner: Types) -> Iterator[str]:
    """Operands and results of a block are its inputs and outputs, in the caller's sizes."""
    outer = dict(node.sizes)
    if len(node.operands) != len(block.inputs):
        yield f"{len(node.operands)} operands for {len(block.inputs)} inputs"
    for entry, operand in zip(block.inputs, node.operands, strict=False):
        if isinstance(operand, Literal):
            yield f"input `{entry.name}` is given a number"
        elif not _fits(entry.type, types.get(operand, UNKNOWN), outer):
            yield f"input `{entry.name}` is {_outside(entry.type, outer)}, its operand {types[operand]}"
    if len(node.results) != len(block.outputs):
        yield f"{len(node.results)} results for {len(block.outputs)} outputs"
    for place, (output, type) in enumerate(zip(block.outputs, node.types, strict=False)):
        found = inner.get(output.value, UNKNOWN)
        if not _fits(found, type, outer):
            yield f"output {output.name or place} is {_outside(found, outer)}, the result {type}"


def _outside(type: Type, outer: dict[str, Dim]) -> Type:
    if not isinstance(type, Tensor):
        return type
    return Tensor(tuple(substitute(dim, outer) for dim in type.shape), type.dtype)


def _fits(inner: Type, outer: Type, sizes: dict[str, Dim]) -> bool:
    if not isinstance(inner, Tensor) or not isinstance(outer, Tensor):
        return True
    if inner.dtype != outer.dtype or inner.rank != outer.rank:
        return False
    try:
        there = _outside(inner, sizes)
        assert isinstance(there, Tensor), "a tensor stays one"
        return all(same(a, b) for a, b in zip(there.shape, outer.shape, strict=True))
    except DimTooLarge:
        return True


def _buffers(graph: Graph, known: dict[int, Types]) -> Iterator[str]:
    """A buffer is made by a graph without inputs and with one output, of its type."""
    for buffer in graph.buffers:
        make = buffer.make
        if make.inputs or len(make.outputs) != 1:
            yield f"buffer `{buffer.name}` has {len(make.inputs)} inputs and {len(make.outputs)} outputs"
            continue
        found = known[id(make)].get(make.outputs[0].value, UNKNOWN)
        if not _fits(found, buffer.type, {}):
            yield f"buffer `{buffer.name}` is {buffer.type}, but {found} is made"
