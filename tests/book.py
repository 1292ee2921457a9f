"""The language book as tests: a heading is a test, a `net` block is a program, the blocks after it are views of it.

Views: `error` (all diagnostics, as a user sees them), `shapes`, `python`, `dot`, `formatted`, `graph`, and `console`, a command
line after `$` and what it writes, in a folder with the program and the files that `tests/book_files.py` makes of the
section's other blocks. A program without an `error` or a `console` view must be clean. A second word after `net` names the
file, for imports: the last `net` block is the one viewed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from netdsl.cli.app import main as netdsl
from netdsl.cli.check import check_recipes
from netdsl.compiler import check_program, file_reader, open_program
from netdsl.diagnostics import Report
from netdsl.diagnostics.render import render_all
from netdsl.elaborate.program import Program
from netdsl.ir.graph import Graph
from netdsl.source import Source
from tests.book_files import TEXTS, make_files, write_file

BOOK = Path(__file__).parent / "book"
HOME = "/home/ada"  # what the book calls the folder of a section
FENCE = re.compile(r"^```(\w+)?[ ]*(\S*)[ ]*$")


@dataclass
class View:
    kind: str
    argument: str
    start: int  # line numbers of the text between the fences
    end: int
    text: str


@dataclass
class Section:
    """One test of the book: the path, the headings above it, and its fenced blocks."""

    path: Path
    title: str
    views: list[View] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.path.stem}: {self.title}"

    @property
    def programs(self) -> list[View]:
        return [view for view in self.views if view.kind == "net"]


def sections(path: Path) -> Iterator[Section]:
    """The sections of a page that have a program."""
    lines = path.read_text(encoding="utf-8").splitlines()
    section, opened, fence = Section(path, path.stem), 0, None
    for number, line in enumerate(lines):
        match = FENCE.match(line)
        if fence is None and line.startswith("#"):
            if section.programs:
                yield section
            section = Section(path, line.lstrip("# "))
        elif match and fence is None:
            fence, opened = match, number + 1
        elif fence is not None and line.strip() == "```":
            text = "".join(f"{content}\n" for content in lines[opened:number])
            section.views.append(View(fence[1] or "", fence[2], opened, number, text))
            fence = None
    if section.programs:
        yield section


def all_sections() -> list[Section]:
    return [section for path in sorted(BOOK.glob("*.md")) for section in sections(path)]


@dataclass
class Outcome:
    report: Report
    program: Program | None
    graphs: dict[str, Graph]


def checked(section: Section) -> Outcome:
    """Check the section's program; the other `net` blocks are files that it may import."""
    main = section.programs[-1]
    files = {view.argument: view.text for view in section.programs}
    report = Report()

    library = file_reader(report)

    def read(path: str, importer: Source) -> Source | str | None:
        return Source(files[path], path) if path in files else library(path, importer)

    source = Source(main.text, main.argument or "book.net")
    program = open_program(source, report, read=read)
    graphs = check_program(program) if program is not None else {}
    if program is not None:
        check_recipes(program, graphs, report)
    return Outcome(report, program, graphs)


def render(view: View, section: Section, outcome: Outcome) -> str:
    """What a view should say."""
    return _VIEWS[view.kind](section, outcome)


def _error(section: Section, outcome: Outcome) -> str:
    return render_all(outcome.report).rstrip("\n") + "\n"


def _shapes(section: Section, outcome: Outcome) -> str:
    lines: list[str] = []
    for graph in outcome.graphs.values():
        lines.append(f"{graph.name}({', '.join(f'{i.name}: {i.type}' for i in graph.inputs)})")
        for node in graph.nodes:
            kind = node.op.name if isinstance(node.op, Graph) else str(node.op)
            named = f"{node.label}: {kind}" if node.label else kind
            lines.append(f"  {named} -> {', '.join(map(str, node.types))}")
        outputs = [
            f"{o.name}: {graph.types[o.value]}" if o.name else str(graph.types[o.value])
            for o in graph.outputs
        ]
        lines.append(f"  output {', '.join(outputs)}")
        lines += [f"  where {constraint}" for constraint in graph.constraints]
    return "".join(f"{line}\n" for line in lines)


def _state(section: Section, outcome: Outcome) -> str:
    lines = [
        f"{name} {list(state.shape)}" for graph in outcome.graphs.values() for name, state in graph.state()
    ]
    return "".join(f"{line}\n" for line in lines)


def _python(section: Section, outcome: Outcome) -> str:
    from netdsl.backends.torch_source import source

    return "\n\n".join(source(graph).rstrip("\n") for graph in outcome.graphs.values()) + "\n"


def _dot(section: Section, outcome: Outcome) -> str:
    from netdsl.backends.dot import dot

    return "\n".join(dot(graph).rstrip("\n") for graph in outcome.graphs.values()) + "\n"


def _graph(section: Section, outcome: Outcome) -> str:
    from netdsl.ir.text import print_graph

    return "\n".join(print_graph(graph).rstrip("\n") for graph in outcome.graphs.values()) + "\n"


def _formatted(section: Section, outcome: Outcome) -> str:
    from netdsl.syntax import print_file

    assert outcome.program is not None
    return print_file(outcome.program.main.file)


@dataclass
class Ending:
    """How a command ended: its status, what it wrote to both streams, and the files that it left."""

    status: int
    text: str
    left: frozenset[str]


def lay_out(section: Section, folder: Path) -> None:
    """Write the files of a section: its programs, its texts, and what it declares."""
    for view in section.views:
        if view.kind == "net":
            write_file(folder, view.argument or "book.net", view.text)
        elif view.kind in TEXTS and view.argument:
            write_file(folder, view.argument, view.text)
        elif view.kind == "files":
            make_files(folder, view.text)


def command_of(section: Section) -> str:
    """The command line in the section's `console` view."""
    (view,) = (view for view in section.views if view.kind == "console")
    return view.text.splitlines()[0].removeprefix("$ ")


def ended(section: Section, *more: str) -> Ending:
    """Run the command of a section, with more arguments, among its files."""
    written = StringIO()
    with TemporaryDirectory() as name, chdir(name), redirect_stdout(written), redirect_stderr(written):
        folder = Path.cwd()
        lay_out(section, folder)
        before = set(folder.rglob("*"))
        status = netdsl([*shlex.split(command_of(section))[1:], *more])
        left = set(folder.rglob("*")) - before
    text = written.getvalue().replace(str(folder), HOME)
    return Ending(status, text, frozenset(str(path.relative_to(folder)) for path in left))


def _console(section: Section, outcome: Outcome) -> str:
    return f"$ {command_of(section)}\n{ended(section).text.rstrip()}\n"


_VIEWS = {
    "error": _error,
    "console": _console,
    "shapes": _shapes,
    "state": _state,
    "python": _python,
    "dot": _dot,
    "graph": _graph,
    "formatted": _formatted,
}
VIEWS = frozenset(_VIEWS)


def rewrite(path: Path) -> None:
    """Write the views of a page anew, for `pytest --update`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for section in reversed(list(sections(path))):
        outcome = checked(section)
        for view in reversed(section.views):
            if view.kind in VIEWS:
                lines[view.start : view.end] = render(view, section, outcome).rstrip("\n").split("\n")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
