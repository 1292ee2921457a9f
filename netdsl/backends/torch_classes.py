"""The classes of the generated file. Graphs that differ in numbers only share one: these are its arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from netdsl.backends.torch_formulas import Formula, Values, axes, best, by_argument, by_axis, constants, more
from netdsl.backends.torch_merge import Fill, Walk
from netdsl.backends.torch_names import identifier, literal, same
from netdsl.backends.torch_sketch import Block, Sketch, as_chain, sketch
from netdsl.backends.torch_trees import (
    ATOM,
    PRODUCT,
    Code,
    Make,
    Slot,
    imports_in,
    makes_in,
    slots_in,
)
from netdsl.ir.graph import Graph
from netdsl.ir.types import Tensor

# What torch calls the width that a layer takes, and what it is called where some layer gives the same width.
_BOTH_WAYS: Final = {"in_channels": "channels", "in_features": "features"}
_INTO: Final = (*_BOTH_WAYS, "num_features", "num_channels", "input_size", "embed_dim", "normalized_shape")
_TAKEN: Final = (*_INTO, *_BOTH_WAYS.values())
# What torch calls the width that a layer gives, and what it is called where the block gives another.
_OUT: Final = {"out_channels": "hidden_channels", "out_features": "hidden_features"}
_GIVEN: Final = (*_OUT, *_OUT.values())
_WIDTHS: Final = (*_TAKEN, *_GIVEN)
_REQUIRED: Final = object()  # the default of an argument without one
_DEEPEST: Final = 12  # a sequence nested deeper than this is a class: Python allows 200 open parentheses

Column: TypeAlias = tuple[str, ...]  # the values of a number in each graph, told apart by type


@dataclass
class Argument:
    """A constructor argument, with its value in each of the graphs that share the class."""

    name: str
    values: tuple[Any, ...]
    default: Any = _REQUIRED

    @property
    def declaration(self) -> str:
        """What stands for it in the signature."""
        told = f"{self.name}: {self.annotation}"
        return told if self.default is _REQUIRED else f"{told} = {literal(self.default)}"

    @property
    def annotation(self) -> str:
        found = dict.fromkeys(_annotation(value) for value in sorted(self.values, key=_width))
        if "float" in found:
            found.pop("int", None)
        return " | ".join(found)


@dataclass(eq=False)
class ModuleClass:
    """A class to be written, for `graphs`; `sketch` is of the first, with slots where the others differ."""

    graphs: list[Graph]
    sketch: Sketch
    name: str = ""
    arguments: list[Argument] = field(default_factory=list)
    codes: dict[Column, Code] = field(default_factory=dict)

    def code(self, slot: Slot) -> Code:
        """What stands for a slot in `__init__`: an argument, or a multiple of one."""
        return self.codes[column(slot.values)]

    def attribute(self, slot: Slot) -> str:
        """What the attribute that keeps a slot for `forward` would be called: `head_size` of `64 // heads`."""
        code = self.code(slot)
        if code.level == ATOM:
            return code.text
        if _is_share(code):
            return f"{code.text.rpartition(' ')[2].removesuffix('s')}_size"
        return slot.hint

    def shape_names(self) -> dict[tuple[Any, ...], str]:
        """What sizes that differ are called in comments: the argument, or what is computed of it."""
        found = {argument.values: argument.name for argument in self.arguments}
        for slot in _slots(self.sketch):
            code = self.code(slot)
            found[slot.values] = self.attribute(slot) if _is_share(code) else code.text
        return found

    def make(self, number: int) -> Make:
        """The constructor call for the graph `number`."""
        given = [(a.name, a.values[number]) for a in self.arguments if not same(a.values[number], a.default)]
        required = sum(argument.default is _REQUIRED for argument in self.arguments)
        defaults = tuple((a.name, a.default) for a in self.arguments if a.default is not _REQUIRED)
        return Make(self, tuple(given), required if required <= 2 else 0, defaults=defaults)


class Classes:
    """All classes of some models, callees before callers. `of` is the class of a model."""

    def __init__(self, models: Sequence[Graph]) -> None:
        self.classes: list[ModuleClass] = []
        self.blocks: dict[int, Block] = {}
        self.labels: dict[int, str] = {}
        self.depths: dict[int, int] = {}  # how deep sequences are nested in a sequence
        self.of: dict[int, ModuleClass] = {}
        self.imports: dict[str, None] = {}  # dotted names of what is not torch's
        roots = {id(model) for model in models}
        for level in _by_height(models):
            self._name_lists(level)
            self._level(level, roots)

    def _name_lists(self, graphs: Iterable[Graph]) -> None:
        for graph in graphs:
            for node in graph.nodes:
                if isinstance(node.op, Graph) and node.label:
                    self.labels.setdefault(id(node.op), node.label.rpartition(".")[2])

    def _level(self, graphs: list[Graph], roots: set[int]) -> None:
        """Classes for graphs whose blocks have theirs."""
        groups: dict[Any, list[tuple[Graph, Sketch, Walk]]] = {}
        for graph in graphs:
            drawn = sketch(graph, lambda block: self.blocks[id(block)])
            trees = [(entry.make, entry.use) for entry in drawn.nodes]
            self.imports.update(dict.fromkeys(name for tree in trees for name in imports_in(tree)))
            chain = None if id(graph) in roots else as_chain(graph, drawn.nodes)
            if chain is not None:
                depth = 1 + max((self.depths.get(id(node.op), 0) for node in graph.nodes), default=0)
                if depth <= _DEEPEST:
                    self.blocks[id(graph)] = Block(chain)
                    self.depths[id(graph)] = depth
                    continue
            walk = Walk()
            walk.sketch(drawn)
            groups.setdefault((graph.name, tuple(walk.key)), []).append((graph, drawn, walk))
        for members in groups.values():
            made = _merged([entry[0] for entry in members], members[0][1], [entry[2] for entry in members])
            self.classes.append(made)
            for number, (graph, drawn, _) in enumerate(members):
                self.blocks[id(graph)] = Block(made.make(number), drawn.passed)
                self.of[id(graph)] = made


def _by_height(models: Sequence[Graph]) -> list[list[Graph]]:
    """The graphs of `models`, those without blocks first, then those whose blocks are all in the levels before."""
    heights: dict[int, int] = {}
    levels: list[list[Graph]] = []
    for model in models:
        for graph in model.subgraphs():
            if id(graph) in heights:
                continue
            inner = (heights[id(node.op)] for node in graph.nodes if isinstance(node.op, Graph))
            height = max(inner, default=-1) + 1
            heights[id(graph)] = height
            levels += [[] for _ in range(height + 1 - len(levels))]
            levels[height].append(graph)
    return levels


def _merged(graphs: list[Graph], drawn: Sketch, walks: list[Walk]) -> ModuleClass:
    if len(graphs) == 1:
        return ModuleClass(graphs, drawn)
    made = ModuleClass(graphs, Fill(walks).sketch(drawn))
    columns: dict[Column, list[Slot]] = {}
    for slot in _slots(made.sketch):
        columns.setdefault(column(slot.values), []).append(slot)
    parameters = {
        name: tuple(dict(graph.arguments).get(name) for graph in graphs) for name, _ in graphs[0].arguments
    }
    for name, values in parameters.items():
        key = column(values)
        if key in columns and key not in made.codes:
            argument = Argument(identifier(name, {a.name for a in made.arguments}), values)
            made.arguments.append(argument)
            made.codes[key] = Code(argument.name)
    _Others(made).name(columns)
    passed = _passed_on(made.sketch)
    for argument in made.arguments:
        argument.default = passed.get(column(argument.values), _REQUIRED)
    made.arguments.sort(key=lambda argument: argument.default is not _REQUIRED)
    return made


def _passed_on(sketch: Sketch) -> dict[Column, Any]:
    """The numbers that only pass on an argument of the layers inside, where some graph leaves it at its default."""
    uses = Counter(column(slot.values) for slot in _slots(sketch))
    defaults: dict[Column, list[Any]] = {}
    for make in (make for applied in sketch.nodes for make in makes_in(applied.make)):
        known = dict(make.defaults)
        for name, value in make.arguments:
            if isinstance(value, Slot) and name in known:
                defaults.setdefault(column(value.values), []).append(known[name])
    return {
        key: first
        for key, (first, *others) in defaults.items()
        if len(others) + 1 == uses[key] and repr(first) in key and all(same(first, other) for other in others)
    }


class _Others:
    """Names for the numbers that the block's own parameters do not name: what follows from those and from the sizes of
    the inputs, or else an argument, by what torch calls it."""

    def __init__(self, made: ModuleClass) -> None:
        self.made = made
        self.taken: list[Argument] = []  # what layers take
        self.axes = axes(made.graphs)
        self.constants = constants(made.graphs)

    def name(self, columns: dict[Column, list[Slot]]) -> None:
        # What is as large as an axis has its name, before anything else can take that.
        exact = {column(axis.values) for axis in self.axes}
        for key, slots in sorted(columns.items(), key=lambda entry: entry[0] not in exact):
            if key not in self.made.codes:
                self.made.codes[key] = self._code(slots)
        self.made.arguments[:0] = self.taken

    def _code(self, slots: list[Slot]) -> Code:
        slot, hint = slots[0], _hint(self.made, slots)
        exact = next((axis for axis in self.axes if axis.values == slot.values), None)
        if exact is not None and hint not in _WIDTHS:
            return self._argument(exact.name, slot, first=not exact.is_long)
        found = None if exact else best([*self._by_arguments(slot.values, hint), *self._by_axes(slots, hint)])
        if found is None:
            return self._argument(hint, slot, first=hint in _TAKEN)
        axis = found.axis
        if axis is not None and column(axis.values) not in self.made.codes:
            size = Slot(axis.values, axis.name)
            made = self._argument(axis.name, size, first=not axis.is_long)
            self.made.codes[column(axis.values)] = made
            return found.code.on(made.text)
        return found.code

    def _by_arguments(self, values: Values, hint: str) -> Iterator[Formula]:
        if hint in _TAKEN:
            for argument in self.taken:
                if values[0] > argument.values[0]:
                    yield from more(values, argument.name, argument.values)
            return
        for argument in (*self.made.arguments, *self.taken):
            yield from by_argument(values, argument.name, argument.values, hint, self.constants)

    def _by_axes(self, slots: list[Slot], hint: str) -> Iterator[Formula]:
        values, is_width = slots[0].values, hint in _WIDTHS
        for axis in self.axes:
            known = self.made.codes.get(column(axis.values))
            if known is None and hint not in _GIVEN:
                found = by_axis(values, axis, is_width=is_width, uses=len(slots))
                yield from (formula.less_likely() for formula in found)
            elif known is not None and known.level == ATOM:
                named = axis._replace(name=known.text)
                yield from by_axis(values, named, is_width=is_width, uses=len(slots))

    def _argument(self, wished: str, slot: Slot, *, first: bool) -> Code:
        name = _free(wished, slot.owner, [*self.made.arguments, *self.taken])
        (self.taken if first else self.made.arguments).append(Argument(name, slot.values))
        return Code(name)


def _hint(made: ModuleClass, slots: list[Slot]) -> str:
    """What a number would be called: what a layer takes, or gives; `channels` if one does both."""
    hints = list(dict.fromkeys(slot.hint for slot in slots))
    taken = next((hint for hint in hints if hint in _BOTH_WAYS), None)
    if taken is not None and hints[0] in _INTO:
        return _BOTH_WAYS[taken] if any(hint in _OUT for hint in hints) else taken
    if hints[0] in _OUT and not _is_given(made, slots[0].values):
        return _OUT[hints[0]]
    return hints[0]


def _is_given(made: ModuleClass, values: tuple[Any, ...]) -> bool:
    """Whether an output of the block has these sizes on one of its axes."""
    given = [[graph.types[output.value] for output in graph.outputs] for graph in made.graphs]
    return all(
        any(isinstance(type, Tensor) and value in type.shape for type in types)
        for value, types in zip(values, given, strict=True)
    )


def _is_share(code: Code) -> bool:
    """Whether a number is a constant divided by an argument: how much each of so many gets."""
    return code.level == PRODUCT and " // " in code.text and not code.base


def _free(hint: str, owner: str, arguments: list[Argument]) -> str:
    taken = {argument.name for argument in arguments}
    return identifier(f"{owner}_{hint}" if identifier(hint) in taken and owner else hint, taken, "size")


def _slots(sketch: Sketch) -> Iterator[Slot]:
    for applied in sketch.nodes:
        yield from slots_in(applied.make)
    for learned in sketch.learned:
        yield from slots_in((learned.make, learned.fill))
    for fixed in sketch.fixed:
        yield from _slots(fixed.make)
    for applied in sketch.nodes:
        yield from slots_in(applied.use)


def column(values: Sequence[Any]) -> Column:
    """A key for the values of an argument: `1`, `1.0` and `True` are three."""
    return tuple(map(repr, values))


def _annotation(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, tuple):
        inside = dict.fromkeys(map(_annotation, value))
        return f"tuple[{', '.join(inside)}, ...]" if len(inside) == 1 else "tuple"
    return type(value).__name__


def _width(value: Any) -> int:
    return {"bool": 0, "int": 1, "float": 2, "str": 3, "NoneType": 5}.get(type(value).__name__, 4)
