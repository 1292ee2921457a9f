"""A graph as readable text, and back. One line an entry; blocks come before what uses them, the graph last.

@ResidualBlock: block ResidualBlock(width = 8)
  %0 = input x: [N, 8, H, W]
  %1 = conv1: Conv2d(out_channels = 8, kernel_size = 3, padding = 1)(%0) : [N, 8, H, W]
  %2 = add()(%0, %1) : [N, 8, H, W]
  output %2

@Net: model Net
  %0 = input x: [N, 8, 32, 32]
  %1 = residual: @ResidualBlock(%0) with (N = N, H = 32, W = 32) : [N, 8, 32, 32] as features
  output logits: %1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from netdsl.ir.decide import Constraint
from netdsl.ir.dims import Dim
from netdsl.ir.graph import Buffer, Graph, InitRule, Input, Literal, Node, Operand, Output, Parameter, Tie
from netdsl.ir.reader import Reader
from netdsl.ir.residues import Relation
from netdsl.ir.types import Tensor, Type
from netdsl.ir.values import (
    GraphFormatError,
    Vocabulary,
    quoted,
    show_arguments,
    show_call,
    show_name,
    show_type,
    show_value,
)
from netdsl.ir.verify import bodies, verify

RELATIONS: tuple[Relation, ...] = ("==", "!=", "<=", ">=", "<", ">")


def print_graph(graph: Graph) -> str:
    """The text of `graph` and the blocks in it. Spans are not in it.

    >>> from netdsl.ir.types import Tensor
    >>> body = Graph("block", "Same", (Input("x", Tensor((4, 2))),), (), (Output(0),))
    >>> print(print_graph(body), end="")
    @Same: block Same
      %0 = input x: [4, 2]
      output %0
    """
    printer = _Printer()
    return "\n".join(filter(None, map(printer.add, bodies(graph))))


class _Printer:
    """Bodies with the same text are one; the references to them are names, numbered where a name is taken."""

    def __init__(self) -> None:
        self.references: dict[int, str] = {}  # by identity of the graph
        self._by_text: dict[str, str] = {}
        self._taken: set[str] = set()

    def add(self, graph: Graph) -> str:
        """The text of one body, whose blocks were added before; none where it is that of an earlier one."""
        text = self._entries(graph)
        known = self._by_text.get(text)
        reference = self._by_text[text] = known or self._free(graph.name)
        self.references[id(graph)] = reference
        return "" if known else f"@{show_name(reference)}: {text}"

    def _free(self, name: str) -> str:
        reference, count = name, 1
        while reference in self._taken:
            count += 1
            reference = f"{name}_{count}"
        self._taken.add(reference)
        return reference

    def _entries(self, graph: Graph) -> str:
        title = f"{graph.kind} {show_name(graph.name)}"
        if graph.arguments:
            title += f"({show_arguments(graph.arguments)})"
        return "".join(f"{line}\n" for line in (title, *(f"  {line}" for line in self._lines(graph))))

    def _lines(self, graph: Graph) -> Iterator[str]:
        if graph.doc:
            yield f"doc {quoted(graph.doc)}"
        for number, entry in enumerate(graph.inputs):
            yield f"%{number} = input {_declared(entry)}{_names(entry.axes)}"
        for entry in graph.parameters:
            yield f"%{entry.value} = param {_declared(entry)} = {_call(entry.init)}"
        for entry in graph.buffers:
            made = f"@{show_name(self.references[id(entry.make)])}"
            yield f"%{entry.value} = buffer {_declared(entry)} = {made}{'' if entry.saved else ' unsaved'}"
        yield from map(self._node, graph.nodes)
        for rule in graph.inits:
            yield f"init {' '.join(map(quoted, rule.pattern))} = {_call(rule.init)}"
        for tie in graph.ties:
            yield f"tie {quoted(tie.name)} = {quoted(tie.source)}"
        for output in graph.outputs:
            name = f"{show_name(output.name)}: " if output.name is not None else ""
            yield f"output {name}%{output.value}{' when training' if output.when_training else ''}"
        for constraint in graph.constraints:
            yield f"constraint {constraint}"

    def _node(self, node: Node) -> str:
        results = ", ".join(f"%{result}" for result in node.results)
        label = f"{show_name(node.label)}: " if node.label is not None else ""
        call = f"@{show_name(self.references[id(node.op)])}" if isinstance(node.op, Graph) else _call(node.op)
        operands = ", ".join(map(_operand, node.operands))
        sizes = ", ".join(f"{show_name(name)} = {dim}" for name, dim in node.sizes)
        types = ", ".join(map(show_type, node.types))
        given = f" with ({sizes})" if sizes else ""
        return f"{results} = {label}{call}({operands}){given} : {types}{_names(node.names)}"


def _declared(entry: Input | Parameter | Buffer) -> str:
    return f"{show_name(entry.name)}: {show_type(entry.type)}"


def _names(names: Sequence[str]) -> str:
    return f" as {', '.join(map(show_name, names))}" if any(names) else ""


def _call(op: Any) -> str:
    return show_call(op.kind, op.arguments())


def _operand(operand: Operand) -> str:
    return show_value(operand.value) if isinstance(operand, Literal) else f"%{operand}"


# Reading


def read_graph(text: str, vocabulary: Vocabulary) -> Graph:
    """The graph that `print_graph` wrote, verified. Raises `GraphFormatError`, which names the line."""
    graphs: dict[str, Graph] = {}
    body: _Body | None = None
    for number, line in enumerate(text.split("\n"), 1):
        reader = Reader(line, f"line {number}", vocabulary)
        if reader.kind == "end":
            continue
        if not reader.at("@"):
            if body is None:
                reader.expected("`@name:`")
            body.read(reader)
            continue
        if body is not None:
            graphs[body.reference] = body.graph()
        body = _Body(reader, graphs)
    if body is None:
        raise GraphFormatError("line 1: there is no graph")
    graph = body.graph()
    problems = verify(graph)
    if problems:
        raise GraphFormatError(problems[0])
    return graph


class _Body:
    """One body while its lines are read. `graphs` are those before it, by reference."""

    def __init__(self, reader: Reader, graphs: dict[str, Graph]) -> None:
        self.graphs = graphs
        reader.expect("@")
        self.reference = reader.name()
        if self.reference in graphs:
            reader.fail(f"`@{self.reference}` is there already")
        reader.expect(":")
        self.kind = reader.name("model, block, sequential or buffer")
        self.name = reader.name()
        self.arguments = reader.arguments() if reader.at("(") else {}
        reader.end()
        self.doc = ""
        self.inputs: list[Input] = []
        self.parameters: list[Parameter] = []
        self.buffers: list[Buffer] = []
        self.nodes: list[Node] = []
        self.inits: list[InitRule] = []
        self.ties: list[Tie] = []
        self.outputs: list[Output] = []
        self.constraints: list[Constraint] = []

    def graph(self) -> Graph:
        return Graph(
            kind=self.kind,
            name=self.name,
            inputs=tuple(self.inputs),
            nodes=tuple(self.nodes),
            outputs=tuple(self.outputs),
            parameters=tuple(self.parameters),
            buffers=tuple(self.buffers),
            inits=tuple(self.inits),
            ties=tuple(self.ties),
            arguments=tuple(self.arguments.items()),
            constraints=tuple(self.constraints),
            doc=self.doc,
        )

    def read(self, reader: Reader) -> None:
        """Add what one line says."""
        if reader.at("%"):
            self._value(reader)
        elif reader.accept("output"):
            self._output(reader)
        elif reader.accept("constraint"):
            self._constraint(reader)
        elif reader.accept("init"):
            self._init(reader)
        elif reader.accept("tie"):
            self._tie(reader)
        elif reader.accept("doc"):
            self.doc = reader.string()
        else:
            reader.expected("a value, `output`, `init`, `tie`, `constraint` or `doc`")
        reader.end()

    def _value(self, reader: Reader) -> None:
        results = [reader.number_of_value()]
        while reader.accept(","):
            results.append(reader.number_of_value())
        reader.expect("=")
        declares = not (reader.followed_by(":") or reader.followed_by("("))
        if declares and reader.accept("input"):
            self._input(reader, results)
        elif declares and reader.accept("param"):
            self._parameter(reader, results)
        elif declares and reader.accept("buffer"):
            self._buffer(reader, results)
        else:
            self._node(reader, results)

    def _input(self, reader: Reader, results: list[int]) -> None:
        name, type = self._typed(reader)
        if results != [len(self.inputs)]:
            reader.fail(f"input `{name}` is value %{len(self.inputs)}")
        axes = self._names(reader) if reader.accept("as") else ()
        self.inputs.append(Input(name, type, axes))

    def _parameter(self, reader: Reader, results: list[int]) -> None:
        name, type = self._tensor(reader)
        kind, arguments = reader.call()
        init = reader.build(reader.vocabulary.initialiser, "initialiser", kind, arguments)
        self.parameters.append(Parameter(name, results[0], type, init))

    def _buffer(self, reader: Reader, results: list[int]) -> None:
        name, type = self._tensor(reader)
        make = self._reference(reader)
        self.buffers.append(Buffer(name, results[0], type, make, not reader.accept("unsaved")))

    def _typed(self, reader: Reader) -> tuple[str, Type]:
        name = reader.name()
        reader.expect(":")
        return name, reader.type()

    def _tensor(self, reader: Reader) -> tuple[str, Tensor]:
        name, type = self._typed(reader)
        if not isinstance(type, Tensor):
            reader.expected("a shape before")
        reader.expect("=")
        return name, type

    def _reference(self, reader: Reader) -> Graph:
        reader.expect("@")
        name = reader.name()
        if name not in self.graphs:
            reader.fail(f"there is no `@{name}` above")
        return self.graphs[name]

    def _node(self, reader: Reader, results: list[int]) -> None:
        label: str | None = None
        if reader.followed_by(":"):
            label = reader.name("a label")
            reader.expect(":")
        op: Any
        if reader.at("@"):
            op = self._reference(reader)
        else:
            op = reader.build(reader.vocabulary.op, "operation", *reader.call())
        operands = self._operands(reader)
        sizes = self._sizes(reader)
        reader.expect(":")
        types = [reader.type()]
        while reader.accept(","):
            types.append(reader.type())
        names = self._names(reader) if reader.accept("as") else ()
        self.nodes.append(Node(op, operands, tuple(results), tuple(types), label, sizes, names))

    def _names(self, reader: Reader) -> tuple[str, ...]:
        names = [reader.name()]
        while reader.accept(","):
            names.append(reader.name())
        return tuple(names)

    def _operands(self, reader: Reader) -> tuple[Operand, ...]:
        reader.expect("(")
        operands: list[Operand] = []
        while not reader.accept(")"):
            operands.append(reader.number_of_value() if reader.at("%") else Literal(reader.value()))
            if not reader.at(")"):
                reader.expect(",")
        return tuple(operands)

    def _sizes(self, reader: Reader) -> tuple[tuple[str, Dim], ...]:
        if not reader.accept("with"):
            return ()
        reader.expect("(")
        sizes: list[tuple[str, Dim]] = []
        while not reader.accept(")"):
            name = reader.name()
            reader.expect("=")
            sizes.append((name, reader.size()))
            if not reader.at(")"):
                reader.expect(",")
        return tuple(sizes)

    def _init(self, reader: Reader) -> None:
        pattern: list[str] = []
        while not reader.accept("="):
            pattern.append(reader.string())
        name, arguments = reader.call()
        init = reader.build(reader.vocabulary.initialiser, "initialiser", name, arguments)
        self.inits.append(InitRule(tuple(pattern), init))

    def _tie(self, reader: Reader) -> None:
        name = reader.string()
        reader.expect("=")
        self.ties.append(Tie(name, reader.string()))

    def _output(self, reader: Reader) -> None:
        name: str | None = None
        if not reader.at("%"):
            name = reader.name()
            reader.expect(":")
        value = reader.number_of_value()
        training = reader.accept("when")
        if training:
            reader.expect("training")
        self.outputs.append(Output(value, name, training))

    def _constraint(self, reader: Reader) -> None:
        left = reader.size()
        relation: Relation | None = next((sign for sign in RELATIONS if reader.accept(sign)), None)
        if relation is None:
            reader.expected("a relation")
        self.constraints.append(Constraint(left, relation, reader.size()))
