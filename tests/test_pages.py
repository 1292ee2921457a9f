"""Every code that a person can meet has a page, whose first program provokes it and whose second does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.book import BOOK, Section, all_sections, checked, sections

PAGES = sorted((Path(__file__).parent.parent / "netdsl" / "diagnostics" / "pages").glob("*.md"))
PACKAGE = Path(__file__).parent.parent / "netdsl"


def halves(path: Path) -> tuple[Section, Section]:
    """The programs before and after the word `Fixed:`."""
    (section,) = sections(path)
    line = next(
        i for i, text in enumerate(path.read_text(encoding="utf-8").splitlines()) if text.startswith("Fixed:")
    )
    before = Section(path, section.title, [v for v in section.views if v.start < line])
    after = Section(path, section.title, [v for v in section.views if v.start > line])
    return before, after


def codes_in_source() -> set[str]:
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        found |= set(re.findall(r'"([EW]0\d{3})"', path.read_text(encoding="utf-8")))
    return found


def test_every_code_of_the_source_has_a_page() -> None:
    assert codes_in_source() - {path.stem for path in PAGES} == set()


def test_every_page_is_of_a_code_of_the_source() -> None:
    assert {path.stem for path in PAGES} - codes_in_source() == set()


def codes_in_book() -> set[str]:
    return {
        code
        for section in all_sections()
        for view in section.views
        if view.kind == "error"
        for code in re.findall(r"^(?:error|warning)\[(\w+)\]", view.text, re.MULTILINE)
    }


def test_the_book_shows_every_code_that_checking_can_give() -> None:
    shown = {path.stem for path in PAGES if has_program(path)}
    assert shown - codes_in_book() == set()


def has_program(path: Path) -> bool:
    """Whether checking a file can give the code; the faults of a run or of the command line have pages without programs."""
    return any(section.programs for section in sections(path))


@pytest.mark.parametrize("path", [p for p in PAGES if has_program(p)], ids=lambda p: p.stem)
def test_the_first_program_of_a_page_has_its_code_and_the_second_has_not(path: Path) -> None:
    before, after = halves(path)
    assert path.stem in [d.code for d in checked(before).report]
    assert path.stem not in [d.code for d in checked(after).report]


def test_pages_begin_with_their_code() -> None:
    for path in PAGES:
        assert path.read_text(encoding="utf-8").startswith(f"# {path.stem}: "), path


def test_the_book_is_where_it_is_looked_for() -> None:
    assert BOOK.is_dir()
    assert len(all_sections()) > 50
