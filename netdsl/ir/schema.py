"""A graph as JSON, and back: versioned, validated, every body once.

    {"format": "netdsl graph", "version": 1, "graphs": [...]}

The graph is the last of `graphs`; a node that applies a block has the number of an earlier one. Known sizes
are numbers, others text (`"(H - 3)//2 + 1"`). Places in the source are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from netdsl.ir import graph as graphs
from netdsl.ir.decide import Constraint
from netdsl.ir.dims import Dim
from netdsl.ir.reader import MAX_NESTING, read_size, read_type
from netdsl.ir.residues import Relation
from netdsl.ir.types import DTYPES, UNKNOWN, Tensor, Type
from netdsl.ir.values import GraphFormatError, Shown, Vocabulary, made, to_data, type_data
from netdsl.ir.verify import bodies, verify

VERSION = 1

Value: TypeAlias = Annotated[int, Field(ge=0)]  # the number of a value, or of a graph in the table
SizeData: TypeAlias = int | str


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TypeData(_Entry):
    """The type of a tensor."""

    dtype: str
    shape: list[SizeData]


AnyType: TypeAlias = TypeData | Literal["unknown"]


class CallData(_Entry):
    """An operation or an initialiser: its kind, and the arguments that were given."""

    kind: str
    arguments: dict[str, Any] = {}


class LiteralData(_Entry):
    """An operand that is a number, or left out."""

    literal: Any


class InputData(_Entry):
    name: str
    type: AnyType
    axes: list[str] = []


class ParameterData(_Entry):
    name: str
    value: Value
    type: TypeData
    init: CallData


class BufferData(_Entry):
    """`make` is the number of the graph whose output the buffer is."""

    name: str
    value: Value
    type: TypeData
    make: Value
    saved: bool = True


class NodeData(_Entry):
    """`op` is an operation, or the number of a graph. `sizes` are a block's own symbols in this graph's."""

    op: CallData | Value
    operands: list[Value | LiteralData]
    results: list[Value]
    types: list[AnyType]
    label: str | None = None
    sizes: dict[str, SizeData] = {}
    names: list[str] = []


class OutputData(_Entry):
    value: Value
    name: str | None = None
    when_training: bool = False


class InitData(_Entry):
    pattern: list[str]
    init: CallData


class TieData(_Entry):
    name: str
    source: str


class ConstraintData(_Entry):
    left: SizeData
    op: Relation
    right: SizeData


class GraphData(_Entry):
    """One body."""

    kind: Literal["model", "block", "sequential", "buffer"]
    name: str
    inputs: list[InputData]
    parameters: list[ParameterData] = []
    buffers: list[BufferData] = []
    nodes: list[NodeData]
    outputs: list[OutputData]
    inits: list[InitData] = []
    ties: list[TieData] = []
    arguments: dict[str, Any] = {}
    constraints: list[ConstraintData] = []
    doc: str = ""


class FileData(_Entry):
    """What a file holds: the bodies, callees before callers, the graph itself last."""

    format: Literal["netdsl graph"] = "netdsl graph"
    version: Literal[1] = VERSION
    graphs: Annotated[list[GraphData], Field(min_length=1)]


# Writing


def to_json(graph: graphs.Graph, *, indent: int | None = None) -> str:
    """`graph` as JSON. Equal bodies are written once, and shared ones are shared again when it is read."""
    writer = _Writer()
    for body in bodies(graph):
        writer.add(body)
    return FileData(graphs=writer.table).model_dump_json(indent=indent, exclude_defaults=False)


class _Writer:
    def __init__(self) -> None:
        self.table: list[GraphData] = []
        self._numbers: dict[int, int] = {}  # by identity of the graph
        self._known: dict[str, int] = {}  # by what is written

    def add(self, graph: graphs.Graph) -> None:
        """Write one body, whose blocks were added before."""
        data = self._graph(graph)
        number = self._known.setdefault(data.model_dump_json(), len(self.table))
        self._numbers[id(graph)] = number
        if number == len(self.table):
            self.table.append(data)

    def _graph(self, graph: graphs.Graph) -> GraphData:
        return GraphData.model_validate(
            {
                "kind": graph.kind,
                "name": graph.name,
                "inputs": [
                    {"name": entry.name, "type": type_data(entry.type), "axes": list(entry.axes)}
                    for entry in graph.inputs
                ],
                "parameters": [
                    {"name": p.name, "value": p.value, "type": type_data(p.type), "init": _call(p.init)}
                    for p in graph.parameters
                ],
                "buffers": [self._buffer(entry) for entry in graph.buffers],
                "nodes": [self._node(node) for node in graph.nodes],
                "outputs": [
                    {"value": o.value, "name": o.name, "when_training": o.when_training}
                    for o in graph.outputs
                ],
                "inits": [{"pattern": list(r.pattern), "init": _call(r.init)} for r in graph.inits],
                "ties": [{"name": tie.name, "source": tie.source} for tie in graph.ties],
                "arguments": {name: to_data(value) for name, value in graph.arguments},
                "constraints": [
                    {"left": _size(c.left), "op": c.op, "right": _size(c.right)} for c in graph.constraints
                ],
                "doc": graph.doc,
            }
        )

    def _buffer(self, entry: graphs.Buffer) -> dict[str, Any]:
        return {
            "name": entry.name,
            "value": entry.value,
            "type": type_data(entry.type),
            "make": self._numbers[id(entry.make)],
            "saved": entry.saved,
        }

    def _node(self, node: graphs.Node) -> dict[str, Any]:
        return {
            "op": self._numbers[id(node.op)] if isinstance(node.op, graphs.Graph) else _call(node.op),
            "operands": [
                {"literal": to_data(operand.value)} if isinstance(operand, graphs.Literal) else operand
                for operand in node.operands
            ],
            "results": list(node.results),
            "types": [type_data(type) for type in node.types],
            "label": node.label,
            "sizes": {name: _size(dim) for name, dim in node.sizes},
            "names": list(node.names),
        }


def _call(op: graphs.Operation | graphs.Initialiser) -> dict[str, Any]:
    return {"kind": op.kind, "arguments": {name: to_data(value) for name, value in op.arguments().items()}}


def _size(dim: Dim) -> SizeData:
    return dim if isinstance(dim, int) else str(dim)


# Reading


def from_json(text: str, vocabulary: Vocabulary) -> graphs.Graph:
    """The graph that `to_json` wrote, verified. Raises `GraphFormatError`, which names the place."""
    try:
        data = FileData.model_validate_json(text)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        place = _place(tuple(part for part in first["loc"] if isinstance(part, int) or part in _FIELDS))
        raise GraphFormatError(f"{place}: {first['msg']}") from None
    reader = _GraphReader(vocabulary)
    for number, entry in enumerate(data.graphs):
        with reader.at("graphs", number):
            reader.graphs.append(reader.graph(entry))
    graph = reader.graphs[-1]
    problems = verify(graph)
    if problems:
        raise GraphFormatError(problems[0])
    return graph


# Of the path to an error, pydantic's names for the members of a union are left out.
_FIELDS = {name for entry in _Entry.__subclasses__() for name in entry.model_fields}


def _place(parts: tuple[int | str, ...]) -> str:
    """`graphs[0].nodes[3].types[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".") or "the file"


class _GraphReader:
    """Bodies made from their data; the path to what is being read goes before every error."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.graphs: list[graphs.Graph] = []

    @contextmanager
    def at(self, *parts: int | str) -> Generator[None]:
        try:
            yield
        except _Misplaced as problem:
            raise _Misplaced((*parts, *problem.parts), problem.message) from None
        except GraphFormatError as problem:
            raise _Misplaced(parts, str(problem)) from None

    def graph(self, data: GraphData) -> graphs.Graph:
        return graphs.Graph(
            kind=data.kind,
            name=data.name,
            inputs=tuple(self._each("inputs", data.inputs, self._input)),
            nodes=tuple(self._each("nodes", data.nodes, self._node)),
            outputs=tuple(graphs.Output(o.value, o.name, o.when_training) for o in data.outputs),
            parameters=tuple(self._each("parameters", data.parameters, self._parameter)),
            buffers=tuple(self._each("buffers", data.buffers, self._buffer)),
            inits=tuple(self._each("inits", data.inits, self._init)),
            ties=tuple(graphs.Tie(tie.name, tie.source) for tie in data.ties),
            arguments=tuple(self.values(data.arguments).items()),
            constraints=tuple(self._each("constraints", data.constraints, _constraint)),
            doc=data.doc,
        )

    def _each(self, key: str, entries: Iterable[Any], read: Callable[[Any], Any]) -> Iterator[Any]:
        for place, entry in enumerate(entries):
            with self.at(key, place):
                yield read(entry)

    def _input(self, data: InputData) -> graphs.Input:
        return graphs.Input(data.name, self.type(data.type), tuple(data.axes))

    def _parameter(self, data: ParameterData) -> graphs.Parameter:
        return graphs.Parameter(data.name, data.value, _tensor(data.type), self._initialiser(data.init))

    def _buffer(self, data: BufferData) -> graphs.Buffer:
        return graphs.Buffer(data.name, data.value, _tensor(data.type), self._body(data.make), data.saved)

    def _init(self, data: InitData) -> graphs.InitRule:
        return graphs.InitRule(tuple(data.pattern), self._initialiser(data.init))

    def _initialiser(self, data: CallData) -> graphs.Initialiser:
        return made(self.vocabulary.initialiser, "initialiser", data.kind, self.values(data.arguments))

    def _body(self, number: int) -> graphs.Graph:
        if number >= len(self.graphs):
            raise GraphFormatError(f"graph {number} does not come before this one")
        return self.graphs[number]

    def _node(self, data: NodeData) -> graphs.Node:
        op: Any
        if isinstance(data.op, int):
            op = self._body(data.op)
        else:
            op = made(self.vocabulary.op, "operation", data.op.kind, self.values(data.op.arguments))
        return graphs.Node(
            op=op,
            operands=tuple(self._operand(operand) for operand in data.operands),
            results=tuple(data.results),
            types=tuple(self._each("types", data.types, self.type)),
            label=data.label,
            sizes=tuple((name, _dim(size)) for name, size in data.sizes.items()),
            names=tuple(data.names),
        )

    def _operand(self, data: int | LiteralData) -> graphs.Operand:
        return data if isinstance(data, int) else graphs.Literal(self.value(data.literal))

    def type(self, data: TypeData | str) -> Type:
        return UNKNOWN if isinstance(data, str) else _tensor(data)

    def values(self, data: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in data.items():
            with self.at(name):
                found[name] = self.value(value)
        return found

    def value(self, data: Any, depth: int = 0) -> Any:
        """A static value from its data; see `values.to_data`."""
        if depth > MAX_NESTING:
            raise GraphFormatError(f"nested more than {MAX_NESTING} deep")
        if isinstance(data, list):
            return tuple(self.value(item, depth + 1) for item in cast("list[Any]", data))
        if not isinstance(data, dict):
            return data
        entry = cast("dict[str, Any]", data)
        if entry.keys() == {"value", "fields"} and isinstance(entry["fields"], dict):
            given = cast("dict[str, Any]", entry["fields"])
            fields = {name: self.value(item, depth + 1) for name, item in given.items()}
            return made(self.vocabulary.value, "value", str(entry["value"]), fields)
        return _tagged(entry)


def _tagged(data: dict[str, Any]) -> Any:
    """A value that JSON has no notation for, from an object with one key."""
    match list(data.items()):
        case [("size", str(text))]:
            return read_size(text)
        case [("float", "inf" | "-inf" | "nan" as text)]:
            return float(text)
        case [("ellipsis", True)]:
            return Ellipsis
        case [("tensor", str(text))]:
            return read_type(text)
        case [("shown", str(text))]:
            return Shown(text)
        case _:
            raise GraphFormatError(f"an object with {', '.join(data) or 'nothing'} is no static value")


class _Misplaced(GraphFormatError):
    """A fault on its way out, gathering the path to its place."""

    def __init__(self, parts: tuple[int | str, ...], message: str) -> None:
        super().__init__(f"{_place(parts)}: {message}")
        self.parts = parts
        self.message = message


def _tensor(data: TypeData) -> Tensor:
    if data.dtype not in DTYPES:
        raise GraphFormatError(f"there is no dtype `{data.dtype}`")
    return Tensor(tuple(_dim(size) for size in data.shape), data.dtype)


def _dim(size: SizeData) -> Dim:
    return size if isinstance(size, int) else read_size(size)


def _constraint(data: ConstraintData) -> Constraint:
    return Constraint(_dim(data.left), data.op, _dim(data.right))
