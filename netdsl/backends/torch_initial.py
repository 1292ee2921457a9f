"""`init` rules as the method `init_weights` of a class that has some. Inner rules win, and later ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, takewhile
from typing import Any, Final, NamedTuple

from netdsl.backends.torch_expressions import Writer
from netdsl.backends.torch_forward import INDENT
from netdsl.backends.torch_layout import statement
from netdsl.backends.torch_modules import KNOWN_ROOTS, Attributes
from netdsl.backends.torch_names import is_attribute, literal
from netdsl.backends.torch_sketch import filled
from netdsl.backends.torch_trees import Chain, Code
from netdsl.ir.graph import Graph, InitRule, Node
from netdsl.ir.patterns import Learned, meant, parameters

_PREFIX: Final = "nn."
_FEW: Final = 4  # so many tensors have a line for each
_NONE_WITHOUT: Final = ("weight", "bias")  # torch's layers that are made without these have None there


class Target(NamedTuple):
    """What a rule fills: all modules of a torch class, or tensors by their names. `some` lack the tensor."""

    rule: InitRule
    kind: str = ""
    tensor: str = ""
    some: bool = False
    tensors: tuple[Learned, ...] = ()


@dataclass
class Rules:
    """The rules of one class. `again` are the blocks whose own rules must be applied after these."""

    graph: Graph
    attributes: Attributes
    writer: Writer
    again: list[Graph] = field(default_factory=list)

    @cached_property
    def _has_foreign(self) -> bool:
        """Whether layers below are written in Python: what is inside those is not the rules' to fill."""
        return any(
            node.op.is_layer and _function(body, node).split(".")[0] not in KNOWN_ROOTS
            for body in self.graph.subgraphs()
            for node in body.nodes
            if not isinstance(node.op, Graph)
        )

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
        found = meant(self.graph)
        winner: dict[str, int] = {}
        for place, (_, tensors) in enumerate(found):
            winner.update((tensor.key, place) for tensor in tensors if tensor.key not in inner)
        last = {rule.pattern: place for place, (rule, _) in enumerate(found)}
        for place, (rule, tensors) in enumerate(found):
            won = tuple(tensor for tensor in tensors if winner.get(tensor.key) == place)
            if not won or last[rule.pattern] != place:
                continue
            filled = [tensor.key for tensor in tensors if tensor.key not in inner]
            target = self._by_kind(rule, filled)
            if target is None:
                yield Target(rule, tensors=won)
                continue
            for key in (tensor.key for tensor in tensors if tensor.key in inner):
                if not any(inner[key] is graph for graph in self.again):
                    self.again.append(inner[key])
            yield target

    def _by_kind(self, rule: InitRule, filled: list[str]) -> Target | None:
        """A rule as `Conv2d.weight` as one on all modules of a torch class, where that fills the same tensors."""
        if len(rule.pattern) != 2 or "*" in rule.pattern or self._has_foreign:
            return None
        kind, tensor = rule.pattern
        function = _torch_class(self.graph, kind)
        modules = list(_modules(self.graph, kind))
        having = [names[tensor] for names in modules if tensor in names]
        some = len(having) < len(modules)
        if not function or not set(filled) <= set(having) or (some and tensor not in _NONE_WITHOUT):
            return None
        return Target(rule, function, tensor, some)

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
        reached = [self._access(tensor) for tensor in target.tensors]
        if len(reached) == 1 or (len(reached) <= _FEW and all(reached)):
            texts = (text or _by_key(tensor) for text, tensor in zip(reached, target.tensors, strict=True))
            return [line for text in texts for line in self._fill(INDENT, target.rule, text)]
        ending = self._ending(target)
        if ending:
            return [
                f"{INDENT}for name, parameter in self.named_parameters():",
                f"{INDENT}    if name.endswith({literal(ending)}):",
                *self._fill(f"{INDENT}        ", target.rule, "parameter"),
            ]
        lines = [f"{INDENT}for name in ("]
        lines += [f"{INDENT}    {literal(tensor.key)}," for tensor in target.tensors]
        lines += [f"{INDENT}):", f"{INDENT}    parameter = self.get_parameter(name)"]
        return lines + self._fill(INDENT + "    ", target.rule, "parameter")

    def _ending(self, target: Target) -> str:
        """What the keys of these tensors, and of no others of the class, end with; "" where there is no such thing."""
        keys = {tensor.key for tensor in target.tensors}
        known = {tensor.key for tensor in parameters(self.graph)}
        parts = [key.split(".")[::-1] for key in sorted(keys)]
        shared = [
            column[0] for column in takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False))
        ]
        for count in range(1, len(shared) + 1):
            ending = ".".join(shared[:count][::-1])
            for exact in (ending, f".{ending}"):
                if {key for key in known if key.endswith(exact)} == keys:
                    return exact
        return ""

    def _access(self, tensor: Learned) -> str:
        """How a tensor is reached through attributes; "" where one of them has no name that Python takes."""
        if not is_attribute(tensor.name):
            return ""
        way = module_access(self.graph, self.attributes, [level.label for level in tensor.path])
        return f"{way}.{tensor.name}" if way else ""

    def _fill(self, indent: str, rule: InitRule, tensor: str) -> list[str]:
        return statement(self.writer, indent, "", filled(rule.init, Code(tensor)))


def module_access(graph: Graph, attributes: Attributes, parts: list[str]) -> str:
    """How a module below a class is reached through attributes; "" where that is not plain."""
    if not parts:
        return "self"
    for count in range(1, len(parts) + 1):
        label = ".".join(parts[:count])
        if label in graph.layers:
            branch = attributes.branch(label)
            rest = _through(branch.made, parts[count:])
            return "" if rest is None else f"{branch.access.text}{rest}"
    return ""


def _by_key(tensor: Learned) -> str:
    return f"self.get_parameter({literal(tensor.key)})"


def _through(made: Any, parts: list[str]) -> str | None:
    """The way from a module to one inside it, as `[0].fc1`; None where it is not a plain one."""
    if not parts:
        return ""
    part, *rest = parts
    if isinstance(made, Chain):
        place = made.labels.index(part)
        step = f".{part}" if is_attribute(part) else f"[{place}]"
        made = made.items[place]
    elif not is_attribute(part):
        return None
    else:
        step = f".{part}"
        sketch = getattr(made.function, "sketch", None)
        inside = [entry.make for entry in sketch.nodes if entry.node.label == part] if sketch else []
        if sketch and not inside:
            return None
        made = inside[0] if sketch else made
    further = _through(made, rest)
    return None if further is None else step + further


def won_inside(graph: Graph) -> dict[str, Graph]:
    """The tensors below `graph` that a block in it has a rule for, with the innermost such block."""
    found: dict[str, Graph] = {}
    for label, node in graph.layers.items():
        if isinstance(node.op, Graph) and any(inner.inits for inner in node.op.subgraphs()):
            own = {tensor.key: node.op for _, tensors in meant(node.op) for tensor in tensors}
            found |= {f"{label}.{key}": block for key, block in (own | won_inside(node.op)).items()}
    return found


def _modules(graph: Graph, kind: str, above: str = "") -> Iterator[dict[str, str]]:
    """The modules of a torch class below `graph`, each as the keys of its learned tensors by their names."""
    for label, node in graph.layers.items():
        path = f"{above}{label}."
        if isinstance(node.op, Graph):
            yield from _modules(node.op, kind, path)
            continue
        state = node.op.state(*graph.operand_types(node))
        for inside in ("", *(f"{name}." for name in node.op.inside)):
            if (node.op.inside[inside[:-1]] if inside else node.op.kind) == kind:
                learned = (key for key, entry in state.items() if entry.learned and key.startswith(inside))
                names = (key.removeprefix(inside) for key in learned)
                yield {name: f"{path}{inside}{name}" for name in names if "." not in name}


def _torch_class(graph: Graph, kind: str) -> str:
    """The class of the layers of a kind below `graph`, as "nn.Conv2d"; "" where it is not one of `torch.nn`."""
    for body in graph.subgraphs():
        for node in body.layers.values():
            if isinstance(node.op, Graph):
                continue
            if kind in node.op.inside.values():
                return f"{_PREFIX}{kind}"
            if node.op.kind == kind:
                function = _function(body, node)
                return function if function.startswith(_PREFIX) else ""
    return ""


def _function(graph: Graph, node: Node) -> str:
    op: Any = node.op
    return op.torch(*graph.operand_types(node)).function
