"""What the commands share: the two streams, colour, exit statuses, and the one way to end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import Any, NoReturn, TextIO

import typer

from netdsl.diagnostics import Diagnostic, Report
from netdsl.diagnostics.render import WIDTH, render_all, to_json

CLEAN, PROBLEMS, FAULT = 0, 1, 2
SIGNALLED = 128  # and the number of the signal that ended it

limits_given: dict[str, int] = {}  # by `--max-nodes` and its friends, for the one command of this process


def is_terminal(stream: TextIO) -> bool:
    """Whether a person is looking at `stream`."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def in_colour(stream: TextIO) -> bool:
    """Colour is for terminals, and not where `NO_COLOR` is set (see no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def show(report: Report, as_json: bool) -> None:
    """The diagnostics, to stderr. As JSON they are one array, also where there are none."""
    if as_json:
        print(json.dumps(to_json(report), indent=2), file=sys.stderr)
    elif len(report):
        columns = get_terminal_size((WIDTH, 24)).columns if is_terminal(sys.stderr) else WIDTH
        print(render_all(report, in_colour(sys.stderr), columns), end="", file=sys.stderr)


def finish(
    report: Report, as_json: bool, result: Any = None, text: str = "", *, failed: bool | int = False
) -> NoReturn:
    """Show the diagnostics and the result, `text` to a person and `result` as JSON, and end with the status.

    A `result` of None says that there is nothing to show because of the errors in the report; `failed`, that
    the status is that of a problem without any, or which it is.
    """
    show(report, as_json)
    if as_json:
        print(json.dumps(result, indent=2))
    elif text:
        print(text.rstrip("\n"))
    raise typer.Exit(int(failed) or (PROBLEMS if report.has_errors else CLEAN))


def problem(report: Report, code: str, message: str, *helps: str) -> None:
    """Add what has no place in a file, such as an argument on the command line."""
    report.add(Diagnostic(code, message, helps=helps))


@contextmanager
def busy(what: str) -> Iterator[None]:
    """A spinner on stderr while something long is done, on a terminal only."""
    if not is_terminal(sys.stderr):
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
