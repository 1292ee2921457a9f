"""ONNX files written from the graph: our names, free dimensions dynamic, blocks written out in place.

A model is written in evaluation mode: outputs `when training` and what only they need are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import ModelProto, helper

from netdsl.backends import captions
from netdsl.backends.onnx_file import ONE_FILE, External, Inline, write
from netdsl.backends.onnx_inline import evaluation_outputs, inline, tensor
from netdsl.backends.onnx_target import Recorder, Step
from netdsl.backends.onnx_types import numpy_dtype, value_info
from netdsl.ir.graph import Graph, Operation
from netdsl.ir.types import Scalar, Tensor
from netdsl.ops.target import OnnxValue

if TYPE_CHECKING:
    from torch import nn

    from netdsl.backends.parity import ExportResult


def to_onnx(graph: Graph, state: Mapping[str, Any], *, checked: bool = True) -> ModelProto:
    """The model as ONNX, whole in memory.

    `state` has the tensors, numpy's or torch's, by their `state_dict` keys; those that no operation reads may
    be missing. Inputs and outputs are named as in the source, an only output without a name `output`. Raises
    `BackendError` where the state does not fit the graph, or the graph has errors.
    """
    model = _model(graph, Inline(state))
    if checked:
        onnx.checker.check_model(model, full_check=True)
    return model


def save(graph: Graph, state: Mapping[str, Any], path: str | Path, *, external_above: int = ONE_FILE) -> Path:
    """Write `graph` as an ONNX file, checked by `onnx.checker`; nothing is left at `path` when that fails.

    `state` as for `to_onnx`. Tensors of more than `external_above` bytes together go to a second file,
    `NAME.onnx.data`, beside it: a protobuf file cannot hold more than 2 GiB.
    """
    return _save(graph, state, Path(path), external_above)


def export(graph: Graph, module: nn.Module, path: str | Path) -> ExportResult:
    """Write `module`, the model of `graph`, as an ONNX file, and compare what onnxruntime makes of it.

    Raises `BackendError` where the file gives other results by more than 1e-4; then no file is left.
    """
    from netdsl.backends.parity import ExportResult, parity_of

    compared: list[Any] = []
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _save(
        graph,
        tensors_of(module),
        target,
        ONE_FILE,
        lambda made: compared.extend(parity_of(graph, module, runner(made))),
    )
    difference, sizes = compared
    return ExportResult(target, difference, sizes)


def runner(path: str | Path) -> Callable[..., tuple[Any, ...]]:
    """The model in an ONNX file as a function of torch tensors, run by onnxruntime on the CPU."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = dict(zip(names, (x.numpy() for x in inputs), strict=True))
        return tuple(torch.as_tensor(value) for value in session.run(None, given))

    return run


def tensors_of(module: nn.Module) -> dict[str, Any]:
    """The tensors of a module by path: its parameters, and its buffers whether saved or not."""
    return {
        **dict(module.named_buffers(remove_duplicate=False)),
        **dict(module.named_parameters(remove_duplicate=False)),
    }


def output_names(graph: Graph) -> list[str]:
    """What the outputs of evaluation mode are called in the file."""
    outputs = evaluation_outputs(graph)
    plain = "output" if len(outputs) == 1 else None
    return [output.name or plain or f"out{number}" for number, output in enumerate(outputs)]


def single(
    op: Operation, operand_types: Sequence[Tensor | Scalar | None], state: Mapping[str, Any] | None = None
) -> ModelProto:
    """A model of one operation: inputs `x0`, `x1`, … for the tensors among the operands, results `y0`, `y1`,
    ….

    `state` has the layer's tensors by their names in `op.state()`; without it they are zeros. The model is
    checked.
    """
    recorder = Recorder()
    operands: list[OnnxValue | Scalar | None] = []
    inputs: list[tuple[str, Tensor]] = []
    for type in operand_types:
        if not isinstance(type, Tensor):
            operands.append(type)
            continue
        operands.append(recorder.input(f"x{len(inputs)}", type))
        inputs.append((f"x{len(inputs)}", type))
    given: list[Any] = list(operand_types)
    types = op.result_types(*given)
    values = recorder.lower(op, operands, types)
    outputs = [(f"y{number}", type) for number, type in enumerate(types)]
    if state is None:
        needed = op.state(*given)
        state = {name: np.zeros(entry.shape, numpy_dtype(entry.dtype)) for name, entry in needed.items()}
    model = _assemble(recorder, op.kind, inputs, outputs, values, Inline(state))
    onnx.checker.check_model(model, full_check=True)
    return model


def _save(
    graph: Graph,
    state: Mapping[str, Any],
    path: Path,
    external_above: int,
    check: Callable[[Path], object] | None = None,
) -> Path:
    """Write the file and what belongs to it; `check` sees it before it has its place."""
    if _bytes(graph) <= external_above:
        return write(_model(graph, Inline(state)), path, check=check)
    beside = External(state, path.name + ".data")
    return write(_model(graph, beside), path, beside, check=check)


def _model(graph: Graph, tensors: Inline | External) -> ModelProto:
    recorder = Recorder()
    recorder.tied = graph.tied()
    inputs = [recorder.input(entry.name, tensor(entry.type)) for entry in graph.inputs]
    types, values = inline(recorder, graph, inputs)
    outputs = [
        (recorder.values.claim(name), tensor(graph.types[output.value]))
        for name, output in zip(output_names(graph), evaluation_outputs(graph), strict=True)
    ]
    named = [(value.name, tensor(entry.type)) for value, entry in zip(inputs, graph.inputs, strict=True)]
    model = _assemble(recorder, graph.name, named, outputs, values, tensors, types)
    model.doc_string = model.graph.doc_string = graph.doc
    helper.set_model_props(model, _facts(graph))
    return model


def _facts(graph: Graph) -> dict[str, str]:
    """What of the source has no other place in the file."""
    facts = {"netdsl.model": graph.name}
    if graph.arguments:
        facts["netdsl.arguments"] = captions.constructor("", dict(graph.arguments))[1:-1]
    if graph.constraints:
        facts["netdsl.constraints"] = ", ".join(map(str, graph.constraints))
    return facts


def _assemble(
    recorder: Recorder,
    name: str,
    inputs: Sequence[tuple[str, Tensor]],
    outputs: Sequence[tuple[str, Tensor]],
    values: Sequence[OnnxValue],
    tensors: Inline | External,
    types: Mapping[str, Tensor] | None = None,
) -> ModelProto:
    """The model whose `outputs` are `values`; `types` are those of the values between, by name."""
    renamed: dict[str, str] = {}
    fixed = {name for name, _ in inputs} | set(recorder.stored)
    for (wanted, _), value in zip(outputs, values, strict=True):
        if value.name in fixed or value.name in renamed:
            recorder.identity(value, wanted)
        else:
            renamed[value.name] = wanted
    steps = recorder.live_steps([*renamed, *(wanted for wanted, _ in outputs)])
    made = {name for step in steps for name in step.outputs} - set(renamed)
    graph = helper.make_graph(
        [_node(step, renamed) for step in steps],
        name,
        [value_info(name, type) for name, type in inputs],
        [value_info(name, type) for name, type in outputs],
        [tensors.initializer(name, stored) for name, stored in recorder.stored.items()],
        value_info=[value_info(name, type) for name, type in (types or {}).items() if name in made],
    )
    opset = [helper.make_opsetid("", recorder.opset)]
    return helper.make_model(
        graph,
        opset_imports=opset,
        ir_version=helper.find_min_ir_version_for(opset),
        producer_name="netdsl",
        producer_version=_version(),
    )


def _node(step: Step, renamed: Mapping[str, str]) -> onnx.NodeProto:
    node = helper.make_node(
        step.kind,
        [renamed.get(name, name) for name in step.inputs],
        [renamed.get(name, name) for name in step.outputs],
        name=step.name,
        doc_string=step.doc or None,
    )
    node.attribute.extend(step.attributes)
    return node


def _bytes(graph: Graph) -> int:
    """The size of the model's tensors."""
    tied = graph.tied()
    kept = (state for name, state in graph.state() if name not in tied)
    return sum(int(np.prod(state.shape)) * numpy_dtype(state.dtype).itemsize for state in kept)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("netdsl")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return ""
