"""Expressions: names, literals, lists, operators, indices. Tensors make nodes; the rest is static."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from netdsl.diagnostics import Label
from netdsl.elaborate import static
from netdsl.elaborate.context import Context
from netdsl.elaborate.static import StaticError
from netdsl.elaborate.values import (
    POISON,
    Results,
    Template,
    has_parts,
    in_words,
    is_list,
    is_tensor,
    is_unknown,
    parts,
    single,
)
from netdsl.ir.dims import Expr
from netdsl.ir.types import Tensor
from netdsl.source import Span
from netdsl.syntax import tree

INFIX: Final = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "//": "floor_divide",
    "%": "remainder",
    "@": "matmul",
    "**": "pow",
    "<": "lt",
    "<=": "le",
    ">": "gt",
    ">=": "ge",
    "==": "eq",
    "!=": "ne",
}


class Expressions(Context):
    """The value of an expression. Errors are reported and give `POISON`."""

    def value(self, expr: tree.Expr) -> Any:
        return self._EVALUATE[type(expr)](self, expr)

    def static(self, expr: tree.Expr, what: str) -> Any:
        """A value that is not a tensor; `what` says for what, in a message."""
        value = self.value(expr)
        if is_tensor(value):
            return self.error(
                "E0307", f"{what} must be known before the model runs, but this is a tensor", expr.span
            )
        return value

    def measured(self, value: Any, span: Span) -> Any:
        """`value`, if it is not larger than lists and templates may be; a large one costs more than one step."""
        if not has_parts(value) or (isinstance(value, Template) and not any(map(has_parts, parts(value)))):
            return value  # an ordinary layer, of which there are many
        try:
            self.session.step(span, static.measured(value))
        except StaticError as problem:
            return self.static_error(problem, span)
        return value

    # -- leaves

    def _name(self, expr: tree.Name) -> Any:
        binding = self.scope.read(expr.id)
        if binding is not None:
            return binding.value
        if self.body is not None and expr.id in self.body.labels:
            return self.error(
                "E0202",
                f"`{expr.id}` is the label of a layer, not a value",
                expr.span,
                help=f"apply it again with an arrow, `x -> {expr.id}`, or name its result: `y = x -> {expr.id}: ...`",
            )
        inside = self.scope.lost(expr.id)
        if inside is not None:
            return self.error(
                "E0201",
                f"`{expr.id}` is bound inside an `if` or `for`, and not seen after it",
                expr.span,
                also=[Label(inside, "bound here")],
                help="bind it before, or in every branch of the `if`",
            )
        return self.unknown_name(expr.id, expr.span, self.scope.visible())

    def _number(self, expr: tree.Number) -> Any:
        return expr.value

    def _constant(self, expr: tree.Constant) -> Any:
        if expr.value is Ellipsis:
            return self.error(
                "E0307", "`...` stands only in shapes and in the indices of a tensor", expr.span
            )
        return expr.value

    def _string(self, expr: tree.String) -> Any:
        parts: list[str] = []
        for part in expr.parts:
            if isinstance(part, str):
                parts.append(part)
                continue
            value = self.static(part, "text in `{ }`")
            if value is POISON:
                return POISON
            if not isinstance(value, str | int | float | Expr) and value is not None:
                return self.error(
                    "E0307",
                    f"`{{ }}` in a string takes a number or a string, found {in_words(value)}",
                    part.span,
                )
            parts.append(str(value))
        try:
            return static.checked("".join(parts))
        except StaticError as problem:
            return self.static_error(problem, expr.span)

    def _paren(self, expr: tree.Paren) -> Any:
        if expr.is_group:
            return self.value(expr.items[0])
        return self.measured(tuple(self.value(item) for item in expr.items), expr.span)

    # -- lists

    def _list(self, expr: tree.ListExpr) -> Any:
        return self.items(expr.items, self.value, expr.span)

    def items(self, items: tuple[tree.Item, ...], one: Callable[[tree.Expr], Any], span: Span) -> Any:
        """The items of a list, each evaluated by `one` (as a value or a stage); POISON if their number is unknown."""
        result: list[Any] = []
        if not self._collect(items, one, result):
            return POISON
        return self.measured(tuple(result), span)

    def _collect(
        self, items: tuple[tree.Item, ...], one: Callable[[tree.Expr], Any], result: list[Any]
    ) -> bool:
        known = True
        for item in items:
            if isinstance(item, tree.Splice):
                known &= self.splice(item, result)
            elif isinstance(item, tree.ForItem):
                known &= self._for_item(item, one, result)
            elif isinstance(item, tree.IfItem):
                known &= self._if_item(item, one, result)
            else:
                result.append(one(item))
        return known

    def splice(self, item: tree.Splice, result: list[Any]) -> bool:
        """Add the items of the list after a `*` to `result`; False where they are not known."""
        value = self.value(item.value)
        if is_list(value):
            result.extend(value)
            return True
        if value is not POISON:
            self.error("E0307", f"`*` splices a list, found {in_words(value)}", item.span)
        return False

    def _for_item(self, item: tree.ForItem, one: Callable[[tree.Expr], Any], result: list[Any]) -> bool:
        values = self.iterate(item.iterable)
        outer = self.scope
        known = values is not POISON
        if not values:
            self.scope.pass_by(item.items)
        for value in values if known else (POISON,):
            self.session.step(item.span)
            self.scope = outer.child()
            self.bind_names(item.names, value, item.iterable.span)
            known &= self._collect(item.items, one, result)
            if len(result) > static.MAX_ITEMS:  # before the memory is gone
                self.session.stop("E0308", f"a list of more than {static.MAX_ITEMS:,} items", item.span)
        self.scope = outer
        return known

    def _if_item(self, item: tree.IfItem, one: Callable[[tree.Expr], Any], result: list[Any]) -> bool:
        self.scope.pass_by(item)
        for condition, items in item.branches:
            truth = self.condition(condition)
            if truth is True:
                return self._collect(items, one, result)
            if truth is POISON:
                self._collect(items, one, [])
                return False
        return self._collect(item.otherwise, one, result) if item.otherwise is not None else True

    def iterate(self, expr: tree.Expr) -> Any:
        """The values a `for` runs over."""
        value = self.value(expr)
        if is_list(value) or value is POISON:
            return value
        help = (
            f"count with `range({value})`" if isinstance(value, int) and not isinstance(value, bool) else None
        )
        return self.error("E0307", f"`for` runs over a list, found {in_words(value)}", expr.span, help=help)

    def bind_names(self, names: tuple[tree.Name, ...], value: Any, span: Span) -> None:
        """Bind the names of a `for` to one value, unpacking where there are several."""
        if len(names) == 1:
            self.scope.declare(names[0].id, value, names[0].span)
            return
        items = value if is_list(value) else ()
        if len(items) != len(names):
            if value is not POISON:
                self.error("E0307", f"{len(names)} names, but an item is {in_words(value)}", span)
            items = (POISON,) * len(names)
        for name, item in zip(names, items, strict=True):
            self.scope.declare(name.id, item, name.span)

    def condition(self, expr: tree.Expr) -> Any:
        """True, False or POISON."""
        value = self.static(expr, "a condition")
        if value is POISON:
            return POISON
        try:
            return static.truth(value)
        except StaticError as problem:
            return self.static_error(problem, expr.span)

    # -- operators

    def _unary(self, expr: tree.Unary) -> Any:
        if expr.op == "not":
            truth = self.condition(expr.operand)
            return POISON if truth is POISON else not truth
        value = self.value(expr.operand)
        if value is POISON:
            return POISON
        if is_tensor(value):
            return self.apply_operation("neg", [(value, expr.operand.span)], expr.span)
        try:
            return static.negative(value)
        except StaticError as problem:
            return self.static_error(problem, expr.span)

    def _binary(self, expr: tree.Binary) -> Any:
        # A sum of a thousand terms is a thousand levels deep on its left: walk down that side, not into it.
        spine: list[tree.Binary] = []
        head: tree.Expr = expr
        while isinstance(head, tree.Binary) and head.op not in ("and", "or"):
            spine.append(head)
            head = head.left
        if not spine:
            return self._logical(expr)
        left = self.value(head)
        for node in reversed(spine):
            left = self._infix(node, left, self.value(node.right))
        return left

    def _infix(self, expr: tree.Binary, left: Any, right: Any) -> Any:
        if left is POISON or right is POISON:
            return POISON
        if is_tensor(left) or is_tensor(right):
            operands = [(left, expr.left.span), (right, expr.right.span)]
            return self.apply_operation(INFIX[expr.op], operands, expr.op_span)
        if expr.op == "@":
            return self.error("E0307", "`@` multiplies tensors", expr.op_span)
        try:
            return self.measured(static.binary(expr.op, left, right), expr.op_span)
        except StaticError as problem:
            return self.static_error(problem, expr.op_span)

    def _logical(self, expr: tree.Binary) -> Any:
        left = self.static(expr.left, f"an operand of `{expr.op}`")
        if left is POISON:
            self.value(expr.right)
            return POISON
        try:
            truth = static.truth(left)
        except StaticError as problem:
            return self.static_error(problem, expr.left.span)
        if truth is (expr.op == "or"):
            self.scope.pass_by(expr.right)
            return left
        return self.static(expr.right, f"an operand of `{expr.op}`")

    def _compare(self, expr: tree.Compare) -> Any:
        left, left_span = self.value(expr.first), expr.first.span
        result: Any = True
        for op, operand in expr.rest:
            right = self.value(operand)
            left, right = self.measured(left, left_span), self.measured(right, operand.span)
            if is_unknown(left) or is_unknown(right):
                result = POISON
            elif (is_tensor(left) or is_tensor(right)) and not (left is None or right is None):
                if len(expr.rest) > 1 or op not in INFIX:
                    return self.error("E0307", "tensors are compared two at a time", expr.span)
                return self.apply_operation(INFIX[op], [(left, left_span), (right, operand.span)], expr.span)
            elif result is True:
                try:
                    result = static.compare(op, left, right)
                except StaticError as problem:
                    return self.static_error(problem, expr.span)
            left, left_span = right, operand.span
        return result

    def _conditional(self, expr: tree.Conditional) -> Any:
        truth = self.condition(expr.condition)
        if truth is POISON:
            self.value(expr.then)
            self.value(expr.other)
            return POISON
        self.scope.pass_by(expr.other if truth else expr.then)
        return self.value(expr.then if truth else expr.other)

    # -- parts of values

    def _attribute(self, expr: tree.Attribute) -> Any:
        if isinstance(expr.value, tree.Name) and self.scope.find(expr.value.id) is None:
            return self.value(expr.value)
        value = self.value(expr.value)
        if value is POISON:
            return POISON
        if isinstance(value, Results) and expr.name in value.names:
            return value.tensors[value.names.index(expr.name)]
        if is_tensor(value) and expr.name == "shape":
            type = single(value).type
            return type.shape if isinstance(type, Tensor) else POISON
        return self._no_attribute(expr, value)

    def _no_attribute(self, expr: tree.Attribute, value: Any) -> Any:
        named = [f"`.{name}`" for name in value.names if name] if isinstance(value, Results) else []
        has = ", ".join([*named, "`.shape`"]) if is_tensor(value) else "none"
        help = f"apply a function with an arrow: `x -> {expr.name}(...)`" if is_tensor(value) else None
        return self.error(
            "E0205",
            f"{in_words(value)} has no `.{expr.name}`",
            expr.name_span,
            f"its attributes: {has}",
            help=help,
        )

    def _subscript(self, expr: tree.Subscript) -> Any:
        value = self.value(expr.value)
        if value is POISON:
            for index in expr.indices:
                self._unused_index(index)
            return POISON
        if is_tensor(value):
            return self.index_tensor(expr, value)
        if not (isinstance(value, str) or is_list(value)):
            return self.error("E0307", f"{in_words(value)} has no items", expr.value.span)
        if len(expr.indices) != 1:
            return self.error("E0307", "a list takes one index", expr.span)
        index = self._index(expr.indices[0])
        if index is POISON:
            return POISON
        if isinstance(index, bool) or not isinstance(index, int | slice):
            return self.error(
                "E0307", f"a list is indexed by an integer, found {in_words(index)}", expr.indices[0].span
            )
        try:
            return self.measured(value[index], expr.span) if isinstance(index, slice) else value[index]
        except (IndexError, ValueError):
            message = f"index {index} is out of range for a list of {len(value)}"
            if isinstance(index, slice):
                message = "the step of a slice is 0"
            return self.error("E0411", message, expr.indices[0].span)

    def _unused_index(self, index: tree.Expr | tree.Slice) -> None:
        """Evaluate an index of what is not known, a list or a tensor, for the errors that are its own."""
        parts = (index.start, index.stop, index.step) if isinstance(index, tree.Slice) else (index,)
        for part in parts:
            if part is not None and not isinstance(part, tree.Constant):
                self.value(part)

    def _index(self, index: tree.Expr | tree.Slice) -> Any:
        if not isinstance(index, tree.Slice):
            return self.static(index, "the index of a list")
        bounds = [
            None if b is None else self.static(b, "a slice") for b in (index.start, index.stop, index.step)
        ]
        if any(b is POISON for b in bounds):
            return POISON
        if any(b is not None and (isinstance(b, bool) or not isinstance(b, int)) for b in bounds):
            return self.error("E0307", "a slice of a list takes integers", index.span)
        return slice(*bounds)

    # -- what only other places may hold

    def _labelled(self, expr: tree.Labelled) -> Any:
        return self.labelled(expr)

    def label(self, expr: tree.Name | tree.String) -> Any:
        """The text of a label: names joined by dots, of letters, digits, `_` and `-`."""
        text = expr.id if isinstance(expr, tree.Name) else self._string(expr)
        if text is POISON:
            return POISON
        parts = text.split(".")
        if all(part and all(c.isascii() and (c.isalnum() or c in "_-") for c in part) for part in parts):
            return text
        return self.error(
            "E0506",
            f'"{text}" is not a label',
            expr.span,
            help="a label is made of letters, digits, `_` and `-`, with single dots between its parts",
        )

    def _splice_alone(self, expr: tree.Splice) -> Any:
        return self.error("E0307", "`*` stands only in lists and among arguments", expr.span)

    def _call(self, expr: tree.Call) -> Any:
        return self.call(expr)

    def _flow(self, expr: tree.Flow) -> Any:
        return self.flow(expr)

    _EVALUATE: ClassVar[dict[type, Callable[..., Any]]] = {
        tree.Name: _name,
        tree.Number: _number,
        tree.Constant: _constant,
        tree.String: _string,
        tree.Paren: _paren,
        tree.ListExpr: _list,
        tree.Unary: _unary,
        tree.Binary: _binary,
        tree.Compare: _compare,
        tree.Conditional: _conditional,
        tree.Attribute: _attribute,
        tree.Subscript: _subscript,
        tree.Labelled: _labelled,
        tree.Splice: _splice_alone,
        tree.Call: _call,
        tree.Flow: _flow,
    }
