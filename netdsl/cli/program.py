"""What a command line asks for: the file, the model in it, and the values of its parameters and sizes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdsl.cli.console import limits_given, problem
from netdsl.compiler import Limits, open_program, read_source
from netdsl.compiler import graph as graph_of
from netdsl.diagnostics import Report
from netdsl.diagnostics.suggest import did_you_mean
from netdsl.elaborate.blocks import Evaluator
from netdsl.elaborate.program import Program
from netdsl.elaborate.values import POISON
from netdsl.ir.graph import Graph
from netdsl.source import Source
from netdsl.syntax import tree
from netdsl.syntax.machine import parse_interpolation

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Request:
    """One model of one file, as a command line names it."""

    program: Program
    model: str
    graph: Graph
    arguments: dict[str, Any]

    @property
    def source(self) -> Source:
        return self.program.main.source

    def build(self) -> nn.Module:
        """A new module with fresh weights. Layers written in Python are imported only with `--allow-extern`."""
        from netdsl.backends.module import build

        return build(self.graph, allow_extern=self.program.session.allow_extern)


def limits() -> Limits:
    """Those of the language, or what `--max-nodes` and its friends say."""
    return Limits(**limits_given)


def read(path: str, report: Report) -> Source | None:
    """The file at `path`, or what comes on stdin for `-`."""
    if path != "-":
        return read_source(path, report, limits())
    most = limits().source
    given = sys.stdin.buffer.read(most + 1)
    if len(given) > most:
        problem(report, "E0106", f"stdin is larger than {most:,} bytes")
        return None
    try:
        return Source(given.decode("utf-8-sig"), "<stdin>")
    except UnicodeDecodeError as fault:
        problem(report, "E0213", f"stdin is not UTF-8 text (byte {fault.start})")
        return None


def request(
    target: str,
    report: Report,
    params: Sequence[str] | None = None,
    sizes: Sequence[str] | None = None,
    allow_extern: bool = False,
) -> Request | None:
    """The model that `FILE` or `FILE:MODEL` names, with its arguments; None after reporting what is wrong."""
    path, wanted = split(target)
    source = read(path, report)
    program = source and open_program(source, report, limits=limits(), allow_extern=allow_extern)
    if not program or report.has_errors:
        return None
    model = choose(program, path, wanted, report)
    arguments = dict(assignments(program, "--param", params or (), report))
    dims = dict(assignments(program, "--set", sizes or (), report))
    for name, value in dims.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            problem(
                report,
                "E0002",
                f"`--set {name}` is {value}, which is no size",
                f"for example `--set {name}=64`",
            )
    if model is None or report.has_errors:
        return None
    graph = graph_of(program, model, arguments, dims, report=report)
    return None if graph is None or report.has_errors else Request(program, model, graph, arguments)


def split(target: str) -> tuple[str, str | None]:
    """The path and the model of `x.net:LeNet`.

    >>> split("specs/lenet.net:LeNet"), split("lenet.net"), split("C:/lenet.net")
    (('specs/lenet.net', 'LeNet'), ('lenet.net', None), ('C:/lenet.net', None))
    """
    path, _, model = target.rpartition(":")
    if not path or not model.isidentifier() or Path(target).exists():
        return target, None
    return path, model


def choose(program: Program, path: str, wanted: str | None, report: Report) -> str | None:
    """The name of the model to work on: the one asked for, or the only one."""
    names = list(program.models)
    if wanted in names:
        return wanted
    if wanted is None and len(names) == 1:
        return names[0]
    listed = ", ".join(f"`{path}:{name}`" for name in names[:8]) + (", ..." if len(names) > 8 else "")
    if not names:
        problem(report, "E0001", f"`{path}` has no model", "a `model` declaration is what can be compiled")
    elif wanted is None:
        problem(report, "E0001", f"`{path}` has {len(names)} models", f"name one: {listed}")
    else:
        near = did_you_mean(wanted, names)
        problem(report, "E0001", f"`{path}` has no model `{wanted}`", *near, f"it has {listed}")
    return None


ASSIGNMENT = re.compile(r"\s*([A-Za-z_][\w.]*?)\s*=(.*)", re.S)


def written(
    option: str, texts: Sequence[str], report: Report, example: str = "width=64"
) -> Iterator[tuple[str, Source, tree.Expr]]:
    """The names, texts and expressions of `--param name=value` options."""
    for text in texts:
        match = ASSIGNMENT.fullmatch(text)
        if match is None:
            message, help = f"`{option} {text}` is not `name=value`", f"for example `{option} {example}`"
            problem(report, "E0002", message, help)
            continue
        source = Source(text, option)
        expr = parse_interpolation(source, match.start(2), len(text), report)
        if expr is not None:
            yield match[1], source, expr


def assignments(
    program: Program, option: str, texts: Sequence[str], report: Report
) -> Iterator[tuple[str, Any]]:
    """Names and values of options, evaluated among the names of the file; an unknown word is a string."""
    program.session.report = report
    scope = program.main.scope
    for name, _, expr in written(option, texts, report):
        if isinstance(expr, tree.Name) and scope.find(expr.id) is None:
            yield name, expr.id
            continue
        value = Evaluator(program.session, scope, None).static(expr, "a value on the command line")
        if value is not POISON:
            yield name, value
