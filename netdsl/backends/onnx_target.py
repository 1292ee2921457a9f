"""The recorder that operations write their ONNX lowering into: steps, constants, sizes and the tensors they
read.

Constants and sizes are computed from the model's inputs alone, each once; they form a prologue before all
other steps. Names are ours: `/layer1/0/conv1` is what the node of that layer is called, and the value it
gives unless the source has a name for it; tensors keep their `state_dict` keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from onnx import AttributeProto, defs, helper

from netdsl.backends.captions import constructor
from netdsl.backends.onnx_sizes import SizeWriter
from netdsl.backends.onnx_types import DTYPE_OF_ONNX, dtype_of_string, element_type, numpy_dtype
from netdsl.ir.dims import Dim, Expr, substitute
from netdsl.ir.graph import Operation
from netdsl.ir.types import DTYPES, Scalar, State, Tensor
from netdsl.ops.target import OnnxTarget, OnnxValue

OPSET = 20


@dataclass
class Step:
    """One ONNX node to be. An empty name among the inputs is an omitted one."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    attributes: list[AttributeProto]
    name: str = ""
    doc: str = ""


@dataclass(frozen=True)
class Stored:
    """An initializer to be: the tensor `key` of the state, after `how` with its arguments."""

    key: str
    state: State
    how: str | None = None
    arguments: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Owner:
    """The layer being lowered: its path in the `state_dict` with a last dot, and its tensors."""

    prefix: str = ""
    state: Mapping[str, State] = field(default_factory=dict)
    kind: str = ""


class Names:
    """Names that are not given twice: `relu`, `relu_1`, `relu_2`."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def claim(self, wanted: str) -> str:
        if wanted not in self._next:
            self._next[wanted] = 1
            return wanted
        while (name := f"{wanted}_{self._next[wanted]}") in self._next:
            self._next[wanted] += 1
        self._next[wanted] += 1
        self._next[name] = 1
        return name


class Recorder(OnnxTarget):
    """Collects the steps of a model. `lower` writes one operation; `backends.onnx` makes the file of it."""

    def __init__(self, opset: int = OPSET) -> None:
        self.opset = opset
        self.prologue: list[Step] = []
        self.steps: list[Step] = []
        self.stored: dict[str, Stored] = {}
        self.dtypes: dict[str, str] = {}
        self.values = Names()
        self.node_names = Names()
        self.meaning: Mapping[str, Dim] = {}  # the sizes of this body, in the model's free dimensions
        self.tied: Mapping[str, str] = {}  # second names of tensors, with their first ones
        self._owner = Owner()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], OnnxValue] = {}
        self._schemas: dict[str, defs.OpSchema] = {}
        self._named: dict[tuple[Any, ...], str] = {}
        self._sizes = SizeWriter(self)
        self._in_prologue = False

    # -- what operations call

    def op(self, kind: str, *inputs: OnnxValue | None, results: int = 1, **attributes: Any) -> Any:
        """Record a node. Attributes are typed by the operator's schema; one that is None is left out."""
        for value in inputs:
            if value is not None and not isinstance(value, OnnxValue):
                raise TypeError(
                    f"`{kind}` got {value!r} for a tensor: literals go through `like` or `constant`"
                )
        schema = self._schema(kind)
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]  # onnxruntime crashes on some operators with an empty input at the end
        if len(inputs) > schema.max_input:
            raise TypeError(f"`{kind}` takes {schema.max_input} inputs, not {len(inputs)}")
        step = Step(
            kind,
            ["" if value is None else value.name for value in inputs],
            [],
            [self._attribute(schema, name, value) for name, value in attributes.items() if value is not None],
        )
        for number in range(results):
            name = f"#{len(self.dtypes)}"  # until the lowering is done: `_name` gives the one to keep
            step.outputs.append(name)
            self.dtypes[name] = self._result_dtype(schema, number, step, attributes)
        (self.prologue if self._in_prologue else self.steps).append(step)
        values = tuple(OnnxValue(name) for name in step.outputs)
        return values[0] if results == 1 else values

    def constant(self, value: Any, dtype: str) -> OnnxValue:
        """A constant, each once in a model.

        A number that `dtype` cannot hold is a mistake of the lowering.
        """
        array = np.asarray(value)
        wanted = numpy_dtype(dtype)
        if wanted.kind in "biu" and not np.array_equal(array.astype(wanted), array):
            raise TypeError(f"{value!r} is not a constant of {dtype}")
        array = array.astype(wanted)
        key = (dtype, array.shape, array.tobytes())
        known = self._constants.get(key)
        if known is None:
            name = self.values.claim(f"const/{dtype}/{_text(array)}")
            tensor = helper.make_tensor("", element_type(dtype), array.shape, array.tobytes(), raw=True)
            attribute = helper.make_attribute("value", tensor)
            self.prologue.append(Step("Constant", [], [name], [attribute], name=name))
            self.dtypes[name] = dtype
            known = self._constants[key] = OnnxValue(name, Tensor(array.shape, dtype))
        return known

    def state(self, name: str) -> OnnxValue:
        return self._store(name, None, {})

    def derived(self, name: str, how: str, **arguments: Any) -> OnnxValue:
        if how == "transpose" and self._owner.prefix + name in {*self.tied, *self.tied.values()}:
            return self.op("Transpose", self.state(name))  # stored once, as its other layer has it
        return self._store(name, how, arguments)

    def size(self, dim: Dim) -> OnnxValue:
        return self._sizes.scalar(substitute(dim, self.meaning))

    def sizes(self, dims: Sequence[Dim]) -> OnnxValue:
        return self._sizes.vector([substitute(dim, self.meaning) for dim in dims])

    def like(self, value: OnnxValue | Scalar, partner: OnnxValue) -> OnnxValue:
        dtype = self.dtypes[partner.name]
        if isinstance(value, OnnxValue):
            return value if self.dtypes[value.name] == dtype else self.op("Cast", value, to=dtype)
        if not isinstance(value.value, Expr):
            return self.constant(value.value, dtype)
        size = self.size(value.value)
        return size if dtype == "int64" else self.op("Cast", size, to=dtype)

    # -- what the backend calls

    def input(self, name: str, type: Tensor) -> OnnxValue:
        """An input of the model; the sizes of its axes are where free dimensions are read."""
        value = OnnxValue(self.values.claim(name), type)
        self.dtypes[value.name] = type.dtype
        self._sizes.add(value.name, type)
        return value

    def tensor(self, key: str, state: State) -> OnnxValue:
        """A `param` or `buffer` of a body, under its key in the `state_dict`."""
        key = self.tied.get(key, key)
        return self._initializer(Stored(key, state), key, state.shape)

    def lower(
        self,
        op: Operation,
        operands: Sequence[OnnxValue | Scalar | None],
        results: Sequence[Tensor],
        *,
        scope: str = "/",
        prefix: str = "",
        label: str | None = None,
        names: Sequence[str] = (),
    ) -> tuple[OnnxValue, ...]:
        """Write `op` for `operands`, which carry their types; None is one that is left out.

        The body has the names `scope` (`/layer1/0/`) and the tensors `prefix` (`layer1.0.`). Raises
        `TypeError` where the lowering disagrees with `results` in number or dtype.
        """
        types: list[Any] = [o.type if isinstance(o, OnnxValue) else o for o in operands]
        own = f"{prefix}{label}." if label else prefix
        self._owner = Owner(own, op.state(*types) if op.is_layer else {}, op.kind)
        start = len(self.steps)
        written = op.onnx(self, *operands)  # type: ignore[attr-defined]
        values: tuple[OnnxValue, ...] = written if isinstance(written, tuple) else (written,)
        if len(values) != len(results):
            raise TypeError(
                f"the lowering of `{op.kind}` has {len(values)} results, its types {len(results)}"
            )
        renamed = self._name(self.steps[start:], op, scope, label, values, names)
        for value, type in zip(values, results, strict=True):
            if self.dtypes[value.name] != type.dtype:
                raise TypeError(
                    f"the lowering of `{op.kind}` gives {self.dtypes[value.name]}, its type is {type}"
                )
        return tuple(
            OnnxValue(renamed.get(value.name, value.name), type)
            for value, type in zip(values, results, strict=True)
        )

    def identity(self, value: OnnxValue, name: str) -> None:
        """`value` under another name, for an output that is also something else."""
        self.steps.append(Step("Identity", [value.name], [name], [], name=self.node_names.claim(f"/{name}")))

    def live_steps(self, outputs: Sequence[str]) -> list[Step]:
        """The steps that `outputs` need, in order: the prologue, then the others."""
        needed = set(outputs)
        kept: list[Step] = []
        for step in reversed([*self.prologue, *self.steps]):
            if not needed.isdisjoint(step.outputs):
                needed.update(step.inputs)
                kept.append(step)
        self.stored = {name: stored for name, stored in self.stored.items() if name in needed}
        return kept[::-1]

    def in_prologue(self, kind: str, inputs: Sequence[OnnxValue], name: str, **attributes: Any) -> OnnxValue:
        """A step that needs only constants and the shapes of inputs, under a name of its own."""
        owner, self._owner, self._in_prologue = self._owner, Owner(), True
        value = self.op(kind, *inputs, **attributes)
        self._owner, self._in_prologue = owner, False
        step = self.prologue[-1]
        step.name = self.node_names.claim(name)
        step.outputs[0] = self.values.claim(name)
        self.dtypes[step.outputs[0]] = self.dtypes[value.name]
        return OnnxValue(step.outputs[0])

    # -- names

    def _name(
        self,
        steps: list[Step],
        op: Operation,
        scope: str,
        label: str | None,
        values: Sequence[OnnxValue],
        names: Sequence[str],
    ) -> dict[str, str]:
        """Name the steps of one lowering and the values they give; the old names of values to the new."""
        if not steps:
            return {}
        kind = op.kind if op.kind.isidentifier() else steps[-1].kind
        base = self.node_names.claim(scope + (label.replace(".", "/") if label else kind))
        steps[0].doc = constructor(op.kind, op.arguments())
        wanted: dict[str, str] = {}
        for number, value in enumerate(values):
            plain = base if len(values) == 1 else f"{base}.{number}"
            wanted.setdefault(
                value.name, scope + names[number] if number < len(names) and names[number] else plain
            )
        renamed: dict[str, str] = {}
        for step in steps:
            step.name = base if len(steps) == 1 else self.node_names.claim(f"{base}/{step.kind}")
            step.inputs = [renamed.get(name, name) for name in step.inputs]
            for number, old in enumerate(step.outputs):
                plain = step.name if len(step.outputs) == 1 else f"{step.name}.{number}"
                renamed[old] = step.outputs[number] = self.values.claim(wanted.get(old, plain))
                self.dtypes[step.outputs[number]] = self.dtypes[old]
        return renamed

    # -- tensors

    def _store(self, name: str, how: str | None, arguments: Mapping[str, Any]) -> OnnxValue:
        state = self._owner.state.get(name)
        if state is None:
            raise TypeError(
                f"`{self._owner.kind}` has no tensor `{name}`: it has {sorted(self._owner.state)}"
            )
        frozen = tuple((key, tuple(v) if isinstance(v, list) else v) for key, v in sorted(arguments.items()))
        key = self._owner.prefix + name
        stored = Stored(self.tied.get(key, key), state, how, frozen)
        if how is None:
            return self._initializer(stored, stored.key, state.shape)
        details = "_".join(
            str(v) for _, value in frozen for v in (value if isinstance(value, tuple) else (value,))
        )
        shape = derive(np.broadcast_to(np.zeros(()), state.shape), stored).shape
        return self._initializer(stored, f"{stored.key}.{how}" + (f"_{details}" if details else ""), shape)

    def _initializer(self, stored: Stored, wanted: str, shape: tuple[int, ...]) -> OnnxValue:
        key = (stored.key, stored.how, stored.arguments)
        if key not in self._named:
            self._named[key] = self.values.claim(wanted)
            self.stored[self._named[key]] = stored
            self.dtypes[self._named[key]] = stored.state.dtype
        return OnnxValue(self._named[key], Tensor(shape, stored.state.dtype))

    # -- what an operator's schema says

    def _schema(self, kind: str) -> defs.OpSchema:
        schema = self._schemas.get(kind)
        if schema is None:
            schema = self._schemas[kind] = defs.get_schema(kind, self.opset, "")
        return schema

    def _attribute(self, schema: defs.OpSchema, name: str, value: Any) -> AttributeProto:
        known = schema.attributes.get(name)
        if known is None:
            raise TypeError(f"`{schema.name}` of opset {self.opset} has no attribute `{name}`")
        kind = int(cast(Any, known.type).value)
        if isinstance(value, str) and kind == AttributeProto.INT and value in DTYPES:
            value = element_type(value)
        if kind == AttributeProto.FLOATS:
            value = [float(v) for v in value]
        if kind == AttributeProto.FLOAT:
            value = float(value)
        if kind in (AttributeProto.INT, AttributeProto.INTS) and isinstance(value, Expr):
            raise TypeError(f"`{name}` of `{schema.name}` must be a number, but it is `{value}`")
        value = int(value) if isinstance(value, bool) else value
        return helper.make_attribute(name, list(value) if isinstance(value, tuple) else value, attr_type=kind)

    def _result_dtype(
        self, schema: defs.OpSchema, number: int, step: Step, attributes: Mapping[str, Any]
    ) -> str:
        formal = schema.outputs[min(number, len(schema.outputs) - 1)].type_str
        if formal.startswith("tensor("):
            return dtype_of_string(formal)
        for position, name in enumerate(step.inputs):
            declared = schema.inputs[min(position, len(schema.inputs) - 1)].type_str
            if name and declared == formal:
                return self.dtypes[name]
        for attribute in ("to", "dtype"):
            if isinstance(attributes.get(attribute), str):
                return attributes[attribute]
        allowed = next(
            (c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == formal), []
        )
        plain = [dtype_of_string(t) for t in allowed if t in DTYPE_OF_ONNX]
        return plain[0] if len(plain) == 1 else "float32"


def derive(array: np.ndarray, stored: Stored) -> np.ndarray:
    """The tensor that `stored` asks for, of the state's own `array`."""
    arguments = dict(stored.arguments)
    if stored.how is None:
        return array
    if stored.how == "rows":
        return array[arguments.get("start") : arguments.get("stop")]
    if stored.how == "transpose":
        return array.transpose()
    if stored.how == "unsqueeze":
        return np.expand_dims(array, arguments["axis"])
    if stored.how == "reorder_gates":
        order = arguments["order"]
        gates = array.reshape(len(order), array.shape[0] // len(order), *array.shape[1:])
        return gates[list(order)].reshape(array.shape)
    raise TypeError(f"a tensor cannot be derived by `{stored.how}`")


def _text(array: np.ndarray) -> str:
    """A constant's value where it is short, else its shape."""
    if array.ndim == 0:
        return str(array.item())
    if array.ndim == 1 and array.size <= 8:
        return "[" + ", ".join(str(v) for v in array.tolist()) + "]"
    return "x".join(map(str, array.shape))
