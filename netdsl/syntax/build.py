"""The nodes of the tree: one method for each rule or alias of `net.lark`, given its span and its parts."""

from __future__ import annotations

from typing import Any, TypeAlias

from netdsl.diagnostics.model import Report
from netdsl.source import Source, Span
from netdsl.syntax import tree
from netdsl.syntax.literals import Interpolate, number_value, string_node
from netdsl.syntax.tokens import Token

Names: TypeAlias = tuple[tree.Name, ...]
Pattern: TypeAlias = tuple[tree.Name | tree.String, ...]
Parameters: TypeAlias = tuple[tree.Parameter, ...]
Body: TypeAlias = tuple[tree.Statement, ...]
Items: TypeAlias = tuple[tree.Item, ...]
_CONSTANTS: dict[str, object] = {"TRUE": True, "FALSE": False, "NONE": None, "ELLIPSIS": Ellipsis}


class Builder:
    """Makes the nodes of one source. `docs` has the text of each `##` line by the line's number."""

    def __init__(
        self, source: Source, report: Report, interpolate: Interpolate, docs: dict[int, str] | None = None
    ) -> None:
        self.source = source
        self.report = report
        self.interpolate = interpolate
        self.docs = docs or {}

    def span(self, token: Token) -> Span:
        return Span(self.source, token.start, token.end)

    def name_of(self, token: Token) -> tree.Name:
        return tree.Name(token.text, Span(self.source, token.start, token.end))

    def optional_name(self, token: Token | None) -> tree.Name | None:
        return self.name_of(token) if token else None

    def string_of(self, token: Token) -> tree.String:
        return string_node(token, self.source, self.report, self.interpolate)

    def plain_string(self, token: Token, purpose: str) -> tree.String:
        """A string that is read before anything has a value, so that nothing can be filled in."""
        string = self.string_of(token)
        for part in string.parts:
            if not isinstance(part, str):
                self.report.error(
                    "E0105",
                    f"{purpose} has an interpolation",
                    part.span,
                    "nothing has a value here yet",
                    helps=("write the text out; a literal brace is `\\{`",),
                )
        return string

    def doc_above(self, start: int) -> str:
        """The `##` lines directly above the line of `start`."""
        if not self.docs:
            return ""
        line = self.source.position(start)[0] - 1
        lines: list[str] = []
        while line in self.docs:
            lines.append(self.docs[line])
            line -= 1
        return "\n".join(reversed(lines))

    # ------------------------------------------------------------------------------------------- declarations

    def file(self, _: Span, *declarations: tree.Declaration) -> tuple[tree.Declaration, ...]:
        """Those with a header of their own; one that stands in for a broken header has no name."""
        return tuple([one for one in declarations if not isinstance(one, tree.GraphDecl) or one.name.id])

    def interpolation(self, _: Span, value: tree.Expr) -> tree.Expr:
        return value

    def import_(self, span: Span, names: Names, path: Token) -> tree.Import:
        string = self.plain_string(path, "the path of an import")
        return tree.Import(names, string, self.doc_above(span.start), span)

    def const(self, span: Span, name: Token, value: tree.Expr) -> tree.Const:
        return tree.Const(self.name_of(name), value, self.doc_above(span.start), span)

    def short_fn(self, span: Span, name: Token, parameters: Parameters, value: tree.Expr) -> tree.Fn:
        return tree.Fn(self.name_of(name), parameters, value, (), self.doc_above(span.start), span)

    def fn(self, span: Span, name: Token, parameters: Parameters, body: Body) -> tree.Fn:
        return tree.Fn(self.name_of(name), parameters, None, body, self.doc_above(span.start), span)

    def variant(
        self, span: Span, kind: Token, name: Token, parameters: Parameters | None, value: tree.Expr
    ) -> tree.GraphDecl:
        doc = self.doc_above(span.start)
        return tree.GraphDecl(kind.text, self.name_of(name), parameters or (), value, (), doc, span)

    def graph(
        self,
        span: Span,
        kind: Token,
        name: Token,
        parameters: Parameters | None,
        body: Body,
    ) -> tree.GraphDecl:
        doc = self.doc_above(span.start)
        return tree.GraphDecl(kind.text, self.name_of(name), parameters or (), None, body, doc, span)

    def train(self, span: Span, model: Token, *entries: tree.Entry) -> tree.Train:
        return tree.Train(self.name_of(model), entries, self.doc_above(span.start), span)

    def extern(
        self,
        span: Span,
        name: Token,
        parameters: Parameters | None,
        target: Token,
        *body: tree.Statement,
    ) -> tree.Extern:
        path = self.plain_string(target, "the target of an `extern`")
        return tree.Extern(self.name_of(name), parameters or (), path, body, self.doc_above(span.start), span)

    def parameters(self, _: Span, *parameters: tree.Parameter) -> Parameters:
        return parameters

    def parameter(
        self, span: Span, name: Token, type_name: Token | None, default: tree.Expr | None
    ) -> tree.Parameter:
        return tree.Parameter(self.name_of(name), self.optional_name(type_name), default, span)

    def entry(self, span: Span, key: Token, value: tree.Expr) -> tree.Entry:
        return tree.Entry(self.name_of(key), value, span)

    def declared_output(self, span: Span, name: Token | None, shape: tree.Shape) -> tree.Output:
        """An output of an `extern`: only its shape is said, so the shape's dimensions stand for its value."""
        return tree.Output(self.optional_name(name), shape, tree.ListExpr(shape.dims, shape.span), None, span)

    # --------------------------------------------------------------------------------------------- statements

    def body(self, _: Span, *statements: tree.Statement) -> Body:
        return statements

    def input_(self, span: Span, name: Token, shape: tree.Shape | None) -> tree.Input:
        return tree.Input(self.name_of(name), shape, span)

    def optional_input(self, span: Span, name: Token, shape: tree.Shape | None, _: Token) -> tree.Input:
        return tree.Input(self.name_of(name), shape, span, optional=True)

    def output(self, span: Span, value: tree.Expr, when: Token | None) -> tree.Output:
        return tree.Output(None, None, value, self.optional_name(when), span)

    def named_output(
        self, span: Span, name: Token, shape: tree.Shape | None, value: tree.Expr, when: Token | None
    ) -> tree.Output:
        return tree.Output(self.name_of(name), shape, value, self.optional_name(when), span)

    def bind(self, span: Span, targets: Names, value: tree.Expr) -> tree.Bind:
        return tree.Bind(targets, None, value, span)

    def checked_bind(self, span: Span, name: Token, shape: tree.Shape, value: tree.Expr) -> tree.Bind:
        return tree.Bind((self.name_of(name),), shape, value, span)

    def param(self, span: Span, name: Token, shape: tree.Shape, value: tree.Expr) -> tree.Param:
        return tree.Param(self.name_of(name), shape, value, span)

    def buffer(
        self, span: Span, name: Token, shape: tree.Shape, value: tree.Expr, when: Token | None
    ) -> tree.Buffer:
        return tree.Buffer(self.name_of(name), shape, value, self.optional_name(when), span)

    def init(self, span: Span, pattern: Pattern, value: tree.Expr) -> tree.Init:
        return tree.Init(pattern, value, span)

    def tie(self, span: Span, name: Pattern, source: Pattern) -> tree.Tie:
        return tree.Tie(name, source, span)

    def path(self, span: Span, *parts: Token) -> Pattern:
        return self.pattern(span, *parts)

    def pattern(self, _: Span, *parts: Token) -> Pattern:
        """Parts between dots. Digits with a dot among them, as in `layers.0.1`, arrive as one number."""
        names: list[tree.Name | tree.String] = []
        for token in parts:
            if token.kind == "STRING":
                names.append(self.string_of(token))
                continue
            start = token.start
            for text in token.text.split("."):
                names.append(tree.Name(text, Span(self.source, start, start + len(text))))
                start += len(text) + 1
        return tuple(names)

    def assert_(self, span: Span, condition: tree.Expr, message: Token | None) -> tree.Assert:
        return tree.Assert(condition, self.string_of(message) if message else None, span)

    def expect(self, span: Span, condition: tree.Expr) -> tree.Expect:
        return tree.Expect(condition, None, span)

    def expect_shape(self, span: Span, name: Token, shape: tree.Shape) -> tree.Expect:
        return tree.Expect(self.name_of(name), shape, span)

    def if_(self, span: Span, *parts: Any) -> tree.If:
        *pairs, otherwise = parts
        return tree.If(tuple(zip(pairs[::2], pairs[1::2], strict=True)), otherwise, span)

    def for_(self, span: Span, names: Names, iterable: tree.Expr, body: Body) -> tree.For:
        return tree.For(names, iterable, body, span)

    def names(self, _: Span, *names: Token) -> Names:
        return tuple([self.name_of(name) for name in names])

    def shape(self, span: Span, dtype: Token | None, *dims: tree.Expr) -> tree.Shape:
        return tree.Shape(dims, self.optional_name(dtype), span)

    # -------------------------------------------------------------------------------------------- expressions

    def flow(self, span: Span, head: tree.Expr, *stages: tree.Expr) -> tree.Flow:
        return tree.Flow(head, stages, span)

    def labelled(self, span: Span, label: Token, value: tree.Expr) -> tree.Labelled:
        name = self.name_of(label) if label.kind == "NAME" else self.string_of(label)
        return tree.Labelled(name, value, span)

    def conditional(
        self, span: Span, then: tree.Expr, condition: tree.Expr, other: tree.Expr
    ) -> tree.Conditional:
        return tree.Conditional(then, condition, other, span)

    def binary(self, span: Span, left: tree.Expr, op: Token, right: tree.Expr) -> tree.Binary:
        return tree.Binary(op.text, left, right, span, self.span(op))

    def unary(self, span: Span, op: Token, operand: tree.Expr) -> tree.Unary:
        return tree.Unary(op.text, operand, span)

    def comparator(self, _: Span, *words: Token) -> str:
        return " ".join([word.text for word in words])

    def comparison(self, span: Span, first: tree.Expr, *rest: Any) -> tree.Compare:
        return tree.Compare(first, tuple(zip(rest[::2], rest[1::2], strict=True)), span)

    def call(self, span: Span, function: tree.Expr, *arguments: tree.Expr | tree.Keyword) -> tree.Call:
        return tree.Call(function, arguments, span)

    def keyword(self, span: Span, name: Token, value: tree.Expr) -> tree.Keyword:
        return tree.Keyword(name.text, value, span, self.span(name))

    def subscript(self, span: Span, value: tree.Expr, *indices: tree.Expr | tree.Slice) -> tree.Subscript:
        return tree.Subscript(value, indices, span)

    def slice(
        self, span: Span, start: tree.Expr | None, stop: tree.Expr | None, step: tree.Expr | None
    ) -> tree.Slice:
        return tree.Slice(start, stop, step, span)

    def attribute(self, span: Span, value: tree.Expr, name: Token) -> tree.Attribute:
        return tree.Attribute(value, name.text, span, self.span(name))

    def name(self, span: Span, token: Token) -> tree.Name:
        return tree.Name(token.text, span)

    def number(self, span: Span, token: Token) -> tree.Number:
        return tree.Number(number_value(token.text, span, self.report), token.text, span)

    def string(self, _: Span, token: Token) -> tree.String:
        return self.string_of(token)

    def constant(self, span: Span, token: Token) -> tree.Constant:
        return tree.Constant(_CONSTANTS[token.kind], span)

    def list_(self, span: Span, *items: tree.Item) -> tree.ListExpr:
        return tree.ListExpr(items, span)

    def paren(self, span: Span, *parts: Any) -> tree.Paren:
        *items, comma = parts
        return tree.Paren(tuple(items), comma is not None, span)

    def splice(self, span: Span, value: tree.Expr) -> tree.Splice:
        return tree.Splice(value, span)

    def for_item(self, span: Span, names: Names, iterable: tree.Expr, items: Items) -> tree.ForItem:
        return tree.ForItem(names, iterable, items, span)

    def if_item(self, span: Span, *parts: Any) -> tree.IfItem:
        *pairs, otherwise = parts
        return tree.IfItem(tuple(zip(pairs[::2], pairs[1::2], strict=True)), otherwise, span)

    def items(self, _: Span, *items: tree.Item) -> Items:
        return items
