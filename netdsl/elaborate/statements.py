"""Statements of a body, one method each. `if` and `for` are unrolled here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, ClassVar

from netdsl.diagnostics import Label
from netdsl.elaborate.initial import FANS, Initial
from netdsl.elaborate.shapes import Checked, axis_names
from netdsl.elaborate.slicing import slice_of
from netdsl.elaborate.values import POISON, Results, TensorValue, in_words, is_list, single, together
from netdsl.ir.formulas import fans
from netdsl.ir.graph import InitRule, Output, Tie
from netdsl.ir.types import Tensor
from netdsl.source import Span
from netdsl.syntax import tree


class Statements(Initial):
    """Runs the statements of one body, in order."""

    operands: list[Any] | None = None  # of a block: what flows in, as this body's types; None in a model
    unfed: Sequence[str] = ()  # the inputs of a block that nothing flows into
    sizes: dict[str, int] = {}  # noqa: RUF012  (free dimensions fixed from outside; replaced, never changed)
    returned: Any = None  # of an `fn`: what its `output` gave
    expectations: list[tree.Expect]
    in_function = False

    def run(self, statements: Sequence[tree.Statement]) -> None:
        for statement in statements:
            self.session.step(statement.span)
            self._RUN[type(statement)](self, statement)

    def _tensors_only(self, what: str, span: Span) -> bool:
        """Whether this is the body of a model or block; a report where it is an `fn`'s."""
        if self.body is not None and not self.in_function:
            return True
        self.error("E0514", f"`{what}` in an `fn`, which computes static values only", span)
        return False

    # -- inputs and outputs

    def _input(self, statement: tree.Input) -> None:
        if not self._tensors_only("input", statement.span):
            return
        value = self._model_input(statement) if self.operands is None else self._block_input(statement)
        what = "optional input" if statement.optional else "input"
        self.scope.assign(statement.name.id, value, statement.name.span, what)

    def _declare_input(self, name: tree.Name, type: Tensor, shape: tree.Shape | None = None) -> Any:
        assert self.body is not None
        if any(entry.name == name.id for entry in self.body.inputs):
            return self.error("E0503", f"two inputs are called `{name.id}`", name.span)
        return self.body.add_input(name.id, type, name.span, axis_names(shape, type.rank))

    def _model_input(self, statement: tree.Input) -> Any:
        if statement.optional:
            return self.error(
                "E0516",
                f"the input `{statement.name.id}` of a model may be left out",
                statement.span,
                help="let a parameter say whether the model has it: `if masked { input mask: bool[N, T] }`",
            )
        if statement.shape is None:
            return self.error(
                "E0415",
                f"the input `{statement.name.id}` of a model has no shape",
                statement.name.span,
                help=f"declare it: `input {statement.name.id}: [N, 3, 224, 224]`",
            )
        type = self.free_shape(statement.name.id, statement.shape, self.sizes)
        return POISON if type is None else self._declare_input(statement.name, type)

    def _block_input(self, statement: tree.Input) -> Any:
        assert self.operands is not None
        operand = self.operands.pop(0) if self.operands else None
        if operand is None and statement.optional:
            return None
        if operand is None:
            self.unfed = [*self.unfed, statement.name.id]
            return self._bind_unknown(statement)
        if operand is POISON:
            return self._bind_unknown(statement)
        value = self._declare_input(statement.name, operand, statement.shape)
        used_at = self.session.trail[-1].used_at if self.session.trail else None
        before = len(self.session.report.errors)
        if statement.shape is not None:
            self.annotate(statement.shape, Checked(statement.name.id, operand, used_at), code="E0416")
            if statement.shape.dtype is None and not operand.is_float:
                self.error(
                    "E0405",
                    f"`{statement.name.id}` is declared as float32, but it is {operand} here",
                    statement.name.span,
                    help=f"declare it: `input {statement.name.id}: {operand.dtype}{statement.shape.span.text}`",
                )
        return value if len(self.session.report.errors) == before else self._bind_unknown(statement)

    def _bind_unknown(self, statement: tree.Input) -> Any:
        for written in statement.shape.dims if statement.shape else ():
            if isinstance(written, tree.Name) and written.id != "_" and self.scope.find(written.id) is None:
                self.scope.declare(written.id, POISON, written.span)
        return POISON

    def _output(self, statement: tree.Output) -> None:
        if self.in_function:
            self._return(statement)
            return
        value = self.value(statement.value)
        training = self._when(statement.when, "training")
        if value is POISON or self.body is None:
            if self.body is not None:
                self.body.broken = True
            self._name_unknown(statement)
            return
        items = together(value)
        if any(item is POISON for item in items):
            self.body.broken = True
            return
        tensors = [tensor for tensor in map(single, items) if isinstance(tensor, TensorValue)]
        if not items or len(tensors) < len(items):
            self.body.broken = True
            self.error("E0502", f"an output is a tensor, found {in_words(value)}", statement.value.span)
            return
        if statement.name is not None and len(tensors) > 1:
            self.body.broken = True
            self.error("E0502", f"one name for {len(tensors)} outputs", statement.name.span)
            return
        for tensor in tensors:
            self._add_output(statement, tensor, training)

    def _add_output(self, statement: tree.Output, tensor: TensorValue, training: bool) -> None:
        assert self.body is not None
        owned = self.own(tensor, statement.value.span)
        if owned is None:
            return
        name = statement.name.id if statement.name else None
        if name is not None and any(o.name == name for o in self.body.outputs):
            self.error(
                "E0503",
                f"two outputs are called `{name}`",
                statement.name.span if statement.name else statement.span,
            )
            return
        self.body.outputs.append(Output(owned.number, name, training, statement.value.span))
        if statement.shape is not None and isinstance(owned.type, Tensor):
            self.annotate(statement.shape, Checked(name or "the output", owned.type, statement.value.span))
        if statement.name is not None:
            self._assign(statement.name, owned, what="")

    def _name_unknown(self, statement: tree.Output) -> None:
        if statement.name is not None:
            self.scope.assign(statement.name.id, POISON, statement.name.span, what="")

    def _when(self, when: tree.Name | None, allowed: str) -> bool:
        if when is None:
            return False
        if when.id != allowed:
            self.error(
                "E0515",
                f"unknown condition `when {when.id}`",
                when.span,
                help=f"only `when {allowed}` stands here",
            )
        return True

    def _return(self, statement: tree.Output) -> None:
        if statement.name is not None or statement.shape is not None or statement.when is not None:
            self.error("E0514", "the `output` of an `fn` is a single value without a name", statement.span)
        if self.returned is not None:
            self.error("E0503", "a second `output` in an `fn`", statement.span)
            return
        self.returned = (self.static(statement.value, "the output of an `fn`"),)

    # -- names

    def _bind(self, statement: tree.Bind) -> None:
        value = self.value(statement.value)
        target, *others = statement.targets
        if others:
            self._unpack(statement, value)
            return
        if statement.shape is not None:
            value = self._annotated(statement, target, value)
        self._assign(target, value, _what(target))

    def _assign(self, target: tree.Name, value: Any, what: str) -> None:
        """Bind `target`; a tensor is called by it from now on."""
        if isinstance(value, TensorValue):
            value = _named(value, target)
        elif isinstance(value, Results):
            first, *others = value.tensors
            value = Results((_named(first, target), *others), value.names)
        self.scope.assign(target.id, value, target.span, what)

    def _annotated(self, statement: tree.Bind, target: tree.Name, value: Any) -> Any:
        assert statement.shape is not None
        tensor = single(value)
        if isinstance(tensor, TensorValue) and isinstance(tensor.type, Tensor):
            self.annotate(statement.shape, Checked(target.id, tensor.type, statement.value.span))
        elif value is not POISON:
            self.error(
                "E0408",
                f"a shape is declared for `{target.id}`, which is {in_words(value)}",
                statement.shape.span,
            )
        else:
            for written in statement.shape.dims:
                if (
                    isinstance(written, tree.Name)
                    and written.id != "_"
                    and self.scope.find(written.id) is None
                ):
                    self.scope.assign(written.id, POISON, written.span, what="")
        return tensor

    def _unpack(self, statement: tree.Bind, value: Any) -> None:
        targets = statement.targets
        value = self._along_first_axis(value, len(targets), statement.value.span)
        items: Sequence[Any] = value.tensors if isinstance(value, Results) else ()
        if is_list(value):
            items = value
        if value is POISON:
            items = [POISON] * len(targets)
        elif len(items) != len(targets):
            found = f"{len(items)} values" if items else in_words(value)
            self.error(
                "E0311",
                f"{len(targets)} names for {found}",
                targets[0].span.to(targets[-1].span),
                also=[Label(statement.value.span, f"this gives {found}")],
            )
            items = [POISON] * len(targets)
        for target, item in zip(targets, items, strict=True):
            self._assign(target, item, _what(target))

    def _along_first_axis(self, value: Any, count: int, place: Span) -> Any:
        """A single tensor whose first axis has `count` elements unpacks along it, as in torch."""
        tensor = value.first if isinstance(value, Results) and len(value.tensors) == 1 else value
        type = tensor.type if isinstance(tensor, TensorValue) else None
        if isinstance(type, Tensor) and type.shape[:1] == (count,):
            return self.apply_operation("unbind", [(tensor, place)], place)
        return value

    # -- parameters and buffers

    def _param(self, statement: tree.Param) -> None:
        if not self._tensors_only("param", statement.span):
            return
        assert self.body is not None
        name = statement.name.id
        shape = self.fixed_shape(name, statement.shape)
        dtype = self.dtype_of(statement.shape)
        sizes = fans(shape) if shape is not None and len(shape) > 1 else {}
        init = self.initialiser_of(statement.value, sizes)
        value: Any = POISON
        if (
            self._free_name(statement.name)
            and init is not POISON
            and shape is not None
            and dtype is not POISON
        ):
            value = self.body.add_parameter(name, Tensor(shape, dtype), init, statement.name.span)
            self.check_fills(init, shape, statement.value.span)
        self.scope.declare(name, value, statement.name.span, "param")

    def _free_name(self, name: tree.Name) -> bool:
        assert self.body is not None
        if name.id not in self.body.tensors and self.body.clash(name.id) is None:
            return True
        self.error("E0504", f"`{name.id}` names two things in the `state_dict` of this body", name.span)
        return False

    def _buffer(self, statement: tree.Buffer) -> None:
        if not self._tensors_only("buffer", statement.span):
            return
        unsaved = self._when(statement.when, "unsaved")
        value = self._buffer_value(statement, saved=not unsaved)
        self.scope.declare(statement.name.id, value, statement.name.span, "buffer")

    def _buffer_value(self, statement: tree.Buffer, *, saved: bool) -> Any:
        assert self.body is not None
        name = statement.name.id
        value = self.value(statement.value)
        shape = self.fixed_shape(name, statement.shape)
        dtype = self.dtype_of(statement.shape)
        tensor = single(value)
        if not self._free_name(statement.name) or value is POISON or shape is None or dtype is POISON:
            return POISON
        if not isinstance(tensor, TensorValue):
            return self.error(
                "E0510",
                f"the buffer `{name}` is {in_words(value)}, not a tensor",
                statement.value.span,
                help="make a tensor: `zeros`, `ones`, `full`, `arange`, …",
            )
        if isinstance(tensor.type, Tensor):
            self.annotate(statement.shape, Checked(name, tensor.type, statement.value.span))
        if tensor.type != Tensor(shape, dtype):
            return POISON
        make = slice_of(self.body, tensor, name)
        if make is None:
            return self.error(
                "E0510",
                f"the buffer `{name}` depends on an input or a parameter",
                statement.value.span,
                help="a buffer is computed once, when the model is built: from static values and `arange`, `zeros`, …",
            )
        buffer = self.body.add_buffer(name, Tensor(shape, dtype), make, saved, statement.name.span)
        self.body.buffer_sources[buffer.number] = tensor.number
        return buffer

    def _init(self, statement: tree.Init) -> None:
        if not self._tensors_only("init", statement.span):
            return
        assert self.body is not None
        init = self.initialiser_of(statement.value, FANS)
        pattern = self.path(statement.pattern)
        if init is not POISON and pattern is not None:
            place = statement.pattern[0].span.to(statement.pattern[-1].span)
            self.body.inits.append(InitRule(pattern, init, place))

    def _tie(self, statement: tree.Tie) -> None:
        if not self._tensors_only("tie", statement.span):
            return
        assert self.body is not None
        name, source = self.path(statement.name), self.path(statement.source)
        if name is not None and source is not None:
            here, there = (p[0].span.to(p[-1].span) for p in (statement.name, statement.source))
            self.body.ties.append(Tie(".".join(name), ".".join(source), here, there))

    # -- checks

    def _assert(self, statement: tree.Assert) -> None:
        truth = self.condition(statement.condition)
        message = self.value(statement.message) if statement.message is not None else None
        if truth is False and message is not POISON:
            self.error(
                "E0312",
                f"assertion failed: {message}" if message else "assertion failed",
                statement.condition.span,
            )

    def _expect(self, statement: tree.Expect) -> None:
        if not self._tensors_only("expect", statement.span):
            return
        assert self.body is not None
        if self.body.kind != "model" or self.operands is not None:
            if self.body.kind != "model":
                self.error(
                    "E0513",
                    "`expect` in a block",
                    statement.span,
                    help="only a model has a budget; in a block, use `assert`",
                )
            return
        if statement.shape is None:
            self.expectations.append(statement)
            return
        value = self.value(statement.condition)
        tensor = single(value)
        if isinstance(tensor, TensorValue) and isinstance(tensor.type, Tensor):
            checked = Checked(statement.condition.span.text, tensor.type, statement.condition.span)
            self.annotate(statement.shape, checked, code="E0417")
        elif value is not POISON:
            self.error("E0513", f"a shape is expected of {in_words(value)}", statement.condition.span)

    # -- control

    def _if(self, statement: tree.If) -> None:
        self.scope.pass_by(statement)
        self.scope.bound_inside(assigned([statement]))
        for condition, body in statement.branches:
            truth = self.condition(condition)
            if truth is True:
                self._inner(body, bound_in_all(statement))
                return
            if truth is POISON:
                # No branch runs, and what they would bind is not known either.
                self._unknown_after([statement], bound_in_all(statement))
                return
        if statement.otherwise is not None:
            self._inner(statement.otherwise, bound_in_all(statement))

    def _inner(self, body: Sequence[tree.Statement], kept: Collection[str]) -> None:
        """Run a branch; of the names that it binds first, those in `kept` are seen after it."""
        outer, self.scope = self.scope, self.scope.child()
        try:
            self.run(body)
        finally:
            outer.take(self.scope, kept)
            self.scope = outer

    def _unknown_after(self, body: Sequence[tree.Statement], kept: Collection[str] = ()) -> None:
        for name in assigned(body):
            if name.id in kept or self.scope.find(name.id) is not None:
                self.scope.assign(name.id, POISON, name.span, what="")
        if self.body is not None:
            self.body.broken = True
            self.body.uncertain = True

    def _for(self, statement: tree.For) -> None:
        values = self.iterate(statement.iterable)
        if values is POISON:
            self._unknown_after(statement.body)
            return
        if not values:
            self.scope.pass_by(statement.body)
        self.scope.bound_inside(assigned(statement.body))
        outer = self.scope
        for value in values:
            self.session.step(statement.span)
            self.scope = outer.child()
            try:
                self.bind_names(statement.names, value, statement.iterable.span)
                self.run(statement.body)
            finally:
                self.scope = outer

    _RUN: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        tree.Input: _input,
        tree.Output: _output,
        tree.Bind: _bind,
        tree.Param: _param,
        tree.Buffer: _buffer,
        tree.Init: _init,
        tree.Tie: _tie,
        tree.Assert: _assert,
        tree.Expect: _expect,
        tree.If: _if,
        tree.For: _for,
    }


def assigned(body: Sequence[tree.Statement]) -> list[tree.Name]:
    """The names that statements bind, those of inner bodies included."""
    names: list[tree.Name] = []
    for statement in body:
        if isinstance(statement, tree.Bind):
            names += statement.targets
        elif isinstance(statement, tree.Param | tree.Buffer):
            names.append(statement.name)
        elif isinstance(statement, tree.If):
            for inner in [b for _, b in statement.branches] + [statement.otherwise or ()]:
                names += assigned(inner)
        elif isinstance(statement, tree.For):
            names += assigned(statement.body)
    return names


def bound_in_all(statement: tree.If) -> frozenset[str]:
    """The names that each branch of an `if` binds, so that one does whatever the condition is."""
    if statement.otherwise is None:
        return frozenset()
    bodies = [*(body for _, body in statement.branches), statement.otherwise]
    first, *others = (frozenset(_bound(body)) for body in bodies)
    return first.intersection(*others)


def _bound(body: Sequence[tree.Statement]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, tree.Bind):
            yield from (target.id for target in statement.targets)
        elif isinstance(statement, tree.Param | tree.Buffer | tree.Input):
            yield statement.name.id
        elif isinstance(statement, tree.If):
            yield from bound_in_all(statement)


def _named(tensor: TensorValue, name: tree.Name) -> TensorValue:
    tensor.body.value_names.setdefault(tensor.number, name.id)
    return TensorValue(tensor.body, tensor.number, tensor.type, name.span, name.id)


def _what(target: tree.Name) -> str:
    return "" if target.id.startswith("_") else "name"
