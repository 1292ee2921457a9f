"""Diagnostics as text for a person, as JSON for a program, as SARIF for a code host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from netdsl.diagnostics.model import Diagnostic, Fix, Label
from netdsl.diagnostics.snippet import snippets
from netdsl.diagnostics.terminal import paint, printable
from netdsl.source import Span

WIDTH = 140
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


def severity(diagnostic: Diagnostic) -> str:
    """`error` or `warning`."""
    return "error" if diagnostic.is_error else "warning"


def ordered(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Those without a place, then the others by file (in the order they come up) and by place."""
    found = list(diagnostics)
    files: dict[str, int] = {}
    for diagnostic in found:
        if diagnostic.span:
            files.setdefault(diagnostic.span.source.path, len(files))

    def key(diagnostic: Diagnostic) -> tuple[int, int]:
        span = diagnostic.span
        return (files[span.source.path], span.start) if span else (-1, 0)

    return sorted(found, key=key)


def render(diagnostic: Diagnostic, colour: bool = False, width: int = WIDTH) -> str:
    """One diagnostic in the layout of the language reference, without a newline at its end.

    >>> from netdsl.source import Source
    >>> span = Span(Source("output x\\n", "a.net"), 7, 8)
    >>> print(render(Diagnostic("E0201", "`x` is not defined", (Label(span, "not found"),))))
    error[E0201]: `x` is not defined
     --> a.net:1:8
      |
    1 | output x
      |        ^ not found
    """
    style = severity(diagnostic)
    head = paint(f"{style}[{diagnostic.code}]", style, colour)
    lines = [head + paint(f": {printable(diagnostic.message)}", "strong", colour)]
    drawn = snippets(diagnostic.labels, style, width, colour)
    gutter = drawn[0][1].gutter if drawn else 1
    bar = paint(f"{' ' * gutter} |", "gutter", colour)
    for index, (span, snippet) in enumerate(drawn):
        arrow = paint(f"{' ' * gutter}{':::' if index else '-->'}", "gutter", colour)
        lines += [bar] if index else []
        if _is_unread(span, diagnostic.labels):
            lines.append(f"{arrow} {printable(span.source.path)}")
        else:
            lines += [f"{arrow} {printable(str(span))}", bar, *snippet.draw()]
    start = paint(f"{' ' * gutter} =", "gutter", colour)
    lines += [f"{start} {_remark(note, gutter + 3)}" for note in diagnostic.notes]
    help_ = paint("help", "strong", colour)
    lines += [f"{start} {help_}: {_remark(text, gutter + 9)}" for text in diagnostic.helps]
    return "\n".join(lines)


def _is_unread(span: Span, labels: Iterable[Label]) -> bool:
    """Whether the place is a whole file, as one that cannot be read: no text, and nothing to say in it."""
    return not span.source.text and not any(
        label.text for label in labels if label.span.source is span.source
    )


LINES = 8  # of a note that people are shown; what reads data has all of them


def _remark(text: str, indent: int) -> str:
    """The text of a note or a help; its further lines stand under the first, and a long list is cut."""
    first, *listed = text.split("\n")
    if len(listed) > LINES:
        listed = [*listed[: LINES - 2], f"  ... and {len(listed) - LINES + 2:,} more; `--json` has them all"]
        text = "\n".join([first, *listed])
    return printable(text, newlines=True).replace("\n", "\n" + " " * indent)


def render_all(diagnostics: Iterable[Diagnostic], colour: bool = False, width: int = WIDTH) -> str:
    """All diagnostics, by place, and a last line with their number. Nothing for none."""
    found = ordered(diagnostics)
    if not found:
        return ""
    parts = [render(diagnostic, colour, width) for diagnostic in found]
    return "\n\n".join([*parts, tally(found)]) + "\n"


def tally(diagnostics: Iterable[Diagnostic]) -> str:
    """How many there are of each severity: `2 errors, 1 warning`."""
    counts = Counter(severity(d) for d in diagnostics)
    numbers = [(counts[kind], kind) for kind in ("error", "warning") if counts[kind]]
    return ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for count, kind in numbers)


def to_json(diagnostics: Iterable[Diagnostic]) -> list[dict[str, Any]]:
    """Plain data, by place. Lines and columns count characters from 1, offsets from 0; ends lie behind."""
    return [_entry(diagnostic) for diagnostic in ordered(diagnostics)]


def _entry(diagnostic: Diagnostic) -> dict[str, Any]:
    first = diagnostic.labels[0] if diagnostic.labels else None
    return {
        "code": diagnostic.code,
        "severity": severity(diagnostic),
        "message": diagnostic.message,
        **(_place(first.span) if first else dict.fromkeys(PLACE)),
        "label": first.text if first else "",
        "also": [{**_place(label.span), "label": label.text} for label in diagnostic.labels[1:]],
        "notes": list(diagnostic.notes),
        "helps": list(diagnostic.helps),
        "fixes": [_replacement(fix) for fix in diagnostic.fixes],
    }


PLACE = ("path", "line", "column", "end_line", "end_column")


def _place(span: Span) -> dict[str, Any]:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return dict(zip(PLACE, (span.source.path, line, column, end_line, end_column), strict=True))


def _replacement(fix: Fix) -> dict[str, Any]:
    offsets = {"start": fix.span.start, "end": fix.span.end}
    return {"title": fix.title, "text": fix.text, **offsets, **_place(fix.span)}


def to_sarif(
    diagnostics: Iterable[Diagnostic],
    pages: Mapping[str, str] = MappingProxyType({}),
    version: str | None = None,
) -> dict[str, Any]:
    """A SARIF 2.1.0 log of one run. `pages` are the explanations of codes, in Markdown, to travel with it."""
    found = ordered(diagnostics)
    codes = sorted({diagnostic.code for diagnostic in found})
    driver = {
        "name": "netdsl",
        **({"version": version} if version else {}),
        "rules": [_rule(code, pages.get(code)) for code in codes],
    }
    results = [_result(diagnostic, codes.index(diagnostic.code)) for diagnostic in found]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str, text: str | None) -> dict[str, Any]:
    return {"id": code, "help": {"text": text, "markdown": text}} if text else {"id": code}


def _result(diagnostic: Diagnostic, rule: int) -> dict[str, Any]:
    helps = [f"help: {text}" for text in diagnostic.helps]
    first = diagnostic.labels[0].text if diagnostic.labels else ""
    message = "\n".join(text for text in (diagnostic.message, first, *diagnostic.notes, *helps) if text)
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": severity(diagnostic),
        "message": {"text": message},
        "locations": [_location(label) for label in diagnostic.labels[:1]],
    }
    if diagnostic.labels[1:]:
        result["relatedLocations"] = [_location(label, told=True) for label in diagnostic.labels[1:]]
    if diagnostic.fixes:
        result["fixes"] = [_change(fix) for fix in diagnostic.fixes]
    return result


def _location(label: Label, told: bool = False) -> dict[str, Any]:
    place = {"artifactLocation": _artifact(label.span), "region": _region(label.span)}
    words = {"message": {"text": label.text}} if told and label.text else {}
    return {"physicalLocation": place, **words}


def _artifact(span: Span) -> dict[str, str]:
    path = Path(span.source.path)
    return {"uri": path.as_uri() if path.is_absolute() else quote(path.as_posix())}


def _region(span: Span) -> dict[str, int]:
    _, line, column, end_line, end_column = _place(span).values()
    return {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column}


def _change(fix: Fix) -> dict[str, Any]:
    replacement = {"deletedRegion": _region(fix.span), "insertedContent": {"text": fix.text}}
    change = {"artifactLocation": _artifact(fix.span), "replacements": [replacement]}
    return {"description": {"text": fix.title or "apply the suggestion"}, "artifactChanges": [change]}
