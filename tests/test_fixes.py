"""A fix that a message offers removes the message: each one in the book is applied, and the file checked again."""

from __future__ import annotations

import pytest

from netdsl.diagnostics import Diagnostic
from tests.book import Section, View, all_sections, checked


def fixable() -> list[tuple[Section, Diagnostic]]:
    found: list[tuple[Section, Diagnostic]] = []
    for section in all_sections():
        if any(view.kind == "error" for view in section.views):
            found += [(section, d) for d in checked(section).report if d.fixes]
    return found


FIXABLE = fixable()


@pytest.mark.parametrize(("section", "diagnostic"), FIXABLE, ids=lambda value: getattr(value, "code", ""))
def test_a_fix_removes_its_problem(section: Section, diagnostic: Diagnostic) -> None:
    main = section.programs[-1]
    text = main.text
    for fix in sorted(diagnostic.fixes, key=lambda f: -f.span.start):
        text = text[: fix.span.start] + fix.text + text[fix.span.end :]
    mended = View("net", main.argument, main.start, main.end, text)
    again = checked(Section(section.path, section.title, [*section.programs[:-1], mended]))
    assert (diagnostic.code, diagnostic.message) not in [(d.code, d.message) for d in again.report]


def test_the_common_slips_have_fixes() -> None:
    assert {"E0201", "E0301", "E0304"} <= {diagnostic.code for _, diagnostic in FIXABLE}
