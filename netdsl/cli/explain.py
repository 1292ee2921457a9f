"""`netdsl explain`: the page of a code."""

from __future__ import annotations

from typing import Annotated

import typer

from netdsl.cli.console import finish, problem
from netdsl.cli.options import Json
from netdsl.diagnostics import Report, pages
from netdsl.diagnostics.suggest import did_you_mean


def explain(
    code: Annotated[str | None, typer.Argument(metavar="CODE", help="As in `error[E0402]`.")] = None,
    as_json: Json = False,
) -> None:
    """Explain the code of a diagnostic; without one, list all codes."""
    report = Report()
    if code is None:
        titles = {known: _title(pages.page(known) or "") for known in pages.codes()}
        finish(report, as_json, titles, "\n".join(f"{known}  {title}" for known, title in titles.items()))
    text = pages.page(code)
    if text is None:
        near = did_you_mean(code.upper(), pages.codes()) or ("`netdsl explain` lists all codes",)
        problem(report, "E0003", f"`{code}` is no code of a diagnostic", *near)
    finish(report, as_json, text and {"code": code.upper(), "page": text}, text or "")


def _title(page: str) -> str:
    """The heading of a page, without its code."""
    return page.partition("\n")[0].lstrip("# ").partition(" ")[2].lstrip(":—- ")
