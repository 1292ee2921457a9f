"""A model file from Python: `load("x.net").LeNet(classes=10)` is an `nn.Module`; torch is imported to build it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdsl.compiler import Checked, NetError, graph
from netdsl.compiler import check as check_file
from netdsl.diagnostics import Report
from netdsl.diagnostics.suggest import did_you_mean
from netdsl.elaborate.localise import exact
from netdsl.elaborate.program import Program
from netdsl.ir.graph import Graph
from netdsl.ir.measure import externs
from netdsl.source import Source

if TYPE_CHECKING:
    from torch import nn

REMEMBERED = 16  # graphs of a model: building it again takes no longer than making its tensors


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
        self._graphs: dict[Any, Graph] = {}  # by sizes and arguments

    @property
    def program(self) -> Program:
        """The file it is of, with what that imports."""
        return self._program

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return tuple(p.name.id for p in self._program.models[self.name].parameters)

    def graph(self, *, sizes: Mapping[str, int] | None = None, **arguments: Any) -> Graph:
        """The typed graph, without torch; `sizes` fixes free dimensions. Raises `NetError` where it does not fit."""
        given = static(arguments)
        asked = exact((*sorted((sizes or {}).items()), None, *sorted(given.items())))
        try:
            return self._graphs[asked]
        except KeyError:
            found = self._graphs[asked] = self._elaborated(given, sizes)
            if len(self._graphs) > REMEMBERED:
                del self._graphs[next(iter(self._graphs))]  # the oldest
            return found
        except TypeError:  # a value that is no key, as a dictionary
            return self._elaborated(given, sizes)

    def _elaborated(self, arguments: Mapping[str, Any], sizes: Mapping[str, int] | None) -> Graph:
        report = Report()
        found = graph(self._program, self.name, arguments, sizes, report=report)
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
        listed = ", ".join(models) or "none"
        near = "".join(f"; {line}" for line in did_you_mean(name, models))
        raise AttributeError(f"no model {name!r}{near}; the file has {listed}")

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


def load_weights(model: nn.Module, source: str | Path) -> None:
    """Load weights into a model: a `.safetensors` file, a `state_dict` saved by torch, or `torchvision:DEFAULT`.

    Raises `NetError` with every key that is missing, unexpected or of another shape; then nothing is changed.
    """
    from netdsl.backends.errors import WeightsError
    from netdsl.backends.weights import load_weights as load_into

    try:
        load_into(model, source)
    except WeightsError as problem:
        raise NetError(Report([problem.diagnostic])) from None


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
