"""`netdsl fmt`: files in the one layout of the language."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from netdsl.cli.console import PROBLEMS, finish, show
from netdsl.cli.files import write
from netdsl.cli.options import Files, Json
from netdsl.cli.sources import read
from netdsl.diagnostics import Report


def fmt(
    files: Files,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; name the files that would change.")] = False,
    as_json: Json = False,
) -> None:
    """Format files in place. Stdin is formatted to stdout."""
    from netdsl.syntax import format_source

    report, changed = Report(), []
    for path in files:
        source = read(path, report)
        text = source and format_source(source, report)
        if source is None or text is None:
            continue
        if path == "-" and not check:
            sys.stdout.write(text)
        elif text != source.text:
            changed.append(path)
            if not check:
                write(Path(path), text)
