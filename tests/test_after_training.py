"""What can be done with a run later, from its folder and from Python: `eval`, `predict`, `export`, `fit`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from torch import nn

import netdsl
from netdsl.train import Data, Split, begin, fit, open_run, run
from netdsl.train.losses import BCELoss
from netdsl.train.optimizers import SGD, Adam
from netdsl.train.records import Epoch, Step
from netdsl.train.runs import differing
from tests import small_runs
from tests.small_runs import DATA, ROWS, netdsl_, plain, small

here, one_thread = small_runs.project, small_runs.one_thread  # fixtures


def test_a_run_is_used_from_its_folder_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    netdsl_(capsys, "train", "digits.net", "--param", "width=24", "--set", "epochs=2", "--out", "run")
    (here / "run").rename(here / "moved")
    for path in ("digits.net", "parts/head.net"):
        (here / path).unlink()
    best = open_run("moved").best
    assert best is not None
    measured = json.loads(netdsl_(capsys, "eval", "moved", "--json"))
    assert measured["accuracy"] == pytest.approx(best.measured["valid_accuracy"])
    other = json.loads(netdsl_(capsys, "eval", "moved", "--set", "metrics=[]", "--json"))
    assert other["loss"] == measured["loss"]
    assert "accuracy" not in other
    assert "moved  Digit  finished" in netdsl_(capsys, "runs", ".")
    from netdsl.train.data.digits import write_images

    images = [str(path) for path in write_images("images", 6, size=8)]
    table = netdsl_(capsys, "predict", "moved", *images).splitlines()
    assert [line.split()[0] for line in table[1:]] == images
    netdsl_(capsys, "predict", "moved", *images, "--out", "found.csv")
    with (here / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [f"{row['path']} {row['label']} {float(row['probability']):.1%}".split() for row in rows] == [
        line.split() for line in table[1:]
    ]
    assert sum(float(rows[0][f"p({digit})"]) for digit in range(10)) == pytest.approx(1, abs=1e-5)
    refused = netdsl_(capsys, "predict", "moved", *images, "--out", "found.txt", status=1)
    assert "written as .csv or .json" in refused


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "pt2", "module", "python"])
def test_a_run_is_exported_with_its_best_weights_and_what_its_inputs_go_through(
    kind: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    netdsl_(capsys, "train", "digits.net", "--epochs", "1", "--out", "run", "--no-report")
    assert not (here / "run" / "report.html").exists()
    done = json.loads(netdsl_(capsys, "export", "run", "--to", kind, "--out", f"made/digit_{kind}", "--json"))
    inputs = json.loads(Path(done["inputs"]).read_text())
    assert inputs["transform"] == [{"kind": "Normalize", "mean": 0.5, "std": 0.25}]
    assert (inputs["shape"], inputs["scale"]) == ([1, 8, 8], "uint8 divided by 255")
    assert inputs["classes"] == list("0123456789")
    if kind == "python":
        assert "class Digit(" in Path(done["out"]).read_text()
        return
    assert done["largest_difference"] < 1e-4
    if kind == "onnx":
        import onnx
        from onnxruntime import InferenceSession

        model = onnx.load(done["out"])
        assert json.loads({p.key: p.value for p in model.metadata_props}["netdsl.inputs"]) == inputs
        weights = load((here / "run" / "best.safetensors").read_bytes())
        session = InferenceSession(done["out"], providers=["CPUExecutionProvider"])
        x = torch.rand(2, 1, 8, 8)
        found = torch.tensor(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
        module = netdsl.load("digits.net").Digit()
        module.load_state_dict(weights)
        torch.testing.assert_close(found, module.eval()(x))


def test_rows_are_predicted_by_what_the_training_part_has_taught(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "chance.net").write_text(ROWS)
    lines = [f"{i % 7 if i % 9 else ''},{'uvw'[i % 3]},{int(i % 3 == 0)}" for i in range(80)]
    (here / "rows.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    netdsl_(capsys, "train", "chance.net", "--out", "run", "--epochs", "20")
    (here / "rows.csv").unlink()
    (here / "new.csv").write_text("b,a\nu,3\nv,\nw,6\n")
    found = json.loads(netdsl_(capsys, "predict", "run", "new.csv", "--json"))
    assert [(each["row"], each["label"]) for each in found] == [(1, "1"), (2, "0"), (3, "0")]
    shown = netdsl_(capsys, "predict", "run", "new.csv").splitlines()
    assert shown[0].split() == ["file", "row", "prediction", "probability"]
    exported = json.loads(netdsl_(capsys, "export", "run", "--to", "onnx", "--json"))
    fitted = json.loads(Path(exported["inputs"]).read_text())["fitted"]
    assert fitted["learned"][0][0]["mean"] > 0
    said = netdsl_(capsys, "report", "run")
    assert "without confusion matrix and samples" in said  # the data is gone
    (here / "new.csv").write_text("a,b\nx,u\n")
    assert "error[E0653]" in netdsl_(capsys, "predict", "run", "new.csv", status=1)


def test_what_is_no_run_is_told_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(small, plain(), data=DATA, out=here / "module")
    for arguments, words in {
        ("eval", "parts"): "there is no run in `parts`",
        ("eval", "digits.net"): "`digits.net` has no weights",
        ("report", "nothing"): "there is no run in `nothing`",
        ("runs", "parts"): "there are no runs in `parts`",
        ("eval", "."): "for example `module`",
        ("export", "module", "--to", "onnx"): "only Python can make it",
    }.items():
        assert words in netdsl_(capsys, *arguments, status=1), arguments


def test_fit_does_what_the_command_does(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    netdsl_(capsys, "train", "digits.net", "--set", "batch=64", "--out", "one")
    result = netdsl.fit(netdsl.load("digits.net").Digit, batch=64, out="two")
    assert result.reason == "finished"
    assert (here / "one" / "best.safetensors").read_bytes() == result.weights.read_bytes()
    assert differing([open_run("one"), open_run("two")]) == {}
    assert "accuracy" in netdsl_(capsys, "eval", "two")


def test_changes_are_components_or_what_the_language_writes(here: Path) -> None:
    from netdsl.train.python import recipe_of

    model = netdsl.load("digits.net").Digit
    assert recipe_of(model, optimizer=SGD(lr=0.5)) == recipe_of(model, optimizer="SGD(lr = 0.5)")
    assert recipe_of(model, steps=20).steps == 20
    with pytest.raises(netdsl.NetError, match=r"E0607|E0606"):
        recipe_of(model, optimizer="SGD(rate = 0.5)")
    with pytest.raises(netdsl.NetError, match="E0609"):
        recipe_of(model, bacth=3)


def test_a_module_of_ones_own_is_trained_by_keys_alone(tmp_path: Path) -> None:
    x = torch.rand(64, 3)
    data = Data(Split(x, (x[:, :1] > 0.5).float()), Split(x[:16], (x[:16, :1] > 0.5).float()))
    model = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    result = netdsl.fit(
        model, loss=BCELoss(), optimizer=Adam(lr=0.1), epochs=2, data=data, out=tmp_path / "run"
    )
    assert len(result.epochs) == 2


def test_the_loop_is_a_generator_to_act_in(here: Path) -> None:
    state = begin(netdsl.load("digits.net").Digit, log_every=4)
    rates: list[float] = []
    for record in fit(state):
        if isinstance(record, Step):
            rates.append(record.loss)
        if isinstance(record, Epoch) and record.epoch == 2:
            state.stop_requested = True
    assert state.epoch == 2
    assert rates[-1] < rates[0]
    assert not (here / "runs").exists()
