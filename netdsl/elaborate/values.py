"""What an expression of the language can be worth while the graph is built.

Static values are Python's own: int, float, str, bool, None, tuples for lists, and symbolic dimensions. Tensors are
numbers in a body. Stages (templates and what is made of them) are layers that do not exist yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from netdsl.ir.dims import Expr
from netdsl.ir.formulas import Formula
from netdsl.ir.types import Type
from netdsl.ir.values import Shown
from netdsl.ops.base import Op
from netdsl.source import Span
from netdsl.syntax import tree

if TYPE_CHECKING:
    from netdsl.elaborate.body import Body
    from netdsl.elaborate.scope import Scope
    from netdsl.elaborate.session import Frame


class Poison:
    """The value of an expression with an error in it. It is everything and nothing, and never causes a second error."""

    def __repr__(self) -> str:
        return "unknown"


POISON: Final = Poison()


@dataclass(frozen=True, slots=True, eq=False)
class TensorValue:
    """A tensor of `body`. `origin` is where it was made, `name` what the source calls it."""

    body: Body
    number: int
    type: Type
    origin: Span
    name: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What a layer or block with several results gives: all of them to an unpacking, else the first one."""

    tensors: tuple[TensorValue, ...]
    names: tuple[str | None, ...]

    @property
    def first(self) -> TensorValue:
        return self.tensors[0]

    def __str__(self) -> str:
        return f"{len(self.tensors)} tensors"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call, evaluated: `name` is None where it is positional."""

    name: str | None
    value: Any
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Declared:
    """A model, block or extern of a file, with the scope its names are looked up in."""

    decl: tree.GraphDecl | tree.Extern = field(compare=False)
    scope: Scope = field(compare=False)
    identity: int  # of the declaration: two of one name in two files are two

    @property
    def name(self) -> str:
        return self.decl.name.id

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Function:
    """An `fn` of a file."""

    decl: tree.Fn = field(compare=False)
    scope: Scope = field(compare=False)
    identity: int

    def __str__(self) -> str:
        return self.decl.name.id


@dataclass(frozen=True, slots=True)
class Builtin:
    """A static function of the language, as `range`; `tensor` is the operation of the same name, as for `sum`."""

    name: str
    call: Callable[..., Any] = field(compare=False)
    tensor: type[Op] | None = None

    def __str__(self) -> str:
        return self.name


# ---------------------------------------------------------------------------------------------------- stages


@dataclass(frozen=True, slots=True)
class Template:
    """A layer, function or block with the arguments given so far, not placed yet."""

    callee: type[Op] | Declared
    arguments: tuple[Argument, ...] = ()
    span: Span | None = field(default=None, compare=False)
    made_in: tuple[Frame, ...] = field(
        default=(), compare=False
    )  # the functions whose value it is, for messages

    def __str__(self) -> str:
        name = self.callee.name if isinstance(self.callee, Declared) else self.callee.kind
        inside = ", ".join(
            f"{a.name} = {display(a.value)}" if a.name else display(a.value) for a in self.arguments
        )
        return f"{name}({inside})" if inside else name


@dataclass(frozen=True, slots=True)
class LabelledStage:
    label: str
    stage: Any
    span: Span = field(compare=False)
    label_span: Span = field(compare=False)

    def __str__(self) -> str:
        return f"{self.label}: {display(self.stage)}"


@dataclass(frozen=True, slots=True)
class LabelReference:
    """A label used again in stage position: the same layer once more."""

    label: str
    span: Span = field(compare=False)

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class Chain:
    """`stage -> stage` without a source."""

    stages: tuple[Placeable, ...]

    def __str__(self) -> str:
        return " -> ".join(display(p.stage) for p in self.stages)


@dataclass(frozen=True, slots=True)
class Placeable:
    """A stage and the place it was written at, for messages."""

    stage: Any
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Fork:
    branches: tuple[Placeable, ...]

    def __str__(self) -> str:
        return f"fork({', '.join(display(b.stage) for b in self.branches)})"


@dataclass(frozen=True, slots=True)
class Identity:
    def __str__(self) -> str:
        return "identity"


STAGES: Final = (Template, LabelledStage, LabelReference, Chain, Fork, Identity, Declared)


def is_list(value: Any) -> TypeGuard[tuple[Any, ...]]:
    """A list of the language, or several values that flow together."""
    return isinstance(value, tuple)


def together(value: Any) -> tuple[Any, ...]:
    """What flows: the values of a list, or the one value."""
    return value if is_list(value) else (value,)


def single(value: Any) -> Any:
    """The value where one is wanted: the first of several results."""
    return value.first if isinstance(value, Results) else value


_TENSORS: Final = (TensorValue, Results)


def is_tensor(value: Any) -> TypeGuard[TensorValue | Results]:
    return isinstance(value, _TENSORS)


def is_operation(value: Any) -> TypeGuard[type[Op]]:
    """A layer or function of the language, without arguments yet."""
    return isinstance(value, type) and issubclass(value, Op)


def is_unknown(value: Any) -> bool:
    """The value of an expression with an error in it, or a list with one in it."""
    if is_list(value):
        return any(is_unknown(item) for item in value)
    return value is POISON


def holds_tensor(value: Any) -> bool:
    """A tensor, or a list with one in it."""
    if is_list(value):
        return any(holds_tensor(item) for item in value)
    return is_tensor(value)


def is_stage(value: Any) -> bool:
    """What may stand after an arrow; a list may if its items may."""
    if is_list(value):
        return all(is_stage(item) or item is POISON for item in value)
    if isinstance(value, Builtin):
        return value.tensor is not None
    return isinstance(value, STAGES) or is_operation(value)


_WITH_PARTS: Final = (tuple, Template, LabelledStage, Chain, Fork)


def has_parts(value: Any) -> bool:
    """A list, or a stage made of others. Sharing can make a short program's list of lists enormous: see `extent`."""
    return isinstance(value, _WITH_PARTS)


def parts(value: Any) -> tuple[Any, ...]:
    """The values inside a value that has parts."""
    if is_list(value):
        return value
    if isinstance(value, Template):
        return tuple(argument.value for argument in value.arguments)
    if isinstance(value, Chain):
        return tuple(item.stage for item in value.stages)
    if isinstance(value, Fork):
        return tuple(item.stage for item in value.branches)
    return (value.stage,)


def with_parts(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value that has parts with each of them changed."""
    if is_list(value):
        return tuple(map(change, value))
    if isinstance(value, Template):
        return replace(value, arguments=tuple(replace(a, value=change(a.value)) for a in value.arguments))
    if isinstance(value, Chain):
        return Chain(tuple(replace(item, stage=change(item.stage)) for item in value.stages))
    if isinstance(value, Fork):
        return Fork(tuple(replace(item, stage=change(item.stage)) for item in value.branches))
    return replace(value, stage=change(value.stage))


def extent(value: Any, most: int) -> tuple[int, int]:
    """How many values a value with parts is made of, and how deep they nest; counting stops above `most`."""
    count = depth = 0
    level = [value]
    while level:
        depth += 1
        inner: list[Any] = []
        for outer in level:
            held = parts(outer)
            count += len(held)
            if count > most:
                return count, depth
            inner += [part for part in held if isinstance(part, _WITH_PARTS)]
        level = inner
    return count, depth


def in_words(value: Any) -> str:
    """What a value is, for a message: "the integer 3", "a tensor [N, 3]"."""
    if isinstance(value, bool) or value is None:
        return f"`{value}`"
    if isinstance(value, int):
        return f"the integer {value}"
    if isinstance(value, float):
        return f"the number {value}"
    if isinstance(value, str):
        return f'the string "{value}"'
    if isinstance(value, Expr):
        return f"the size `{value}`"
    if isinstance(value, Formula):
        return f"`{value}`"
    if is_list(value):
        return f"a list of {len(value)}"
    if isinstance(value, TensorValue):
        return f"a tensor {value.type}"
    if isinstance(value, Results):
        return f"a group of {len(value.tensors)} tensors"
    if isinstance(value, Function):
        return f"the function `{value}`"
    if isinstance(value, Builtin):
        return f"the function `{value.name}`"
    return f"the layer `{display(value)}`"


def display(value: Any) -> str:
    """A value as the language would write it."""
    if isinstance(value, str):
        return f'"{value}"'
    if is_list(value):
        return "[" + ", ".join(map(display, value)) + "]"
    if is_operation(value):
        return value.kind
    if isinstance(value, TensorValue):
        return value.name or "a tensor"
    return str(value)


def as_kept(value: Any) -> Any:
    """A parameter's value as a graph keeps it: plain, and of layers and functions, however deep in lists, the text."""
    if is_list(value):
        return tuple(map(as_kept, value))
    if value is None or isinstance(value, bool | int | float | str | Expr):
        return value
    return Shown(display(value))
