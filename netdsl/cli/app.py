"""`netdsl`: the commands, and what becomes of every way in which one can end."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from netdsl.cli import check, compile, eval, explain, fmt, graph, ops, predict, summary, train
from netdsl.cli.console import FAULT, PROBLEMS

# Pydantic would look through every installed package for plugins of its own, which takes longer than a small check.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

app = typer.Typer(
    name="netdsl",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Check, compile, draw and train neural networks written as .net files.",
    epilog="Status: 0 clean, 1 problems in what was given, 2 a fault in netdsl.",
)
for command in (check, compile, graph, summary, fmt, ops, explain, train, eval, predict):
    app.command()(getattr(command, command.__name__.rpartition(".")[2]))


def version(wanted: bool) -> None:
    if wanted:
        from netdsl import __version__

        print(f"netdsl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version and end.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a fault in netdsl.")] = False,
) -> None:
    """Check, compile, draw and train neural networks written as .net files."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its status. `--debug` may stand anywhere."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    rest = [argument for argument in given if argument != "--debug"]
    _say_everything()
    try:
        app(rest, prog_name="netdsl")
    except SystemExit as end:
        # Typer's own status for a wrong option is 2, which here is netdsl's fault and not the caller's.
        return PROBLEMS if end.code else 0
    except Exception as fault:
        if "--debug" in given:
            raise
        return _explain(fault)
    return 0


def _say_everything() -> None:
    """A terminal with a narrow encoding gets escapes for what it cannot show, and no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _explain(fault: Exception) -> int:
    """What went wrong outside the language, in a sentence."""
    if isinstance(fault, OSError) and fault.filename:
        print(f"error: `{fault.filename}`: {(fault.strerror or str(fault)).lower()}", file=sys.stderr)
        return PROBLEMS
    if isinstance(fault, ModuleNotFoundError) and fault.name and not fault.name.startswith("netdsl"):
        print(f"error: this needs `{fault.name}`, which is not installed", file=sys.stderr)
        print('  = help: pip install "netdsl[all]"', file=sys.stderr)
        return PROBLEMS
    print(f"this is a fault in netdsl, not in your file: {type(fault).__name__}: {fault}", file=sys.stderr)
    print("  = help: please report it with the file; `--debug` shows where it happened", file=sys.stderr)
    return FAULT
