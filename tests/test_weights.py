"""Weights come from a file or from torchvision; what does not fit is told key by key, and nothing is loaded."""

from __future__ import annotations

import builtins
import copy
import json
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

import netdsl
from netdsl.backends.errors import WeightsError
from netdsl.backends.misfit import misfit
from netdsl.backends.published import weights_of
from netdsl.backends.weights import as_torch_reads, load_weights, read_state
from netdsl.cli.app import main
from netdsl.diagnostics.render import LINES, render

NET = """
block Pair(width: int) {
  input x: [N, C]
  output x -> norm: BatchNorm1d -> lin: Linear(width)
}
model Net(classes: int = 10, width: int = 6) {
  input x: [N, 4]
  output x -> stem: Linear(width) -> body: [Pair(width), Pair(width)] -> fc: Linear(classes)
}
"""
State = dict[str, Tensor]


def net(**arguments: Any) -> nn.Module:
    return netdsl.loads(NET).Net(**arguments)


def state(**arguments: Any) -> State:
    return dict(net(**arguments).state_dict())


def refused(module: nn.Module, weights: Mapping[str, Tensor], folder: Path) -> WeightsError:
    """Why `weights` are not loaded into `module`, which stays as it is."""
    path = folder / "w.pth"
    torch.save(dict(weights), path)
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(WeightsError) as caught:
        load_weights(module, path)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    return caught.value


def helps(error: WeightsError) -> str:
    return "\n".join(error.diagnostic.helps)


# ------------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_back_from_a_file(suffix: str, tmp_path: Path) -> None:
    module, other = net(), net()
    path = tmp_path / f"w{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(module.state_dict(), path)
    netdsl.load_weights(other, path)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_weights_beside_other_things_are_found(key: str, tmp_path: Path) -> None:
    torch.save({"epoch": 3, key: state()}, tmp_path / "c.pth")
    load_weights(net(), tmp_path / "c.pth")


def test_a_checkpoint_with_a_key_of_its_own_says_what_is_in_it(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "mine": state()}, tmp_path / "c.pth")
    with pytest.raises(WeightsError) as caught:
        read_state(tmp_path / "c.pth")
    assert caught.value.diagnostic.code == "E0631"
    assert "epoch: int" in caught.value.diagnostic.notes[0]
    assert "checkpoint['mine']" in helps(caught.value)


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return exec, ("import builtins; builtins.hacked = True",)


@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps(Evil())])
def test_a_file_of_weights_cannot_run_code(content: bytes, tmp_path: Path) -> None:
    module = net()
    for name in ("w.pth", "w.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match="not a file of weights"):
            load_weights(module, tmp_path / name)
    with pytest.raises(WeightsError, match="no file"):
        load_weights(module, tmp_path / "absent.pth")
    assert not hasattr(builtins, "hacked")


def test_a_whole_module_is_refused_with_the_way_to_save_its_weights(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "m.pth")
    with pytest.raises(WeightsError, match=r"`torch\.nn\.modules\.linear\.Linear`") as caught:
        read_state(tmp_path / "m.pth")
    assert "state_dict()" in helps(caught.value)


def test_batches_that_an_old_file_did_not_count_are_no_difference(tmp_path: Path) -> None:
    old = {key: value for key, value in state().items() if not key.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "w.pth")
    module = net()
    load_weights(module, tmp_path / "w.pth")
    assert torch.equal(module.state_dict()["fc.weight"], old["fc.weight"])


# ----------------------------------------------------------------------------------------------- what differs


def test_every_difference_is_told_with_its_shape(tmp_path: Path) -> None:
    module, weights = net(), state()
    del weights["fc.bias"]
    weights["stem.weight"] = torch.zeros(4, 6)
    weights["extra"] = torch.zeros(3)
    error = refused(module, weights, tmp_path)
    assert error.diagnostic.code == "E0633"
    assert error.message.endswith("`Net`: 1 key is missing, 1 is unexpected, 1 is of another shape")
    assert [note.splitlines()[1].split() for note in error.diagnostic.notes] == [
        ["fc.bias", "[10]"],
        ["extra", "[3]"],
        ["stem.weight", "[4,", "6]", "the", "model's", "is", "[6,", "4],", "its", "transpose"],
    ]


def test_another_number_of_classes_names_the_parameter(tmp_path: Path) -> None:
    assert "--param classes=10`" in helps(refused(net(classes=3), state(), tmp_path))
    assert "--param width=6`" in helps(refused(net(width=7), state(), tmp_path))
    both = refused(net(classes=3, width=7), state(), tmp_path)
    assert "--param" not in helps(both)


def test_parts_that_a_switch_makes_name_the_switch(tmp_path: Path) -> None:
    text = """model M(aux_head: bool = True, other: bool = True) {
      input x: [N, 4]
      y = x -> body: Linear(4)
      output main = y -> fc: Linear(2)
      if aux_head { output aux = y -> aux1: Linear(2) when training }
    }"""
    nets = netdsl.loads(text)
    whole, part = nets.M(), nets.M(aux_head=False)
    assert "--param aux_head=False`" in helps(refused(whole, part.state_dict(), tmp_path))
    assert "--param aux_head=True`" in helps(refused(part, whole.state_dict(), tmp_path))
    weights = {key: value for key, value in whole.state_dict().items() if key != "fc.bias"}
    assert "--param" not in helps(refused(part, weights, tmp_path))


@pytest.mark.parametrize(
    ("prefix", "who"),
    [
        ("module.", "DataParallel"),
        ("_orig_mod.", "torch.compile"),
        ("module._orig_mod.", "DataParallel"),
        ("a.b.", ""),
    ],
)
def test_what_stands_before_all_keys_is_seen(prefix: str, who: str, tmp_path: Path) -> None:
    error = refused(net(), {prefix + key: value for key, value in state().items()}, tmp_path)
    text = helps(error)
    assert f"`{prefix}`" in text
    assert who in text
    assert "without it all of them fit" in text
    code = text[text.index("`{") + 1 : text.rindex("`")]
    repaired = eval(code, {"state": read_state(tmp_path / "w.pth")})
    assert misfit(shapes(state()), shapes(repaired)) is None


def test_what_stands_before_all_keys_of_the_model_is_seen(tmp_path: Path) -> None:
    whole = netdsl.loads(NET + "model Outer { input x: [N, 4]\n output x -> net: Net }").Outer()
    text = helps(refused(whole, state(), tmp_path))
    assert "the model's keys begin with `net.`" in text
    code = text[text.index("`{") + 1 : text.rindex("`")]
    repaired = eval(code, {"state": read_state(tmp_path / "w.pth")})
    assert misfit(shapes(whole.state_dict()), shapes(repaired)) is None


def test_a_prefix_that_explains_nothing_is_not_told(tmp_path: Path) -> None:
    weights = state()
    weights["extra.fc.bias"] = weights.pop("fc.bias")
    assert "begin" not in helps(
        refused(net(), weights | {"a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path)
    )


def test_keys_under_another_name_are_paired(tmp_path: Path) -> None:
    weights = {key.replace("norm", "bn"): value for key, value in state().items()}
    error = refused(net(), weights, tmp_path)
    missing, unexpected = error.diagnostic.notes
    assert len(missing.splitlines()) == len(unexpected.splitlines()) == 11
    for line in missing.splitlines()[1:]:
        key, *_, other = line.split()
        assert other == key.replace("norm", "bn")
    assert "`norm` is `bn` (10 keys)" in helps(error)


def test_a_long_list_is_cut_on_a_terminal_and_whole_as_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "n.net").write_text(NET)
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    command = ["compile", str(tmp_path / "n.net"), "--to", "onnx", "-o", str(tmp_path / "n.onnx")]
    keys = list(state())
    assert main([*command, "--weights", str(tmp_path / "w.pth")]) == 1
    shown = capsys.readouterr().err
    assert keys[0] in shown
    assert keys[-1] not in shown
    assert f"and {len(keys) - LINES + 2} more" in shown
    assert main([*command, "--weights", str(tmp_path / "w.pth"), "--json"]) == 1
    (diagnostic,) = json.loads(capsys.readouterr().err)
    assert len(diagnostic["notes"][0].splitlines()) == len(keys) + 1
    assert not (tmp_path / "n.onnx").exists()


def test_python_gets_the_same_words_as_the_command_line(tmp_path: Path) -> None:
    error = refused(net(classes=3), state(), tmp_path)
    with pytest.raises(netdsl.NetError) as caught:
        netdsl.load_weights(net(classes=3), tmp_path / "w.pth")
    assert list(caught.value.report) == [error.diagnostic]
    assert render(error.diagnostic) in str(caught.value)


def shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in weights.items()}


# ------------------------------------------------------------------------------------------------ torchvision


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Torch's folder of downloads, empty; the network is one that is not there."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


SQUEEZE = "squeezenet1_1-b8a52dc0.pth"


def squeezenet() -> nn.Module:
    return netdsl.load("std/squeezenet.net").SqueezeNet1_1()


def test_weights_of_torchvision_are_taken_from_its_folder(kept: Path) -> None:
    reference = torchvision.models.squeezenet1_1()
    torch.save(reference.state_dict(), kept / SQUEEZE)
    ours = squeezenet()
    netdsl.load_weights(ours, "torchvision:DEFAULT")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(ours.eval()(x), reference.eval()(x))
    netdsl.load_weights(ours, "torchvision:SqueezeNet1_1_Weights.IMAGENET1K_V1")


def test_without_a_network_it_is_said_where_the_file_belongs(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(netdsl.NetError) as caught:
        netdsl.load_weights(squeezenet(), "torchvision:DEFAULT")
    (diagnostic,) = caught.value.report
    assert diagnostic.code == "E0631"
    assert "cannot be fetched" in diagnostic.message
    assert str(kept / SQUEEZE) in diagnostic.helps[0]
    assert capsys.readouterr().out == ""  # results stand there, and torch would say what it fetches
    assert list(kept.iterdir()) == []


def test_a_damaged_download_is_named(kept: Path) -> None:
    (kept / SQUEEZE).write_bytes(b"half")
    with pytest.raises(netdsl.NetError, match="delete it") as caught:
        netdsl.load_weights(squeezenet(), "torchvision:DEFAULT")
    assert SQUEEZE in str(caught.value)
    (kept / SQUEEZE).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(netdsl.NetError, match="not a file of weights"):
        netdsl.load_weights(squeezenet(), "torchvision:DEFAULT")
    assert not hasattr(builtins, "hacked")


def test_names_that_torchvision_has_not_are_answered_with_near_ones() -> None:
    with pytest.raises(netdsl.NetError, match=r"did you mean `DEFAULT`\?") as caught:
        netdsl.load_weights(squeezenet(), "torchvision:DEFALT")
    assert [d.code for d in caught.value.report] == ["E0638"]
    with pytest.raises(netdsl.NetError, match="no weights for `Net`"):
        netdsl.load_weights(net(), "torchvision:DEFAULT")
    with pytest.raises(netdsl.NetError, match=r"did you mean `ResNet50`\?"):
        netdsl.load_weights(net(), "torchvision:ResNet5O_Weights.DEFAULT")


def test_models_are_found_by_the_names_of_their_weights() -> None:
    assert weights_of("torchvision:IMAGENET1K_V1", "Wide_ResNet50_2").name == "IMAGENET1K_V1"
    assert weights_of("torchvision:ResNet50.DEFAULT", "Mine") is torchvision.models.ResNet50_Weights.DEFAULT


@pytest.mark.slow
def test_old_densenets_are_read_as_torchvision_reads_them(kept: Path) -> None:
    reference = torchvision.models.densenet121()
    dotted = re.compile(r"(denselayer\d+\.(?:norm|conv))([12]\.)")
    state = reference.state_dict().items()
    old = {
        dotted.sub(r"\1.\2", key): value for key, value in state if not key.endswith("num_batches_tracked")
    }
    torch.save(old, kept / "densenet121-a639ec97.pth")
    theirs = torchvision.models.densenet121(weights="DEFAULT").eval()
    ours = netdsl.load("std/densenet.net").DenseNet121()
    netdsl.load_weights(ours, "torchvision:DEFAULT")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(ours.eval()(x), theirs(x))
    key = "denselayer1.norm.1.weight"
    assert list(as_torch_reads({key: torch.ones(1)}, {key: torch.ones(1)})) == [key]


def test_weights_for_images_of_another_scale_are_not_taken_for_others(kept: Path) -> None:
    torch.save(torchvision.models.googlenet(init_weights=False).state_dict(), kept / "googlenet-1378be20.pth")
    theirs = torchvision.models.googlenet(weights="DEFAULT").eval()
    nets = netdsl.load("std/googlenet.net")
    with pytest.raises(netdsl.NetError, match="--param transform_input=True"):
        netdsl.load_weights(nets.GoogLeNet(), "torchvision:DEFAULT")
    ours = nets.GoogLeNet(transform_input=True)
    netdsl.load_weights(ours, "torchvision:DEFAULT")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(ours.eval()(x).logits, theirs(x))


def test_weights_for_images_of_another_size_name_the_parameter(kept: Path) -> None:
    weights = torchvision.models.ViT_B_32_Weights.DEFAULT
    torch.save({"a": torch.zeros(1)}, kept / Path(weights.url).name)
    model = netdsl.load("std/vit.net").ViT_B_32(image_size=64)
    with pytest.raises(netdsl.NetError, match="--param image_size=224"):
        netdsl.load_weights(model, "torchvision:DEFAULT")
