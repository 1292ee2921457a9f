"""`init` rules as the method `init_weights` of a class that has some. Inner rules win, and later ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, NamedTuple

from netdsl.backends.torch_expressions import Writer
from netdsl.backends.torch_forward import INDENT
from netdsl.backends.torch_layout import statement
from netdsl.backends.torch_modules import Attributes
from netdsl.backends.torch_names import is_attribute, literal
from netdsl.backends.torch_sketch import initial
from netdsl.backends.torch_trees import Code
from netdsl.ir.graph import Graph, InitRule
from netdsl.ir.patterns import matches, parameters

_PREFIX: Final = "nn."
_FEW: Final = 4  # so many tensors have a line for each


class Target(NamedTuple):
    """What a rule fills: all modules of a torch class, or tensors by their names. `some` lack the tensor."""

    rule: InitRule
    kind: str = ""
    tensor: str = ""
    some: bool = False
    names: tuple[str, ...] = ()


@dataclass
class Rules:
    """The rules of one class. `again` are the blocks whose own rules must be applied after these."""

    graph: Graph
    attributes: Attributes
    writer: Writer
    again: list[Graph] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The body of `init_weights`, without the rules of `again`."""
        if not self.graph.inits:
            return []
        inner = won_inside(self.graph)
        targets = list(self._targets(inner))
        lines: list[str] = []
        for by_kind, group in groupby(targets, key=lambda target: bool(target.kind)):
            if by_kind:
                lines += self._loop(list(group))
            else:
                for target in group:
                    lines += self._by_name(target)
        return lines

    def _targets(self, inner: dict[str, Graph]) -> Iterator[Target]:
        """What each rule fills, in order; tensors that a later rule fills too are left to it where that is simple."""
        known = {dotted(path, name): (path, name) for path, name in parameters(self.graph)}
        winner: dict[str, int] = {}
        for place, rule in enumerate(self.graph.inits):
            for full, (path, name) in known.items():
                if full not in inner and matches(rule.pattern, path, name):
                    winner[full] = place
        last = {rule.pattern: place for place, rule in enumerate(self.graph.inits)}
        for place, rule in enumerate(self.graph.inits):
            names = tuple(full for full, number in winner.items() if number == place)
            if not names or last[rule.pattern] != place:
                continue
            kind = self._kind(rule)
            if not kind:
                yield Target(rule, names=names)
                continue
            reached = list(_of_kind(self.graph, rule.pattern[0]))
            tensor = rule.pattern[1]
            full_names = {f"{label}.{tensor}" for label, has in reached if tensor in has}
            for full in full_names & set(inner):
                if not any(inner[full] is graph for graph in self.again):
                    self.again.append(inner[full])
            yield Target(rule, kind, tensor, any(tensor not in has for _, has in reached))

    def _kind(self, rule: InitRule) -> str:
        """The torch class of a rule as `Conv2d.weight`; "" of any other rule."""
        if len(rule.pattern) != 2 or "*" in rule.pattern:
            return ""
        for graph in self.graph.subgraphs():
            for node in graph.layers.values():
                if not isinstance(node.op, Graph) and node.op.kind == rule.pattern[0]:
                    op: Any = node.op
                    function = op.torch(*graph.operand_types(node)).function
                    return function if function.startswith(_PREFIX) else ""
        return ""

    # -- lines

    def _loop(self, targets: list[Target]) -> list[str]:
        by_kind: dict[str, list[Target]] = {}
        for target in targets:
            by_kind.setdefault(target.kind, []).append(target)
        lines = [f"{INDENT}for module in self.modules():"]
        word = "if"
        for kind, members in by_kind.items():
            lines.append(f"{INDENT}    {word} isinstance(module, {self.writer.function(kind)}):")
            word = "elif"
            for target in members:
                indent = INDENT + " " * 8
                if target.some:
                    lines.append(f"{indent}if module.{target.tensor} is not None:")
                    indent += "    "
                lines += self._fill(indent, target.rule, f"module.{target.tensor}")
        return lines

    def _by_name(self, target: Target) -> list[str]:
        reached = [self._tensor(name) for name in target.names]
        if len(reached) == 1 or (
            len(reached) <= _FEW and not any("get_parameter" in text for text in reached)
        ):
            return [line for text in reached for line in self._fill(INDENT, target.rule, text)]
        lines = [f"{INDENT}for name in ("]
        lines += [f"{INDENT}    {literal(name)}," for name in target.names]
        lines.append(f"{INDENT}):")
        return lines + self._fill(INDENT + "    ", target.rule, "self.get_parameter(name)")

    def _tensor(self, name: str) -> str:
        """How one tensor is reached: through the attributes where it is this class's own."""
        label, _, tensor = name.rpartition(".")
        if not label and is_attribute(tensor):
            return f"self.{tensor}"
        node = self.graph.layers.get(label)
        if node is None or isinstance(node.op, Graph):
            return f"self.get_parameter({literal(name)})"
        return f"{self.attributes.branch(label).access.text}.{tensor}"

    def _fill(self, indent: str, rule: InitRule, tensor: str) -> list[str]:
        return statement(
            self.writer, indent, "", initial(rule.init.kind, rule.init.arguments(), Code(tensor))
        )


def dotted(path: Any, name: str) -> str:
    return ".".join([*(level.label for level in path), name])


def won_inside(graph: Graph) -> dict[str, Graph]:
    """The tensors below `graph` that a block in it has a rule for, with the outermost such block."""
    found: dict[str, Graph] = {}
    for label, node in graph.layers.items():
        if not isinstance(node.op, Graph) or not any(inner.inits for inner in node.op.subgraphs()):
            continue
        inside = won_inside(node.op)
        own: dict[str, Graph] = {}
        for path, name in parameters(node.op):
            if any(matches(rule.pattern, path, name) for rule in node.op.inits):
                own[dotted(path, name)] = node.op
        found.update((f"{label}.{name}", block) for name, block in {**inside, **own}.items())
    return found


def _of_kind(graph: Graph, kind: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The layers of a kind below `graph`: path, and the names of their learned tensors."""
    for label, node in graph.layers.items():
        if isinstance(node.op, Graph):
            yield from ((f"{label}.{path}", names) for path, names in _of_kind(node.op, kind))
        elif node.op.kind == kind:
            state = node.op.state(*graph.operand_types(node))
            yield label, tuple(name for name, entry in state.items() if entry.learned)
