"""Where the model of a run comes from: the files of its program, kept with the run, so that it can be opened again
from its folder alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from netdsl.elaborate.program import Program
from netdsl.elaborate.settings import shown
from netdsl.ir.graph import Graph
from netdsl.source import Source
from netdsl.train.files import write_atomically

KEPT = "spec"  # the folder in a run's own that holds the files


@dataclass(frozen=True)
class Origin:
    """A model of a program: `files` by their paths, `main` among them, and what the model was made with.

    `parameters` are `name=value` as `--param` takes them, and `changes` the options of the command line that have
    changed the recipe, with their values. `folder` is where the main file lay, for paths of data
    that are relative to it.
    """

    model: str
    main: str
    files: Mapping[str, str]
    parameters: tuple[str, ...] = ()
    folder: Path = field(default_factory=Path.cwd)
    allow_extern: bool = False
    graph: Graph | None = field(default=None, compare=False)
    changes: tuple[str, ...] = ()

    def described(self) -> dict[str, Any]:
        """As plain JSON data, for the run's record."""
        return {
            "file": f"{KEPT}/{self.main}",
            "parameters": list(self.parameters),
            "changes": list(self.changes),
            "folder": str(self.folder.resolve()),
            "allow_extern": self.allow_extern,
        }

    def keep(self, folder: Path) -> None:
        """Write the files below `folder`, as they lay to each other."""
        for name, text in self.files.items():
            place = folder / KEPT / name
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, text)


def origin_of(
    program: Program,
    model: str,
    parameters: Sequence[str] | Mapping[str, Any] = (),
    graph: Graph | None = None,
    changes: Sequence[str] = (),
) -> Origin:
    """The origin of a model of `program`. Files of the library stay there, and are found by their names, unless the
    main file is one of them.

    >>> from netdsl.compiler import Report, open_program
    >>> program = open_program(Source("model M { input x: [N, 3]\\n output x -> Linear(2) }"), Report())
    >>> origin = origin_of(program, "M")
    >>> origin.main, list(origin.files)
    ('M.net', ['M.net'])
    """
    if isinstance(parameters, Mapping):
        parameters = [f"{name}={shown(value)}" for name, value in parameters.items()]
    main = program.main.source
    folder = Path(main.path).parent if _is_file(main) else Path.cwd()
    files, name = _kept(main, program.sources, model)
    allowed = program.session.allow_extern
    return Origin(model, name, files, tuple(parameters), folder, allowed, graph, tuple(changes))


def _kept(main: Source, sources: Sequence[Source], model: str) -> tuple[dict[str, str], str]:
    """Texts by path, and the path of the main one, all below the folder that holds them all."""
    if not _is_file(main):
        files = {f"{model}.net": main.text}
        others = [s for s in sources if s is not main and not _is_librarys(s)]
        base = Path.cwd()
        inside = {os.path.relpath(Path(s.path).resolve(), base.resolve()): s.text for s in others}
        return files | {_posix(name): text for name, text in inside.items()}, f"{model}.net"
    wanted = [s for s in sources if _is_librarys(s) == _is_librarys(main)]
    places = {s: Path(s.path) if _is_librarys(s) else Path(s.path).resolve() for s in wanted}
    base = Path(os.path.commonpath([place.parent for place in places.values()]))
    if _is_librarys(main):
        base = Path("std")
    files = {_posix(place.relative_to(base)): source.text for source, place in places.items()}
    return files, _posix(places[main].relative_to(base))


def _is_file(source: Source) -> bool:
    return not source.path.startswith("<")


def _is_librarys(source: Source) -> bool:
    return source.path.startswith("std/") and not Path(source.path).exists()


def _posix(path: str | Path) -> str:
    return PurePosixPath(Path(path)).as_posix()
