"""The specs are the models they say they are: names, shapes, numbers, and every export."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import netdsl
from netdsl.backends import exported, onnx, torchscript
from tests import reference

SPECS = Path(__file__).parent.parent / "specs"
FOUR = [
    pytest.param("lenet.net", "LeNet", reference.LeNet, 8_490, id="lenet"),
    pytest.param("inception.net", "InceptionNet", reference.InceptionNet, 97_298, id="inception"),
    pytest.param("residual.net", "ResidualNet", reference.ResidualNet, 41_514, id="residual"),
    pytest.param("mlp.net", "MLP", reference.MLP, 575_050, id="mlp"),
]


def pair(file: str, name: str, hand: type[nn.Module]) -> tuple[nn.Module, nn.Module]:
    """The compiled model with the weights of the hand-written one, and that one."""
    torch.manual_seed(0)
    written = hand().eval()
    compiled = getattr(netdsl.load(SPECS / file), name)().eval()
    compiled.load_state_dict(written.state_dict(), strict=True)
    return compiled, written


@pytest.mark.parametrize(("file", "name", "hand", "count"), FOUR)
def test_names_and_shapes_are_those_of_the_hand_written_class(
    file: str, name: str, hand: type[nn.Module], count: int
) -> None:
    compiled = getattr(netdsl.load(SPECS / file), name)()
    expected = {key: tuple(value.shape) for key, value in hand().state_dict().items()}
    assert {key: tuple(value.shape) for key, value in compiled.state_dict().items()} == expected
    assert sum(p.numel() for p in compiled.parameters()) == count
    graph = getattr(netdsl.load(SPECS / file), name).graph()
    assert {key: state.shape for key, state in graph.state()} == expected


@pytest.mark.parametrize(("file", "name", "hand", "count"), FOUR)
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_outputs_are_bitwise_those_of_the_hand_written_class(
    file: str, name: str, hand: type[nn.Module], count: int, batch: int
) -> None:
    del count
    compiled, written = pair(file, name, hand)
    x = torch.randn(batch, 1, 28, 28)
    assert torch.equal(compiled(x), written(x))


@pytest.mark.parametrize(("file", "name", "hand", "count"), FOUR)
@pytest.mark.parametrize("target", ["onnx", "torchscript", "exported"])
def test_exports_agree_with_the_module(
    file: str, name: str, hand: type[nn.Module], count: int, target: str, tmp_path: Path
) -> None:
    del count
    compiled, _ = pair(file, name, hand)
    graph = getattr(netdsl.load(SPECS / file), name).graph()
    run = {"onnx": run_onnx, "torchscript": run_torchscript, "exported": run_exported}[target](
        graph, compiled, tmp_path
    )
    for batch in (1, 7, 64):
        x = torch.randn(batch, 1, 28, 28)
        with torch.no_grad():
            assert (run(x) - compiled(x)).abs().max() < 1e-5


def run_onnx(graph, module, folder):
    import onnxruntime

    onnx.export(graph, module, folder / "m.onnx")
    session = onnxruntime.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def run_torchscript(graph, module, folder):
    torchscript.export(graph, module, folder / "m.pt")
    return torch.jit.load(str(folder / "m.pt"))


def run_exported(graph, module, folder):
    exported.export(graph, module, folder / "m.pt2")
    return torch.export.load(str(folder / "m.pt2")).module()


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.net")), ids=lambda path: path.name)
def test_every_spec_is_clean_and_formatted(path: Path) -> None:
    from netdsl.diagnostics import Report
    from netdsl.source import Source
    from netdsl.syntax import parse, print_file

    assert [d.message for d in netdsl.check(path)] == []
    source = Source.read(path)
    assert print_file(parse(source, Report())) == source.text
