"""Flows: a value through stages. A stage is evaluated first and then placed; placing makes the layers."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from netdsl.diagnostics import Label
from netdsl.elaborate.arguments import Bound, bind, make_operation
from netdsl.elaborate.body import Placed
from netdsl.elaborate.indices import Indices
from netdsl.elaborate.values import (
    POISON,
    Builtin,
    Chain,
    Declared,
    Fork,
    Identity,
    LabelledStage,
    LabelReference,
    Placeable,
    Results,
    Template,
    TensorValue,
    holds_tensor,
    in_words,
    is_list,
    is_operation,
    is_stage,
    single,
    together,
)
from netdsl.ir.dims import Expr
from netdsl.ir.graph import Graph, Literal, Operation
from netdsl.ir.types import Scalar, Type
from netdsl.ops.base import Op, ShapeProblem, operands_of, registry
from netdsl.source import Span
from netdsl.syntax import tree


class Flows(Indices):
    """`value -> stage -> stage`: layers, functions, lists, forks and chains of them."""

    def flow(self, expr: tree.Flow) -> Any:
        head = self.value(expr.head)
        if head is POISON or (is_list(head) and any(item is POISON for item in head)):
            for stage in expr.stages:
                self.forget(self.stage(stage))
            return POISON
        if holds_tensor(head):
            return self._run(head, expr)
        if is_stage(head):
            stages = [Placeable(self.stage(stage), stage.span) for stage in expr.stages]
            return self._chain([Placeable(head, expr.head.span), *stages], expr.span)
        return self.error(
            "E0310", f"`->` passes a tensor on, but its left side is {in_words(head)}", expr.head.span
        )

    def _chain(self, stages: Sequence[Placeable], span: Span) -> Any:
        if any(item.stage is POISON for item in stages):
            for item in stages:
                self.forget(item.stage)
            return POISON
        return self.measured(Chain(tuple(stages)), span)

    def _run(self, value: Any, expr: tree.Flow) -> Any:
        span = expr.head.span
        for written in expr.stages:
            stage = self.stage(written)
            value = self.place(stage, value, span, written.span)
            span = written.span
        return value

    # -- what stands after an arrow

    def stage(self, expr: tree.Expr) -> Any:
        """The stage an expression in stage position is."""
        if isinstance(expr, tree.Name):
            return self._stage_name(expr)
        if isinstance(expr, tree.Call):
            return self.as_stage(self.stage_call(expr), expr.span)
        if isinstance(expr, tree.ListExpr):
            return self.items(expr.items, self.stage, expr.span)
        if isinstance(expr, tree.Flow):
            stages = [Placeable(self.stage(e), e.span) for e in (expr.head, *expr.stages)]
            return self._chain(stages, expr.span)
        if isinstance(expr, tree.String):
            label = self.label(expr)
            return POISON if label is POISON else LabelReference(label, expr.span)
        return self.as_stage(self.value(expr), expr.span)

    def _stage_name(self, expr: tree.Name) -> Any:
        if self.body is not None and expr.id in self.body.labels:
            return LabelReference(expr.id, expr.span)
        binding = self.scope.read(expr.id)
        if binding is None:  # a label that a stage before it will make, or an error then
            return LabelReference(expr.id, expr.span)
        return self.as_stage(binding.value, expr.span)

    def as_stage(self, value: Any, span: Span) -> Any:
        if value is POISON or is_stage(value):
            return Template(value, (), span) if isinstance(value, Declared) or is_operation(value) else value
        help = None
        if holds_tensor(value):
            help = "a stage is a layer or a function; `(a, b) -> concat(dim = 1)` joins two tensors"
        return self.error(
            "E0310",
            f"what follows `->` must be a layer or a function, found {in_words(value)}",
            span,
            help=help,
        )

    # -- placing

    def place(self, stage: Any, value: Any, span: Span, at: Span, label: str | None = None) -> Any:
        """Apply `stage`, written at `at`, to `value`, written at `span`; under `label`, where it has one."""
        if stage is POISON or value is POISON:
            self.forget(stage)
            return POISON
        if isinstance(stage, Declared) or is_operation(stage):
            stage = Template(stage, (), at)
        if isinstance(stage, Builtin):
            stage = Template(registry[stage.name], (), at)
        if isinstance(stage, Template):
            with self.session.inside(stage.made_in):
                return self._place_template(stage, value, span, at, label)
        if isinstance(stage, LabelledStage):
            if not self.claim(stage.label, stage.label_span):
                return POISON
            return self.place(stage.stage, value, span, stage.span, stage.label)
        if isinstance(stage, LabelReference):
            return self.place_again(stage, value, span, at, label)
        if label is not None:
            return self.place_sequence(label, stage, value, span, at)
        if isinstance(stage, Fork):
            return tuple(self.place(b.stage, value, span, b.span) for b in stage.branches)
        if isinstance(stage, Identity):
            return value
        items = stage.stages if isinstance(stage, Chain) else tuple(Placeable(item, at) for item in stage)
        for item in items:
            value = self.place(item.stage, value, span, item.span)
            span = item.span
        return value

    def _place_template(self, template: Template, value: Any, span: Span, at: Span, label: str | None) -> Any:
        flowing = [(item, _made_in(item, span) if is_list(value) else span) for item in together(value)]
        here = template.span if template.span is not None and _inside(template.span, at) else at
        cls = template.callee
        if isinstance(cls, Declared):
            result = self.place_block(template, flowing, here, label)
        elif label is not None and not cls.is_layer:
            result = self._labelled_function(cls, label, at)
        else:
            bound = bind(self.session, cls, flowing, template.arguments)
            result = self.place_operation(cls, bound, here, label)
        if label is not None and self.body is not None:
            self.remember(label, template, at)
        return result

    def _labelled_function(self, cls: type[Op], label: str, at: Span) -> Any:
        spelling = cls.kind.replace("_", "")
        twin = next((kind for kind in registry if kind.lower() == spelling and registry[kind].is_layer), None)
        return self.error(
            "E0507",
            f"`{cls.kind}` is a function, which has no parameters to name, but it is labelled `{label}`",
            at,
            help=f"use the layer: `{label}: {twin}`" if twin else "leave the label out",
        )

    # -- given by the later parts

    @abstractmethod
    def place_block(
        self, template: Template, flowing: Sequence[tuple[Any, Span]], at: Span, label: str | None
    ) -> Any:
        """Apply a block to what flows in; POISON where something does not fit."""

    @abstractmethod
    def place_again(
        self, reference: LabelReference, value: Any, span: Span, at: Span, label: str | None
    ) -> Any:
        """Apply the layer of a label once more; `label` is one that it would be given on top, which is an error."""

    @abstractmethod
    def place_sequence(self, label: str, stage: Any, value: Any, span: Span, at: Span) -> Any:
        """Apply a labelled list, or POISON."""

    @abstractmethod
    def claim(self, label: str, span: Span) -> bool:
        """Whether `label` is free in this body; an error where it is not."""

    @abstractmethod
    def remember(self, label: str, stage: Any, at: Span) -> None:
        """Note what `label` names."""

    # -- operations

    def place_operation(self, cls: type[Op], bound: Bound, span: Span, label: str | None) -> Any:
        """Make a node of an operation and its operands; POISON where something does not fit (reported)."""
        operation = make_operation(self.session, cls, bound, span)
        operands = self._operands(cls, bound, span) if bound.complete else None
        if operation is None or operands is None:
            return POISON
        if self.body is None:
            return self.error(
                "E0307", f"`{cls.kind}` makes a tensor, but this place takes static values", span
            )
        types = [_type_of(operand) for operand in operands]
        try:
            found: Any = operation.infer(*types)
            results: tuple[Any, ...] = found if is_list(found) else (found,)
            with_state = cls.is_layer and bool(operation.state(*types))
        except ShapeProblem as problem:
            return self._shape_problem(problem, bound, operands, span)
        if label is None and with_state:
            label = self.own_label(cls.kind, Template(cls, (), span), operation, span)
        made = self.make_node(operation, operands, results, span, label, listed=not cls.is_layer)
        # A list of one, as `chunk(x, 1)` gives, is a list.
        return (
            (made,)
            if isinstance(found, tuple) and isinstance(made, TensorValue) and not cls.is_layer
            else made
        )

    def own_label(self, kind: str, stage: Any, op: Operation | Graph, at: Span) -> str:
        """The label of a layer with parameters that the source does not label."""
        assert self.body is not None
        label = self.body.free_label(kind)
        self.body.set_label(label, Placed(stage, op, at))
        return label

    def make_node(
        self,
        op: Operation | Graph,
        operands: Sequence[TensorValue | Literal],
        types: Sequence[Type],
        span: Span,
        label: str | None,
        *,
        listed: bool = False,
        names: tuple[str | None, ...] = (),
        **more: Any,
    ) -> Any:
        assert self.body is not None
        numbers = tuple(o if isinstance(o, Literal) else o.number for o in operands)
        values = self.body.add_node(op, numbers, tuple(types), span, label=label, **more)
        alone = len(values) == 1 and not any(names)
        if alone and not (isinstance(op, Op) and op.gives is not None):
            return values[0]
        return values if listed else Results(values, names or (None,) * len(values))

    def _operands(self, cls: type[Op], bound: Bound, span: Span) -> list[TensorValue | Literal] | None:
        """The operands as tensors of this body and literals; None where one is unknown or does not fit."""
        names = operands_of(cls)
        given: list[TensorValue | Literal] = []
        for index, (value, place) in enumerate(bound.operands):
            optional = names.required <= index < len(names.names)
            operand = Literal(None) if value is None and optional else self._operand(cls, value, place)
            if operand is None:
                return None
            given.append(operand)
        too_many = not names.rest and len(given) > len(names.names)
        if too_many or len(given) < names.required:
            wanted = (
                str(names.required)
                if names.required == len(names.names)
                else f"{names.required} to {len(names.names)}"
            )
            self.error(
                "E0412",
                f"`{cls.kind}` takes {wanted} tensor{'s' if wanted != '1' else ''}, found {len(given)}",
                span,
                help=f"pass them together: `({', '.join(names.names[: max(2, names.required)])}) -> {cls.kind}`"
                if len(given) < names.required
                else None,
            )
            return None
        return given

    def _operand(self, cls: type[Op], value: Any, place: Span) -> TensorValue | Literal | None:
        if value is POISON:
            return None
        tensor = single(value)
        if isinstance(tensor, TensorValue):
            return self.own(tensor, place)
        if cls.takes_scalars and isinstance(value, int | float | Expr):
            return Literal(value)
        help = None
        if is_list(value) and holds_tensor(value):
            help = "join them first, for example `-> concat(dim = 1)`"
        elif is_stage(value):
            help = "place it on a tensor first: `(x -> layer)`"
        self.error("E0412", f"`{cls.kind}` takes tensors, found {in_words(value)}", place, help=help)
        return None

    def own(self, tensor: TensorValue, place: Span) -> TensorValue | None:
        """`tensor` as a value of this body."""
        assert self.body is not None
        owned = self.body.adopt(tensor)
        if owned is None:
            self.error(
                "E0505",
                f"`{tensor.name or 'this tensor'}` belongs to another body",
                place,
                help="pass it in: give the block a second `input`",
            )
        return owned

    def given(self, what: str, values: Sequence[tuple[Any, Span]]) -> list[TensorValue | None] | None:
        """As `flowing`, where None may stand for a tensor that is left out; at the end it stands for nothing."""
        values = list(values)
        while values and values[-1][0] is None:
            values.pop()
        tensors = self.flowing(what, [entry for entry in values if entry[0] is not None])
        if tensors is None:
            return None
        rest = iter(tensors)
        return [None if value is None else next(rest) for value, _ in values]

    def flowing(self, what: str, values: Sequence[tuple[Any, Span]]) -> list[TensorValue] | None:
        """What flows into or out of a body, as tensors of this one; None where it is not known or does not fit.

        `what` begins the message: "`B` takes", "`layers` gives".
        """
        tensors: list[TensorValue] = []
        for value, place in values:
            tensor = single(value)
            if tensor is POISON or (is_list(tensor) and any(item is POISON for item in tensor)):
                return None
            if not isinstance(tensor, TensorValue):
                help = "join them first, for example `-> concat(dim = 1)`" if holds_tensor(tensor) else None
                self.error("E0412", f"{what} tensors, found {in_words(value)}", place, help=help)
                return None
            owned = self.own(tensor, place)
            if owned is None:
                return None
            tensors.append(owned)
        return tensors

    def _shape_problem(
        self,
        problem: ShapeProblem,
        bound: Bound,
        operands: Sequence[TensorValue | Literal],
        span: Span,
    ) -> Any:
        if problem.argument is not None and problem.argument in bound.places:
            primary = bound.places[problem.argument]
            text = problem.label if problem.operand is None else ""
            also = self._operand_labels(bound, operands, [0] if operands and problem.operand is None else [])
        else:
            primary, text = span, ""
            also = []
        if problem.code == "E0402" and problem.operand is None:
            also = self._operand_labels(bound, operands, range(len(operands)))
        elif problem.operand is not None and problem.operand < len(operands):
            also = self._operand_labels(bound, operands, [problem.operand], problem.label)
        elif not text:
            text = problem.label
        notes = (problem.note,) if problem.note else ()
        help = _in_names(problem.help, bound)
        return self.error(problem.code, problem.message, primary, text, also=also, help=help, notes=notes)

    def _operand_labels(
        self,
        bound: Bound,
        operands: Sequence[TensorValue | Literal],
        which: Sequence[int] | range,
        text: str = "",
    ) -> list[Label]:
        """A label at each operand's place, and one where it was made when that is elsewhere and has a name."""
        labels: list[Label] = []
        for index in which:
            operand, place = operands[index], bound.operands[index][1]
            if isinstance(operand, Literal):
                continue
            simple = operand.name if operand.name == place.text else None
            subject = f"`{simple}`" if simple else "this"
            said = f"{subject} is {operand.type}" if not text else re.sub("^this is", f"{subject} is", text)
            labels.append(Label(place, said))
            if (
                simple
                and place.source.position(place.start)[0]
                != operand.origin.source.position(operand.origin.start)[0]
            ):
                labels.append(Label(operand.origin, f"`{simple}` is {operand.type} here"))
        return list(dict.fromkeys(labels))


def _type_of(operand: TensorValue | Literal) -> Any:
    if isinstance(operand, Literal):
        return None if operand.value is None else Scalar(operand.value)
    return operand.type


def _made_in(value: Any, span: Span) -> Span:
    """The part of `span` that made `value`, which is one of several: the end of a branch of a `fork`."""
    tensor = single(value)
    inside = isinstance(tensor, TensorValue) and _inside(tensor.origin, span)
    return tensor.origin if inside else span


def _inside(inner: Span, outer: Span) -> bool:
    return inner.source is outer.source and outer.start <= inner.start and inner.end <= outer.end


def _in_names(help: str | None, bound: Bound) -> str | None:
    """What an operation, which knows no names, says of "the left one", in the user's."""
    for side, (_, place) in zip(("left", "right"), bound.operands, strict=False):
        if help is not None and place.text.isidentifier():
            named = help.replace(f"the {side} one", f"`{place.text}`")
            help = named if named == help else named.replace("`-> ", f"`{place.text} -> ")
    return help
