"""The folder of a run, and runs beside each other: `netdsl runs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

import netdsl
from netdsl.train import Data, Keep, Split, TrainError, open_run, run, runs_in
from netdsl.train.checkpoint import checkpoints
from netdsl.train.history import read_history
from netdsl.train.metrics import METRICS
from netdsl.train.optimizers import SGD, Adam
from netdsl.train.runs import differing, settings_of
from tests import small_runs
from tests.small_runs import DATA, DIGITS, ROWS, VALID, netdsl_, plain, small

here, one_thread = small_runs.project, small_runs.one_thread  # fixtures


def test_the_best_checkpoint_and_the_last_ones_are_kept(tmp_path: Path) -> None:
    away = Data(DATA.train, Split(VALID.x, 1 - VALID.y), 2)  # the better it learns, the worse it does
    result = run(small, plain(epochs=7, optimizer=SGD(lr=1.0)), data=away, out=tmp_path, keep=Keep(3, pace=0))
    assert result.best is not None
    best_one = result.best.epoch
    assert best_one < 5
    assert [path.name[:10] for path in checkpoints(tmp_path)] == [
        f"epoch-000{n}" for n in (7, 6, 5, best_one)
    ]
    best = load((checkpoints(tmp_path)[-1] / "weights.safetensors").read_bytes())
    assert all(torch.equal(best[k], v) for k, v in load(result.weights.read_bytes()).items())


def test_a_run_says_what_it_ran_on_and_how_it_ended(tmp_path: Path) -> None:
    run(small, plain(model="Small"), data=DATA, out=tmp_path / "a")
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert record["environment"]["torch"] == torch.__version__
    assert {"netdsl", "python", "platform", "cpus", "device", "threads"} <= record["environment"].keys()
    assert record["seeds"]["weights"] == 0
    assert record["ended"]["reason"] == "finished"
    assert [part["step"] for part in record["parts"]] == [0]
    run(small, plain(model="Small", epochs=5), data=DATA, out=tmp_path / "a", resume=True)
    longer = json.loads((tmp_path / "a" / "run.json").read_text())
    assert [part["step"] for part in longer["parts"]] == [0, 12]
    assert longer["started"] == record["started"]
    assert json.loads((tmp_path / "a" / "inputs.json").read_text())["shape"] == [3]


def test_runs_are_compared_by_what_their_recipes_do_not_share(tmp_path: Path) -> None:
    for name, changes in {"a": {}, "b": {"optimizer": SGD(lr=0.5), "batch": 32}}.items():
        run(small, plain(**changes), data=DATA, out=tmp_path / name)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{")
    found = runs_in(tmp_path)
    assert [each.path.name for each in found] == ["a", "b"]
    assert differing(found) == {"batch": [16, 32], "optimizer.lr": [0.1, 0.5]}
    assert [each.status for each in found] == ["finished"] * 2
    with pytest.raises(TrainError) as caught:
        open_run(tmp_path / "c")
    assert caught.value.diagnostic.code == "E0639"


def test_a_recipe_comes_back_from_its_record(here: Path) -> None:
    (here / "rows.csv").write_text("a,b,y\n1,u,0\n")
    for text, name in ((DIGITS, "Digit"), (ROWS, "Chance")):
        (here / "one.net").write_text(text)
        model = getattr(netdsl.load("one.net"), name)
        from netdsl.train.python import recipe_of

        recipe = recipe_of(model)
        described = json.loads(json.dumps(recipe.described()))
        changes: dict[str, Any] = {k: v.value for k, v in settings_of(described).items()}
        again = recipe_of(model, **changes)
        assert again == recipe


@pytest.fixture
def several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs in `runs`: `a` and `b` of one recipe but for the optimizer, `c` of another model, `broken` and `odd`."""
    monkeypatch.chdir(tmp_path)
    metrics = [METRICS.members["accuracy"]()]
    made = {
        "a": plain(model="Small", metrics=metrics),
        "b": plain(model="Small", metrics=metrics, epochs=4, optimizer=SGD(lr=0.5, momentum=0.5)),
        "c": plain(model="Other", metrics=metrics, optimizer=Adam(lr=0.01)),
    }
    for name, recipe in made.items():
        run(small, recipe, data=DATA, out=tmp_path / "runs" / name, keep=Keep(report=False))
    for name, text in (("broken", "{"), ("odd", '{"format": 1, "recipe": {}}')):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "run.json").write_text(text)
    return tmp_path / "runs"


def test_runs_are_listed_and_what_cannot_be_read_is_told(
    several: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = netdsl_(capsys, "runs").splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["run", "a", "b", "c"]
    assert lines[1].endswith("optimizer.lr=0.1 optimizer.momentum=0.0")
    assert lines[2].split()[3] == "4/4"
    assert lines[3].split()[:4] == ["c", "Other", "finished", "3/3"]
    assert "runs/broken: not read, as `runs/broken/run.json` cannot be read: Expecting" in lines[5]
    assert lines[6].endswith("cannot be read: it is no record of a run: it has no `started`")
    found = json.loads(netdsl_(capsys, "runs", "--json"))
    assert [each["status"] for each in found] == ["finished"] * 3 + ["unreadable"] * 2
    assert found[1]["recipe"] == {"epochs": 4, "optimizer.lr": 0.5, "optimizer.momentum": 0.5}
    assert found[2]["recipe"] == {}
    (several / "a" / "history.csv").write_bytes(b"\xff\xfe\0nonsense\n\n\n")
    again = json.loads(netdsl_(capsys, "runs", "--json"))
    assert [(each["epochs"], each["best"]) for each in again[:1]] == [(0, None)]
    assert "\na " in netdsl_(capsys, "runs")


def test_runs_are_sorted_by_what_is_asked(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {each["folder"][-1]: each for each in json.loads(netdsl_(capsys, "runs", "--json"))[:3]}
    for by, value in (
        ("best", lambda each: -each["best"]),
        ("train_accuracy", lambda each: -each["measured"]["train_accuracy"]),
        ("valid_loss", lambda each: each["measured"]["valid_loss"]),
        ("seconds", lambda each: each["seconds"]),
    ):
        ordered = json.loads(netdsl_(capsys, "runs", "--by", by, "--json"))[:3]
        assert [each["folder"][-1] for each in ordered] == sorted(
            found, key=lambda name: value(found[name])
        ), by
    refused = netdsl_(capsys, "runs", "--by", "valid_los", status=1)
    assert "`--by valid_los` is no column of these runs" in refused
    assert "did you mean `valid_loss`?" in refused
    named = netdsl_(capsys, "runs", str(several / "c"), "runs/a", "runs", "--by", "run").splitlines()
    assert [line.split()[0] for line in named[1:4]] == ["a", "b", "c"]  # each once


def test_two_runs_are_compared_at_the_same_epoch(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = json.loads(netdsl_(capsys, "runs", "runs/a", "runs/b", "--json"))
    first, second = (read_history(several / name / "history.csv") for name in "ab")
    assert both["epoch"] == 3
    a, b = first[2].measured["valid_loss"], second[2].measured["valid_loss"]
    assert both["measured"]["valid_loss"] == {"values": [a, b], "difference": b - a}
    assert both["recipe"] == {"epochs": [3, 4], "optimizer.lr": [0.1, 0.5], "optimizer.momentum": [0.0, 0.5]}
    lines = [line.split() for line in netdsl_(capsys, "runs", "runs/a", "runs/b").splitlines()]
    assert ["valid_loss", f"{a:.4g}", f"{b:.4g}", f"{b - a:+.4g}"] in lines
    assert ["optimizer.lr", "0.1", "0.5"] in lines
    same = netdsl_(capsys, "runs", "runs/a", "runs/c")
    assert ["optimizer", "SGD(lr", "=", "0.1)", "Adam(lr", "=", "0.01)"] in [
        line.split() for line in same.splitlines()
    ]
    refused = netdsl_(capsys, "runs", "runs/broken", status=1)
    assert "error[E0639]: `runs/broken/run.json` cannot be read" in refused


def test_parameters_of_the_model_and_the_program_are_compared(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("train", "digits.net", "--epochs", "1", "--no-report", "--out")
    netdsl_(capsys, *base, "runs/a")
    netdsl_(capsys, *base, "runs/b", "--param", "width=24")
    assert json.loads(netdsl_(capsys, "runs", "--json"))[1]["recipe"] == {"param.width": "24"}
    assert "their programs are not" not in netdsl_(capsys, "runs", "runs/a", "runs/b")
    (here / "digits.net").write_text(DIGITS.replace("ReLU", "Tanh"))
    netdsl_(capsys, *base, "runs/c")
    assert "and their programs are not" in netdsl_(capsys, "runs", "runs/a", "runs/c")


def test_records_that_are_none_are_refused_in_words(several: Path) -> None:
    good = json.loads((several / "a" / "run.json").read_text())
    bad = {
        "newer": good | {"format": 99},
        "list": [good],
        "monitor": good | {"monitor": ["valid_loss"]},
        "samples": good | {"samples": {}},
        "origin": good | {"origin": {"file": "x"}},
        "epochs": good | {"epochs": "3"},
        "null": None,
    }
    for name, record in bad.items():
        (several / "a" / "run.json").write_text(json.dumps(record))
        with pytest.raises(TrainError) as caught:
            open_run(several / "a")
        assert caught.value.diagnostic.code == "E0639", name
        assert "cannot be read: it " in caught.value.diagnostic.message, name
