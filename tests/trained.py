"""A folder of small runs, one of each kind of source, for the tests of what comes after training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netdsl.cli.app import main

NETS = """
model Pixels { input x: [N, 1, 8, 8]
  output x -> Conv2d(6, 3) -> BatchNorm2d -> ReLU -> Flatten -> Linear(10) }
train Pixels { data = Digits(size = 8)
  transform = Normalize(0.5, 0.25)
  epochs = 3
  loss = CrossEntropyLoss
  optimizer = Adam(lr = 0.01)
  metrics = [accuracy] }

model Chance { input x: [N, 6]
  output x -> Linear(8) -> ReLU -> Linear(1) -> Sigmoid }
train Chance { data = Table("rows.csv", target = "y", classes = 2, features = [
    Numeric("a", fill = "mean", flag = True, standardise = True), OneHot("b", missing = True)])
  valid = 0.25
  epochs = 5
  loss = BCELoss
  optimizer = Adam(lr = 0.05)
  metrics = [accuracy] }

model Mood { input ids: int64[N, 6]
  output ids -> Embedding(12, 4) -> Flatten -> Linear(2) }
train Mood { data = Text("texts.tsv", length = 6, vocabulary = 12, padding = "left", keep = "last")
  valid = 0.25
  epochs = 4
  loss = CrossEntropyLoss
  optimizer = Adam(lr = 0.05)
  metrics = [accuracy] }

model Growth { input x: [N, 4, 2]
  output x -> Flatten -> Linear(2) }
train Growth { data = Sequence(Table("days.csv", target = ["u", "v"], features = ["u", "v"]), window = 4, difference = 1)
  valid = 0.25
  epochs = 3
  loss = MSELoss
  optimizer = Adam(lr = 0.01) }

model Letters { input ids: int64[N, 5]
  output ids -> Embedding(8, 4) -> Flatten -> Linear(40) -> Unflatten(1, [8, 5]) }
train Letters { data = Tokens("abc.txt", length = 5, vocabulary = ["a", "b", "c", "d", "e", "f", "g", " "])
  valid = 0.25
  epochs = 30
  loss = CrossEntropyLoss
  optimizer = Adam(lr = 0.05) }

model Masks { input x: [N, 3, 16, 16]
  output x -> Conv2d(4, 3, padding = 1) -> ReLU -> Conv2d(1, 1) }
train Masks { data = Shapes(count = 40, size = 16)
  epochs = 2
  loss = BCEWithLogitsLoss
  optimizer = Adam(lr = 0.05)
  metrics = [accuracy] }

model Plane { input x: [N, 2]
  output x -> Linear(1) }
train Plane { data = Synthetic("plane", test = True)
  epochs = 2
  loss = MSELoss
  optimizer = SGD(lr = 0.1) }
"""
MODELS = ("Pixels", "Chance", "Mood", "Growth", "Letters", "Masks", "Plane")


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each model, `runs/NAME`, and the data they have learned from."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "nets.net").write_text(NETS)
    rows = [
        f"{i % 7 if i % 9 else ''},{'uvw'[i % 3] if i % 10 else ''},{int(i % 3 == 0)}" for i in range(120)
    ]
    (folder / "rows.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    words = ["good", "fine", "film", "it's", "plot", "bad", "dull", "film", "was", "plot"]
    texts = [
        f"{i % 2}\t{' '.join(words[5 * (i % 2) + (i * k) % 5] for k in range(1 + i % 9))}!" for i in range(60)
    ]
    (folder / "texts.tsv").write_text("\n".join(texts) + "\n")
    days = [f"{i},{i * i / 10 + math.sin(i):.3f},{3 * i + math.cos(i):.3f}" for i in range(40)]
    (folder / "days.csv").write_text("\n".join(["day,u,v", *days]) + "\n")
    (folder / "abc.txt").write_text("abcdefg " * 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for model in MODELS:
            assert main(["train", f"nets.net:{model}", "--out", f"runs/{model}", "--no-report"]) == 0
    return folder


Command = Callable[..., Any]


@pytest.fixture
def told(house: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in the house, and give what it says; its messages where it is to be refused."""
    monkeypatch.chdir(house)

    def run(*arguments: object, status: int = 0) -> Any:
        capsys.readouterr()
        ended = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert ended == status, err
        return err if status else json.loads(out) if "--json" in arguments else out

    return run
