"""`forward` of a class: straight-line code, a line for each layer, shapes as trailing comments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, NamedTuple

from netdsl.backends.torch_expressions import Writer
from netdsl.backends.torch_layout import statement
from netdsl.backends.torch_names import identifier, unique
from netdsl.backends.torch_order import Step, steps
from netdsl.backends.torch_sizes import ShapeText, read_sizes, size_places
from netdsl.backends.torch_sketch import Applied, Sketch
from netdsl.backends.torch_trees import Use, Value, sizes_in, values_in
from netdsl.backends.torch_variables import Variables, input_names
from netdsl.ir.graph import Graph
from netdsl.ops.target import Index

INDENT: Final = " " * 8
FEWEST: Final = 3  # so many layers are a loop
_WORDS: Final = {
    "n": "batch",
    "c": "channels",
    "d": "depth",
    "h": "height",
    "w": "width",
    "t": "time",
    "l": "length",
}


class Access(NamedTuple):
    """The text that reaches a module or tensor of the class; `scripted` is TorchScript's, where that differs.

    A tensor is then read into the variable `local`.
    """

    text: str
    scripted: str = ""
    local: str = ""


class Loop(NamedTuple):
    """A container whose layers may follow each other: `for layer in self.layers`, or in `self.layers[1:]` of a list."""

    labels: tuple[str, ...]
    text: str
    item: str
    has_slices: bool = True

    def part(self, label: str, count: int) -> str:
        """The text of so many layers from this one on; "" where they cannot be taken alone."""
        start = self.labels.index(label)
        if count == len(self.labels):
            return self.text
        if not self.has_slices or count < FEWEST:
            return ""
        stop = start + count
        return f"{self.text}[{start or ''}:{stop if stop < len(self.labels) else ''}]"


class Written(NamedTuple):
    """A step with its names: `target` stands before the tree, `note` after it."""

    target: str
    tree: Any
    note: str
    access: Access


@dataclass
class Forward:
    """The body of `forward`. `reach` finds a node's module, `fixed` the params and buffers.

    `before_return` writes all but the last line, and leaves in `value` what an only output is.
    """

    sketch: Sketch
    writer: Writer
    reach: Callable[[Applied], Access]
    fixed: Mapping[int, Access]
    shapes: ShapeText
    returns: str = ""  # what makes the result of several outputs; "" for one
    avoid: frozenset[str] = frozenset()  # names that variables cannot have
    loops: Mapping[str, Loop] = field(default_factory=dict)  # by the label of each layer
    steps: list[Step] = field(default_factory=list)
    value: Any = None
    note: str = ""
    asserted: set[int] = field(default_factory=set)  # outputs of blocks that exist in training only

    def lines(self) -> list[str]:
        """All lines of the body, in order."""
        lines = self.before_return()
        if self.returns:
            return [*lines, *self._several()]
        return [*lines, *statement(self.writer, INDENT, "return ", self.value, self.note)]

    def before_return(self) -> list[str]:
        graph = self.sketch.graph
        self.steps = steps(self.sketch)
        self.inputs = input_names(entry.name for entry in graph.inputs)
        self.uses = Counter(step.applied.node.label for step in self.steps)
        self.local = {value: access.local or access.text for value, access in self.fixed.items()}
        self.variables = Variables(graph, self.steps, self.inputs, self.local, self.avoid)
        written = [self._named(place, step) for place, step in enumerate(self.steps)]
        self._name_sizes()
        self.writer.device = f"{self.inputs[0]}.device" if self.inputs else ""
        self.writer.values = lambda number: self.local.get(number) or self.variables.of[number]
        if not self.returns:
            self.value = Value(graph.outputs[0].value)
        if written and self._is_returned(len(written) - 1):
            last = written.pop()
            self.value, self.note = last.tree, last.note
        lines = self._tensors_reached() + self._sizes_read()
        for training, group in groupby(range(len(written)), key=lambda place: self.steps[place].training > 0):
            places = [*group]
            inside = self._group(places, written)
            lines += self._in_training(places, inside) if training else inside
        return lines

    @property
    def parameters(self) -> list[str]:
        """The parameters of `forward`: the inputs, and the sizes that the caller passes."""
        sizes = [f"{self.writer.sizes[name]}: int" for name in self.sketch.passed]
        return [f"{name}: Tensor" for name in self.inputs] + sizes

    # -- names

    def _named(self, place: int, step: Step) -> Written:
        entry, tree = step.applied, step.tree
        access = Access("") if entry.make is None else self.reach(entry)
        if isinstance(tree, Use):
            tree = Use(tree.args, tree.kwargs, access.text)
        note = self._note(place, step)
        used = [value in self.variables.last for value in entry.node.results]
        if self._is_returned(place):
            picked = tree if entry.gives is None else _picked(tree, entry.gives, used.index(True))
            return Written("", picked, note, access)
        names = self.variables.results(place, used)
        if entry.gives is None:
            return Written(f"{names[0]} = ", tree, note, access)
        if sum(used) == 1:
            only = used.index(True)
            return Written(f"{names[only]} = ", _picked(tree, entry.gives, only), note, access)
        return Written(f"{_pattern(entry.gives, names)} = ", tree, note, access)

    def _is_returned(self, place: int) -> bool:
        """Whether a step is the last, and its value what `forward` returns."""
        if self.returns or place < len(self.steps) - 1:
            return False
        entry = self.steps[place].applied
        used = [value for value in entry.node.results if value in self.variables.last]
        scripted = entry.make is not None and self.reach(entry).scripted
        looped = entry.node.label in self.loops
        if self._typed_optional(place):
            return False
        return not scripted and not looped and used == [self.sketch.graph.outputs[0].value]

    def _note(self, place: int, step: Step) -> str:
        """The shape of the results, where it is not that of the step's first operand."""
        results = [v for v in step.applied.node.results if v in self.variables.last]
        texts = list(dict.fromkeys(self.shapes.value(value) for value in results))
        before = next((self.shapes.value(v) for v in self.variables.leaves[place]), "")
        if texts == [before] or not all(texts):
            return ""
        return texts[0] if len(texts) == 1 else ", ".join(texts)

    def _name_sizes(self) -> None:
        """A variable for each free dimension that is needed: its name in lower case, where no tensor has that."""
        taken = {*self.variables.of.values(), *self.inputs}
        names: dict[str, str] = {}
        needed = dict.fromkeys(name for step in self.steps for name in sizes_in(step.tree))
        for name in (*self.sketch.passed, *needed):
            if name in names:
                continue
            plain = identifier(name.lower(), (), "d")
            wished = plain if plain not in taken else _WORDS.get(plain, f"{plain}_size")
            names[name] = unique(wished, taken)
            taken.add(names[name])
        self.writer.sizes = names

    # -- lines

    def _sizes_read(self) -> list[str]:
        places = size_places(self.sketch.graph)
        names = {s: n for s, n in self.writer.sizes.items() if s not in self.sketch.passed}
        missing = [name for name in names if name not in places]
        if missing:
            raise ValueError(f"no input of {self.sketch.graph.name} has the size {missing[0]}")
        read = read_sizes(((name, places[symbol]) for symbol, name in names.items()), self.inputs)
        return [f"{INDENT}{target} = {value}" for target, value in read]

    def _tensors_reached(self) -> list[str]:
        """Params and buffers that have the name of a method: TorchScript reaches them otherwise."""
        lines: list[str] = []
        for value, access in self.fixed.items():
            if access.scripted:
                self.writer.used.add("torch.jit")
                lines += _both_ways(INDENT, f"{self.local[value]} = ", [access.scripted], [access.text])
        return lines

    def _group(self, places: Sequence[int], written: list[Written]) -> list[str]:
        """The lines of steps that follow each other, all in training only or none."""
        lines: list[str] = []
        skip_to = 0
        for place in places:
            if place < skip_to:
                continue
            label = self.steps[place].applied.node.label or ""
            loop = self.loops.get(label)
            count = self._alike(place, loop, written) if loop is not None else 0
            layers = loop.part(label, count) if loop is not None else ""
            if loop is not None and layers:
                lines += self._loop(place, layers, loop, written[place])
                skip_to = place + count
            else:
                lines += self._step(place, written[place])
        return lines

    def _loop(self, first: int, layers: str, loop: Loop, written: Written) -> list[str]:
        item = unique(loop.item, {*self.variables.of.values(), *self.writer.sizes.values()})
        indent = INDENT + "    " * bool(self.steps[first].training)
        tree = Use(written.tree.args, written.tree.kwargs, item)
        body = statement(self.writer, indent + "    ", written.target, tree)
        return [f"{indent}for {item} in {layers}:", *body]

    def _alike(self, first: int, loop: Loop, written: list[Written]) -> int:
        """How many layers of a container, from this one on, take what the one before gives, all else being equal."""
        target, kind = written[first].target, (self.steps[first].training, None)
        labels = loop.labels[loop.labels.index(self.steps[first].applied.node.label or "") :]
        rest: Any = None
        for place, label in enumerate(labels, first):
            if place == len(written) or self.uses[label] > 1:
                return place - first
            step, tree = self.steps[place], written[place].tree
            alike = written[place].target == target and (step.training, step.applied.gives) == kind
            if step.applied.node.label != label or not alike or not isinstance(tree, Use):
                return place - first
            before = tree.args[0].number if tree.args and isinstance(tree.args[0], Value) else -1
            others = (tree.args[1:], tree.kwargs)
            if f"{self.variables.of.get(before)} = " != target or before in values_in(others):
                return place - first
            if place > first and ((before,) != self.steps[place - 1].applied.node.results or rest != others):
                return place - first
            rest = others
        return len(labels)

    def _step(self, place: int, written: Written) -> list[str]:
        indent = INDENT + "    " * bool(self.steps[place].training)
        lines: list[str] = []
        for value in self.variables.leaves[place]:
            if value not in self.asserted and self._is_optional(value):
                self.asserted.add(value)
                lines.append(f"{indent}assert {self.variables.of[value]} is not None")
        own = statement(self.writer, indent, written.target, written.tree, written.note)
        after = [f"{indent}assert {self.variables.of[v]} is not None" for v in self._typed_optional(place)]
        if not written.access.scripted:
            return lines + own + after
        self.writer.used.add("torch.jit")
        inner = indent + "    "
        scripted = _with_callee(written.tree, written.access.scripted)
        return [
            *lines,
            f"{indent}if torch.jit.is_scripting():",
            *statement(self.writer, inner, written.target, scripted, written.note),
            f"{indent}else:",
            *statement(self.writer, inner, written.target, written.tree),
            *after,
        ]

    def _typed_optional(self, place: int) -> list[int]:
        """The results of a layer that torch's own signature has as `Optional`, though here they are tensors."""
        node = self.steps[place].applied.node
        optional = () if isinstance(node.op, Graph) else getattr(node.op, "optional_results", ())
        return [v for n, v in enumerate(node.results) if n in optional and v in self.variables.last]

    def _is_optional(self, value: int) -> bool:
        """Whether a value is an output of a block that exists in training only."""
        node = self.sketch.graph.producers.get(value)
        if node is None or not isinstance(node.op, Graph):
            return False
        return node.op.outputs[node.results.index(value)].when_training

    def _in_training(self, places: Sequence[int], inside: list[str]) -> list[str]:
        values = {value for place in places for value in self.steps[place].applied.node.results}
        names = [self.variables.of[o.value] for o in self.sketch.graph.outputs if o.value in values]
        declared = [f"{INDENT}{name}: Tensor | None = None" for name in dict.fromkeys(names)]
        return [*declared, f"{INDENT}if self.training:", *inside]

    def _several(self) -> list[str]:
        """Several outputs: those of training that are computed anyway are given in training only."""
        lines: list[str] = []
        values: list[str] = []
        trained = {v for step in self.steps if step.training for v in step.applied.node.results}
        for number, output in enumerate(self.sketch.graph.outputs):
            text = self.writer.text(Value(output.value))
            if output.when_training and output.value not in trained and not self._is_optional(output.value):
                name = unique(identifier(output.name or f"out{number}"), {*self.variables.of.values()})
                lines += [f"{INDENT}{name}: Tensor | None = None", f"{INDENT}if self.training:"]
                lines.append(f"{INDENT}    {name} = {text}")
                text = name
            values.append(text)
        result = ", ".join(values) if self.returns == "tuple" else f"{self.returns}({', '.join(values)})"
        return [*lines, f"{INDENT}return {result}"]


def _both_ways(indent: str, target: str, scripted: list[str], plain: list[str]) -> list[str]:
    return [
        f"{indent}if torch.jit.is_scripting():",
        *(f"{indent}    {target}{text}" for text in scripted),
        f"{indent}else:",
        *(f"{indent}    {target}{text}" for text in plain),
    ]


def _with_callee(tree: Any, callee: str) -> Any:
    if isinstance(tree, Index):
        return Index(_with_callee(tree.value, callee), tree.indices)
    return Use(tree.args, tree.kwargs, callee)


def _picked(tree: Any, gives: Any, number: int) -> Any:
    """`tree[1][0]`: one of several results."""
    for place, part in enumerate(gives):
        if part == number:
            return Index(tree, (place,))
        if isinstance(part, tuple) and number in _flat(part):
            return _picked(Index(tree, (place,)), part, number)
    raise ValueError(f"no result {number} in {gives}")


def _flat(gives: Any) -> tuple[int, ...]:
    return tuple(n for part in gives for n in (_flat(part) if isinstance(part, tuple) else (part,)))


def _pattern(gives: Any, names: list[str]) -> str:
    """`out, (h, c)`: what several results are assigned to."""
    texts = [f"({_pattern(part, names)})" if isinstance(part, tuple) else names[part] for part in gives]
    return texts[0] + "," if len(texts) == 1 else ", ".join(texts)
