"""Tree to canonical text: the formatter. Every comment stays, and what is printed parses to the same tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeAlias

from netdsl.diagnostics.model import Report
from netdsl.source import Source
from netdsl.syntax import tree
from netdsl.syntax.layout import FILL, WIDTH, Document, Line, cat, lay_out, nest
from netdsl.syntax.parser import parse
from netdsl.syntax.places import Places
from netdsl.syntax.print_expressions import ExpressionPrinter

_STEP = 2
Block: TypeAlias = Sequence[Any]  # statements, declarations or entries


def format_source(source: Source, report: Report) -> str | None:
    """The canonical text of a source, or None (and problems in the report) where it does not parse.

    >>> format_source(Source("model  Net{\\n input x :[N,4]\\n output x->Linear( 2 )}"), Report())
    'model Net {\\n  input x: [N, 4]\\n  output x -> Linear(2)\\n}\\n'
    """
    problems = Report()
    file = parse(source, problems)
    for problem in problems:
        report.add(problem)
    return None if problems.has_errors else print_file(file)


def print_file(file: tree.File) -> str:
    """The canonical text of a tree: one that was parsed, with its comments, or one that was made."""
    printer = _Printer(Places(file.span.source, file.comments))
    lines = printer.block(file.declarations, 0, len(file.span.source.text), 0)
    return "".join(f"{line}\n" for line in _with_comments(lines))


def _with_comments(lines: Iterable[Line]) -> Iterable[str]:
    """The lines with the comments at their ends. A column that a person lined comments up in is kept."""
    for has_comment, run in groupby(lines, key=lambda line: bool(line.comment)):
        if not has_comment:
            yield from (line.text for line in run)
            continue
        rows = list(run)
        nearest = max(len(line.text) for line in rows) + 2
        is_lined_up = len(rows) > 1 and len({line.column for line in rows}) == 1
        column = max(nearest, rows[0].column) if is_lined_up else 0
        yield from (line.text.ljust(column - 2) + "  " + line.comment for line in rows)


@dataclass(slots=True)
class _Element:
    """Some lines of a block, and the lines of the source that they come from."""

    lines: list[Line]
    first: int
    last: int
    stands_apart: bool = False  # a blank line belongs around it where the source says nothing


@dataclass(slots=True)
class _Section:
    """A header and the braces behind it: `if c { ... }`, `else { ... }`, `model Net(n) { ... }`."""

    header: Document
    body: Block
    place: tuple[int, int] | None  # offsets of the braces


class _Printer:
    def __init__(self, places: Places) -> None:
        self.places = places
        self.expressions = ExpressionPrinter(places)
        self.widths: dict[int, int] = {}  # of the keys of entries, by the entry
        self.is_extern = False

    # ------------------------------------------------------------------------------------------------- blocks

    def block(self, nodes: Block, start: int, end: int, depth: int) -> list[Line]:
        """The lines of statements or declarations that stand between two offsets of the source."""
        elements: list[_Element] = []
        for node in nodes:
            is_known = self.places.covers(node.span)
            if is_known:
                above = self.places.take(start, node.span.start)
                elements += [self._comment(comment, depth) for comment in above]
                start = node.span.end
            elements += self._element(node, depth, is_known)
        elements += [self._comment(comment, depth) for comment in self.places.take(start, end)]
        lines: list[Line] = []
        for before, element in zip([None, *elements], elements, strict=False):
            if before and _is_blank_between(before, element):
                lines.append(Line(""))
            lines += element.lines
        return lines

    def _comment(self, comment: tree.Comment, depth: int) -> _Element:
        line = self.places.line(comment.span.start)
        return _Element([Line(" " * (_STEP * depth) + comment.text)], line, line)

    def _element(self, node: Any, depth: int, is_known: bool) -> list[_Element]:
        """A node with the comment behind it, after those comments in it that found no place."""
        lines = _METHODS[type(node)](self, node, depth)
        if not is_known:
            doc = [Line(f"## {line}".rstrip()) for line in getattr(node, "doc", "").splitlines()]
            return [_Element(doc + lines, 0, 0, isinstance(node, _APART))]
        first = self.places.line(node.span.start)
        inside = self.places.take(node.span.start, node.span.end)
        homeless = [replace(self._comment(comment, depth), first=first, last=first) for comment in inside]
        if behind := self.places.take_behind(node.span.end):
            self._append(lines[-1], behind)
        return [*homeless, _Element(lines, first, self.places.line(node.span.end))]

    def _append(self, line: Line, comment: tree.Comment) -> None:
        line.comment = comment.text
        line.column = self.places.column(comment.span.start)

    def sections(self, sections: Sequence[_Section], depth: int) -> list[Line]:
        """Headers with their bodies, on one line where a person wrote them so."""
        one_line = self._one_line(sections, depth)
        if one_line:
            return one_line
        lines: list[Line] = []
        for section in sections:
            lead = "} " if lines else ""
            lines += lay_out(cat(lead, section.header, " {"), _STEP * depth)
            start, end = section.place or (-1, -1)
            if section.place and (behind := self.places.take_behind(start + 1)):
                self._append(lines[-1], behind)
            lines += self.block(section.body, start + 1, end, depth + 1)
        return [*lines, Line(" " * (_STEP * depth) + "}")]

    def _one_line(self, sections: Sequence[_Section], depth: int) -> list[Line] | None:
        whole: list[Document] = []
        for section in sections:
            if len(section.body) > 1 or (section.body and section.place is None):
                return None
            if section.place and not self._is_bare(section):
                return None
            lead = " " if whole else ""
            inner = [line for node in section.body for line in _METHODS[type(node)](self, node, 0)]
            if len(inner) > 1:
                return None
            whole += [lead, section.header, " { ", *[f"{line.text} " for line in inner], "}"]
        lines = lay_out(cat(*whole), _STEP * depth)
        return lines if len(lines) == 1 and len(lines[0].text) <= WIDTH else None

    def _is_bare(self, section: _Section) -> bool:
        """Whether the braces stand on one line, or hold nothing at all."""
        start, end = section.place or (0, 0)
        inner = self.places.text[start + 1 : end]
        return "\n" not in inner or not inner.strip()

    # ------------------------------------------------------------------------------------------- declarations

    def import_(self, node: tree.Import, depth: int) -> list[Line]:
        names: list[Document] = []
        for before, name in zip([None, *node.names], node.names, strict=False):
            if before:
                names += [",", self.expressions.gap_or(FILL, before.span.end, name.span.start)]
            names.append(name.id)
        return lay_out(cat("import ", nest(4, cat(*names)), " from ", node.path.text), _STEP * depth)

    def const(self, node: tree.Const, depth: int) -> list[Line]:
        return lay_out(cat(f"const {node.name.id} = ", self.value(node.value)), _STEP * depth)

    def fn(self, node: tree.Fn, depth: int) -> list[Line]:
        return self._declaration("fn", node, self._parameters(node, True), node.value, node.body, depth)

    def graph(self, node: tree.GraphDecl, depth: int) -> list[Line]:
        return self._declaration(node.kind, node, self._parameters(node, False), node.value, node.body, depth)

    def _declaration(
        self,
        kind: str,
        node: tree.Fn | tree.GraphDecl,
        parameters: Document,
        value: Any,
        body: Block,
        depth: int,
    ) -> list[Line]:
        header = cat(f"{kind} {node.name.id}", parameters)
        if value is not None:
            return lay_out(cat(header, " = ", self.value(value)), _STEP * depth)
        behind = node.parameters[-1].span.end if node.parameters else node.name.span.end
        return self.sections([_Section(header, body, self._braces(node, behind))], depth)

    def _parameters(self, node: tree.Fn | tree.GraphDecl | tree.Extern, is_needed: bool) -> Document:
        if not node.parameters and not is_needed:
            return ""
        for parameter in node.parameters:
            self.expressions.document(parameter)
        place = self.expressions.place(node, "LPAR", node.name.span.end) if node.parameters else None
        return self.expressions.bracket(("(", ")"), node.parameters, place, True)

    def _braces(self, node: Any, behind: int) -> tuple[int, int] | None:
        return self.expressions.place(node, "LBRACE", behind)

    def train(self, node: tree.Train, depth: int) -> list[Line]:
        self._line_up(node.entries)
        header = f"train {node.model.id}"
        return self.sections([_Section(header, node.entries, self._braces(node, node.model.span.end))], depth)

    def _line_up(self, entries: Sequence[tree.Entry]) -> None:
        """Put the `=` of entries under each other, as far as no blank line parts them."""
        run: list[tree.Entry] = []
        for entry in entries:
            if run and self.places.covers(entry.span):
                between = self.places.text[run[-1].span.end : entry.span.start]
                if any(not line.strip() for line in between.split("\n")[1:-1]):
                    run = []
            run.append(entry)
            width = max(len(one.key.id) for one in run)
            self.widths.update((id(one), width) for one in run)

    def entry(self, node: tree.Entry, depth: int) -> list[Line]:
        key = node.key.id.ljust(self.widths[id(node)])
        return lay_out(cat(f"{key} = ", self.value(node.value)), _STEP * depth)

    def extern(self, node: tree.Extern, depth: int) -> list[Line]:
        header = cat(f"extern {node.name.id}", self._parameters(node, False), f" from {node.target.text}")
        self.is_extern = True
        lines = self.sections([_Section(header, node.body, self._braces(node, node.target.span.end))], depth)
        self.is_extern = False
        return lines

    # --------------------------------------------------------------------------------------------- statements

    def value(self, node: Any, is_final: bool = True) -> Document:
        return self.expressions.document(node, is_final)

    def _typed(self, name: tree.Name | None, shape: tree.Shape | None) -> Document:
        """`name`, `name: [N, 3]` or the shape alone."""
        known = self.value(shape) if shape else ""
        return cat(name.id if name else "", ": " if name and shape else "", known)

    def input(self, node: tree.Input) -> Document:
        return cat("input ", self._typed(node.name, node.shape), " = None" if node.optional else "")

    def output(self, node: tree.Output) -> Document:
        typed = self._typed(node.name, node.shape)
        if self.is_extern:
            return cat("output ", typed)
        value = cat(self.value(node.value, node.when is None), f" when {node.when.id}" if node.when else "")
        return cat("output ", typed, " = ", value) if node.name else cat("output ", value)

    def bind(self, node: tree.Bind) -> Document:
        names = ", ".join(name.id for name in node.targets[:-1])
        typed = self._typed(node.targets[-1], node.shape)
        return cat(f"{names}, " if names else "", typed, " = ", self.value(node.value))

    def param(self, node: tree.Param) -> Document:
        return cat("param ", self._typed(node.name, node.shape), " = ", self.value(node.value))

    def buffer(self, node: tree.Buffer) -> Document:
        value = cat(self.value(node.value, node.when is None), f" when {node.when.id}" if node.when else "")
        return cat("buffer ", self._typed(node.name, node.shape), " = ", value)

    def init(self, node: tree.Init) -> Document:
        return cat("init ", _path(node.pattern), " = ", self.value(node.value))

    def tie(self, node: tree.Tie) -> Document:
        return cat("tie ", _path(node.name), " = ", _path(node.source))

    def assert_(self, node: tree.Assert) -> Document:
        message = f", {node.message.text}" if node.message else ""
        return cat("assert ", self.value(node.condition, not message), message)

    def expect(self, node: tree.Expect) -> Document:
        shape = cat(": ", self.value(node.shape)) if node.shape else ""
        return cat("expect ", self.value(node.condition), shape)

    def if_(self, node: tree.If, depth: int) -> list[Line]:
        sections: list[_Section] = []
        place = None
        for condition, body in node.branches:
            place = self._braces(node, condition.span.end)
            header = cat("if ", self.value(condition, False))
            sections.append(_Section(cat("else ", header) if sections else header, body, place))
        if node.otherwise is not None:
            place = self._braces(node, place[1]) if place else None
            sections.append(_Section("else", node.otherwise, place))
        return self.sections(sections, depth)

    def for_(self, node: tree.For, depth: int) -> list[Line]:
        names = ", ".join(name.id for name in node.names)
        header = cat(f"for {names} in ", self.value(node.iterable, False))
        return self.sections([_Section(header, node.body, self._braces(node, node.iterable.span.end))], depth)


def _path(parts: tuple[tree.Name | tree.String, ...]) -> str:
    return ".".join(part.id if isinstance(part, tree.Name) else part.text for part in parts)


def _is_blank_between(before: _Element, after: _Element) -> bool:
    if after.first and before.last:
        return after.first - before.last > 1
    return before.stands_apart or after.stands_apart


def _on_lines(method: Callable[[_Printer, Any], Document]) -> Callable[[_Printer, Any, int], list[Line]]:
    return lambda printer, node, depth: lay_out(method(printer, node), _STEP * depth)


_APART = (tree.GraphDecl, tree.Fn, tree.Train, tree.Extern)
_METHODS: dict[type, Callable[[_Printer, Any, int], list[Line]]] = {
    tree.Import: _Printer.import_,
    tree.Const: _Printer.const,
    tree.Fn: _Printer.fn,
    tree.GraphDecl: _Printer.graph,
    tree.Train: _Printer.train,
    tree.Extern: _Printer.extern,
    tree.Entry: _Printer.entry,
    tree.Input: _on_lines(_Printer.input),
    tree.Output: _on_lines(_Printer.output),
    tree.Bind: _on_lines(_Printer.bind),
    tree.Param: _on_lines(_Printer.param),
    tree.Buffer: _on_lines(_Printer.buffer),
    tree.Init: _on_lines(_Printer.init),
    tree.Tie: _on_lines(_Printer.tie),
    tree.Assert: _on_lines(_Printer.assert_),
    tree.Expect: _on_lines(_Printer.expect),
    tree.If: _Printer.if_,
    tree.For: _Printer.for_,
}
