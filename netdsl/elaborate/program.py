"""Files: reading, imports, and the declarations that make a program; it gives the graph of any of its models."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from netdsl.diagnostics import Label, Report
from netdsl.diagnostics.suggest import did_you_mean
from netdsl.elaborate import static
from netdsl.elaborate.blocks import Evaluator
from netdsl.elaborate.body import Body
from netdsl.elaborate.budgets import check_expectations
from netdsl.elaborate.calls import bind_parameters
from netdsl.elaborate.cycles import cycles, names_in
from netdsl.elaborate.naming import check_state
from netdsl.elaborate.scope import Binding, Scope, Usage
from netdsl.elaborate.session import LimitReached, Limits, Session
from netdsl.elaborate.values import POISON, Argument, Builtin, Declared, Function, Identity
from netdsl.ir.dims import DimTooLarge
from netdsl.ir.graph import Graph
from netdsl.ir.types import DTYPES
from netdsl.ops import registry
from netdsl.source import Source, Span
from netdsl.syntax import parse, tree

# Evaluating a program nests Python calls about fifteen deep a block: 256 blocks need room, and cost no C stack.
RECURSION = 20_000


@contextmanager
def deep() -> Generator[None]:
    """Room for the nesting that the limits of the language allow."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@dataclass
class Module:
    """One file: its tree, and a scope with its declarations, in which `const`s and `fn`s are looked up."""

    source: Source
    file: tree.File
    scope: Scope
    exports: dict[str, Any] = field(default_factory=dict[str, Any])  # name -> declaration, imports left out
    complete: bool = False
    broken: bool = False  # it has syntax errors, so a name may be missing for that reason


class Program:
    """A file with what it imports. `read(path, importer)` gives the text of an import, why it is
    refused, or None where there is no such file; then `near(path, importer)` may help with its name."""

    def __init__(
        self,
        source: Source,
        report: Report,
        *,
        limits: Limits | None = None,
        read: Callable[[str, Source], Source | str | None] | None = None,
        near: Callable[[str, Source], Sequence[str]] | None = None,
        allow_extern: bool = False,
    ) -> None:
        self.session = Session(report, limits or Limits(), allow_extern=allow_extern)
        self.report = report
        self._read = read or _no_files
        self._near = near or _no_names
        self._modules: dict[str, Module] = {}
        self._builtins = Language(self.session.usage)
        self._identities = 0
        self.main = self._load(source)

    # -- what there is

    @property
    def models(self) -> dict[str, tree.GraphDecl]:
        return self._declared("model")

    @property
    def blocks(self) -> dict[str, tree.GraphDecl]:
        return self._declared("block")

    def _declared(self, kind: str) -> dict[str, tree.GraphDecl]:
        found = self.main.exports.items()
        return {name: d for name, d in found if isinstance(d, tree.GraphDecl) and d.kind == kind}

    @property
    def trains(self) -> list[tree.Train]:
        return [d for d in self.main.file.declarations if isinstance(d, tree.Train)]

    @property
    def sources(self) -> list[Source]:
        """The file and all that it imports, in the order in which they were read."""
        return [module.source for module in self._modules.values()]

    def required(self, name: str) -> list[str]:
        """The parameters of a model that the caller must give."""
        return [p.name.id for p in self.models[name].parameters if p.default is None]

    # -- graphs

    def graph(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        sizes: Mapping[str, int] | None = None,
        *,
        report: Report | None = None,
    ) -> Graph | None:
        """The graph of a model with these arguments, free dimensions fixed by `sizes`; None where there are errors.

        Problems go to `report`, or to the program's own. Raises KeyError for a name that is no model of the file.
        """
        self.session.report = report if report is not None else self.report
        if report is not None:
            self.session.instances.clear()  # a block that had errors must report them again
            self.session.steps = 0  # and each question may take as long as any other
        binding = self.main.scope.find(name)
        if name not in self.models or binding is None:
            raise KeyError(name)
        given = {
            key: Argument(key, value, self.models[name].name.span) for key, value in (arguments or {}).items()
        }
        if not isinstance(binding.value, Declared):
            return None
        try:
            with deep():
                return self._model(binding.value, list(given.values()), dict(sizes or {}))
        except LimitReached:
            return None
        except DimTooLarge:
            self._too_large(binding.value)
            return None
        finally:
            self.session.report = self.report

    def _too_large(self, declared: Declared) -> None:
        """A size whose formula outgrows what can be computed with; no network that runs has one."""
        self.session.error(
            "E0308", f"a size in `{declared.name}` has too many terms", declared.decl.name.span
        )

    def _model(self, declared: Declared, arguments: list[Argument], sizes: dict[str, int]) -> Graph | None:
        evaluator = Evaluator(self.session, declared.scope, None)
        at = declared.decl.name.span
        bound = bind_parameters(evaluator, declared.name, declared.decl.parameters, arguments, at)
        if bound is None:
            return None
        with evaluator.entered(declared, bound, None, None):
            if isinstance(declared.decl, tree.GraphDecl) and declared.decl.value is not None:
                target = evaluator.variant(declared, bound)
                graph = None if target is None else self._model(target[0], list(target[1]), sizes)
                return None if graph is None else _renamed(graph, declared)
            return self._root(declared, bound, sizes)

    def _root(self, declared: Declared, bound: Mapping[str, Argument], sizes: dict[str, int]) -> Graph | None:
        body = Body(self.session, "model", declared.name)
        runner = Evaluator(self.session, Scope(declared.scope, self.session.usage, root=True), body)
        runner.sizes = sizes
        with runner.assuming({}) as found:
            values = {name: argument.value for name, argument in bound.items()}
            arguments = runner.bind_arguments(declared.decl.parameters, values, bound)
            graph = runner.finish(declared, arguments, None)
            if graph is None:
                return None
            unknown = [name for name in sizes if name not in _input_names(declared)]
            for name in unknown:
                self.session.error(
                    "E0215",
                    f"`{declared.name}` has no free dimension `{name}`",
                    declared.decl.name.span,
                    helps=did_you_mean(name, _input_names(declared)),
                )
            graph = replace(graph, constraints=tuple(found.constraints))
            check_state(self.session, graph)
            check_expectations(runner, graph)
        return graph

    def check_block(self, name: str) -> None:
        """Check the body of a block that no model uses: names and arguments, with sizes unknown."""
        binding = self.main.scope.find(name)
        declared = binding.value if binding is not None else None
        if not isinstance(declared, Declared):
            return
        evaluator = Evaluator(self.session, declared.scope, None)
        try:
            with deep(), evaluator.entered(declared, {}, None, None):
                self._check_unknown(declared)
        except LimitReached:
            return
        except DimTooLarge:
            self._too_large(declared)

    def _check_unknown(self, declared: Declared) -> None:
        body = Body(self.session, "block", declared.name)
        runner = Evaluator(self.session, Scope(declared.scope, self.session.usage, root=True), body)
        runner.bind_arguments(declared.decl.parameters, {}, {})
        if isinstance(declared.decl, tree.GraphDecl) and declared.decl.value is not None:
            runner.value(declared.decl.value)
            return
        runner.operands = [POISON] * len(declared.decl.body)
        runner.expectations = []
        runner.run(declared.decl.body)
        if "output" not in self.session.lost and next(_outputs(declared.decl.body), None) is None:
            self.session.error(
                "E0501",
                f"`{declared.name}` has no output",
                declared.decl.name.span,
                help="end it with `output ...`",
            )

    # -- files and declarations

    def _load(self, source: Source) -> Module:
        before = len(self.report.errors)
        file = parse(source, self.report, most=self.session.limits.source)
        broken = len(self.report.errors) > before
        if broken:
            self.session.lost |= _words_of_broken_lines(self.report, source)
        scope = Scope(self._builtins, self.session.usage, root=True)
        module = Module(source, file, scope, broken=broken)
        self._modules[source.path] = module
        if len(self._modules) > self.session.limits.files:
            self.session.stop("E0207", f"more than {self.session.limits.files} files", file.span)
        for declaration in file.declarations:
            if isinstance(declaration, tree.Import):
                self._import(module, declaration)
        for declaration in file.declarations:
            self._declare(module, declaration)
        self._refuse_cycles(module)
        for declaration in file.declarations:
            self._evaluate_const(module, declaration)
        module.complete = True
        return module

    def _refuse_cycles(self, module: Module) -> None:
        """Report declarations that use themselves, and take them out of the way."""
        for cycle in cycles(module.exports):
            name = cycle[-1]
            path = " -> ".join([name.id, *(use.id for use in cycle)])
            if isinstance(module.exports[name.id], tree.Fn):
                message, help = f"the function `{name.id}` calls itself", "repeat with `for` over a `range`"
            else:
                message, help = f"`{name.id}` contains itself", "repeat with `for`"
            code = "E0204" if isinstance(module.exports[name.id], tree.Fn) else "E0203"
            self.report.error(
                code, f"{message}: {path}" if len(cycle) > 1 else message, name.span, helps=[help]
            )
            for use in cycle:
                binding = module.scope.names[use.id]
                module.scope.names[use.id] = Binding(POISON, binding.span)

    def _declare(self, module: Module, declaration: tree.Declaration) -> None:
        if isinstance(declaration, tree.Import | tree.Train):
            return
        name = declaration.name
        earlier = module.exports.get(name.id)
        if earlier is not None and not isinstance(earlier, tree.Import | tree.Train):
            self.report.error(
                "E0210",
                f"`{name.id}` is declared twice",
                name.span,
                also=[Label(earlier.name.span, "first declared here")],
            )
            return
        if name.id in module.scope.names:
            first = module.scope.names[name.id].span
            also = [Label(first, "imported here")] if first else []
            self.report.error("E0210", f"`{name.id}` is declared and imported", name.span, also=also)
            return
        if not isinstance(declaration, tree.Const):
            self._check_parameters(declaration.parameters)
        self._identities += 1
        value = self._value(module, declaration)
        module.exports[name.id] = declaration
        module.scope.declare(name.id, value, name.span)

    def _check_parameters(self, parameters: tuple[tree.Parameter, ...]) -> None:
        first: dict[str, Span] = {}
        for name in (parameter.name for parameter in parameters):
            if first.setdefault(name.id, name.span) is not name.span:
                also = [Label(first[name.id], "first declared here")]
                self.report.error(
                    "E0210", f"the parameter `{name.id}` is declared twice", name.span, also=also
                )

    def _value(self, module: Module, declaration: Any) -> Any:
        if isinstance(declaration, tree.Fn):
            return Function(declaration, module.scope, self._identities)
        if isinstance(declaration, tree.Const):
            return POISON  # until it is evaluated, when all functions are known
        return Declared(declaration, module.scope, self._identities)

    def _evaluate_const(self, module: Module, declaration: tree.Declaration) -> None:
        """A constant may use functions declared anywhere, and constants declared before it."""
        if (
            not isinstance(declaration, tree.Const)
            or module.exports.get(declaration.name.id) is not declaration
        ):
            return
        later = self._later_const(module, declaration)
        if later is not None:
            self.report.error(
                "E0201", f"the constant `{later.id}` is declared later", later.span, helps=["move it up"]
            )
            return
        try:
            with deep():
                value = Evaluator(self.session, module.scope, None).static(declaration.value, "a `const`")
        except LimitReached:
            value = POISON
        module.scope.declare(declaration.name.id, value, declaration.name.span)

    def _later_const(self, module: Module, declaration: tree.Const) -> tree.Name | None:
        """A use, in a constant, of itself or of one that stands after it."""
        for name in names_in(declaration.value):
            other = module.exports.get(name.id)
            if isinstance(other, tree.Const) and other.span.start >= declaration.span.start:
                return name
        return None

    def _import(self, module: Module, declaration: tree.Import) -> None:
        imported = self._imported(module, declaration)
        for name in declaration.names:
            value: Any = POISON
            if imported is not None:
                if name.id in imported.exports:
                    value = imported.scope.names[name.id].value
                elif not imported.broken:
                    self.report.error(
                        "E0211",
                        f"{imported.source.path} has no `{name.id}`",
                        name.span,
                        helps=did_you_mean(name.id, list(imported.exports)),
                    )
            if name.id in module.scope.names:
                self.report.error("E0210", f"`{name.id}` is imported twice", name.span)
                continue
            module.scope.declare(name.id, value, name.span, "import")

    def _imported(self, module: Module, declaration: tree.Import) -> Module | None:
        path = "".join(part if isinstance(part, str) else "" for part in declaration.path.parts)
        if any(not isinstance(part, str) for part in declaration.path.parts):
            self.report.error("E0212", "the path of an import is a plain string", declaration.path.span)
            return None
        problem = _refused(path)
        if problem:
            self.report.error(
                "E0212",
                problem,
                declaration.path.span,
                helps=[
                    'an import stays inside the project: `"blocks.net"`, `"parts/blocks.net"` or `"std/resnet.net"`'
                ],
            )
            return None
        source = self._read(path, module.source)
        if isinstance(source, str):
            helps = [
                "an import stays inside the project: the nearest folder upwards with a `pyproject.toml` or `.git`"
            ]
            self.report.error("E0212", source, declaration.path.span, helps=helps)
            return None
        if source is None:
            self.report.error(
                "E0213",
                f"there is no file `{path}`",
                declaration.path.span,
                helps=self._near(path, module.source)
                or ["paths are relative to this file; `std/` is the library that comes with netdsl"],
            )
            return None
        known = self._modules.get(source.path)
        if known is not None and not known.complete:
            self.report.error(
                "E0214", f"`{path}` imports this file, directly or through others", declaration.path.span
            )
            return None
        return known or self._load(source)


def _no_files(_path: str, _importer: Source) -> None:
    """Imports where there are no files to read."""


def _no_names(_path: str, _importer: Source) -> tuple[str, ...]:
    """Nor any that are near."""
    return ()


def _words_of_broken_lines(report: Report, source: Source) -> set[str]:
    """The words on the lines where the syntax errors of a file are."""
    lines = {
        source.position(label.span.start)[0]
        for diagnostic in report.errors
        for label in diagnostic.labels
        if label.span.source is source
    }
    return {word for number in lines for word in re.findall(r"\w+", source.line(number))}


def _refused(path: str) -> str | None:
    if not path:
        return "an import without a path"
    if "\\" in path or ":" in path or any(ord(c) < 32 for c in path):
        return f"`{path}` is not a path of a project"
    if Path(path).is_absolute():
        return f"`{path}` is an absolute path"
    return None


def _outputs(body: Any) -> Iterator[tree.Output]:
    for statement in body:
        if isinstance(statement, tree.Output):
            yield statement
        elif isinstance(statement, tree.If):
            for _, inner in statement.branches:
                yield from _outputs(inner)
            yield from _outputs(statement.otherwise or ())
        elif isinstance(statement, tree.For):
            yield from _outputs(statement.body)


def _input_names(declared: Declared) -> list[str]:
    names: list[str] = []
    for statement in declared.decl.body:
        if isinstance(statement, tree.Input) and statement.shape is not None:
            names += [d.id for d in statement.shape.dims if isinstance(d, tree.Name)]
            names += [f"{statement.name.id}_{i}" for i in range(len(statement.shape.dims))]
    return names


def _renamed(graph: Graph, declared: Declared) -> Graph:
    decl = declared.decl
    return replace(graph, name=declared.name, doc=decl.doc or graph.doc, span=decl.span)


class Language(Scope):
    """The names that every file has: operations (imported when read), static functions, dtypes, `identity`."""

    def __init__(self, usage: Usage) -> None:
        super().__init__(None, usage, root=True)
        self.declare("identity", Identity(), None)
        for name in DTYPES:
            if name not in static.BUILTINS:
                self.declare(name, name, None)

    def given(self, name: str) -> Binding | None:
        tensor = registry.get(name)
        function = static.BUILTINS.get(name)
        if function is not None:
            self.declare(name, Builtin(name, function, tensor), None)
        elif tensor is not None:
            self.declare(name, tensor, None)
        return self.names.get(name)

    def visible(self) -> list[str]:
        return list(dict.fromkeys([*self.names, *static.BUILTINS, *registry]))
