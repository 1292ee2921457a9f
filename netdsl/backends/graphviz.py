"""DOT text drawn by Graphviz: the one that pygraphviz carries, or the `dot` on the PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import BinaryIO, Final

from netdsl.backends.errors import BackendError

FORMATS: Final = (".svg", ".png", ".pdf")
_PIXELS_PER_INCH = 144


class DrawingError(BackendError):
    """A diagram cannot be drawn."""


def draw(text: str, path: Path) -> Path:
    """Draw DOT `text` into the file `path`, whole or not at all."""
    if path.suffix not in FORMATS:
        raise DrawingError(
            f"a diagram is written as .dot, {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not `{path.name}`"
        )
    options = [f"-Gdpi={_PIXELS_PER_INCH}"] if path.suffix == ".png" else []
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        made = Path(folder) / path.name
        if not (_with_pygraphviz(text, made, options) or _with_program(text, made, options)):
            raise DrawingError(
                "there is no Graphviz: `pip install pygraphviz` brings one, or put `dot` on the PATH"
            )
        made.replace(path)
    return path


def _with_pygraphviz(text: str, path: Path, options: list[str]) -> bool:
    """Whether pygraphviz is there and has drawn the file."""
    try:
        import pygraphviz
    except ImportError:
        return False
    with _quiet() as said:
        try:
            graph = pygraphviz.AGraph(string=text)
            graph.draw(str(path), format=path.suffix[1:], prog="dot", args=" ".join(options))
            drawn = path.exists()
        except (OSError, RuntimeError, ValueError) as problem:
            raise DrawingError(f"Graphviz has failed: {problem}") from problem
        if not drawn:
            said.seek(0)
            raise DrawingError(f"Graphviz has failed: {said.read().decode(errors='replace').strip()}")
    return True


def _with_program(text: str, path: Path, options: list[str]) -> bool:
    """Whether there is a `dot` and it has drawn the file."""
    program = shutil.which("dot")
    if program is None:
        return False
    command = [program, f"-T{path.suffix[1:]}", *options, "-o", str(path)]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    if done.returncode or not path.exists():
        raise DrawingError(f"`dot` has failed: {done.stderr.decode(errors='replace').strip()}")
    return True


@contextmanager
def _quiet() -> Iterator[BinaryIO]:
    """What the libraries under Graphviz print, as warnings about fonts, goes to the file given instead."""
    with TemporaryFile() as said:
        sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:  # there is no standard error
            yield said
            return
        try:
            os.dup2(said.fileno(), 2)
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
