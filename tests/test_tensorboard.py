"""The events of a run, as TensorBoard reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from netdsl.train import Data, Keep, Split, run
from netdsl.train.history import read_history, read_steps
from netdsl.train.losses import MSELoss
from tests import small_runs
from tests.small_runs import DATA, netdsl_, plain, small

here, one_thread = small_runs.project, small_runs.one_thread  # fixtures


def test_events_have_the_curves_the_weights_the_graph_and_the_figures(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    netdsl_(capsys, "train", "digits.net", "--out", "run", "--tensorboard", "--epochs", "2", "--keep", "1")
    netdsl_(capsys, "train", "digits.net", "--out", "run", "--resume", "--epochs", "3")
    events = EventAccumulator(str(here / "run" / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"loss/train", "loss/valid", "accuracy/valid", "step/loss"} <= set(tags["scalars"])
    assert tags["graph"]
    assert {"samples", "confusion matrix", "worst samples"} <= set(tags["images"])
    assert len(tags["histograms"]) == 4
    assert [event.step for event in events.Scalars("loss/valid")] == [12, 24, 36]
    epochs = read_history(here / "run" / "history.csv")
    assert [e.measured["valid_loss"] for e in epochs] == pytest.approx(
        [e.value for e in events.Scalars("loss/valid")]
    )


def test_every_value_of_a_run_is_in_its_events_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    netdsl_(
        capsys,
        "train",
        "digits.net",
        "--out",
        "run",
        "--tensorboard",
        "--set",
        "log_every=5",
        "--set",
        "clip_norm=1.0",
    )
    events = EventAccumulator(
        str(here / "run" / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0}
    )
    events.Reload()
    steps, epochs = read_steps(here / "run" / "steps.csv"), read_history(here / "run" / "history.csv")
    for tag, of in (("loss", "loss"), ("learning rate", "lr"), ("gradient norm", "grad_norm")):
        found = [(event.step, event.value) for event in events.Scalars(f"step/{tag}")]
        assert found == [(s.step, pytest.approx(getattr(s, of))) for s in steps]
    for part in ("train", "valid"):
        found = [(event.step, event.value) for event in events.Scalars(f"accuracy/{part}")]
        assert found == [(e.step, pytest.approx(e.measured[f"{part}_accuracy"])) for e in epochs]
    # Short epochs share histograms, and the weights that a run ends with are always there.
    last = load((here / "run" / "last.safetensors").read_bytes())
    assert len(events.Tags()["histograms"]) == len(last)
    for name, weights in last.items():
        ends = events.Histograms(name.replace(".", "/"))[-1]
        assert ends.step == epochs[-1].step
        assert ends.histogram_value.num == weights.numel()
        assert ends.histogram_value.sum == pytest.approx(float(weights.double().sum()), rel=1e-4)
    for tag in ("samples", "worst samples", "confusion matrix"):
        assert events.Images(tag), tag
        assert all(image.encoded_image_string.startswith(b"\x89PNG") for image in events.Images(tag))
    graph = events.Graph()
    assert any("Linear" in node.name or "Linear" in node.op for node in graph.node)
    assert "Adam" in str(events.Tensors("recipe/text_summary")[0].tensor_proto.string_val)


def test_values_have_a_figure_of_points(tmp_path: Path) -> None:
    x = torch.rand(50, 2)
    data = Data(Split(x, x.sum(1, keepdim=True)), Split(x[:20], x[:20].sum(1, keepdim=True)))
    keep = Keep(tensorboard=True, report=False)
    run(lambda: nn.Linear(2, 1), plain(loss=MSELoss()), data=data, out=tmp_path, keep=keep)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["images"] == ["predicted and true"]


def test_a_thousand_short_epochs_have_few_histograms(tmp_path: Path) -> None:
    keep = Keep(tensorboard=True, report=False)
    run(small, plain(epochs=200, batch=64), data=DATA, out=tmp_path, keep=keep)
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    assert len(events.Scalars("loss/valid")) == 200
    seconds = sum(epoch.seconds for epoch in read_history(tmp_path / "history.csv"))
    assert 2 <= len(events.Histograms("0/weight")) < 60 + seconds
