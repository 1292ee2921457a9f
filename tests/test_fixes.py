"""A fix that a message offers removes the message: each one in the book is applied, and the file checked again."""

from __future__ import annotations

import pytest

from tests.book import Section, View, all_sections, checked

SECTIONS = [s for s in all_sections() if any(view.kind == "error" for view in s.views)]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: f"{section.path.stem}: {section.title}")
def test_a_fix_removes_its_problem(section: Section) -> None:
    main = section.programs[-1]
    for diagnostic in checked(section).report:
        text = main.text
        for fix in sorted(diagnostic.fixes, key=lambda f: -f.span.start):
            text = text[: fix.span.start] + fix.text + text[fix.span.end :]
        if not diagnostic.fixes:
            continue
        mended = View("net", main.argument, main.start, main.end, text)
        again = checked(Section(section.path, section.title, [*section.programs[:-1], mended]))
        assert (diagnostic.code, diagnostic.message) not in [(d.code, d.message) for d in again.report]


@pytest.mark.parametrize("code", ["E0201", "E0301", "E0304"])
def test_the_common_slips_have_fixes(code: str) -> None:
    showing = [s for s in SECTIONS if any(f"error[{code}]" in view.text for view in s.views)]
    assert any(d.code == code and d.fixes for section in showing for d in checked(section).report)
