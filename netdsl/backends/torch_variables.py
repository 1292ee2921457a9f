"""What the values of a graph are called in `forward`: as in the source, or as a chain of layers that work on one variable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from netdsl.backends.torch_expressions import values_in
from netdsl.backends.torch_names import identifier, is_plain, unique
from netdsl.backends.torch_order import Step
from netdsl.ir.graph import Graph

_FRESH: Final = ("y", "z", "u", "v", "w")
_SHORT: Final = 2  # a name of the source up to this long is a variable that may take the next value of its chain
_END: Final = 1 << 60


@dataclass
class Chainlike:
    """What lies ahead of a value along the layers that take it alone: a name of the source, and the labels on the way."""

    name: str = ""
    labels: tuple[str, ...] = ()  # none, the only one, or what all begin with
    several: bool = False


@dataclass
class Variables:
    """Names for the results of `steps`, given out in order by `results`."""

    graph: Graph
    steps: Sequence[Step]
    inputs: tuple[str, ...]
    fixed: Mapping[int, str]  # values that are attributes, as params
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
        self.outputs = {o.value: o.name or "" for o in self.graph.outputs}
        self.last.update(dict.fromkeys(self.outputs, _END))
        self.source = dict(self._source_names())
        self.ahead = self._look_ahead(users)
        for number, name in enumerate(self.inputs):
            self.of[number] = name
            self.held[name] = number

    # -- what the source says

    def _source_names(self) -> Iterator[tuple[int, str]]:
        several = len(self.graph.outputs) > 1
        if several:
            yield from ((value, name) for value, name in self.outputs.items() if name)
        for step in self.steps:
            node = step.applied.node
            yield from ((v, name) for v, name in zip(node.results, node.names, strict=False) if name)

    def _look_ahead(self, users: Mapping[int, set[int]]) -> dict[int, Chainlike]:
        ahead: dict[int, Chainlike] = {}
        for place in range(len(self.steps) - 1, -1, -1):
            node = self.steps[place].applied.node
            value = node.results[0]
            following = users.get(value, set())
            rest = Chainlike()
            if len(following) == 1 and value not in self.outputs:
                (after,) = following
                if set(self.leaves[after]) == {value}:
                    rest = ahead[self.steps[after].applied.node.results[0]]
            label = node.label or ""
            own = _words(label) if label and not re.fullmatch(rf"{node.op_kind}_\d+", label) else ()
            name = self.source.get(value) or rest.name
            ahead[value] = Chainlike(name, _common(own, rest), bool(rest.labels and own) or rest.several)
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
        wished = self.source.get(value)
        if wished is None and alone:
            for operand in self.leaves[place]:
                name = self.of[operand]
                if self.last[operand] <= place and self._is_working(operand, name) and self.held.get(name) == operand:
                    return name
        if wished is None:
            wished = self._wish(value)
        name = identifier(wished, ()) if wished else ""
        if name and self._is_free(name, place):
            return name
        if name and self.source.get(value):
            return unique(name, self._Busy(self, place))
        return self._fresh(place)

    def _wish(self, value: int) -> str:
        """A name for the beginning of a chain: what the source calls its end, or what its layers are called."""
        ahead = self.ahead.get(value)
        if ahead is None:
            return ""
        if ahead.name:
            return ahead.name
        name = "_".join(ahead.labels)
        return name if is_plain(name) and len(name) > 1 else ""

    def _is_working(self, operand: int, name: str) -> bool:
        """Whether a variable is free for the next value of its chain: not if it has a telling name of the source."""
        named = self.source.get(operand)
        return named is None or name in self.inputs or len(name) <= _SHORT

    def _is_free(self, name: str, place: int) -> bool:
        holds = self.held.get(name)
        return holds is None or self.last.get(holds, -1) <= place

    def _fresh(self, place: int) -> str:
        taken = set(self.source.values())
        for name in (*self.inputs[:1], *_FRESH):
            if self._is_free(name, place) and (name in self.inputs or name not in taken):
                return name
        return unique("y", self._Busy(self, place))

    @dataclass
    class _Busy:
        """The names that cannot take a value at `place`."""

        variables: Variables
        place: int

        def __contains__(self, name: str) -> bool:
            taken = name in self.variables.source.values()
            return taken or not self.variables._is_free(name, self.place)


def _words(label: str) -> tuple[str, ...]:
    return tuple(label.rpartition(".")[2].split("_"))


def _common(own: tuple[str, ...], rest: Chainlike) -> tuple[str, ...]:
    """What the labels of a chain have in common, in whole words; all of the label where there is only one."""
    if not own or not rest.labels:
        return own or ((),)[0] if not rest.labels else rest.labels
    common: list[str] = []
    for left, right in zip(own, rest.labels, strict=False):
        if left != right:
            break
        common.append(left)
    return tuple(common)


def input_names(names: Iterable[str]) -> tuple[str, ...]:
    """The inputs as parameters of `forward`."""
    found: list[str] = []
    for name in names:
        found.append(identifier(name, found))
    return tuple(found)
