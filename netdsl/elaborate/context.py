"""What the parts of the evaluator share. They build on each other: expressions, calls, flows, statements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

from netdsl.diagnostics.suggest import correction, did_you_mean
from netdsl.elaborate.body import Body
from netdsl.elaborate.scope import Scope
from netdsl.elaborate.session import Session
from netdsl.elaborate.static import StaticError
from netdsl.elaborate.values import POISON
from netdsl.source import Span
from netdsl.syntax import tree

# What people type out of habit, and what it is called here.
HABITS: Final = {
    "cat": "torch.cat is `concat` here",
    "view": "reshaping is `reshape` here",
    "nn": "the layers of torch.nn are built in: write `Conv2d`, not `nn.Conv2d`",
    "F": "torch's functions are built in: write `relu(x)`, not `F.relu(x)`",
    "torch": "torch's functions are built in: write `concat(x, y, dim = 1)`",
    "self": "layers are made where they are placed, and a label names them: `x -> conv1: Conv2d(10, 5)`",
    "Sequential": "a list is a sequence: `features: [Conv2d(10, 5), ReLU]`",
    "ModuleList": 'repeat with `for`, and name with a label: `"layers.{i}": Block(d)`',
    "add": "write `x + y`",
    "true": "write `True`",
    "false": "write `False`",
    "none": "write `None`",
    "null": "write `None`",
    "print": "a spec computes shapes only; `netdsl summary` shows them",
}


class Context(ABC):
    """A place in a program: the names in scope, and the body that layers go to (None in static code)."""

    def __init__(self, session: Session, scope: Scope, body: Body | None) -> None:
        self.session = session
        self.scope = scope
        self.body = body

    def error(self, code: str, message: str, span: Span, label: str = "", **more: Any) -> Any:
        """Report, and give the value that causes no further error."""
        self.session.error(code, message, span, label, **more)
        return POISON

    def static_error(self, problem: StaticError, span: Span) -> Any:
        return self.error(problem.code, problem.message, span, help=problem.help)

    def unknown_name(self, name: str, span: Span, candidates: list[str], what: str = "name") -> Any:
        if name in self.session.lost:
            return POISON  # a line with a syntax error may have bound it
        message = f"unknown {what} `{name}`"
        if name in HABITS:
            return self.error("E0201", message, span, help=HABITS[name])
        candidates = [*candidates, "fork"]  # which is no name, but written like one
        fixes = correction(name, span, candidates)
        return self.error("E0201", message, span, helps=did_you_mean(name, candidates), fixes=fixes)

    # -- given by the later parts

    @abstractmethod
    def value(self, expr: tree.Expr) -> Any:
        """The value of an expression, or POISON."""

    @abstractmethod
    def stage(self, expr: tree.Expr) -> Any:
        """The stage that an expression in stage position is, or POISON."""

    @abstractmethod
    def call(self, expr: tree.Call) -> Any:
        """The value of a call, or POISON."""

    @abstractmethod
    def flow(self, expr: tree.Flow) -> Any:
        """The value of `head -> stage -> ...`, or POISON."""

    @abstractmethod
    def labelled(self, expr: tree.Labelled) -> Any:
        """The stage that `label: stage` is, or POISON."""

    @abstractmethod
    def forget(self, stage: Any) -> None:
        """Take note of the labels of a stage that an error keeps from being placed."""

    @abstractmethod
    def index_tensor(self, expr: tree.Subscript, value: Any) -> Any:
        """A part of a tensor, or POISON."""

    @abstractmethod
    def apply_operation(self, kind: str, operands: list[tuple[Any, Span]], span: Span) -> Any:
        """The result of an operator on operands of which at least one is a tensor, or POISON."""
