"""Flows: a value through stages. Stages are evaluated first and placed then; placing makes the layers."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from netdsl.diagnostics import Label
from netdsl.elaborate.arguments import Bound, bind, make_operation
from netdsl.elaborate.body import Body, Placed
from netdsl.elaborate.calls import Calls
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
    is_stage,
)
from netdsl.ir.dims import Expr
from netdsl.ir.graph import Graph, Literal, Node, Operation
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.base import Op, ShapeProblem, operands_of, registry
from netdsl.source import Span
from netdsl.syntax import tree


class Flows(Calls):
    """`value -> stage -> stage`, labels, lists and forks."""

    def flow(self, expr: tree.Flow) -> Any:
        head = self.value(expr.head)
        if head is POISON or (isinstance(head, tuple) and POISON in head):
            for stage in expr.stages:
                self.forget(self.stage(stage))
            return POISON
        if holds_tensor(head):
            return self._run(head, expr)
        if is_stage(head):
            stages = [Placeable(head, expr.head.span)]
            stages += [Placeable(self.stage(stage), stage.span) for stage in expr.stages]
            return POISON if any(p.stage is POISON for p in stages) else Chain(tuple(stages))
        return self.error(
            "E0310", f"`->` passes a tensor on, but its left side is {in_words(head)}", expr.head.span
        )

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
            return POISON if any(p.stage is POISON for p in stages) else Chain(tuple(stages))
        if isinstance(expr, tree.String):
            label = self.label(expr)
            return POISON if label is POISON else LabelReference(label, expr.span)
        return self.as_stage(self.value(expr), expr.span)

    def _stage_name(self, expr: tree.Name) -> Any:
        if self.body is not None and expr.id in self.body.labels:
            return LabelReference(expr.id, expr.span)
        binding = self.scope.read(expr.id)
        if binding is None:
            return LabelReference(
                expr.id, expr.span
            )  # a label that a stage before it will make, or an error then
        return self.as_stage(binding.value, expr.span)

    def as_stage(self, value: Any, span: Span) -> Any:
        if value is POISON or is_stage(value):
            return Template(value, (), span) if isinstance(value, type | Declared) else value
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
        if isinstance(stage, type | Declared):
            stage = Template(stage, (), at)
        if isinstance(stage, Builtin):
            stage = Template(registry[stage.name], (), at)
        if isinstance(stage, Template):
            return self._place_template(stage, value, span, at, label)
        if isinstance(stage, LabelledStage):
            if not self.claim(stage.label, stage.label_span):
                return POISON
            return self.place(stage.stage, value, span, stage.span, stage.label)
        if isinstance(stage, LabelReference):
            return self._place_again(stage, value, span, at)
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
        flowing = [(v, span) for v in (value if isinstance(value, tuple) else (value,))]
        here = template.span if template.span is not None and _inside(template.span, at) else at
        if isinstance(template.callee, Declared):
            return self.place_block(template, flowing, here, label)
        cls = template.callee
        if label is not None and not cls.is_layer:
            twin = next(
                (k for k in registry if k.lower() == cls.kind.replace("_", "") and registry[k].is_layer), None
            )
            return self.error(
                "E0507",
                f"`{cls.kind}` is a function, which has no parameters to name, but it is labelled `{label}`",
                at,
                help=f"use the layer: `{label}: {twin}`" if twin else "leave the label out",
            )
        bound = bind(self.session, cls, flowing, template.arguments)
        result = self.place_operation(cls, bound, here, label)
        if label is not None and self.body is not None:
            self.remember(label, template, result, at)
        return result

    @abstractmethod
    def place_block(
        self, template: Template, flowing: list[tuple[Any, Span]], at: Span, label: str | None
    ) -> Any:
        """Apply a block to what flows in; POISON where something does not fit."""

    # -- operations

    def place_operation(self, cls: type[Op], bound: Bound, span: Span, label: str | None) -> Any:
        """Make a node of an operation and its operands; POISON where something does not fit (reported)."""
        operation = make_operation(self.session, cls, bound, span)
        operands = self._operands(cls, bound, span)
        if operation is None or operands is None:
            return POISON
        if self.body is None:
            return self.error(
                "E0307", f"`{cls.kind}` makes a tensor, but this place takes static values", span
            )
        types = [_type_of(operand) for operand in operands]
        try:
            results = operation.result_types(*types)
            state = operation.state(*types) if cls.is_layer else {}
        except ShapeProblem as problem:
            return self._shape_problem(problem, bound, operands, span)
        if label is None and state:
            label = self.body.free_label(cls.kind)
            self.body.set_label(label, Placed(Template(cls, (), span), operation, span))
        return self.make_node(operation, operands, results, span, label, listed=not cls.is_layer)

    def make_node(
        self,
        op: Operation | Graph,
        operands: Sequence[TensorValue | Literal],
        types: Sequence[Tensor],
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
        several = len(values) > 1 or (isinstance(op, Op) and op.gives is not None)
        if not several:
            return values[0]
        return values if listed else Results(values, names or (None,) * len(values))

    def _operands(self, cls: type[Op], bound: Bound, span: Span) -> list[TensorValue | Literal] | None:
        """The operands as tensors of this body and literals; None where one is unknown or does not fit."""
        names = operands_of(cls)
        given: list[TensorValue | Literal] = []
        for value, place in bound.operands:
            operand = self._operand(cls, value, place)
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
        if value is None:
            return Literal(None)
        tensor = value.first if isinstance(value, Results) else value
        if isinstance(tensor, TensorValue):
            return self.own(tensor, place)
        if cls.takes_scalars and isinstance(value, int | float | Expr):
            return Literal(value)
        help = None
        if isinstance(value, tuple) and holds_tensor(value):
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
        return self.error(
            problem.code, problem.message, primary, text, also=also, help=problem.help, notes=notes
        )

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

    # -- labels

    def claim(self, label: str, span: Span) -> bool:
        """Whether `label` is free in this body; an error where it is not."""
        if self.body is None:
            return True
        body = self.body
        clash = body.clash(label)
        if clash is None:
            return True
        self.error(
            "E0504",
            f"two layers are labelled `{label}`",
            span,
            also=[Label(clash.span, "the first one is made here")],
            help=f"to apply the same layer again, write the label alone: `-> {label}`; else choose another label",
        )
        return False

    def remember(self, label: str, stage: Any, result: Any, at: Span) -> None:
        """Note what `label` names, unless a node has it already."""
        assert self.body is not None
        if label in self.body.labels:
            return
        op = self.body.nodes[-1].op if result is not POISON and self.body.nodes else None
        self.body.set_label(label, Placed(stage, op, at))  # type: ignore[arg-type]

    def forget(self, stage: Any) -> None:
        """Take note of the labels of a stage that an error keeps from being placed, so that using them is no error."""
        if self.body is None:
            return
        if isinstance(stage, LabelledStage):
            self.body.labels.setdefault(stage.label, Placed(POISON, None, stage.span))  # type: ignore[arg-type]
        elif isinstance(stage, Chain):
            for item in stage.stages:
                self.forget(item.stage)
        elif isinstance(stage, Fork):
            for item in stage.branches:
                self.forget(item.stage)
        elif isinstance(stage, tuple):
            for item in stage:
                self.forget(item)

    def _place_again(self, reference: LabelReference, value: Any, span: Span, at: Span) -> Any:
        body = self.body
        placed = body.labels.get(reference.label) if body is not None else None
        if body is None or placed is None:
            candidates = [*(body.labels if body else ()), *self.scope.visible()]
            return self.unknown_name(reference.label, reference.span, candidates, "layer or label")
        if placed.stage is POISON or placed.op is None:
            return POISON
        first = next(n for n in body.nodes if n.label == reference.label)
        count = len(body.nodes)
        label = reference.label
        result = (
            self.place_sequence(label, placed.stage, value, span, at)
            if self._is_sequence(placed)
            else self._again(placed, value, span, at, label)
        )
        if result is POISON or len(body.nodes) == count:
            return result
        self._check_shared(first, body.nodes[-1], at, placed)
        return result

    def _is_sequence(self, placed: Placed) -> bool:
        return isinstance(placed.op, Graph) and placed.op.kind == "sequential"

    def _again(self, placed: Placed, value: Any, span: Span, at: Span, label: str) -> Any:
        if isinstance(placed.stage, Template) and isinstance(placed.op, Op):
            # The same operation, not its arguments evaluated anew: the layer is one.
            cls = type(placed.op)
            flowing = [(v, span) for v in (value if isinstance(value, tuple) else (value,))]
            bound = Bound(operands=flowing, fields=dict(placed.op.arguments()))
            return self.place_operation(cls, bound, at, label)
        return self.place(placed.stage, value, span, at, label)

    def _check_shared(self, first: Node, second: Node, at: Span, placed: Placed) -> None:
        """One layer, applied twice, must have the same parameters both times."""
        assert self.body is not None
        one, two = first.op, second.op
        if isinstance(one, Graph) and isinstance(two, Graph):
            same = one.code == two.code and dict(one.state()) == dict(two.state())
        else:
            same = one == two and self._state_of(first) == self._state_of(second)
        if not same:
            self.error(
                "E0508",
                f"`{first.label}` was made for another input and cannot be applied to this one",
                at,
                also=[Label(placed.span, "the layer is made here")],
                help="a layer used twice has one set of parameters: give the second one a label of its own",
            )

    def _state_of(self, node: Any) -> dict[str, Any]:
        assert self.body is not None
        known = {
            number: entry.type
            for number, entry in zip(self.body._input_values, self.body.inputs, strict=True)
        }
        known.update((p.value, p.type) for p in self.body.parameters)
        known.update((b.value, b.type) for b in self.body.buffers)
        known.update((r, t) for n in self.body.nodes for r, t in zip(n.results, n.types, strict=True))
        types = [
            Scalar(o.value) if isinstance(o, Literal) and o.value is not None else known.get(o)
            for o in node.operands
        ]
        return dict(node.op.state(*types))

    # -- labelled lists

    def place_sequence(self, label: str, stage: Any, value: Any, span: Span, at: Span) -> Any:
        """A labelled list (or chain, or fork): a body of its own whose layers are named by their place."""
        assert self.body is not None
        inner = Body(self.session, "sequential", "Sequential", self.body.sizes, self.body)
        operands: list[TensorValue] = []
        inside: list[TensorValue] = []
        for item in value if isinstance(value, tuple) else (value,):
            tensor = item.first if isinstance(item, Results) else item
            owned = self.own(tensor, span) if isinstance(tensor, TensorValue) else None
            if owned is None:
                return POISON
            operands.append(owned)
            name = "x" if not isinstance(value, tuple) else f"x{len(operands) - 1}"
            inside.append(inner.add_input(name, owned.type, owned.origin))
        current: Any = tuple(inside) if isinstance(value, tuple) else inside[0]
        runner = type(self)(self.session, self.scope, inner)
        self.session.path.append(label)
        current = runner.run_sequence(stage, current, span, at)
        self.session.path.pop()
        again = label in self.body.labels
        if not again:
            self.body.set_label(label, Placed(stage, None, at))  # type: ignore[arg-type]
        if current is POISON:
            return POISON
        outputs = runner.sequence_outputs(current, span)
        if outputs is None:
            return POISON
        operands += _adopted(inner, self.body)
        graph = inner.finish(span=at)
        if not again:
            self.body.set_label(label, Placed(stage, graph, at))
        types = [t.type for t in outputs]
        return self.make_node(
            graph, operands, types, at, label, listed=isinstance(current, tuple), size=inner.total
        )  # type: ignore[arg-type]

    def run_sequence(self, stage: Any, value: Any, span: Span, at: Span) -> Any:
        if isinstance(stage, Fork | Identity | LabelReference):
            return self.place(stage, value, span, at)
        items = stage.stages if isinstance(stage, Chain) else tuple(Placeable(item, at) for item in stage)
        for index, item in enumerate(items):
            value = self._place_item(item.stage, str(index), value, span, item.span)
            span = item.span
        return value

    def _place_item(self, item: Any, index: str, value: Any, span: Span, at: Span) -> Any:
        """One item of a labelled list: a layer, list or chain takes its index as its label."""
        if value is POISON or item is POISON:
            return POISON
        function = isinstance(item, Builtin) or (isinstance(item, type) and not item.is_layer)
        if isinstance(item, Template) and isinstance(item.callee, type):
            function = not item.callee.is_layer
        if function or isinstance(item, LabelledStage | LabelReference | Fork | Identity):
            return self.place(item, value, span, at)
        here = item.span if isinstance(item, Template) and item.span is not None else at
        return self.place(item, value, span, here, index) if self.claim(index, here) else POISON

    def sequence_outputs(self, value: Any, span: Span) -> list[TensorValue] | None:
        """Make `value` the outputs of this body."""
        from netdsl.ir.graph import Output

        assert self.body is not None
        tensors: list[TensorValue] = []
        for item in value if isinstance(value, tuple) else (value,):
            tensor = item.first if isinstance(item, Results) else item
            owned = self.own(tensor, span) if isinstance(tensor, TensorValue) else None
            if owned is None:
                return None
            tensors.append(owned)
            self.body.outputs.append(Output(owned.number))
        return tensors


def _type_of(operand: TensorValue | Literal) -> Any:
    if isinstance(operand, Literal):
        return None if operand.value is None else Scalar(operand.value)
    return operand.type


def _inside(inner: Span, outer: Span) -> bool:
    return inner.source is outer.source and outer.start <= inner.start and inner.end <= outer.end


def _adopted(inner: Body, outer: Body) -> list[TensorValue]:
    """The tensors of `outer` that became further inputs of `inner`, in that order."""
    numbers = {value.number: number for number, value in inner.adopted.items()}
    found: list[TensorValue] = []
    for entry, number in zip(inner.inputs, inner._input_values, strict=True):
        if number in numbers:
            found.append(
                TensorValue(outer, numbers[number], entry.type, entry.span or entry.span, entry.name)
            )  # type: ignore[arg-type]
    return found
