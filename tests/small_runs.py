"""Small programs, modules and recipes for the tests of what a run leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from netdsl.cli.app import main
from netdsl.train import Data, Split
from netdsl.train.losses import CrossEntropyLoss
from netdsl.train.optimizers import SGD
from netdsl.train.recipe import Recipe

DIGITS = """\
import Head from "parts/head.net"

model Digit(width: int = 16) {
  input x: [N, 1, 8, 8]
  output x -> Flatten -> Linear(width) -> ReLU -> Head
}

train Digit {
  data      = Digits(size = 8)
  transform = Normalize(0.5, 0.25)
  batch     = 128
  epochs    = 3
  loss      = CrossEntropyLoss
  optimizer = Adam(lr = 0.01)
  metrics   = [accuracy]
}
"""
HEAD = "block Head { input x: [N, F]\n output x -> fc: Linear(10) }\n"

ROWS = """\
model Chance {
  input x: [N, 4]
  output x -> Linear(8) -> ReLU -> Linear(1) -> Sigmoid
}

train Chance {
  data      = Table("rows.csv", target = "y", classes = 2,
                    features = [Numeric("a", fill = "mean", standardise = True), OneHot("b", categories = ["u", "v", "w"])])
  valid     = 0.25
  batch     = 16
  epochs    = 4
  loss      = BCELoss
  optimizer = Adam(lr = 0.05)
  metrics   = [accuracy]
}
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(name="here")
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a project, which is the working directory."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "digits.net").write_text(DIGITS)
    (tmp_path / "parts" / "head.net").write_text(HEAD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def netdsl_(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """What a command prints; its messages where it is refused."""
    capsys.readouterr()
    ended = main(list(arguments))
    out, err = capsys.readouterr()
    assert ended == status, err
    return err if status else out


def points(count: int, seed: int = 0) -> Split:
    random = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 3, generator=random)
    return Split(x, (x[:, 0] > 0.5).long())


def plain(**changes: Any) -> Recipe:
    base: dict[str, Any] = {
        "batch": 16,
        "epochs": 3,
        "loss": CrossEntropyLoss(),
        "optimizer": SGD(lr=0.1),
        "log_every": 2,
    }
    return Recipe(**base | changes)


VALID = points(32, seed=1)
DATA = Data(points(64), VALID, 2)


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
