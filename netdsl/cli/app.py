"""`netdsl`: the commands, and what becomes of every way in which one can end."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer

from netdsl.cli.console import CLEAN, FAULT, PROBLEMS, SIGNALLED, limits_given, show
from netdsl.diagnostics import Report

# Pydantic would look through every installed package for plugins, which takes longer than a small check.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

QUICK = ("check", "summary", "list", "fmt", "ops", "explain")
COMMANDS = (
    "check",
    "summary",
    "list",
    "graph",
    "compile",
    "train",
    "eval",
    "predict",
    "export",
    "runs",
    "report",
    "fmt",
    "ops",
    "explain",
)
# Options of every command: they may stand behind its name too.
FLAGS = ("--debug",)
VALUED = ("--max-nodes", "--max-nesting", "--max-files", "--max-source", "--max-steps")


def assembled(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """The command line with the commands of these names: one costs a tenth of what all cost to make."""
    app = typer.Typer(
        name="netdsl",
        callback=options,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Status: 0 clean, 1 problems in what was given, 2 a fault in netdsl.",
    )
    for name in names:
        app.command()(getattr(import_module(f"netdsl.cli.{name}"), name))
    return app


def show_version(wanted: bool) -> None:
    if wanted:
        from netdsl import __version__

        print(f"netdsl {__version__}")
        raise typer.Exit


def limit(what: str) -> Any:
    return typer.Option(min=1, metavar="COUNT", help=f"Allow so many {what}.")


def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and end."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a fault in netdsl.")] = False,
    max_nodes: Annotated[int | None, limit("layers and operations in a model")] = None,
    max_nesting: Annotated[int | None, limit("blocks inside each other")] = None,
    max_files: Annotated[int | None, limit("files in a program")] = None,
    max_source: Annotated[int | None, limit("bytes in a file")] = None,
    max_steps: Annotated[int | None, limit("steps of static computation")] = None,
) -> None:
    """Check, compile, draw and train neural networks written as .net files."""
    del version, debug  # the first ends by itself, the second is for `main`
    given = {
        "nodes": max_nodes,
        "nesting": max_nesting,
        "files": max_files,
        "source": max_source,
        "steps": max_steps,
    }
    limits_given.clear()
    limits_given.update((name, value) for name, value in given.items() if value is not None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default that of this process, and return its status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    common, rest = common_apart(given)
    with _seldom_collecting(arguments is None and rest[:1] != [] and rest[0] in QUICK):
        status = _run(given, common, rest)
    _flush()
    return status


def _flush() -> None:
    """Drop what is left for a reader that has gone: Python would try it once more at its end, and complain."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(given: Sequence[str], common: Sequence[str], rest: Sequence[str]) -> int:
    _escape_what_cannot_be_shown()
    names = rest[:1] if rest and rest[0] in COMMANDS else COMMANDS
    try:
        assembled(names)([*common, *rest], prog_name="netdsl")
    except SystemExit as end:
        # Typer's own status for a wrong option is 2, which here is netdsl's fault and not the caller's.
        if isinstance(end.code, int) and end.code > SIGNALLED:
            return end.code
        return PROBLEMS if end.code else CLEAN
    except Exception as fault:
        return _ended_by(fault, debug="--debug" in given, as_json="--json" in given)
    return CLEAN


def common_apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options that every command has, which Typer looks for before the name of the command, and the rest.

    >>> common_apart(["check", "a.net", "--max-nodes", "5", "--debug"])
    (['--max-nodes', '5', '--debug'], ['check', 'a.net'])
    """
    common: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            return common, [*rest, argument, *waiting]
        if argument.partition("=")[0] in (*FLAGS, *VALUED):
            common.append(argument)
            common += [next(waiting, "")] if argument in VALUED else []
        else:
            rest.append(argument)
    return common, rest


@contextmanager
def _seldom_collecting(wanted: bool) -> Iterator[None]:
    """A process of a moment would spend a quarter of it looking for garbage in what it has just imported."""
    if wanted:
        gc.set_threshold(500_000)  # more objects than a small file needs, few enough for any machine
    yield
    if wanted:
        gc.freeze()


def _escape_what_cannot_be_shown() -> None:
    """A terminal with a narrow encoding gets escapes, and not an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _ended_by(fault: Exception, *, debug: bool, as_json: bool) -> int:
    """Say what went wrong, and whose fault it is."""
    from netdsl.cli.endings import diagnosed

    if getattr(fault, "told", False):  # by another process of the same run
        return CLEAN
    reason = diagnosed(fault)
    if reason is not None:
        show(Report([reason]), as_json)
        if as_json:
            print("null")
        return PROBLEMS
    if debug:
        raise fault
    print(f"this is a fault in netdsl, not in your file: {type(fault).__name__}: {fault}", file=sys.stderr)
    print("  = help: please report it with the file; `--debug` shows where it happened", file=sys.stderr)
    return FAULT
