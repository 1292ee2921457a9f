"""Labels, layers used again by their label, and labelled lists, which are bodies of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netdsl.diagnostics import Label
from netdsl.elaborate.arguments import Bound
from netdsl.elaborate.body import Body, Placed
from netdsl.elaborate.flows import Flows
from netdsl.elaborate.values import (
    POISON,
    Builtin,
    Chain,
    Fork,
    Identity,
    LabelledStage,
    LabelReference,
    Placeable,
    Template,
    TensorValue,
    is_list,
    is_operation,
    together,
)
from netdsl.ir.graph import Graph, Literal, Node, Operation, Output
from netdsl.ir.types import Scalar, State
from netdsl.ops.base import Op
from netdsl.source import Span
from netdsl.syntax import tree


class Sequences(Flows):
    """What a label names in a body: one layer, block or list, however often it is used."""

    # -- labels

    def labelled(self, expr: tree.Labelled) -> Any:
        label = self.label(expr.label)
        stage = self.stage(expr.value)
        if label is not POISON and stage is not POISON:
            return LabelledStage(label, stage, expr.span, expr.label.span)
        if self.body is not None and label is POISON:
            self.body.uncertain = True
        elif self.body is not None:
            self.body.labels.setdefault(label, Placed(POISON, None, expr.label.span))
        return POISON

    def claim(self, label: str, span: Span) -> bool:
        """Whether `label` is free in this body; an error where it is not."""
        if self.body is None:
            return True
        clash = self.body.clash(label)
        if clash is not None:
            again = f"to apply the same layer again, write the label alone: `-> {label}`; else choose another label"
            also = [Label(clash.span, "the first one is made here")]
            self.error("E0504", f"two layers are labelled `{label}`", span, also=also, help=again)
            return False
        stem = label.partition(".")[0]
        if stem in self.body.tensors:
            also = [Label(self.body.tensors[stem], "the tensor is declared here")]
            message = f"`{stem}` names two things in the `state_dict` of this body"
            self.error("E0504", message, span, also=also)
            return False
        return True

    def remember(self, label: str, stage: Any, at: Span) -> None:
        """Note what `label` names; a layer that is used again is there already."""
        assert self.body is not None
        if label not in self.body.labels:
            node = self.body.layers.get(label)
            self.body.set_label(label, Placed(stage, node.op if node is not None else None, at))

    def forget(self, stage: Any) -> None:
        """Take note of the labels of a stage that an error keeps from being placed, so that using them is no error."""
        if self.body is None:
            return
        if isinstance(stage, LabelledStage):
            self.body.labels.setdefault(stage.label, Placed(POISON, None, stage.span))
        elif isinstance(stage, Chain):
            for item in stage.stages:
                self.forget(item.stage)
        elif isinstance(stage, Fork):
            for item in stage.branches:
                self.forget(item.stage)
        elif is_list(stage):
            for item in stage:
                self.forget(item)

    # -- the same layer again

    def place_again(
        self, reference: LabelReference, value: Any, span: Span, at: Span, label: str | None
    ) -> Any:
        body, name = self.body, reference.label
        placed = body.labels.get(name) if body is not None else None
        if body is None or placed is None:
            if body is not None and body.uncertain:
                return POISON
            candidates = [*(body.labels if body else ()), *self.scope.visible()]
            return self.unknown_name(name, reference.span, candidates, "layer or label")
        if label is not None:
            return self.error(
                "E0504",
                f"the layer `{name}` would be labelled `{label}` too",
                reference.span,
                also=[Label(placed.span, "the layer is made here")],
                help=f"a layer has one label: apply it again with `-> {name}`",
            )
        if placed.stage is POISON or placed.op is None:
            return POISON
        count = len(body.nodes)
        result = self._again(placed, name, value, span, at)
        if result is not POISON and len(body.nodes) > count:
            self._check_shared(body.layers[name], body.nodes[-1], at, placed)
        return result

    def _again(self, placed: Placed, label: str, value: Any, span: Span, at: Span) -> Any:
        if isinstance(placed.op, Graph) and placed.op.kind == "sequential":
            return self.place_sequence(label, placed.stage, value, span, at)
        if isinstance(placed.op, Op):
            # The same operation, not its arguments evaluated anew: the layer is one.
            flowing = [(item, span) for item in together(value)]
            bound = Bound(operands=flowing, fields=dict(placed.op.arguments()))
            return self.place_operation(type(placed.op), bound, at, label)
        return self.place(placed.stage, value, span, at, label)

    def _check_shared(self, first: Node, second: Node, at: Span, placed: Placed) -> None:
        """One layer, applied twice, must have the same parameters both times."""
        one, two = first.op, second.op
        if isinstance(one, Graph) and isinstance(two, Graph):
            same = one.code == two.code and dict(one.state()) == dict(two.state())
        else:
            same = one == two and self._state_of(first, one) == self._state_of(second, two)
        if not same:
            self.error(
                "E0508",
                f"`{first.label}` was made for another input and cannot be applied to this one",
                at,
                also=[Label(placed.span, "the layer is made here")],
                help="a layer used twice has one set of parameters: give the second one a label of its own",
            )

    def _state_of(self, node: Node, op: Operation | Graph) -> dict[str, State]:
        assert self.body is not None
        assert not isinstance(op, Graph)
        types: list[Any] = []
        for operand in node.operands:
            if isinstance(operand, Literal):
                types.append(None if operand.value is None else Scalar(operand.value))
            else:
                types.append(self.body.types[operand])
        return dict(op.state(*types))

    # -- labelled lists

    def place_sequence(self, label: str, stage: Any, value: Any, span: Span, at: Span) -> Any:
        """A labelled list (or chain, or fork): a body of its own whose layers are named by their place."""
        assert self.body is not None
        operands = self.flowing(f"`{label}` takes", [(item, span) for item in together(value)])
        if operands is None:
            self.remember(label, POISON, at)
            return POISON
        inner = Body(self.session, "sequential", "Sequential", self.body.sizes, self.body)
        several = is_list(value)
        names = [f"x{index}" if several else "x" for index in range(len(operands))]
        inside = [
            inner.add_input(name, tensor.type, tensor.origin)
            for name, tensor in zip(names, operands, strict=True)
        ]
        runner = type(self)(self.session, self.scope, inner)
        self.session.path.append(label)
        try:
            current = runner.run_sequence(stage, tuple(inside) if several else inside[0], span, at)
            outputs = runner.sequence_outputs(label, current, at)
        finally:
            self.session.path.pop()
        if outputs is None:
            self.remember(label, POISON, at)
            return POISON
        graph = inner.finish(span=at)
        result = self.make_node(
            graph,
            [*operands, *_adopted(inner, self.body)],
            [tensor.type for tensor in outputs],
            at,
            label,
            listed=is_list(current),
            size=max(1, inner.total),
            height=inner.height,
        )
        self.remember(label, stage, at)
        return result

    def run_sequence(self, stage: Any, value: Any, span: Span, at: Span) -> Any:
        """Place the items of a labelled list in this body."""
        if isinstance(stage, Fork | Identity):
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
        callee = item.callee if isinstance(item, Template) else item
        function = isinstance(callee, Builtin) or (is_operation(callee) and not callee.is_layer)
        if function or isinstance(item, LabelledStage | LabelReference | Fork | Identity):
            return self.place(item, value, span, at)
        here = item.span if isinstance(item, Template) and item.span is not None else at
        return self.place(item, value, span, here, index) if self.claim(index, here) else POISON

    def sequence_outputs(self, label: str, value: Any, at: Span) -> Sequence[TensorValue] | None:
        """Make `value` the outputs of this body; None where it is not known or holds no tensors (reported)."""
        assert self.body is not None
        tensors = self.flowing(f"`{label}` gives", [(item, at) for item in together(value)])
        self.body.outputs += [Output(tensor.number) for tensor in tensors or ()]
        return tensors


def _adopted(inner: Body, outer: Body) -> list[TensorValue]:
    """The tensors of `outer` that became further inputs of `inner`, in that order."""
    return [
        TensorValue(outer, number, entry.type, entry.origin, entry.name)
        for number, entry in inner.adopted.items()
    ]
