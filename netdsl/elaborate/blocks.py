"""Blocks and models: an instance is a declaration with its arguments and the types that flow in, elaborated once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from keyword import iskeyword
from typing import Any

from netdsl.diagnostics import Label
from netdsl.elaborate.arguments import Bound
from netdsl.elaborate.body import Body, Placed
from netdsl.elaborate.calls import bind_parameters
from netdsl.elaborate.scope import Scope
from netdsl.elaborate.session import Frame
from netdsl.elaborate.statements import Statements
from netdsl.elaborate.values import (
    POISON,
    Argument,
    Declared,
    Function,
    Results,
    Template,
    TensorValue,
    display,
    holds_tensor,
    in_words,
    is_stage,
    is_tensor,
)
from netdsl.ir.decide import Assumptions
from netdsl.ir.dims import Dim, Expr, substitute, symbol, symbols
from netdsl.ir.graph import Graph
from netdsl.ir.types import Tensor
from netdsl.ops.base import registry
from netdsl.ops.target import Arg, Stride
from netdsl.source import Span
from netdsl.syntax import tree


@dataclass(frozen=True)
class Instance:
    """A block elaborated for one set of arguments and input types; `graph` is None where it has errors."""

    graph: Graph | None
    size: int = 0
    constraints: tuple[Any, ...] = ()


class Evaluator(Statements):
    """All of the language: blocks use everything before them."""

    # -- a block as a stage

    def place_block(
        self, template: Template, flowing: list[tuple[Any, Span]], at: Span, label: str | None
    ) -> Any:
        declared = template.callee
        assert isinstance(declared, Declared)
        return self._place_declared(declared, template.arguments, flowing, at, label, declared.name)

    def _place_declared(
        self,
        declared: Declared,
        arguments: Sequence[Argument],
        flowing: list[tuple[Any, Span]],
        at: Span,
        label: str | None,
        name: str,
    ) -> Any:
        bound = bind_parameters(self, declared.name, declared.decl.parameters, arguments, at)
        operands = self._block_operands(declared, flowing)
        if bound is None or operands is None or self.body is None:
            return POISON
        with self.entered(declared, bound, at, label):
            if isinstance(declared.decl, tree.GraphDecl) and declared.decl.value is not None:
                target = self.variant(declared, bound)
                if target is None:
                    return POISON
                return self._place_declared(target[0], target[1], flowing, at, label, name)
            if isinstance(declared.decl, tree.Extern):
                return self._place_extern(declared, declared.decl, bound, operands, at, label)
            local = Localised([t.type for t in operands], declared, self.body.sizes)
            values = {key: local.static(a.value) for key, a in bound.items()}
            instance = self._instance(declared, bound, values, local, name, at)
        if instance.graph is None:
            return POISON
        for constraint in instance.constraints:
            self.session.found[-1].record(constraint)
        return self._block_node(instance, instance.graph, operands, local, at, label)

    def _place_extern(
        self,
        declared: Declared,
        decl: tree.Extern,
        bound: Mapping[str, Argument],
        operands: Sequence[TensorValue],
        at: Span,
        label: str | None,
    ) -> Any:
        """A layer of a Python package: its inputs are checked, its outputs are what the declaration says."""
        before = len(self.session.report.errors)
        runner = Evaluator(
            self.session,
            Scope(declared.scope, self.session.usage, root=True),
            Body(self.session, "extern", declared.name),
        )
        runner.operands = [t.type for t in operands]
        given = runner.bind_arguments(decl.parameters, {k: a.value for k, a in bound.items()}, bound)
        results: list[Tensor] = []
        for statement in decl.body:
            if isinstance(statement, tree.Input):
                runner.run([statement])
            elif isinstance(statement, tree.Output) and statement.shape is not None:
                results += runner.declared_output(statement.shape)
        for binding in runner.scope.names.values():
            if binding.span is not None:
                self.session.usage.mark(binding.span)  # a declaration is all there is to see of it
        target = extern_target(self, decl)
        if runner.operands or any(isinstance(v, TensorValue) or not is_plain(v) for _, v in given):
            self.error("E0412", f"`{declared.name}` does not fit what flows in", at)
        if len(self.session.report.errors) > before or target is None:
            return POISON
        op = registry["extern"](name=declared.name, target=target, given=tuple(given), results=tuple(results))  # type: ignore[call-arg]
        label = label or self._own_label(declared.name, op, at)
        return self.make_node(op, operands, results, at, label)

    def _own_label(self, kind: str, op: Any, at: Span) -> str:
        assert self.body is not None
        label = self.body.free_label(kind)
        self.body.set_label(label, Placed(Template(op, (), at), op, at))
        return label

    def declared_output(self, shape: tree.Shape) -> list[Tensor]:
        dims = [self.size(dim) for dim in shape.dims]
        dtype = self.dtype_of(shape)
        return [] if any(d is POISON for d in dims) or dtype is POISON else [Tensor(tuple(dims), dtype)]

    def _block_node(
        self,
        instance: Instance,
        graph: Graph,
        operands: Sequence[TensorValue],
        local: Localised,
        at: Span,
        label: str | None,
    ) -> Any:
        assert self.body is not None
        outer = {key: local.outer[key] for key in local.outer}
        types = []
        for output in graph.outputs:
            inner = graph.types[output.value]
            assert isinstance(inner, Tensor)
            types.append(
                Tensor(tuple(substitute(d, outer) for d in inner.shape), inner.dtype) if outer else inner
            )
        if label is None and next(graph.state(), None) is not None:
            label = self._own_label(graph.name, graph, at)
        names = tuple(o.name for o in graph.outputs)
        sizes = tuple(outer.items())
        return self.make_node(
            graph, operands, types, at, label, names=names, sizes=sizes, size=max(1, instance.size)
        )

    def _block_operands(
        self, declared: Declared, flowing: list[tuple[Any, Span]]
    ) -> list[TensorValue] | None:
        operands: list[TensorValue] = []
        for value, place in flowing:
            tensor = value.first if isinstance(value, Results) else value
            if tensor is POISON:
                return None
            if not isinstance(tensor, TensorValue):
                self.error("E0412", f"`{declared.name}` takes tensors, found {in_words(value)}", place)
                return None
            owned = self.own(tensor, place)
            if owned is None:
                return None
            operands.append(owned)
        return operands

    @contextmanager
    def entered(
        self, declared: Declared, bound: Mapping[str, Argument], at: Span | None, label: str | None
    ) -> Iterator[None]:
        """Note that a block is being instantiated; elaboration stops where the nesting is too deep."""
        trail = self.session.trail
        if len(trail) >= self.session.limits.nesting:
            self.session.stop(
                "E0206",
                f"blocks nested more than {self.session.limits.nesting} deep",
                at or declared.decl.name.span,
            )
        given = ", ".join(f"{key} = {display(a.value)}" for key, a in bound.items())
        title = f"{declared.name}({given})" if given else declared.name
        trail.append(Frame(_clipped(title), at))
        self.session.path += [label] if label else []
        try:
            yield
        finally:
            trail.pop()
            del self.session.path[len(self.session.path) - bool(label) :]

    def variant(
        self, declared: Declared, bound: Mapping[str, Argument]
    ) -> tuple[Declared, tuple[Argument, ...]] | None:
        """What `model A(..) = B(..)` stands for: a declaration and its arguments."""
        assert isinstance(declared.decl, tree.GraphDecl)
        assert declared.decl.value is not None
        runner = Evaluator(self.session, Scope(declared.scope, self.session.usage, root=True), None)
        runner.bind_arguments(declared.decl.parameters, {k: a.value for k, a in bound.items()}, bound)
        value = runner.value(declared.decl.value)
        if isinstance(value, Declared):
            value = Template(value)
        if isinstance(value, Template) and isinstance(value.callee, Declared):
            return value.callee, value.arguments
        if value is not POISON:
            self.error(
                "E0209",
                f"`{declared.name}` must be a model or block, found {in_words(value)}",
                declared.decl.value.span,
            )
        return None

    # -- instances

    def _instance(
        self,
        declared: Declared,
        bound: Mapping[str, Argument],
        values: Mapping[str, Any],
        local: Localised,
        name: str,
        at: Span,
    ) -> Instance:
        key = (
            declared.identity,
            name,
            tuple((k, exact(v)) for k, v in sorted(values.items())),
            local.types,
            tuple(local.meaning.items()),
        )
        instance = self.session.instances.get(key)
        if instance is None:
            instance = self._elaborate(declared, bound, values, local, name, at)
            if not any(holds_tensor(value) for value in values.values()):
                self.session.instances[key] = instance
        return instance

    def _elaborate(
        self,
        declared: Declared,
        bound: Mapping[str, Argument],
        values: Mapping[str, Any],
        local: Localised,
        name: str,
        at: Span,
    ) -> Instance:
        body = Body(self.session, "block", name, local.meaning)
        runner = Evaluator(self.session, Scope(declared.scope, self.session.usage, root=True), body)
        runner.operands = list(local.types)
        with runner.assuming(local.meaning) as found:
            arguments = runner.bind_arguments(declared.decl.parameters, values, bound)
            graph = runner.finish(declared, arguments, at)
        return Instance(graph, body.total, tuple(found.constraints))

    @contextmanager
    def assuming(self, meaning: Mapping[str, Dim]) -> Iterator[Assumptions]:
        """Collect the conditions on sizes that a body depends on."""
        with Assumptions(meaning) as found:
            self.session.found.append(found)
            try:
                yield found
            finally:
                self.session.found.pop()

    def bind_arguments(
        self, parameters: Sequence[tree.Parameter], values: Mapping[str, Any], bound: Mapping[str, Argument]
    ) -> list[tuple[str, Any]]:
        """Declare the parameters: those given, and the defaults of the others, which may use those before them."""
        arguments: list[tuple[str, Any]] = []
        for parameter in parameters:
            name = parameter.name.id
            if name in values:
                value, place = values[name], bound[name].span if name in bound else parameter.span
            elif parameter.default is not None:
                value, place = self.value(parameter.default), parameter.default.span
            else:
                value, place = POISON, parameter.span
            value = self._typed(parameter, value, place)
            self.scope.declare(name, value, parameter.name.span, "parameter")
            arguments.append((name, value))
        return arguments

    def _typed(self, parameter: tree.Parameter, value: Any, place: Span) -> Any:
        if parameter.type is None or value is POISON:
            return value
        check = _TYPES.get(parameter.type.id)
        if check is None:
            return self.unknown_name(parameter.type.id, parameter.type.span, list(_TYPES), "type")
        if check(value):
            return float(value) if parameter.type.id == "float" else value
        return self.error(
            "E0303",
            f"`{parameter.name.id}` takes {_TYPE_WORDS[parameter.type.id]}, found {in_words(value)}",
            place,
            also=[Label(parameter.span, "declared here")],
        )

    def finish(self, declared: Declared, arguments: list[tuple[str, Any]], at: Span | None) -> Graph | None:
        """Run the body of a model or block and freeze it; None where it has errors."""
        assert self.body is not None
        body, decl = self.body, declared.decl
        before = len(self.session.report.errors)
        self.expectations = []
        self.run(decl.body)
        if self.operands and at is not None and POISON not in self.operands:
            count = len(body.inputs)
            self.error(
                "E0412",
                f"`{declared.name}` takes {count} input{'s' if count != 1 else ''}, found {count + len(self.operands)}",
                at,
            )
        missing = self.operands is not None and self._missing_inputs(decl, body)
        if missing and at is not None:
            self.error("E0412", f"`{declared.name}` needs another input, `{missing}`", at)
        unsaid = not body.outputs and not body.broken and "output" not in self.session.lost
        if unsaid and len(self.session.report.errors) == before:
            self.error(
                "E0501", f"`{declared.name}` has no output", decl.name.span, help="end it with `output ...`"
            )
        if body.broken or not body.outputs or missing or len(self.session.report.errors) > before:
            return None
        return body.finish(arguments=tuple(arguments), doc=decl.doc, span=decl.span)

    def _missing_inputs(self, decl: Any, body: Body) -> str | None:
        declared = [s.name.id for s in decl.body if isinstance(s, tree.Input)]
        names = {entry.name for entry in body.inputs}
        return next((name for name in declared if name not in names), None) if not body.broken else None

    # -- functions

    def run_function(self, callee: Function, bound: Mapping[str, Argument], span: Span) -> Any:
        self.session.step(span)
        if len(self.session.trail) >= self.session.limits.nesting:
            self.session.stop("E0206", f"calls nested more than {self.session.limits.nesting} deep", span)
        runner = Evaluator(self.session, Scope(callee.scope, self.session.usage, root=True), None)
        runner.in_function = True
        self.session.trail.append(Frame(str(callee), span))
        try:
            runner.bind_arguments(callee.decl.parameters, {k: a.value for k, a in bound.items()}, bound)
            if callee.decl.value is not None:
                return runner.static(callee.decl.value, "the value of an `fn`")
            runner.run(callee.decl.body)
        finally:
            self.session.trail.pop()
        if runner.returned is None:
            return self.error(
                "E0501",
                f"the function `{callee}` has no output",
                callee.decl.name.span,
                help="end it with `output ...`",
            )
        return runner.returned[0]

    # -- indices

    def index_tensor(self, expr: tree.Subscript, value: Any) -> Any:
        """`x[:, 0]`: static indices, slices, `None`, `...`, and tensors that gather."""
        tensor = value.first if isinstance(value, Results) else value
        operands: list[tuple[Any, Span]] = [(tensor, expr.value.span)]
        indices: list[Any] = []
        for written in expr.indices:
            index = self._tensor_index(written, operands)
            if index is POISON:
                return POISON
            indices.append(index)
        bound = Bound(operands, {"indices": tuple(indices)}, {"indices": expr.span})
        return self.place_operation(registry["index"], bound, expr.span, None)

    def _tensor_index(self, written: tree.Expr | tree.Slice, operands: list[tuple[Any, Span]]) -> Any:
        if isinstance(written, tree.Slice):
            return self._stride(written)
        if isinstance(written, tree.Constant) and written.value in (None, Ellipsis):
            return written.value
        value = self.value(written)
        if is_tensor(value):
            operands.append((value, written.span))
            return Arg(len(operands) - 1)
        if value is None or value is POISON:
            return value
        if isinstance(value, bool) or not isinstance(value, int | Expr):
            return self.error(
                "E0411",
                f"an index is an integer, a slice, `None` or a tensor, found {in_words(value)}",
                written.span,
            )
        return value

    def _stride(self, written: tree.Slice) -> Any:
        bounds = [
            None if b is None else self.static(b, "a slice")
            for b in (written.start, written.stop, written.step)
        ]
        if any(b is POISON for b in bounds):
            return POISON
        for bound in bounds:
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | Expr)):
                return self.error("E0411", f"a slice takes integers, found {in_words(bound)}", written.span)
        if isinstance(bounds[2], Expr) or (bounds[2] is not None and bounds[2] < 1):
            return self.error(
                "E0411",
                f"the step of a slice is a positive integer, found {in_words(bounds[2])}",
                written.span,
            )
        return Stride(bounds[0], bounds[1], bounds[2])


class Localised:
    """The sizes of a block's inputs in the block's own symbols.

    A size that is symbolic in the caller becomes one symbol of the block, named as the block's own annotation names it.
    `outer` says what each symbol is in the caller's symbols, `meaning` what it is in the root model's.
    """

    def __init__(self, types: Sequence[Any], declared: Declared, caller: Mapping[str, Dim]) -> None:
        self.outer: dict[str, Dim] = {}
        self.meaning: dict[str, Dim] = {}
        self._names: dict[Dim, str] = {}
        self._caller = caller
        shapes = [s.shape for s in declared.decl.body if isinstance(s, tree.Input)]
        taken = {p.name.id for p in declared.decl.parameters}
        localised = []
        for index, type in enumerate(types):
            wished = _wished(shapes[index] if index < len(shapes) else None, len(type.shape), taken)
            dims = tuple(self._local(dim, name) for dim, name in zip(type.shape, wished, strict=True))
            localised.append(Tensor(dims, type.dtype))
        self.types = tuple(localised)

    def _local(self, dim: Dim, wished: str | None) -> Dim:
        if isinstance(dim, int):
            return dim
        if dim not in self._names:
            name = self._fresh(wished or (str(dim) if str(dim).isidentifier() else "d"))
            self._names[dim] = name
            self.outer[name] = dim
            self.meaning[name] = substitute(dim, self._caller) if self._caller else dim
        return symbol(self._names[dim])

    def _fresh(self, stem: str) -> str:
        name, count = stem, 1
        while name in self.outer:
            count += 1
            name = f"{stem}{count}"
        return name

    def static(self, value: Any) -> Any:
        """A static value of the caller, its sizes in the block's symbols where they are among the inputs' sizes."""
        if isinstance(value, tuple):
            return tuple(self.static(item) for item in value)
        if not isinstance(value, Expr):
            return value
        if value in self._names:
            return symbol(self._names[value])
        known = {str(dim): symbol(name) for dim, name in self._names.items() if str(dim).isidentifier()}
        missing = symbols(value) - set(known)
        for name in sorted(missing):
            # No input of the block has this size: it stays a symbol of its own, which the caller passes in.
            known[name] = self._local(symbol(name), name)
        return substitute(value, known)


def _wished(shape: tree.Shape | None, rank: int, taken: set[str]) -> list[str | None]:
    """The names a block's annotation gives to the axes of an input."""
    if shape is None or any(isinstance(d, tree.Constant) for d in shape.dims) or len(shape.dims) != rank:
        return [None] * rank
    return [
        d.id if isinstance(d, tree.Name) and d.id not in taken and d.id != "_" else None for d in shape.dims
    ]


def is_plain(value: Any) -> bool:
    """A value that Python's source can say: a number, a string, a list of those."""
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def extern_target(context: Evaluator, decl: tree.Extern) -> str | None:
    """`package.module:Class`, where the declaration says one."""
    text = "".join(part for part in decl.target.parts if isinstance(part, str))
    package, colon, name = text.partition(":")
    parts = [*package.split("."), name]
    if colon and all(p.isidentifier() and p.isascii() and not iskeyword(p) for p in parts):
        return text
    context.error(
        "E0216", f'"{text}" does not name a class', decl.target.span, help='write `"package.module:Class"`'
    )
    return None


def exact(value: Any) -> Any:
    """A key under which `1`, `1.0` and `True` differ, for values and for the templates that hold them."""
    if isinstance(value, tuple):
        return tuple(map(exact, value))
    if isinstance(value, bool | int | float):
        return type(value).__name__, value
    if is_dataclass(value) and not isinstance(value, type | TensorValue | Results | Declared):
        compared = [exact(getattr(value, f.name)) for f in fields(value) if f.compare]
        return type(value).__name__, tuple(compared)
    return value


def _clipped(title: str, width: int = 100) -> str:
    return title if len(title) <= width else title[: width - 1] + "…"


_TYPES = {
    "int": lambda v: isinstance(v, int | Expr) and not isinstance(v, bool),
    "float": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "bool": lambda v: isinstance(v, bool),
    "str": lambda v: isinstance(v, str),
    "list": lambda v: isinstance(v, tuple),
    "layer": is_stage,
}
_TYPE_WORDS = {
    "int": "an integer",
    "float": "a number",
    "bool": "`True` or `False`",
    "str": "a string",
    "list": "a list",
    "layer": "a layer",
}
