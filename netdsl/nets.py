"""A model file from Python: `load("x.net").LeNet(classes=10)` is an `nn.Module`; torch is imported to build it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdsl.compiler import Checked, NetError, graph
from netdsl.compiler import check as check_file
from netdsl.diagnostics import Report
from netdsl.elaborate.program import Program
from netdsl.ir.graph import Graph
from netdsl.ir.measure import externs
from netdsl.source import Source

if TYPE_CHECKING:
    from torch import nn


class Model:
    """One model of a file. Call it with the model's parameters to build an `nn.Module`.

    >>> nets = loads("model M(width = 4) { input x: [N, 3]\\n output x -> Linear(width) }")
    >>> str(nets.M.graph(width=8).types[1])
    '[N, 8]'
    """

    def __init__(self, program: Program, name: str) -> None:
        self._program = program
        self.name = name
        self.__doc__ = program.models[name].doc or None

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return tuple(p.name.id for p in self._program.models[self.name].parameters)

    def graph(self, *, sizes: Mapping[str, int] | None = None, **arguments: Any) -> Graph:
        """The typed graph, without torch; `sizes` fixes free dimensions. Raises `NetError` where it does not fit."""
        report = Report()
        found = graph(self._program, self.name, static(arguments), sizes, report=report)
        if found is None or report.has_errors:
            raise NetError(report)
        return found

    def source(self, **arguments: Any) -> str:
        """The Python source of the module: what `__call__` runs, and `netdsl compile --to python` writes."""
        from netdsl.backends.torch_source import source

        return source(self.graph(**arguments))

    def __call__(self, **arguments: Any) -> nn.Module:
        """A new module with fresh weights. Its parameters are named as the spec says."""
        from netdsl.backends.module import build

        found = self.graph(**arguments)
        refuse_extern(self._program, found)
        return build(found, allow_extern=True)  # what is not allowed was refused above, with its place

    def __repr__(self) -> str:
        return f"<model {self.name}({', '.join(self.parameters)}) of {self._program.main.source.path}>"


class Nets:
    """The models of one file, as attributes."""

    def __init__(self, checked: Checked) -> None:
        self.report = checked.report
        self._models = {name: Model(checked.program, name) for name in checked.program.models}

    def __getattr__(self, name: str) -> Model:
        models = self.__dict__.get("_models", {})
        if name in models:
            return models[name]
        raise AttributeError(f"no model {name!r}; the file has {', '.join(models) or 'none'}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._models]

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __repr__(self) -> str:
        return f"<models {', '.join(self._models)}>"


def check(source: str | Path | Source, *, allow_extern: bool = False) -> Report:
    """The diagnostics of a file, as data; torch is not imported. A `Source` checks a text.

    >>> [d.code for d in check(Source("model M { input x: [N, 3]\\n output x -> Liner(2) }"))]
    ['E0201']
    """
    return check_file(source, allow_extern=allow_extern).report


def load(path: str | Path, *, allow_extern: bool = False) -> Nets:
    """The models of a `.net` file (`std/…` is the library). Raises `NetError` with the rendered diagnostics."""
    return _nets(check_file(path, allow_extern=allow_extern))


def loads(text: str, *, allow_extern: bool = False) -> Nets:
    """The models of a text, as `load` for a file."""
    return _nets(check_file(Source(text), allow_extern=allow_extern))


def _nets(checked: Checked) -> Nets:
    if checked.report.has_errors:
        raise NetError(checked.report)
    return Nets(checked)


def refuse_extern(program: Program, graph: Graph) -> None:
    """Raise `NetError` where building `graph` would import Python code that was not allowed."""
    if program.session.allow_extern:
        return
    report = Report()
    for node in externs(graph):
        report.error(
            "E0217",
            f"`{node.op}` is Python code, which is imported only when it is allowed",
            node.span,
            helps=["if you trust the file: `--allow-extern`, or `netdsl.load(path, allow_extern=True)`"],
        )
    if report.has_errors:
        raise NetError(report)


def static(value: Any) -> Any:
    """Python's value as the language's: lists and tuples are one kind of list."""
    if isinstance(value, dict):
        return {key: static(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(static(item) for item in value)
    return value
