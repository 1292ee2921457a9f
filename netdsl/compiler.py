"""The pipeline on one page: text to tree to graph to what runs. The command line and Python both go through here."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path
from typing import Any, TypeAlias

from netdsl.diagnostics import Label, Report
from netdsl.diagnostics.suggest import nearest
from netdsl.elaborate.lints import activations_before, lint_graph, lint_names
from netdsl.elaborate.program import Program, deep
from netdsl.elaborate.recipe import Recipes
from netdsl.elaborate.session import LimitReached, Limits
from netdsl.elaborate.settings import Setting
from netdsl.ir.graph import Graph
from netdsl.passes import run
from netdsl.source import Source, Span

__all__ = [
    "Checked",
    "Limits",
    "NetError",
    "Program",
    "check",
    "check_program",
    "graph",
    "library",
    "open_program",
    "read_source",
]

Reader: TypeAlias = Callable[
    [str, Source], Source | str | None
]  # the path of an import, and the file it stands in


class NetError(Exception):
    """A model file has errors; the message is the rendered diagnostics, `report` has them as data."""

    def __init__(self, report: Report) -> None:
        from netdsl.diagnostics.render import render_all

        super().__init__("\n" + render_all(report))
        self.report = report


@dataclass(frozen=True)
class Checked:
    """What `check` found: the problems, and the graphs of the models that need no arguments."""

    report: Report
    program: Program
    graphs: Mapping[str, Graph]


def library() -> Path:
    """The folder of the models that come with netdsl, `std/` in an import."""
    installed = Path(__file__).parent / "std"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "specs"


def read_source(path: str | Path, report: Report, limits: Limits | None = None) -> Source | None:
    """The file at `path`; None, with a diagnostic, where it cannot be read. `std/…` is the library's."""
    wanted = str(path)
    place = library() / wanted[4:] if _is_librarys(wanted) else Path(wanted)
    most = (limits or Limits()).source
    helps: tuple[str, ...] = ()
    try:
        with place.open("rb") as file:
            content = file.read(most + 1)  # never more: it may be a device without an end
        if len(content) > most:
            report.error("E0106", f"{wanted} is larger than {most:,} bytes", Span(Source("", wanted), 0, 0))
            return None
        return Source(content.decode("utf-8-sig"), wanted)
    except UnicodeDecodeError as problem:
        reason = f"{wanted} is not UTF-8 text (byte {problem.start})"
    except FileNotFoundError:
        reason, helps = f"there is no file {wanted}", near_files(wanted, place)
    except IsADirectoryError:
        reason = f"{wanted} is a folder"
    except (OSError, ValueError) as problem:
        reason = f"{wanted} cannot be read: {getattr(problem, 'strerror', None) or problem}"
    report.error("E0213", reason, Span(Source("", wanted), 0, 0), helps=helps)
    return None


def _is_librarys(path: str) -> bool:
    """Whether a path is one of the library, and not of a folder here that is called `std` too."""
    return path.startswith("std/") and not Path(path).exists()


def near_files(wanted: str, place: Path) -> tuple[str, ...]:
    """A help with the model files beside `place` whose names are near, or those of the library.

    >>> near_files("std/resnt.net", library() / "resnt.net")
    ('did you mean `std/resnet.net`?',)
    """
    folder = wanted[: len(wanted) - len(Path(wanted).name)]
    if ".." not in wanted and (library() / wanted).is_file():
        return (f"the library has `std/{wanted}`",)
    try:
        beside = [path.name for path in place.parent.glob("*.net")]
    except (OSError, ValueError):
        return ()
    found = nearest(Path(wanted).name, beside)
    near = [f"{folder}{name}" for name in found]
    if not near and not folder:
        near = [f"std/{name}" for name in nearest(wanted, [path.name for path in library().glob("*.net")])]
    if not near:
        return ("`netdsl list` names the files of the library",) if _is_librarys(wanted) else ()
    return (f"did you mean {' or '.join(f'`{path}`' for path in near)}?",)


def open_program(
    source: Source,
    report: Report,
    *,
    limits: Limits | None = None,
    read: Reader | None = None,
    allow_extern: bool = False,
) -> Program | None:
    """Parse a file and what it imports (files, unless `read` says otherwise), and evaluate its constants."""
    try:
        with deep(), _without_collector():
            reader, near = (read, None) if read else (file_reader(report, limits), near_import)
            return Program(source, report, limits=limits, read=reader, near=near, allow_extern=allow_extern)
    except LimitReached:
        return None


def file_reader(report: Report, limits: Limits | None = None) -> Reader:
    """Reads imports from files: relative to the importing one and inside its project, or from the library `std/`."""

    def read(path: str, importer: Source) -> Source | str | None:
        if not path.startswith("std/") and _is_librarys(importer.path):  # the library's files name each other
            path = normpath(Path(importer.path).parent / path)
            if not path.startswith("std/"):
                return f"`{path}` leaves the library"
        if path.startswith("std/"):
            place, root = library() / path[4:], library()
        else:
            here = Path(importer.path).parent if importer.path != "<text>" else Path()
            place, root = here / path, _root(importer)
        try:
            if not place.resolve().is_relative_to(root.resolve()):
                return f"`{path}` leaves the project"
            if not place.is_file():
                return None
        except (OSError, ValueError):
            return None
        shown = path if path.startswith("std/") else str(place)
        found = read_source(place, report, limits)
        return None if found is None else Source(found.text, shown)

    return read


def near_import(path: str, importer: Source) -> tuple[str, ...]:
    """The help of `near_files` for an import of a file that is not there."""
    if path.startswith("std/"):
        return near_files(path, library() / path[4:])
    here = Path(importer.path).parent if importer.path != "<text>" else Path()
    return near_files(path, library() / path if _is_librarys(importer.path) else here / path)


ROOTS = ("pyproject.toml", ".git", "run.json")  # what a project has, and a run that keeps its files


def _root(importer: Source) -> Path:
    """The project's root: the nearest folder upwards with one of `ROOTS` in it, else the file's own folder."""
    start = Path(importer.path).resolve().parent if importer.path != "<text>" else Path.cwd()
    for folder in (start, *start.parents):
        if any((folder / name).exists() for name in ROOTS):
            return folder
    return start


def check(
    source: Source | str | Path, *, limits: Limits | None = None, allow_extern: bool = False
) -> Checked:
    """Check a file as a whole: every model, every block, every recipe; and the lints.

    >>> from netdsl.source import Source
    >>> checked = check(Source("model M { input x: [N, 3]\\n output x -> Linear(2) }"))
    >>> str(checked.graphs["M"].types[1])
    '[N, 2]'
    """
    report = Report()
    if not isinstance(source, Source):
        read = read_source(source, report, limits)
        source = read or Source("", str(source))
        if read is None:
            return Checked(report, Program(source, Report()), {})
    with _without_collector():
        program = open_program(source, report, limits=limits, allow_extern=allow_extern)
        if program is None:
            return Checked(report, Program(Source("", source.path), Report()), {})
        return Checked(report, program, check_program(program))


@contextmanager
def _without_collector() -> Generator[None]:
    """Python's cyclic collector held back: trees and graphs have next to no cycles, and walking them again and again
    makes a file of thousands of layers take more than its share."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def check_program(program: Program) -> dict[str, Graph]:
    """Check all of an open program; the graphs of the models that need no arguments."""
    graphs = _graphs(program)
    recipes: dict[str, Span] = {}
    for train in program.trains:
        first = recipes.setdefault(train.model.id, train.model.span)
        if first is train.model.span:
            settings(program, train.model.id, graphs.get(train.model.id))
        else:
            also = [Label(first, "the first one is here")]
            program.report.error("E0210", f"`{train.model.id}` has two recipes", train.model.span, also=also)
    for found in graphs.values():
        lint_graph(program.session, found)
    if not program.report.has_errors:
        lint_names(program.session, files={program.main.source.path})
    return graphs


def _graphs(program: Program) -> dict[str, Graph]:
    graphs: dict[str, Graph] = {}
    for name in program.models:
        if program.required(name):
            program.check_block(name)
            continue
        found = graph(program, name)
        if found is not None:
            graphs[name] = found
    for name in program.blocks:
        program.check_block(name)
    return graphs


def graph(
    program: Program,
    name: str,
    arguments: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
    *,
    report: Report | None = None,
) -> Graph | None:
    """The graph of one model with its arguments, after the default passes; None where it has errors (reported)."""
    with _without_collector():
        found = program.graph(name, arguments, sizes, report=report)
        return None if found is None else run(found)


def settings(program: Program, name: str, graph: Graph | None) -> dict[str, Setting] | None:
    """The `train` block of a model as plain data, or None where it has none; its form is checked here, its recipe by
    `netdsl.train.recipe`, which knows the keys."""
    train = next((t for t in program.trains if t.model.id == name), None)
    if train is None:
        return None
    if name not in program.models:
        program.report.error("E0601", f"`train {name}`: the file has no model `{name}`", train.model.span)
        return None
    found = Recipes(program.session, program.main.scope.child(), None).settings(train)
    if graph is not None:
        _activation_before_loss(program, graph, found)
    return found


# The activations that a loss applies itself: (loss, operation before it, what to do).
_APPLIED_TWICE = {
    ("CrossEntropyLoss", "softmax"): "`CrossEntropyLoss` applies softmax itself: output the scores",
    ("CrossEntropyLoss", "logsoftmax"): "`CrossEntropyLoss` applies log-softmax itself: output the scores",
    ("CrossEntropyLoss", "sigmoid"): "`CrossEntropyLoss` takes scores: leave the sigmoid out",
    (
        "BCEWithLogitsLoss",
        "sigmoid",
    ): "`BCEWithLogitsLoss` applies the sigmoid itself: use `BCELoss`, or leave it out",
    (
        "NLLLoss",
        "softmax",
    ): "`NLLLoss` takes log-probabilities: use `LogSoftmax`, or `CrossEntropyLoss` on the scores",
}


def _activation_before_loss(program: Program, graph: Graph, found: Mapping[str, Setting]) -> None:
    loss = getattr(found["loss"].value, "name", None) if "loss" in found else None
    for kind, node in activations_before(graph):
        advice = _APPLIED_TWICE.get((loss or "", kind.lower().replace("_", "")))
        if advice is not None and node.span is not None:
            span = found["loss"].span
            program.session.error(
                "E0610",
                f"`{kind}` before `{loss}`",
                node.span,
                "the model ends with it",
                also=[Label(span, "the loss is chosen here")] if span else [],
                help=advice,
            )
