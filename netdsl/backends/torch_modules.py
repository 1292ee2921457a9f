"""What a class holds, and how it is reached: layers under their labels, params, buffers, and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from netdsl.backends.errors import BackendError
from netdsl.backends.torch_expressions import Writer
from netdsl.backends.torch_forward import FEWEST, INDENT, Access, Forward, Loop
from netdsl.backends.torch_layout import statement
from netdsl.backends.torch_names import (
    CONTAINER_ATTRIBUTES,
    MODULE_ATTRIBUTES,
    identifier,
    is_attribute,
    is_plain,
    literal,
    unique,
)
from netdsl.backends.torch_sizes import ShapeText
from netdsl.backends.torch_sketch import Applied, Fixed, Learned, Sketch
from netdsl.backends.torch_trees import TORCH_ROOTS, Code, Make, Pairs, Repeat, Use, runs
from netdsl.ir.dims import Expr
from netdsl.ir.graph import Graph
from netdsl.ir.types import Tensor
from netdsl.ops.target import Call

KNOWN_ROOTS: Final = (*TORCH_ROOTS, "torchvision")  # layers from elsewhere may hold anything


@dataclass
class Branch:
    """One part of the labels of a class: a layer, or a container of those whose labels go on after a dot."""

    made: Any = None
    node: Applied | None = None  # the use that says how it is made
    parts: dict[str, Branch] = field(default_factory=dict)
    access: Access = field(default_factory=lambda: Access(""))

    @property
    def is_list(self) -> bool:
        """Whether the parts are numbered without a gap, as in an `nn.ModuleList`."""
        return self.made is None and set(self.parts) == set(map(str, range(len(self.parts))))


class Attributes:
    """The attributes of a class. `reach` and `fixed` say how `forward` gets at them, `lines` makes them."""

    def __init__(self, sketch: Sketch) -> None:
        self.sketch = sketch
        self.root = Branch()
        own = [(entry.parameter, "_parameters") for entry in sketch.learned]
        own += [(entry.buffer, "_buffers") for entry in sketch.fixed]
        self.taken = {held.name for held, _ in own}
        self.fixed = {held.value: _own(held.name, registry) for held, registry in own}
        for applied in sketch.nodes:
            if applied.node.label is not None and applied.make is not None:
                self._place(applied.node.label, applied)
        self.taken |= set(self.root.parts)
        for name, branch in self.root.parts.items():
            _reach(branch, _own(name, "_modules"))
        self.unlabelled = dict(self._name_unlabelled())
        self.numbers: dict[str, str] = {}  # an expression over the constructor's arguments -> attribute

    def reach(self, applied: Applied) -> Access:
        """How `forward` gets at the module of a node."""
        if applied.node.label is None:
            return Access(f"self.{self.unlabelled[_identity(applied)]}")
        return self.branch(applied.node.label).access

    def branch(self, label: str) -> Branch:
        branch = self.root
        for part in label.split("."):
            branch = branch.parts[part]
        return branch

    def number(self, value: str, wished: str) -> str:
        """The attribute that keeps a number of the constructor for `forward`."""
        if value not in self.numbers:
            name = wished if is_attribute(wished) else f"{wished}_"
            self.numbers[value] = unique(name, self.taken)
            self.taken.add(self.numbers[value])
        return self.numbers[value]

    def loops(self, *, slices: bool) -> dict[str, Loop]:
        """The containers that `forward` may run through, by the labels of their layers."""
        found: dict[str, Loop] = {}
        for name, branch in self.root.parts.items():
            for path, inside in _containers(name, branch):
                text = inside.access.text if inside.is_list else f"{inside.access.text}.values()"
                word = path.rpartition(".")[2]
                item = identifier(word[:-1] if word.endswith("s") else "", (), "layer")
                labels = tuple(f"{path}.{part}" for part in inside.parts)
                found |= dict.fromkeys(labels, Loop(labels, text, item, inside.is_list and slices))
        return found

    def _place(self, label: str, applied: Applied) -> None:
        branch = self.root
        for part in label.split("."):
            branch = branch.parts.setdefault(part, Branch())
        if branch.made is None or _holds_for(applied, branch.node):
            branch.made, branch.node = applied.make, applied
        elif branch.made != applied.make and not _holds_for(branch.node, applied):
            raise BackendError(
                f"`{label}` is applied to inputs of different sizes, and what it computes depends on them",
                ["leave these sizes free in the model's inputs, or give each use a label of its own"],
            )

    def _name_unlabelled(self) -> Iterator[tuple[Any, str]]:
        kinds: dict[str, dict[Any, None]] = {}
        for applied in self.sketch.nodes:
            if applied.make is not None and applied.node.label is None:
                op: Any = applied.node.op
                kind = (op.name if isinstance(op, Graph) else op.kind).lower()
                kinds.setdefault(identifier(kind), {})[_identity(applied)] = None
        for kind, identities in kinds.items():
            for count, identity in enumerate(identities, 1):
                name = kind if len(identities) == 1 else f"{kind}_{count}"
                name = unique(name, self.taken | MODULE_ATTRIBUTES)
                self.taken.add(name)
                yield identity, name

    # -- the lines of `__init__`

    def lines(self, writer: Writer, arguments: frozenset[str]) -> list[str]:
        """The lines that make all of it; numbers that `forward` needs must have been asked for before.

        `arguments` are those of the constructor.
        """
        lines = [f"{INDENT}self.{name} = {value}" for value, name in self.numbers.items()]
        for entry in self.sketch.learned:
            lines += _parameter(writer, entry, self.fixed[entry.parameter.value])
        for entry in self.sketch.fixed:
            lines += _buffer(writer, entry, arguments)
        done: set[str] = set()
        for applied in self.sketch.nodes:
            if applied.make is None:
                continue
            name = self.unlabelled[_identity(applied)] if applied.node.label is None else applied.node.label
            first = name.split(".")[0]
            if first in done:
                continue
            done.add(first)
            if applied.node.label is None:
                lines += statement(writer, INDENT, f"self.{name} = ", applied.make)
            else:
                lines += _module(writer, first, self.root.parts[first])
        return lines


def _holds_for(one: Applied | None, other: Applied | None) -> bool:
    """Whether the class of a block that is used twice, at free sizes and at numbers, is that of the first use."""
    if one is None or other is None or one.make == other.make or len(one.use.args) != len(other.use.args):
        return False
    if not isinstance(one.node.op, Graph) or not isinstance(other.node.op, Graph):
        return False
    for left, right in zip(one.node.op.inputs, other.node.op.inputs, strict=True):
        if not isinstance(left.type, Tensor) or not isinstance(right.type, Tensor):
            return False
        sizes = zip(left.type.shape, right.type.shape, strict=True)
        if not all(isinstance(a, Expr) or a == b for a, b in sizes):
            return False
    return True


def _identity(applied: Applied) -> Any:
    """What layers without a label share an attribute by: all that makes them, or the node where they may have state."""
    make = applied.make
    function = make.function if isinstance(make, Make) else None
    foreign = isinstance(function, str) and function.split(".")[0] not in KNOWN_ROOTS
    return applied.node.results if foreign else make


def _own(name: str, registry: str) -> Access:
    if is_attribute(name):
        return Access(f"self.{name}")
    got = f"getattr(self, {literal(name)})"
    if name not in MODULE_ATTRIBUTES:
        return Access(got)
    scripted = f"self.{name}" if is_plain(name) else got
    return Access(f"self.{registry}[{literal(name)}]", scripted, f"{identifier(name).strip('_')}_")


def _reach(branch: Branch, access: Access) -> None:
    branch.access = access
    for name, part in branch.parts.items():
        if branch.made is not None:
            got = f"getattr({access.text}, {literal(name)})"
            text = f"{access.text}.{name}" if is_attribute(name) else got
        else:
            text = f"{access.text}[{name if branch.is_list else literal(name)}]"
        scripted = text.replace(access.text, access.scripted, 1) if access.scripted else ""
        _reach(part, Access(text, scripted))


def _containers(path: str, branch: Branch) -> Iterator[tuple[str, Branch]]:
    """Containers of three layers and more, which all are there from the start and in the order of their names."""
    if branch.made is None:
        layers = all(part.made is not None and not part.parts for part in branch.parts.values())
        in_order = not branch.is_list or [*branch.parts] == [str(n) for n in range(len(branch.parts))]
        unusual = (MODULE_ATTRIBUTES | CONTAINER_ATTRIBUTES).intersection(branch.parts)
        if layers and in_order and not unusual and not branch.access.scripted and len(branch.parts) >= FEWEST:
            yield path, branch
    for name, part in branch.parts.items():
        yield from _containers(f"{path}.{name}", part)


def _module(writer: Writer, name: str, branch: Branch) -> list[str]:
    """The lines that make a layer or a container under its name."""
    later: list[tuple[str, str, Branch]] = []
    made = _made(branch, later)
    if is_attribute(name):
        lines = statement(writer, INDENT, f"self.{name} = ", made)
    elif name in MODULE_ATTRIBUTES:
        lines = statement(writer, INDENT, f"self._modules[{literal(name)}] = ", made)
    else:
        lines = statement(writer, INDENT, "", Use((name, made), (), "self.add_module"))
    for owner, part, inside in later:
        if part in MODULE_ATTRIBUTES or part in CONTAINER_ATTRIBUTES:
            target = f"{owner}._modules[{literal(part)}] = "
            lines += statement(writer, INDENT, target, _made(inside, later))
        else:
            added = Use((part, _made(inside, later)), (), f"{owner}.add_module")
            lines += statement(writer, INDENT, "", added)
    return lines


def _made(branch: Branch, later: list[tuple[str, str, Branch]]) -> Any:
    """The expression that makes a branch; parts that it cannot hold from the start are left for `later`."""
    if branch.made is not None:
        later += [(branch.access.text, name, part) for name, part in branch.parts.items()]
        return branch.made
    if branch.is_list:
        ordered = [branch.parts[str(number)] for number in range(len(branch.parts))]
        items = runs(tuple(_made(part, later) for part in ordered))
        return Call("nn.ModuleList", ([_alone(item, len(items)) for item in items],))
    held = {n: p for n, p in branch.parts.items() if n not in MODULE_ATTRIBUTES | CONTAINER_ATTRIBUTES}
    later += [(branch.access.text, n, p) for n, p in branch.parts.items() if n not in held]
    made = tuple(_made(part, later) for part in held.values())
    return Call("nn.ModuleDict", (Pairs(tuple(held), made),))


def _alone(item: Any, count: int) -> Any:
    return replace(item, alone=True) if count == 1 and isinstance(item, Repeat) else item


def _parameter(writer: Writer, entry: Learned, access: Access) -> list[str]:
    """The lines that make a param and fill it."""
    name = entry.parameter.name
    made = Call("nn.Parameter", (entry.make,))
    if is_attribute(name):
        lines = statement(writer, INDENT, f"self.{name} = ", made)
    elif name in MODULE_ATTRIBUTES:
        lines = statement(writer, INDENT, f"self._parameters[{literal(name)}] = ", made)
    else:
        lines = statement(writer, INDENT, "", Use((name, made), (), "self.register_parameter"))
    if entry.fill is not None:
        filled = replace(entry.fill, args=(Code(access.text), *entry.fill.args))
        lines += statement(writer, INDENT, "", filled)
    return lines


def _buffer(writer: Writer, entry: Fixed, avoid: frozenset[str]) -> list[str]:
    """The lines that compute a buffer and register it."""
    buffer = entry.buffer
    forward = Forward(entry.make, writer, _no_module, {}, ShapeText([buffer.make], {}), avoid=avoid)
    lines = forward.before_return()
    value = forward.value
    kwargs = () if buffer.saved else (("persistent", False),)
    if buffer.name in MODULE_ATTRIBUTES:
        lines += statement(writer, INDENT, f"self._buffers[{literal(buffer.name)}] = ", value)
        if not buffer.saved:
            lines.append(f"{INDENT}self._non_persistent_buffers_set.add({literal(buffer.name)})")
        return lines
    return lines + statement(writer, INDENT, "", Use((buffer.name, value), kwargs, "self.register_buffer"))


def _no_module(applied: Applied) -> Access:
    raise ValueError(f"a buffer cannot have layers: {applied.node.label}")
