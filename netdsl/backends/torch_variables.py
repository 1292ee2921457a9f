"""What values are called in `forward`: as in the source, and one variable for a chain of layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final, NamedTuple

from netdsl.backends.torch_names import identifier, is_plain, unique
from netdsl.backends.torch_order import Step
from netdsl.backends.torch_trees import values_in
from netdsl.ir.graph import Graph, Node
from netdsl.ir.measure import live_values

_FRESH: Final = ("x", "y", "z", "u", "v", "w")
_SHORT: Final = 2  # a longer name of the source says what it holds, and takes no other value of its chain
_END: Final = 1 << 60


class Ahead(NamedTuple):
    """What lies ahead of a value along the layers that take it alone: a name of the source, what their labels share."""

    name: str = ""
    words: tuple[str, ...] | None = None


@dataclass
class Variables:
    """Names for the results of `steps`, given out in order by `results`."""

    graph: Graph
    steps: Sequence[Step]
    inputs: tuple[str, ...]
    fixed: Mapping[int, str]  # values that are attributes, as params
    avoid: frozenset[str] = frozenset()
    held: dict[str, int] = field(default_factory=dict)  # variable -> the value it holds
    of: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.last: dict[int, int] = {}
        users: dict[int, set[int]] = {}
        self.leaves = [tuple(v for v in values_in(step.tree) if v not in self.fixed) for step in self.steps]
        for place, leaves in enumerate(self.leaves):
            for value in leaves:
                self.last[value] = place
                users.setdefault(value, set()).add(place)
        self.users = {value: len(places) for value, places in users.items()}
        self.outputs = {o.value: o.name or "" for o in self.graph.outputs}
        self.last.update(dict.fromkeys(self.outputs, _END))
        self.source = dict(self._source_names())
        self.spoken = frozenset(self.source.values())
        self.ahead = self._look_ahead(users)
        for number, name in enumerate(self.inputs):
            self.of[number] = name
            self.held[name] = number

    # -- what the source says

    def _source_names(self) -> Iterator[tuple[int, str]]:
        """The names that outputs and statements give to values; an output of training keeps its name to itself."""
        outputs = self.graph.outputs
        always = live_values(self.graph)
        late = {o.name or f"out{n}": o.value for n, o in enumerate(outputs) if o.when_training}
        training = {name: value for name, value in late.items() if value not in always}
        if len(outputs) > 1:
            yield from ((o.value, o.name) for o in outputs if o.name and o.name not in late)
        for step in self.steps:
            node = step.applied.node
            names = node.names
            if isinstance(node.op, Graph) and len(node.results) > 1:
                given = (output.name or "" for output in node.op.outputs)
                names = tuple(own or name for own, name in zip_longest(node.names, given, fillvalue=""))
            for value, name in zip(node.results, names, strict=False):
                if name and training.get(name, value) == value:
                    yield value, name
        yield from ((value, identifier(name, self.inputs)) for name, value in training.items())

    def _look_ahead(self, users: Mapping[int, set[int]]) -> dict[int, Ahead]:
        ahead: dict[int, Ahead] = {}
        for place in range(len(self.steps) - 1, -1, -1):
            node = self.steps[place].applied.node
            value = node.results[0]
            following = users.get(value, set())
            rest = Ahead()
            if len(following) == 1 and value not in self.outputs:
                (after,) = following
                one = len(self.steps[after].applied.node.results) == 1
                if one and set(self.leaves[after]) == {value}:
                    rest = ahead[self.steps[after].applied.node.results[0]]
            own = _words(node) if node.label else None
            name = self.source.get(value) or rest.name
            ahead[value] = Ahead(name, _common(own, rest.words))
        return ahead

    # -- names for the results of one step

    def results(self, place: int, used: Sequence[bool]) -> list[str]:
        """The variables for the results of step `place`; `_` for those that are not used."""
        step = self.steps[place]
        results = step.applied.node.results
        names = []
        for value, is_used in zip(results, used, strict=True):
            name = self._one(value, place, alone=sum(used) == 1) if is_used else "_"
            names.append(name)
            if is_used:
                self.held[name] = value
                self.of[value] = name
        return names

    def _one(self, value: int, place: int, *, alone: bool) -> str:
        named = self.source.get(value)
        if named:
            name = identifier(named)
            return name if self._is_free(name, place) else unique(name, self._Busy(self, place))
        dying = [operand for operand in self.leaves[place] if self._dies(operand, place)]
        working = [operand for operand in dying if self._is_working(operand)]
        if not any(self.users[operand] == 1 for operand in working):
            wished = self._wish(value, branches=not dying or bool(working))
            if wished and self._is_free(wished, place):
                return wished
        if not alone or not working:
            return self._fresh(place)
        names = [self.of[operand] for operand in working]
        ahead = self.ahead[value].name if value in self.ahead else ""
        return ahead if ahead in names else names[0]

    def _dies(self, operand: int, place: int) -> bool:
        """Whether a step is the last that needs an operand."""
        return self.last[operand] <= place and self.held.get(self.of[operand]) == operand

    def _wish(self, value: int, *, branches: bool) -> str:
        """A name for the first value of a branch: what the source calls its end, or what its layers are called."""
        ahead = self.ahead.get(value)
        if ahead is None:
            return ""
        if ahead.name:
            return identifier(ahead.name)
        name = "_".join(ahead.words or ()) if branches else ""
        return name if is_plain(name) and len(name) > 1 and name == identifier(name) else ""

    def _is_working(self, operand: int) -> bool:
        """Whether a variable may take the next value of its chain: not if it has a telling name of the source."""
        name = self.of[operand]
        told = operand in self.source or operand < len(self.inputs)
        return not told or len(name) <= _SHORT

    def _is_free(self, name: str, place: int) -> bool:
        if name in self.avoid:
            return False
        holds = self.held.get(name)
        return holds is None or self.last.get(holds, -1) <= place

    def _fresh(self, place: int) -> str:
        short = (name for name in self.inputs if len(name) <= _SHORT)
        for name in (*short, *_FRESH):
            if self._is_free(name, place) and (name in self.inputs or name not in self.spoken):
                return name
        return unique("y", self._Busy(self, place))

    @dataclass
    class _Busy:
        """The names that cannot take a value at `place`."""

        variables: Variables
        place: int

        def __contains__(self, name: str) -> bool:
            return name in self.variables.spoken or not self.variables._is_free(name, self.place)


def _words(node: Node) -> tuple[str, ...] | None:
    """The words of a layer's label; none where nobody wrote it (`conv2d_1`)."""
    kind = node.op.name if isinstance(node.op, Graph) else node.op.kind
    label = (node.label or "").rpartition(".")[2]
    return None if re.fullmatch(rf"{re.escape(kind.lower())}_\d+", label) else tuple(label.split("_"))


def _common(own: tuple[str, ...] | None, rest: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What the labels of a chain have in common, in whole words; all of the label where there is only one."""
    if own is None or rest is None:
        return rest if own is None else own
    same = 0
    while same < min(len(own), len(rest)) and own[same] == rest[same]:
        same += 1
    return own[:same]


def input_names(names: Iterable[str]) -> tuple[str, ...]:
    """The inputs as parameters of `forward`."""
    found: list[str] = []
    for name in names:
        found.append(identifier(name, found))
    return tuple(found)
