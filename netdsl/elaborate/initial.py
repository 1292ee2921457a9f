"""Initialisers: `normal(std = 0.02)` in a `param` or an `init` rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.elaborate.arguments import unknown_argument
from netdsl.elaborate.shapes import Shapes
from netdsl.elaborate.values import POISON, in_words
from netdsl.ir import formulas
from netdsl.ir.dims import Dim
from netdsl.ir.formulas import Formula
from netdsl.ops.base import ShapeProblem, initialisers
from netdsl.source import Span
from netdsl.syntax import tree

FANS: Final = {name: Formula(name) for name in formulas.FANS}


class Initial(Shapes):
    def initialiser(self, expr: tree.Expr) -> Any:
        """The initialiser an expression names, or POISON."""
        function = expr.function if isinstance(expr, tree.Call) else expr
        if isinstance(function, tree.Paren) and function.is_group:
            return self.initialiser(function.items[0])
        if not isinstance(function, tree.Name):
            return self.error(
                "E0313",
                "a parameter starts from an initialiser",
                expr.span,
                help="for example `normal(std = 0.02)` or `zeros`",
            )
        cls = initialisers.get(function.id)
        if cls is None:
            helps = did_you_mean(function.id, list(initialisers)) or (
                "the initialisers: " + ", ".join(f"`{name}`" for name in sorted(initialisers)),
            )
            return self.error("E0313", f"unknown initialiser `{function.id}`", function.span, helps=helps)
        fields = self._fields(cls, expr) if isinstance(expr, tree.Call) else {}
        if fields is None:
            return POISON
        try:
            return cls(**fields)
        except ValidationError as problem:
            first = problem.errors(include_url=False)[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            if first["type"] == "missing":
                return self.error("E0302", f"`{cls.kind}` needs `{name}`", expr.span)
            return self.error(
                "E0303", f"`{name}` of `{cls.kind}` cannot be {in_words(first['input'])}", expr.span
            )

    def path(self, written: Sequence[tree.Name | tree.String]) -> tuple[str, ...] | None:
        """The parts of a path, or of a pattern; those in quotes are labels, which may have dots of their own."""
        parts: list[str] = []
        for part in written:
            text = "*" if isinstance(part, tree.Name) and part.id == "*" else self.label(part)
            if text is POISON:
                return None
            parts += text.split(".")
        return tuple(parts)

    def initialiser_of(self, expr: tree.Expr, sizes: Mapping[str, Any]) -> Any:
        """The initialiser an expression names, in which the fans of what it fills have names."""
        outer, self.scope = self.scope, self.scope.child()
        for name, size in sizes.items():
            if outer.find(name) is None:
                self.scope.declare(name, size, None)
        try:
            return self.initialiser(expr)
        finally:
            self.scope = outer

    def check_fills(self, init: Any, shape: tuple[Dim, ...], span: Span) -> None:
        """Report an initialiser that cannot fill a tensor of `shape`."""
        try:
            init.check(shape)
        except ShapeProblem as problem:
            self.error(problem.code, problem.message, span, problem.label)

    def _fields(self, cls: Any, call: tree.Call) -> dict[str, Any] | None:
        names = list(cls.model_fields)
        fields: dict[str, Any] = {}
        positional = 0
        for argument in self.arguments(call):
            if argument.value is POISON:
                return None
            name = argument.name
            if name is None:
                if positional >= len(names):
                    self.error("E0304", f"`{cls.kind}` takes {len(names)} arguments", argument.span)
                    return None
                name = names[positional]
                positional += 1
            if name not in names:
                unknown_argument(self.session, cls.kind, name, argument.span, names)
                return None
            if name in fields:
                self.error("E0306", f"`{name}` of `{cls.kind}` is given twice", argument.span)
                return None
            fields[name] = argument.value
        return fields
