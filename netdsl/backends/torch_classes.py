"""The classes of the generated file. Graphs that differ in numbers only share one: these are its arguments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from netdsl.backends.torch_merge import Fill, Walk
from netdsl.backends.torch_names import identifier
from netdsl.backends.torch_sketch import Block, Sketch, as_chain, sketch
from netdsl.backends.torch_trees import ATOM, POWER, PRODUCT, SUM, Code, Make, Slot, imports_in, slots_in
from netdsl.ir.graph import Graph
from netdsl.ir.types import Tensor

# What torch calls the width that a layer takes, and what it is called where some layer gives the same width.
_BOTH_WAYS: Final = {"in_channels": "channels", "in_features": "features"}
_TAKEN: Final = (*_BOTH_WAYS, "num_features", "num_channels", "input_size", "embed_dim", "normalized_shape")
# What torch calls the width that a layer gives, and what it is called where the block gives another.
_GIVEN: Final = {"out_channels": "hidden_channels", "out_features": "hidden_features"}
_DEEPEST: Final = 12  # a sequence nested deeper than this is a class: Python allows 200 open parentheses

Column: TypeAlias = tuple[str, ...]  # the values of a number in each graph, told apart by type


@dataclass
class Argument:
    """A constructor argument, with its value in each of the graphs that share the class."""

    name: str
    values: tuple[Any, ...]

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
        if code.level == PRODUCT and " // " in code.text:
            return f"{code.text.rpartition(' ')[2].removesuffix('s')}_size"
        return slot.hint

    def shape_names(self) -> dict[tuple[Any, ...], str]:
        """What sizes that differ are called in comments: the argument, or what is computed of it."""
        return {
            slot.values: self.attribute(slot) if "//" in self.code(slot).text else self.code(slot).text
            for slot in _slots(self.sketch)
        }

    def make(self, number: int) -> Make:
        """The constructor call for the graph `number`."""
        given = tuple((argument.name, argument.values[number]) for argument in self.arguments)
        return Make(self, given, positional=len(given) if len(given) <= 2 else 0)


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
    _name_others(made, columns)
    return made


def _name_others(made: ModuleClass, columns: dict[Column, list[Slot]]) -> None:
    """Numbers that the block's own parameters do not name: what follows from those, or by what torch calls them."""
    parameters = list(made.arguments)
    inferred: list[Argument] = []
    for key, slots in columns.items():
        if key in made.codes:
            continue
        hint = _hint(made, slots)
        taken = hint in _TAKEN or hint in _BOTH_WAYS.values()
        derived = (
            _sum(slots[0].values, inferred) if taken else _derived(slots[0], hint, [*parameters, *inferred])
        )
        if derived is not None:
            made.codes[key] = derived
            continue
        name = _free(hint, slots[0].owner, [*made.arguments, *inferred])
        made.codes[key] = Code(name)
        (inferred if taken else made.arguments).append(Argument(name, slots[0].values))
    made.arguments[:0] = inferred


def _hint(made: ModuleClass, slots: list[Slot]) -> str:
    """What a number would be called: what a layer takes, or gives; `channels` if one does both."""
    hints = list(dict.fromkeys(slot.hint for slot in slots))
    taken = next((hint for hint in hints if hint in _BOTH_WAYS), None)
    if taken is not None and hints[0] in _TAKEN:
        return _BOTH_WAYS[taken] if any(hint in _GIVEN for hint in hints) else taken
    if hints[0] in _GIVEN and not _is_given(made, slots[0].values):
        return _GIVEN[hints[0]]
    return hints[0]


def _is_given(made: ModuleClass, values: tuple[Any, ...]) -> bool:
    """Whether an output of the block has these sizes on one of its axes."""
    given = [[graph.types[output.value] for output in graph.outputs] for graph in made.graphs]
    return all(
        any(isinstance(type, Tensor) and value in type.shape for type in types)
        for value, types in zip(values, given, strict=True)
    )


def _derived(slot: Slot, hint: str, parameters: list[Argument]) -> Code | None:
    """A number that follows from one parameter: a multiple of it, half of it as padding, a number divided by it, or the
    root of one over either."""
    for parameter in parameters:
        if all(type(base) is int and base > 0 for base in parameter.values):
            pairs = list(zip(slot.values, parameter.values, strict=True))
            if all(type(value) is int and value >= 0 for value in slot.values):
                found = _whole(pairs, parameter.name, hint)
            else:
                found = _root(pairs, parameter.name)
            if found is not None:
                return found
    return None


def _sum(values: tuple[Any, ...], inferred: list[Argument]) -> Code | None:
    """What a layer takes that is a constant more than what another takes, as in a dense block."""
    for argument in inferred:
        if all(type(value) is int for value in (*values, *argument.values)):
            more = {value - base for value, base in zip(values, argument.values, strict=True)}
            if len(more) == 1 and min(more) > 0:
                return Code(f"{argument.name} + {min(more)}", SUM)
    return None


def _whole(pairs: list[tuple[Any, int]], name: str, hint: str) -> Code | None:
    first, base = pairs[0]
    factor, product = first // base, first * base
    if factor > 1 and all(v == factor * b for v, b in pairs):
        return Code(f"{factor} * {name}", PRODUCT)
    if hint == "padding" and all(v == b // 2 for v, b in pairs):
        return Code(f"{name} // 2", PRODUCT)
    if product and all(v * b == product for v, b in pairs):
        return Code(f"{product} // {name}", PRODUCT)
    return None


def _root(pairs: list[tuple[Any, int]], name: str) -> Code | None:
    if not all(type(value) is float and value > 0 for value, _ in pairs):
        return None
    if all(v == b**-0.5 for v, b in pairs):
        return Code(f"{name}**-0.5", POWER)
    total = round(pairs[0][1] * pairs[0][0] ** -2)
    if total and all(total % b == 0 and v == (total // b) ** -0.5 for v, b in pairs):
        return Code(f"({total} // {name}) ** -0.5", POWER)
    return None


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
