"""`netdsl list`: the models of the library, of a folder or of a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdsl.cli.completion import targets
from netdsl.cli.console import finish
from netdsl.cli.options import Json
from netdsl.diagnostics import Report

if TYPE_CHECKING:
    from netdsl.inventory import Entry, Shelf

Where = Annotated[
    str,
    typer.Argument(
        metavar="[std|FILE|FOLDER]",
        help="The library that comes with netdsl, or your own files.",
        autocompletion=targets,
    ),
]
WIDTH = 100  # columns, of a table that is read in a terminal
LONGEST = 22  # of the names in a column; a longer one moves its row
HEADER = ("model", "parameters", "mult-adds", "input", "paper")


def list(where: Where = "std", as_json: Json = False) -> None:
    """List models with their figures and papers.

    Parameters, multiply-adds of one example, and the input: H=224 says that the height is free and how large it was
    taken. A model that needs parameters says which.
    """
    from netdsl.cli.program import limits
    from netdsl.inventory import files, shelf

    report = Report()
    shelves = [found for path in files(where) if (found := shelf(path, report, limits()))]
    longest = max((len(name) for found in shelves for name in found.models), default=0)
    names = min(longest, LONGEST)
    listed: Any = []
    for found in shelves:
        if not as_json:
            print(heading(found, names, first=not listed))
        entries: Any = []
        for entry in found.entries():
            entries.append(entry)
            if not as_json:
                print(line(entry, names), flush=True)
        listed.append((found, entries))
    result = {"files": [described(found, entries) for found, entries in listed]}
    finish(
        report,
        as_json,
        result,
        total(listed) if listed or report.has_errors else f"no model files in {where}",
    )


def heading(found: Shelf, names: int, *, first: bool) -> str:
    """The file and what is in it; above the first one, the titles of the columns."""
    title = shortened(f"{found.path}  {found.title}", WIDTH)
    if not found.models:
        title += "\n" + shortened(f"  no models; blocks: {', '.join(found.blocks) or 'none'}", WIDTH)
    return f"{row(HEADER, names)}\n\n{title}" if first else f"\n{title}"


def line(entry: Entry, names: int) -> str:
    """A model as a row of the table."""
    from netdsl.inventory import shown_input

    if entry.parameter_count is None:
        given = ", ".join(entry.required)
        needed = f"needs {given}" if given else "has problems"
        return f"  {entry.model:<{names}}  {shortened(needed, FIGURES):<{FIGURES}}  {entry.paper}".rstrip()
    first, *others = [shown_input(given, entry.sizes) for given in entry.inputs] or [""]
    inputs = f"{first} +{len(others)}" if others else first
    work = "" if entry.multiply_adds is None else quantity(entry.multiply_adds)
    count = f"{entry.parameter_count:,}"
    if len(count) > len("999,999,999"):
        count = f"{entry.parameter_count / 1e6:,.1f} M"
    return row((entry.model, count, work, inputs, entry.paper), names)


def row(cells: Sequence[str], names: int) -> str:
    model, parameters, work, inputs, paper = cells
    left = f"  {model:<{names}}  {parameters:>11}  {work:>9}  {inputs:<20}"
    return f"{left}  {paper}".rstrip()


FIGURES = 11 + 2 + 9 + 2 + 20  # the columns between the model and the paper


def quantity(count: int) -> str:
    """A count by four digits and a unit of thousands: `4.089 G`."""
    value, unit = float(count), ""
    for larger in ("k", "M", "G", "T"):
        if value < 999.95:
            break
        value, unit = value / 1000, f" {larger}"
    digits = max(0, 3 - len(str(int(value)))) + 1 if unit else 0
    return f"{value:.{digits}f}{unit}"


def shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def total(listed: Any) -> str:
    """How many there are, and what the figures are of."""
    models = sum(len(entries) for _, entries in listed)
    free = any(entry.sizes for _, entries in listed for entry in entries)
    size = ", with free sizes as shown: `H=224`" if free else ""
    counted = (
        f"{models} model{'' if models == 1 else 's'} in {len(listed)} file{'' if len(listed) == 1 else 's'}"
    )
    return f"\n{counted}; multiply-adds of one example{size}" if models else counted


def described(found: Shelf, entries: Any) -> dict[str, Any]:
    """A file and its models as plain data."""
    return {
        "path": found.path,
        "title": found.title,
        "blocks": [*found.blocks],
        "models": [entry.to_json() for entry in entries],
    }
