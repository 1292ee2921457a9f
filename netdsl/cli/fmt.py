"""`netdsl fmt`: files in the one layout of the language."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from netdsl.cli.console import finish
from netdsl.cli.files import write
from netdsl.cli.options import Files, Json
from netdsl.diagnostics import Report

Check = Annotated[bool, typer.Option("--check", help="Write nothing; name the files that would change.")]


def fmt(files: Files, check: Check = False, as_json: Json = False) -> None:
    """Format files in place.

    `-` formats stdin to stdout. A file with syntax errors stays as it is.
    """
    from netdsl.cli.program import read
    from netdsl.syntax import format_source

    report, changed = Report(), []
    shown: dict[str, Any] = {}
    for path in dict.fromkeys(files):
        source = read(path, report)
        text = format_source(source, report) if source else None
        if source is None or text is None:
            continue
        if text != source.text:
            changed.append(source.path)
        if path == "-" and not check:
            shown["formatted"] = text
        elif text != source.text and not check:
            write(Path(path), text)
    lines = [shown["formatted"]] if shown else changed
    finish(report, as_json, {"changed": changed, **shown}, "\n".join(lines), failed=check and bool(changed))
