"""Text to tree. Problems go to the report; every declaration and statement that could be read is returned."""

from __future__ import annotations

from dataclasses import replace

from netdsl.diagnostics.model import Report
from netdsl.source import Source, Span
from netdsl.syntax import tree
from netdsl.syntax.machine import MAX_PROBLEMS, parse_declarations
from netdsl.syntax.tokens import Token

MAX_BYTES = 2**20


def parse(source: Source, report: Report, *, most: int = MAX_BYTES) -> tree.File:
    """The tree of a file of at most `most` bytes. Where the report has new errors, it lacks the statements they are in.

    >>> file = parse(Source("model Net { input x: [N, 4] \\n output x -> Linear(2) }"), Report())
    >>> [statement.span.text for statement in file.declarations[0].body]
    ['input x: [N, 4]', 'output x -> Linear(2)']
    """
    everything = Span(source, 0, len(source.text))
    if _is_too_large(source.text, most):
        report.error(
            "E0106",
            f"the file is larger than {most:,} bytes",
            Span(source, 0, min(1, len(source.text))),
            f"{len(source.text):,} characters",
            helps=("repeat parts with `for`, or put blocks into files of their own and `import` them",),
        )
        return tree.File((), (), everything)
    problems = Report()
    declarations, comments = parse_declarations(source, problems)
    _pass_on(problems, report)
    return tree.File(declarations, tuple([_comment(source, token) for token in comments]), everything)


def _pass_on(problems: Report, report: Report) -> None:
    """The problems by their places, as many as are worth reading."""
    found = sorted(problems, key=lambda problem: problem.span.start if problem.span else 0)
    if len(found) > MAX_PROBLEMS:
        last = found[MAX_PROBLEMS - 1]
        note = "there are more problems behind this one"
        found[MAX_PROBLEMS - 1 :] = [replace(last, notes=(*last.notes, note))]
    for problem in found:
        report.add(problem)


def _is_too_large(text: str, most: int) -> bool:
    if len(text) > most:
        return True
    return len(text) * 4 > most and len(text.encode("utf-8", "surrogatepass")) > most


def _comment(source: Source, token: Token) -> tree.Comment:
    line_start = source.line_starts[source.position(token.start)[0] - 1]
    own_line = not source.text[line_start : token.start].strip()
    text = token.text.rstrip()
    return tree.Comment(text, own_line, Span(source, token.start, token.start + len(text)))
