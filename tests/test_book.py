"""The language book holds: every program in it checks, fails, prints and compiles as the page says."""

from __future__ import annotations

import pytest

from tests.book import BOOK, VIEWS, Section, all_sections, checked, render, rewrite


@pytest.fixture(scope="session", autouse=True)
def _updated(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update"):
        for path in sorted(BOOK.glob("*.md")):
            rewrite(path)


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.name)
def test_the_views_of_a_program_are_what_the_page_shows(section: Section) -> None:
    outcome = checked(section)
    for view in section.views:
        if view.kind in VIEWS:
            assert view.text == render(view, section, outcome)
    if not any(view.kind in ("error", "console") for view in section.views):
        assert [str(d.message) for d in outcome.report] == []
