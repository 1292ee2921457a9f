"""The `train` block as plain data (`settings`): keys, and values in which a name with arguments is a `Choice`."""

from __future__ import annotations

from typing import Any

from netdsl.diagnostics import Label
from netdsl.elaborate.blocks import Evaluator
from netdsl.elaborate.settings import Choice, Setting, Value
from netdsl.elaborate.values import POISON, Builtin, Declared, Function, in_words, is_list
from netdsl.ir.dims import Expr
from netdsl.source import Span
from netdsl.syntax import tree


class Recipes(Evaluator):
    """Reads the entries of a `train` block. Names that the file does not bind are names of torch's classes."""

    def settings(self, train: tree.Train) -> dict[str, Setting]:
        found: dict[str, Setting] = {}
        for entry in train.entries:
            key = entry.key.id
            if key in found:
                first = found[key].key_span
                also = [Label(first, "first given here")] if first else []
                self.error("E0306", f"`{key}` is given twice", entry.key.span, also=also)
                continue
            value = self.setting(entry.value)
            if value is not POISON:
                found[key] = Setting(value, entry.value.span, entry.key.span)
        return found

    def setting(self, expr: tree.Expr) -> Value | Any:
        if isinstance(expr, tree.Paren) and expr.is_group:
            return self.setting(expr.items[0])
        if (
            isinstance(expr, tree.Call)
            and isinstance(expr.function, tree.Name)
            and not self._static(expr.function, called=True)
        ):
            return self._choice(expr.function.id, expr)
        if isinstance(expr, tree.Name) and (self._is_function(expr) or not self._static(expr)):
            return Choice(expr.id, {}, (), expr.span)
        if isinstance(expr, tree.ListExpr) and not any(
            isinstance(i, tree.ForItem | tree.IfItem | tree.Splice) for i in expr.items
        ):
            items = [self.setting(item) for item in expr.items]  # type: ignore[arg-type]
            return POISON if any(item is POISON for item in items) else items
        return self._plain(self.static(expr, "a setting"), expr.span)

    def _static(self, name: tree.Name, *, called: bool = False) -> bool:
        """Whether `name` has a static value here; a block or an operation is a choice by its name.

        What the language itself gives, as `range`, is static where it is `called`: `mode = max` is a word.
        """
        binding = self.scope.find(name.id)
        if binding is None or isinstance(binding.value, Declared):
            return False
        return binding.span is not None or isinstance(
            binding.value, (Function, Builtin) if called else Function
        )

    def _is_function(self, name: tree.Name) -> bool:
        """Whether `name` is a `fn` of the file, which stands for itself."""
        binding = self.scope.find(name.id)
        if binding is None or not isinstance(binding.value, Function):
            return False
        self.scope.read(name.id)
        return True

    def _choice(self, name: str, call: tree.Call) -> Any:
        arguments: dict[str, Any] = {}
        positional: list[Any] = []
        places: dict[str | int, Span] = {}
        for argument in call.arguments:
            written = argument.value if isinstance(argument, tree.Keyword) else argument
            value = self.setting(written)
            if value is POISON:
                return POISON
            if not isinstance(argument, tree.Keyword):
                places[len(positional)] = argument.span
                positional.append(value)
            elif argument.name in arguments:
                return self.error("E0306", f"`{argument.name}` of `{name}` is given twice", argument.span)
            else:
                places[argument.name] = written.span
                arguments[argument.name] = value
        return Choice(name, arguments, tuple(positional), call.span, places)

    def _plain(self, value: Any, span: Span) -> Any:
        if is_list(value):
            items = [self._plain(item, span) for item in value]
            return POISON if any(item is POISON for item in items) else items
        if value is POISON or value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Expr):
            return self.error(
                "E0307", f"a setting must be known, but `{value}` is a size known only at run time", span
            )
        return self.error(
            "E0307", f"a setting is a number, a string, a list or a class, found {in_words(value)}", span
        )
