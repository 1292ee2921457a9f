"""The syntax tree: frozen nodes, each with its span. It says what was written, not what it means.

Expressions (`Expr`), stages of a flow, statements of a body and declarations of a file. `Paren` and the raw text of
literals are kept, so that the printer can give back what a person wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from netdsl.source import Span

# ---------------------------------------------------------------------------------------------- expressions


@dataclass(frozen=True, slots=True)
class Name:
    id: str
    span: Span


@dataclass(frozen=True, slots=True)
class Number:
    value: int | float
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class String:
    """`parts` alternates literal text (str, escapes resolved) and interpolated expressions, in any order."""

    parts: tuple[str | Expr, ...]
    text: str  # as written, with its quotes
    span: Span


@dataclass(frozen=True, slots=True)
class Constant:
    """`True`, `False`, `None` or `...` (value is `Ellipsis`)."""

    value: object
    span: Span


@dataclass(frozen=True, slots=True)
class ListExpr:
    items: tuple[Item, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Paren:
    """`(a)` groups; `(a, b)` or `(a,)` is a tuple (`trailing` says that the last item is followed by a comma)."""

    items: tuple[Expr, ...]
    trailing: bool
    span: Span

    @property
    def is_group(self) -> bool:
        return len(self.items) == 1 and not self.trailing


@dataclass(frozen=True, slots=True)
class Unary:
    op: str  # "-" or "not"
    operand: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    op: str  # + - * / // % @ ** and or
    left: Expr
    right: Expr
    span: Span
    op_span: Span


@dataclass(frozen=True, slots=True)
class Compare:
    """`a < b <= c`: the first operand, then (operator, operand) pairs. Operators include "in" and "not in"."""

    first: Expr
    rest: tuple[tuple[str, Expr], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Conditional:
    """`then if condition else other`."""

    then: Expr
    condition: Expr
    other: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Keyword:
    """`name = value` among the arguments of a call."""

    name: str
    value: Expr
    span: Span
    name_span: Span


@dataclass(frozen=True, slots=True)
class Call:
    function: Expr
    arguments: tuple[Expr | Keyword, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Slice:
    start: Expr | None
    stop: Expr | None
    step: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Subscript:
    value: Expr
    indices: tuple[Expr | Slice, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Attribute:
    value: Expr
    name: str
    span: Span
    name_span: Span


@dataclass(frozen=True, slots=True)
class Labelled:
    """`conv1: Conv2d(10, 5)`; a stage, an item of a list or an argument of `fork`."""

    label: Name | String
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Flow:
    """`head -> stage -> stage`. `head` is the source, or the first stage where there is none."""

    head: Expr
    stages: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Splice:
    """`*items` in a list (or in a call's arguments)."""

    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class ForItem:
    names: tuple[Name, ...]
    iterable: Expr
    items: tuple[Item, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class IfItem:
    """`branches` are (condition, items); `otherwise` is the `else` part, None where there is none."""

    branches: tuple[tuple[Expr, tuple[Item, ...]], ...]
    otherwise: tuple[Item, ...] | None
    span: Span


Expr: TypeAlias = (
    Name
    | Number
    | String
    | Constant
    | ListExpr
    | Paren
    | Unary
    | Binary
    | Compare
    | Conditional
    | Call
    | Subscript
    | Attribute
    | Labelled
    | Flow
    | Splice
)
Item: TypeAlias = Expr | ForItem | IfItem

# ----------------------------------------------------------------------------------------------- statements


@dataclass(frozen=True, slots=True)
class Shape:
    """`[N, 3, H // 2, _, ...]`, with a dtype written before it where there is one."""

    dims: tuple[Expr, ...]  # `_` is a Name, `...` a Constant
    dtype: Name | None
    span: Span


@dataclass(frozen=True, slots=True)
class Input:
    """`input name: [..]`; `= None` after it where a block can do without."""

    name: Name
    shape: Shape | None
    span: Span
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """`output value`, `output name = value`, `output name: [..] = value`, each with an optional `when training`."""

    name: Name | None
    shape: Shape | None
    value: Expr
    when: Name | None
    span: Span


@dataclass(frozen=True, slots=True)
class Bind:
    """`name = value`, `name: [..] = value` or `a, b = value`."""

    targets: tuple[Name, ...]
    shape: Shape | None
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Param:
    name: Name
    shape: Shape
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Buffer:
    name: Name
    shape: Shape
    value: Expr
    when: Name | None
    span: Span


@dataclass(frozen=True, slots=True)
class Init:
    pattern: tuple[Name | String, ...]  # the parts between the dots; "*" is a Name too
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Tie:
    """`tie name = source`: the same tensor, or the same layer, under two names."""

    name: tuple[Name | String, ...]  # the parts between the dots
    source: tuple[Name | String, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Assert:
    condition: Expr
    message: String | None
    span: Span


@dataclass(frozen=True, slots=True)
class Expect:
    """`expect condition`, or `expect name: [..]` (then `shape` is set and `condition` is the name)."""

    condition: Expr
    shape: Shape | None
    span: Span


@dataclass(frozen=True, slots=True)
class If:
    branches: tuple[tuple[Expr, tuple[Statement, ...]], ...]
    otherwise: tuple[Statement, ...] | None
    span: Span


@dataclass(frozen=True, slots=True)
class For:
    names: tuple[Name, ...]
    iterable: Expr
    body: tuple[Statement, ...]
    span: Span


Statement: TypeAlias = Input | Output | Bind | Param | Buffer | Init | Tie | Assert | Expect | If | For

# --------------------------------------------------------------------------------------------- declarations


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a model, block, fn or extern: `name`, `name: type`, `name = default`, `name: type = default`."""

    name: Name
    type: Name | None
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Import:
    names: tuple[Name, ...]
    path: String
    doc: str
    span: Span


@dataclass(frozen=True, slots=True)
class Const:
    name: Name
    value: Expr
    doc: str
    span: Span


@dataclass(frozen=True, slots=True)
class Fn:
    """`fn f(x) = expr` (then `value` is set) or `fn f(x) { statements }`."""

    name: Name
    parameters: tuple[Parameter, ...]
    value: Expr | None
    body: tuple[Statement, ...]
    doc: str
    span: Span


@dataclass(frozen=True, slots=True)
class GraphDecl:
    """`model` or `block` (`kind`) with a body, or a variant `model A(..) = B(..)` (then `value` is set)."""

    kind: str
    name: Name
    parameters: tuple[Parameter, ...]
    value: Expr | None
    body: tuple[Statement, ...]
    doc: str  # the `##` lines above it, without the marks, joined by newlines
    span: Span


@dataclass(frozen=True, slots=True)
class Entry:
    """`key = value` in a `train` block."""

    key: Name
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Train:
    model: Name
    entries: tuple[Entry, ...]
    doc: str
    span: Span


@dataclass(frozen=True, slots=True)
class Extern:
    name: Name
    parameters: tuple[Parameter, ...]
    target: String
    body: tuple[Statement, ...]
    doc: str
    span: Span


Declaration: TypeAlias = Import | Const | Fn | GraphDecl | Train | Extern


@dataclass(frozen=True, slots=True)
class Comment:
    """`# …` as written; `own_line` where nothing but blanks stands before it."""

    text: str
    own_line: bool
    span: Span


@dataclass(frozen=True, slots=True)
class File:
    declarations: tuple[Declaration, ...]
    comments: tuple[Comment, ...]
    span: Span
