"""Expressions as documents to be laid out, built from the leaves up, so that depth costs no stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from netdsl.syntax import tree
from netdsl.syntax.layout import (
    FILL,
    HARD,
    NOTHING,
    SPACE,
    Break,
    Document,
    IfBroken,
    Suffix,
    align,
    cat,
    group,
    hang,
    join,
    nest,
)
from netdsl.syntax.places import Places

# How tight each form binds; what binds looser than its place allows gets parentheses.
_FLOW, _CONDITIONAL, _OR, _AND, _NOT, _COMPARE, _SUM, _TERM, _SIGN, _POWER, _POSTFIX = range(11)
_BINARY = {"or": _OR, "and": _AND, "+": _SUM, "-": _SUM, "**": _POWER}
_CONSTANTS = {id(True): "True", id(False): "False", id(None): "None", id(Ellipsis): "..."}

ALWAYS = ",,"  # a comma after the last item that means something, as in `(a,)`


def _binding(node: Any) -> int:
    match node:
        case tree.Flow() | tree.Labelled():
            return _FLOW
        case tree.Conditional():
            return _CONDITIONAL
        case tree.Binary():
            return _BINARY.get(node.op, _TERM)
        case tree.Compare():
            return _COMPARE
        case tree.Unary():
            return _NOT if node.op == "not" else _SIGN
        case _:
            return _POSTFIX


class Part(NamedTuple):
    """A node inside another. After an `item` comes a comma or the end of a line; after the `last` part of a
    whole comes what comes after the whole."""

    node: Any
    role: str = ""


def parts_of(node: Any) -> list[Part]:
    """The expressions directly inside a node, as far as they are printed."""
    match node:
        case tree.ListExpr() | tree.Paren():
            return _items(node.items)
        case tree.Call():
            return [Part(node.function), *_items(node.arguments)]
        case tree.Flow():
            return [Part(node.head), *map(Part, node.stages[:-1]), Part(node.stages[-1], "last")]
        case tree.Unary():
            return [Part(node.operand, "last")]
        case tree.Binary():
            return [Part(node.left), Part(node.right, "last")]
        case tree.Compare():
            operands = [Part(operand) for _, operand in node.rest]
            return [Part(node.first), *operands[:-1], Part(operands[-1].node, "last")]
        case tree.Conditional():
            return [Part(node.then), Part(node.condition), Part(node.other, "last")]
        case tree.Keyword() | tree.Labelled() | tree.Splice():
            return [Part(node.value, "last")]
        case tree.Subscript():
            return [Part(node.value), *_items(node.indices)]
        case tree.Slice():
            return [Part(bound) for bound in (node.start, node.stop, node.step) if bound is not None]
        case tree.Attribute():
            return [Part(node.value)]
        case tree.ForItem():
            return [Part(node.iterable), *[Part(item, "item") for item in node.items]]
        case tree.IfItem():
            bodies = [*[items for _, items in node.branches], node.otherwise or ()]
            inner = [Part(item, "item") for items in bodies for item in items]
            return [*[Part(condition) for condition, _ in node.branches], *inner]
        case tree.Shape():
            return [Part(dim) for dim in node.dims]
        case tree.Parameter():
            return [Part(node.default, "last")] if node.default else []
        case _:
            return []


def _items(items: Sequence[Any]) -> list[Part]:
    return [Part(item, "item" if len(items) > 1 else "last") for item in items]


class Row(NamedTuple):
    """What stands between two items: whether a line ended there, and the comments there."""

    is_broken: bool
    suffix: Document | None
    comments: list[Document]


class ExpressionPrinter:
    """Documents for the expressions of one tree; `places` knows what the person broke and commented."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._documents: dict[int, Document] = {}
        self._final: set[int] = set()  # nodes behind which nothing but a comma stands on their line

    def document(self, root: Any, is_final: bool = True) -> Document:
        """The document of an expression, an item, a shape or a parameter."""
        order = [Part(root, "item" if is_final else "")]
        for node, role in order:
            if role == "item":
                self._final.add(id(node))
            for part in parts_of(node):
                is_item = part.role == "item" or (part.role == "last" and id(node) in self._final)
                order.append(Part(part.node, "item" if is_item else ""))
        for node, _ in reversed(order):
            self._documents[id(node)] = _METHODS[type(node)](self, node)
        return self._documents[id(root)]

    def of(self, node: Any, least: int = _FLOW) -> Document:
        """The document of a part, in parentheses where it binds looser than its place allows."""
        document = self._documents[id(node)]
        return document if _binding(node) >= least else cat("(", document, ")")

    # ------------------------------------------------------------------------------------- gaps and brackets

    def gap(self, start: int, end: int) -> Row:
        """What a person put between two parts besides commas."""
        comments = self.places.take(start, end)
        suffix = None
        if comments and not comments[0].own_line:
            first = comments.pop(0)
            suffix = Suffix(first.text, self.places.column(first.span.start))
        return Row(self.places.has_break(start, end), suffix, [comment.text for comment in comments])

    def gap_or(self, usual: Document, start: int, end: int) -> Document:
        """What separates two parts: the comments between them on their lines, else the usual."""
        row = self.gap(start, end)
        return self.broken(row) if row.suffix or row.comments else usual

    def broken(self, row: Row) -> Document:
        """The end of a line with the comments of a row, in front of what follows it."""
        before: list[Document] = [row.suffix] if row.suffix else []
        return cat(*before, HARD, *[cat(comment, HARD) for comment in row.comments])

    def bracket(
        self,
        signs: tuple[str, str],
        items: Sequence[Any],
        place: tuple[int, int] | None,
        is_final: bool,
        comma: str = ",",
    ) -> Document:
        """Items between brackets, all on one line or on lines of their own.

        They are broken where a line ends behind the opening bracket, where a comment stands among them and
        where they do not fit; then the rows that a person made stay, those too long are filled, and `comma`
        follows the last item.
        """
        return hang(group(self._bracket(signs, items, place, is_final, comma)))

    def _bracket(
        self,
        signs: tuple[str, str],
        items: Sequence[Any],
        place: tuple[int, int] | None,
        is_final: bool,
        comma: str,
    ) -> Document:
        opener, closer = signs
        rows = self._rows(items, place)
        is_broken = place is not None and self.places.breaks_after(place[0])
        has_comments = any(row.suffix or row.comments for row in rows)
        edge = HARD if is_broken or has_comments else SPACE if opener == "{" else NOTHING
        documents = [self.of(item) for item in items]
        if not documents and edge is not HARD:
            return cat(opener, edge.flat, closer)
        if len(documents) == 1 and edge is NOTHING:
            return cat(opener, documents[0], "," if comma == ALWAYS else "", closer)
        content = self._content(documents, rows, edge)
        if documents:
            lone_block = opener == "{" and len(documents) == 1
            content.append("," if comma == ALWAYS else IfBroken("" if lone_block else comma))
        last = rows[-1]
        content += [last.suffix or "", *[cat(HARD, comment) for comment in last.comments]]
        inner, outer = (2, 0) if is_final else (4, 2)
        return cat(opener, nest(inner, cat(*content)), nest(outer, edge), closer)

    def _content(self, documents: list[Document], rows: list[Row], edge: Break) -> list[Document]:
        """The items with the breaks before them and the commas between them."""
        content: list[Document] = []
        for index, document in enumerate(documents):
            row = rows[index]
            usual = edge if not index else SPACE if row.is_broken else FILL
            separator = self.broken(row) if row.suffix or row.comments else usual
            content += ["," if index else "", separator, document]
        return content

    def _rows(self, items: Sequence[Any], place: tuple[int, int] | None) -> list[Row]:
        """The gaps before each item and behind the last. A comment without a place in an item goes above."""
        if place is None:
            return [Row(False, None, [])] * (len(items) + 1)
        rows: list[Row] = []
        end = place[0] + 1
        for item in items:
            row = self.gap(end, item.span.start)
            end = item.span.end
            row.comments.extend(comment.text for comment in self.places.take(item.span.start, end))
            rows.append(row)
        return [*rows, self.gap(end, place[1])]

    def place(self, node: Any, kind: str, behind: int) -> tuple[int, int] | None:
        """The offsets of a node's brackets: the first of a kind at or behind an offset, and its partner."""
        if not self.places.covers(node.span):
            return None
        opener = self.places.opener(kind, behind)
        closer = self.places.closer(opener)
        return None if opener is None or closer is None else (opener, closer)

    # ------------------------------------------------------------------------------------------------- leaves

    def name(self, node: tree.Name) -> Document:
        return node.id

    def literal(self, node: tree.Number | tree.String) -> Document:
        return node.text

    def constant(self, node: tree.Constant) -> Document:
        return _CONSTANTS[id(node.value)]

    # --------------------------------------------------------------------------------------------- operators

    def unary(self, node: tree.Unary) -> Document:
        blank = " " if node.op == "not" else ""
        separator = self.gap_or(blank, node.span.start, node.operand.span.start)
        return hang(cat(node.op, nest(4, separator), self.of(node.operand, _binding(node))))

    def binary(self, node: tree.Binary) -> Document:
        level = _binding(node)
        left, right = (_POSTFIX, _SIGN) if level == _POWER else (level, level + 1)
        return self._operation(node.left, left, [(node.op, node.right)], right)

    def compare(self, node: tree.Compare) -> Document:
        return self._operation(node.first, _SUM, node.rest, _SUM)

    def _operation(self, first: Any, level: int, rest: Sequence[tuple[str, Any]], levels: int) -> Document:
        content: list[Document] = [self.of(first, level)]
        before = first
        for op, operand in rest:
            separator = self.gap_or(FILL, before.span.end, operand.span.start)
            content += [f" {op}", nest(4, separator), self.of(operand, levels)]
            before = operand
        return hang(group(cat(*content)))

    def conditional(self, node: tree.Conditional) -> Document:
        condition, other = self.of(node.condition, _OR), self.of(node.other, _CONDITIONAL)
        return cat(self.of(node.then, _OR), " if ", condition, " else ", other)

    # ------------------------------------------------------------------------------------ calls, lists, flows

    def paren(self, node: tree.Paren) -> Document:
        place = self.place(node, "LPAR", node.span.start)
        comma = ALWAYS if node.trailing else ""
        return self.bracket(("(", ")"), node.items, place, id(node) in self._final, comma)

    def list_expr(self, node: tree.ListExpr) -> Document:
        place = self.place(node, "LSQB", node.span.start)
        return self.bracket(("[", "]"), node.items, place, id(node) in self._final)

    def call(self, node: tree.Call) -> Document:
        place = self.place(node, "LPAR", node.function.span.end)
        arguments = self.bracket(("(", ")"), node.arguments, place, id(node) in self._final)
        return cat(self.of(node.function, _POSTFIX), arguments)

    def keyword(self, node: tree.Keyword) -> Document:
        return cat(node.name, " = ", self.of(node.value))

    def splice(self, node: tree.Splice) -> Document:
        return cat("*", self.of(node.value, _SUM))

    def labelled(self, node: tree.Labelled) -> Document:
        label = node.label.id if isinstance(node.label, tree.Name) else node.label.text
        return cat(label, ": ", self.of(node.value, _POSTFIX))

    def subscript(self, node: tree.Subscript) -> Document:
        place = self.place(node, "LSQB", node.value.span.end)
        indices = self.bracket(("[", "]"), node.indices, place, id(node) in self._final, "")
        return cat(self.of(node.value, _POSTFIX), indices)

    def slice_expr(self, node: tree.Slice) -> Document:
        bounds = [
            self.of(bound, _CONDITIONAL) if bound else "" for bound in (node.start, node.stop, node.step)
        ]
        return join(":", bounds if node.step else bounds[:2])

    def attribute(self, node: tree.Attribute) -> Document:
        return cat(self.of(node.value, _POSTFIX), ".", node.name)

    def flow(self, node: tree.Flow) -> Document:
        """The arrows stand under each other. Where a person began a line with one, a line begins."""
        head = (
            self.of(node.head) if isinstance(node.head, tree.Labelled) else self.of(node.head, _CONDITIONAL)
        )
        chain: list[Document] = []
        before = node.head
        for stage in node.stages:
            start, end = before.span.end, stage.span.start
            usual = HARD if chain and self.places.has_break(start, end) else FILL
            chain.append(self.gap_or(usual, start, end))
            chain += ["-> ", self.of(stage) if isinstance(stage, tree.Labelled) else self.of(stage, _POSTFIX)]
            before = stage
        return hang(cat(head, nest(4, chain[0]), align(cat(*chain[1:]))))

    # ------------------------------------------------------------------------------------------ items, shapes

    def for_item(self, node: tree.ForItem) -> Document:
        names = ", ".join(name.id for name in node.names)
        place = self.place(node, "LBRACE", node.iterable.span.end)
        items = self._bracket(("{", "}"), node.items, place, id(node) in self._final, ",")
        return hang(cat(f"for {names} in ", self.of(node.iterable), " ", group(items)))

    def if_item(self, node: tree.IfItem) -> Document:
        """All branches on one line, or each on lines of its own."""
        is_final = id(node) in self._final
        content: list[Document] = []
        place = None
        for condition, items in node.branches:
            place = self.place(node, "LBRACE", condition.span.end)
            braces = self._bracket(("{", "}"), items, place, is_final, ",")
            content += [" else if " if content else "if ", self.of(condition), " ", braces]
        if node.otherwise is not None:
            place = self.place(node, "LBRACE", place[1]) if place else None
            content += [" else ", self._bracket(("{", "}"), node.otherwise, place, is_final, ",")]
        return hang(group(cat(*content)))

    def shape(self, node: tree.Shape) -> Document:
        place = self.place(node, "LSQB", node.dtype.span.end if node.dtype else node.span.start)
        return cat(node.dtype.id if node.dtype else "", self.bracket(("[", "]"), node.dims, place, False))

    def parameter(self, node: tree.Parameter) -> Document:
        annotation = f": {node.type.id}" if node.type else ""
        default = cat(" = ", self.of(node.default)) if node.default else ""
        return cat(node.name.id, annotation, default)


_METHODS: dict[type, Callable[[ExpressionPrinter, Any], Document]] = {
    tree.Name: ExpressionPrinter.name,
    tree.Number: ExpressionPrinter.literal,
    tree.String: ExpressionPrinter.literal,
    tree.Constant: ExpressionPrinter.constant,
    tree.ListExpr: ExpressionPrinter.list_expr,
    tree.Paren: ExpressionPrinter.paren,
    tree.Unary: ExpressionPrinter.unary,
    tree.Binary: ExpressionPrinter.binary,
    tree.Compare: ExpressionPrinter.compare,
    tree.Conditional: ExpressionPrinter.conditional,
    tree.Keyword: ExpressionPrinter.keyword,
    tree.Call: ExpressionPrinter.call,
    tree.Slice: ExpressionPrinter.slice_expr,
    tree.Subscript: ExpressionPrinter.subscript,
    tree.Attribute: ExpressionPrinter.attribute,
    tree.Labelled: ExpressionPrinter.labelled,
    tree.Flow: ExpressionPrinter.flow,
    tree.Splice: ExpressionPrinter.splice,
    tree.ForItem: ExpressionPrinter.for_item,
    tree.IfItem: ExpressionPrinter.if_item,
    tree.Shape: ExpressionPrinter.shape,
    tree.Parameter: ExpressionPrinter.parameter,
}
