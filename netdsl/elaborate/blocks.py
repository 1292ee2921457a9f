"""Blocks and models: an instance is a declaration with its arguments and the types that flow in, elaborated once."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from netdsl.elaborate.body import Body
from netdsl.elaborate.calls import bind_parameters
from netdsl.elaborate.localise import Localised, exact
from netdsl.elaborate.parameters import Parameters
from netdsl.elaborate.scope import Scope
from netdsl.elaborate.session import Frame
from netdsl.elaborate.values import (
    POISON,
    Argument,
    Declared,
    Function,
    Template,
    TensorValue,
    as_kept,
    display,
    holds_tensor,
    in_words,
    is_list,
    is_unknown,
)
from netdsl.ir.decide import Assumptions
from netdsl.ir.dims import Dim, substitute
from netdsl.ir.graph import Graph
from netdsl.ir.types import Tensor
from netdsl.ops.base import registry
from netdsl.source import Span
from netdsl.syntax import tree


@dataclass(frozen=True)
class Instance:
    """A block elaborated for one set of arguments and input types; `graph` is None where it has errors."""

    graph: Graph | None
    size: int = 0
    height: int = 0
    constraints: tuple[Any, ...] = ()


class Evaluator(Parameters):
    """All of the language: blocks use everything before them."""

    # -- a block as a stage

    def place_block(
        self, template: Template, flowing: Sequence[tuple[Any, Span]], at: Span, label: str | None
    ) -> Any:
        declared = template.callee
        assert isinstance(declared, Declared)
        return self._place_declared(declared, template.arguments, flowing, at, label, None)

    def _place_declared(
        self,
        declared: Declared,
        arguments: Sequence[Argument],
        flowing: Sequence[tuple[Any, Span]],
        at: Span,
        label: str | None,
        variant: str | None,
    ) -> Any:
        """Apply a block; `variant` is the name of the one that stands for it, where one does."""
        bound = bind_parameters(self, declared.name, declared.decl.parameters, arguments, at)
        operands = self.given(f"`{declared.name}` takes", flowing)
        if bound is None or operands is None or self.body is None:
            return POISON
        name = variant or declared.name
        with self.entered(declared, bound, at, label if variant is None else None):
            if isinstance(declared.decl, tree.GraphDecl) and declared.decl.value is not None:
                target = self.variant(declared, bound)
                if target is None:
                    return POISON
                return self._place_declared(*target, flowing, at, label, name)
            if isinstance(declared.decl, tree.Extern):
                return self._place_extern(declared, declared.decl, bound, operands, at, label)
            local = Localised([t and t.type for t in operands], declared, self.body.sizes)
            values = {key: local.static(a.value) for key, a in bound.items()}
            instance = self._instance(declared, bound, values, local, name, at)
        if instance.graph is None:
            return POISON
        for constraint in instance.constraints:
            self.session.found[-1].record(constraint)
        if label is None and next(instance.graph.state(), None) is not None:
            template = Template(declared, tuple(bound.values()), at)
            label = self.own_label(instance.graph.name, template, instance.graph, at)
        taken = [operand for operand in operands if operand is not None]
        return self._block_node(instance, instance.graph, taken, local, at, label)

    def _place_extern(
        self,
        declared: Declared,
        decl: tree.Extern,
        bound: Mapping[str, Argument],
        operands: Sequence[TensorValue | None],
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
        runner.operands = [t and t.type for t in operands]
        given = runner.bind_arguments(decl.parameters, {k: a.value for k, a in bound.items()}, bound)
        said = [self._can_be_said(declared, key, value, at) for key, value in given]
        if not all(said):
            return POISON
        results: list[Tensor] = []
        names: list[str | None] = []
        for statement in decl.body:
            if isinstance(statement, tree.Input):
                runner.run([statement])
            elif isinstance(statement, tree.Output) and statement.shape is not None:
                result = runner.declared_output(statement.shape)
                results += [] if result is None else [result]
                names.append(statement.name.id if statement.name is not None else None)
        for binding in runner.scope.names.values():
            if binding.span is not None:
                self.session.usage.mark(binding.span)  # a declaration is all there is to see of it
        target = extern_target(self, decl)
        fits = runner.inputs_fit(declared, at) and len(results) == len(names) > 0
        if not names:
            help = "say what it gives: `output [N, 10]`"
            self.error("E0501", f"`{declared.name}` has no output", decl.name.span, help=help)
        if len(self.session.report.errors) > before or target is None or not fits:
            return POISON
        extern: Any = registry["extern"]
        op = extern(name=declared.name, target=target, given=tuple(given), results=tuple(results))
        label = label or self.own_label(declared.name, Template(declared, tuple(bound.values()), at), op, at)
        return self.make_node(
            op, [t for t in operands if t is not None], results, at, label, names=tuple(names)
        )

    def _can_be_said(self, declared: Declared, key: str, value: Any, at: Span) -> bool:
        """Whether Python's source can say `value`; an error where it is known and cannot be said."""
        if not is_plain(value) and not is_unknown(value):
            message = (
                f"`{key}` of `{declared.name}` takes a number, a string or a list, found {in_words(value)}"
            )
            self.error("E0303", message, at)
        return is_plain(value)

    def declared_output(self, shape: tree.Shape) -> Tensor | None:
        """The type of an output of an `extern`."""
        dims = [self.size(dim) for dim in shape.dims]
        dtype = self.dtype_of(shape)
        return None if any(d is POISON for d in dims) or dtype is POISON else Tensor(tuple(dims), dtype)

    def _block_node(
        self,
        instance: Instance,
        graph: Graph,
        operands: Sequence[TensorValue],
        local: Localised,
        at: Span,
        label: str | None,
    ) -> Any:
        outer = local.outer
        types: list[Tensor] = []
        for output in graph.outputs:
            inner = graph.types[output.value]
            assert isinstance(inner, Tensor)
            types.append(
                Tensor(tuple(substitute(d, outer) for d in inner.shape), inner.dtype) if outer else inner
            )
        names = tuple(o.name for o in graph.outputs)
        sizes = tuple(outer.items())
        return self.make_node(
            graph,
            operands,
            types,
            at,
            label,
            names=names,
            sizes=sizes,
            size=max(1, instance.size),
            height=instance.height,
        )

    @contextmanager
    def entered(
        self, declared: Declared, bound: Mapping[str, Argument], at: Span | None, label: str | None
    ) -> Generator[None]:
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
        return Instance(graph, body.total, body.height, tuple(found.constraints))

    @contextmanager
    def assuming(self, meaning: Mapping[str, Dim]) -> Generator[Assumptions]:
        """Collect the conditions on sizes that a body depends on."""
        with Assumptions(meaning) as found:
            self.session.found.append(found)
            try:
                yield found
            finally:
                self.session.found.pop()

    def finish(self, declared: Declared, arguments: list[tuple[str, Any]], at: Span | None) -> Graph | None:
        """Run the body of a model or block and freeze it; None where it has errors."""
        assert self.body is not None
        body, decl = self.body, declared.decl
        before = len(self.session.report.errors)
        self.expectations = []
        self.run(decl.body)
        fits = self.inputs_fit(declared, at)
        unsaid = not body.outputs and not body.broken and "output" not in self.session.lost
        if unsaid and len(self.session.report.errors) == before:
            self.error(
                "E0501", f"`{declared.name}` has no output", decl.name.span, help="end it with `output ...`"
            )
        if body.broken or not body.outputs or not fits or len(self.session.report.errors) > before:
            return None
        given = tuple((name, as_kept(value)) for name, value in arguments)
        return body.finish(arguments=given, doc=decl.doc, span=decl.span)

    def inputs_fit(self, declared: Declared, at: Span | None) -> bool:
        """Whether as many tensors flow into a block as it has inputs; an error at `at` where not."""
        body = self.body
        if body is None or at is None or self.operands is None:
            return True
        if self.unfed:
            self.error("E0412", f"`{declared.name}` needs another input, `{self.unfed[0]}`", at)
            return False
        if self.operands and not body.broken:
            count = len(body.inputs)
            takes = f"{count} input{'s' if count != 1 else ''}"
            found = count + len(self.operands)
            self.error("E0412", f"`{declared.name}` takes {takes}, found {found}", at)
            return False
        return True

    # -- functions

    def run_function(self, callee: Function, bound: Mapping[str, Argument], span: Span) -> Any:
        self.session.step(span)
        if len(self.session.trail) >= self.session.limits.nesting:
            self.session.stop("E0206", f"calls nested more than {self.session.limits.nesting} deep", span)
        runner = Evaluator(self.session, Scope(callee.scope, self.session.usage, root=True), None)
        runner.in_function = True
        self.session.trail.append(Frame(str(callee), span, is_function=True))
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


def is_plain(value: Any) -> bool:
    """A value that Python's source can say: a number, a string, a list of those."""
    if is_list(value):
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


def _clipped(title: str, width: int = 100) -> str:
    return title if len(title) <= width else title[: width - 1] + "…"
