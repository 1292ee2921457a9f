"""Changes by `--set key=value`: every key, arguments at any depth, and what leads nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from netdsl.cli.app import main
from netdsl.cli.recipes import recipe
from netdsl.compiler import open_program
from netdsl.diagnostics import Report
from netdsl.elaborate.settings import Choice, Setting, shown
from netdsl.source import Source
from netdsl.train.changes import Change, NoPlace, change
from netdsl.train.recipe import KEYS, Recipe

FILE = """
fn warm(time) = min(1.0, (time + 1) / 4)

block mine {
  input prediction
  input target
  output (prediction - target) ** 2 -> mean
}

model M {
  input x: [N, 1, 8, 8]
  output x -> Flatten -> body: Linear(6) -> ReLU -> head: Linear(10)
}

train M {
  data = Digits(size = 8)
  augment = [RandomCrop(8, padding = 1)]
  transform = Normalize(0.5, 0.5)
  epochs = 4
  loss = CrossEntropyLoss
  optimizer = SGD(0.1, momentum = 0.5)
  rules = [rule("*.bias", weight_decay = 0.1)]
  penalty = [L2(0.01, "*.weight")]
  schedule = SequentialLR([LinearLR(total_iters = 2), StepLR(2)], milestones = [2])
  metrics = [accuracy, f1]
}
"""


def read(*texts: str) -> tuple[Recipe | None, Report]:
    report = Report()
    program = open_program(Source(FILE, "m.net"), report)
    assert program is not None
    changes = [("--set", text) for text in texts]
    return recipe(program, "M", program.graph("M", {}), report, changes), report


# The key, what is set, and what the recipe then says of it.
SET: dict[str, tuple[str, Any]] = {
    "data": ("Digits(size = 8)", None),
    "valid": ("0.3", 0.3),
    "transform": ("[Normalize(0.1, 0.2)]", None),
    "augment": ("[RandomHorizontalFlip, MixUp(alpha = 0.2)]", None),
    "target": ("OneHot", None),
    "batch": ("max(8, 16)", 16),
    "shuffle": ("False", False),
    "epochs": ("7", 7),
    "steps": ("70", 70),
    "loss": ("CrossEntropyLoss(label_smoothing = 0.1)", None),
    "optimizer": ("AdamW(lr = 0.001)", None),
    "rules": ('[rule("body.*", lr = 0.01)]', None),
    "freeze": ('["body.*"]', ["body.*"]),
    "penalty": ('[L1(0.1, "head.*")]', None),
    "schedule": ("LambdaLR(warm)", None),
    "schedule_every": ("step", "step"),
    "metrics": ("[accuracy(top_k = 2), auroc]", None),
    "monitor": ("valid_f1", "valid_f1_score"),
    "mode": ("max", "max"),
    "early_stop": ("3", 3),
    "min_delta": ("0.01", 0.01),
    "clip_norm": ("1.0", 1.0),
    "clip_value": ("0.5", 0.5),
    "accumulate": ("2", 2),
    "precision": ("bf16", "bf16"),
    "compile": ("True", True),
    "channels_last": ("True", True),
    "seed": ("3", 3),
    "ema": ("0.99", 0.99),
    "log_every": ("10", 10),
    "checkpoint_every": ("20", 20),
    "aux_weight": ("0.3", 0.3),
}
WITH = {"target": ["loss=MSELoss"], "min_delta": ["early_stop=2"]}
ELSEWHERE = {"aux_weight"}  # for models with several outputs; tested with them


def test_there_is_a_change_of_every_key() -> None:
    assert set(SET) >= set(KEYS)


@pytest.mark.parametrize("key", [key for key in KEYS if key not in ELSEWHERE])
def test_every_key_can_be_set(key: str) -> None:
    text, wanted = SET[key]
    found, report = read(*WITH.get(key, ()), f"{key}={text}")
    assert found is not None, [d.message for d in report]
    before, _ = read()
    assert before is not None
    now = found.described()[key]
    if wanted is not None:
        assert now == wanted
    assert now != before.described()[key] or key == "data"


# A path, what is set there, and where the recipe has it.
DEEP: dict[str, tuple[str, list[Any], Any]] = {
    "optimizer.lr": ("0.3", ["optimizer", "lr"], 0.3),
    "optimizer.nesterov": ("True", ["optimizer", "nesterov"], True),
    "rules.0.weight_decay": ("0.5", ["rules", 0, "weight_decay"], 0.5),
    "rules.rule.lr": ("0.5", ["rules", 0, "lr"], 0.5),
    "penalty.0.factor": ("0.5", ["penalty", 0, "factor"], 0.5),
    "penalty.L2.pattern": ('"head.*"', ["penalty", 0, "pattern"], "head.*"),
    "schedule.milestones": ("[3]", ["schedule", "milestones"], [3]),
    "schedule.milestones.0": ("3", ["schedule", "milestones"], [3]),
    "schedule.schedulers.1.gamma": ("0.5", ["schedule", "schedulers", 1, "gamma"], 0.5),
    "schedule.schedulers.LinearLR.total_iters": ("1", ["schedule", "schedulers", 0, "total_iters"], 1),
    "metrics.f1.average": ('"macro"', ["metrics", 1, "average"], "macro"),
    "metrics.0.top_k": ("2", ["metrics", 0, "top_k"], 2),
    "augment.RandomCrop.padding": ("2", ["augment", 0, "padding"], 2),
    "transform.0.mean": ("0.25", ["transform", 0, "mean"], 0.25),
    "loss.label_smoothing": ("0.2", ["loss", "label_smoothing"], 0.2),
    "data.size": ("8", ["data", "size"], 8),
}


@pytest.mark.parametrize("path", DEEP)
def test_an_argument_can_be_set_at_any_depth(path: str) -> None:
    text, where, wanted = DEEP[path]
    found, report = read(f"{path}={text}")
    assert found is not None, [d.message for d in report]
    value: Any = found.described()
    for step in where:
        value = value[step]
    assert value == wanted


def test_later_changes_are_changes_of_earlier_ones() -> None:
    found, report = read(
        "optimizer=Adam(lr = 0.1)", "optimizer.betas=[0.8, 0.9]", "loss=mine", "target=OneHot"
    )
    assert found is not None, [d.message for d in report]
    assert str(found.optimizer) == "Adam(lr = 0.1, betas = [0.8, 0.9])"
    assert found.loss.kind == "mine"


def test_a_run_is_as_long_as_the_last_word_on_it() -> None:
    found, _ = read("steps=9")
    assert found is not None
    assert found.steps == 9
    found, report = read("steps=9", "epochs=2")
    assert found is None
    assert [d.code for d in report] == ["E0608"]


# What is set, the code, and a word of the message or its help.
NOWHERE: dict[str, tuple[str, str]] = {
    "epoch=3": ("E0609", "`epochs`"),
    "optimiser.lr=3": ("E0609", "`optimizer`"),
    "lr=3": ("E0609", "`optimizer.lr`"),
    "optimizer.learning_rate=3": ("E0606", "`lr`"),
    "optimizer.lr.x=3": ("E0002", "no arguments"),
    "optimizer.x.y=3": ("E0002", "is given no `x`"),
    "early_stop.x=3": ("E0002", "no `early_stop`"),
    "rules.1.lr=3": ("E0002", "`rules` has no `1`"),
    "metrics.recall.average=3": ("E0002", "`1` (f1)"),
    "batch=range(3)": ("E0604", "a whole number"),
    "batch=warm": ("E0604", "warm"),
    "nothing": ("E0002", "optimizer.lr=0.1"),
    "=3": ("E0002", "name=value"),
    "batch=": ("E0101", ""),
    "batch=1 +": ("E0101", ""),
}


@pytest.mark.parametrize("text", NOWHERE)
def test_what_leads_nowhere_is_one_problem_with_a_way_out(text: str) -> None:
    code, word = NOWHERE[text]
    found, report = read(text)
    assert found is None
    assert [d.code for d in report] == [code]
    problem = next(iter(report))
    assert word in " ".join([problem.message, *problem.helps])


def test_changes_leave_what_was_given_as_it_was() -> None:
    given = {"optimizer": Setting(Choice("SGD", {"momentum": 0.5}, (0.1,)))}
    found = change(given, [Change("optimizer.lr", 0.3)])
    assert shown(given["optimizer"].value) == "SGD(0.1, momentum = 0.5)"
    assert shown(found["optimizer"].value) == "SGD(lr = 0.3, momentum = 0.5)"
    with pytest.raises(NoPlace):
        change(given, [Change("schedule.gamma", 0.3)])


def test_a_dry_run_says_what_will_be_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    random = numpy.random.RandomState(0)
    numpy.savez(tmp_path / "a.npz", x=random.randn(40, 2).astype("float32"), y=random.randint(3, size=40))
    (tmp_path / "m.net").write_text(
        "model M {\n  input x: [N, 2]\n  output x -> body: Linear(4) -> head: Linear(3)\n}\n"
        'train M {\n  data = Arrays("a.npz", shape = [2], classes = 3)\n  valid = 0.25\n  batch = 8\n  epochs = 2\n'
        '  loss = CrossEntropyLoss\n  optimizer = Adam(lr = 0.1)\n  metrics = [accuracy]\n  freeze = ["body.*"]\n}\n'
    )
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["train", "m.net", "--dry-run", "--set", "accumulate=2"]) == 0
    said = capsys.readouterr()
    for words in (
        "15 parameters learn, 12 frozen",
        "30 samples of [2]",
        "of 3 classes; measured on 10",
        "2 epochs of 2 steps, 16 samples a step, on cpu in fp32",
        "`valid_accuracy`, higher is better",
        "memory   about",
        "nothing was written",
    ):
        assert words in said.out + said.err
    assert main(["train", "m.net", "--dry-run", "--json"]) == 0
    memory = json.loads(capsys.readouterr().out)["memory"]
    assert memory["weights"] == 4 * 27
    assert memory["gradients"] == 4 * 15
    assert 2 * 4 * 15 <= memory["optimizer"] <= 2 * 4 * 15 + 16
    assert memory["data"] == 40 * (2 * 4 + 8)
    assert memory["activations"] >= 8 * 4 * 4
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--devices", "2"), "on 2 devices (tried here on one, cpu, with the whole batch)"),
        (("--devices", "9"), "error[E0671]: a batch of 4 cannot be split among 9 processes"),
        (("--devices", "100000"), "error[E0670]"),
        (("--strategy", "ddpp"), "did you mean `ddp`?"),
        (("--memory-budget", "0"), "samples are read when they are due"),
    ],
)
def test_a_dry_run_heeds_the_options_of_a_run(
    options: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for kind in "ab":
        (tmp_path / "images" / kind).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (4, 4), 9 * number).save(tmp_path / "images" / kind / f"{number}.png")
    (tmp_path / "m.net").write_text(
        "model M {\n  input x: [N, 1, 4, 4]\n  output x -> Flatten -> Linear(2)\n}\n"
        'train M {\n  data = ImageFolder("images", size = 4, channels = 1)\n  valid = 0.25\n  batch = 4\n  epochs = 1\n'
        "  loss = CrossEntropyLoss\n  optimizer = Adam(lr = 0.1)\n}\n"
    )
    monkeypatch.chdir(tmp_path)
    status = main(["train", "m.net", "--dry-run", "--device", "cpu", *options])
    said = capsys.readouterr()
    assert says in said.out + said.err
    assert status == ("error" in said.err)
    assert not (tmp_path / "runs").exists()
