"""A run that goes on is the run that was never stopped; what it goes on with is whole, and belongs to it."""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import netdsl
from netdsl.train import RunResult, run
from netdsl.train.batches import Batches, in_order, prepare_on
from netdsl.train.checkpoint import checkpoints
from netdsl.train.data import Data
from netdsl.train.data.base import Split
from netdsl.train.data.unread import Unread
from netdsl.train.errors import TrainError
from netdsl.train.losses import CrossEntropyLoss
from netdsl.train.optimizers import SGD, AdamW
from netdsl.train.processes import Processes
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch, Record, Saved, Started, Step
from netdsl.train.schedules import SCHEDULES
from netdsl.train.writer import Keep
from tests.in_runs import STOPPED, Late, Net, data, recipe, samples, train, whole_and_parts
from tests.kills import different

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def simple(**changes: Any) -> Recipe:
    base: dict[str, Any] = {"model": "Net", "batch": 16, "epochs": 6, "loss": CrossEntropyLoss()}
    return Recipe(**base | {"optimizer": SGD(lr=0.05, momentum=0.9), "channels_last": False} | changes)


def go(out: Path, changed: Recipe | None = None, model: Any = Net, **options: Any) -> RunResult:
    base: dict[str, Any] = {
        "data": data("resident"),
        "threads": 1,
        "device": "cpu",
        "keep": Keep(report=False),
    }
    return run(model, changed or simple(), out=out, **base | options)


def refused(*arguments: Any, **options: Any) -> Any:
    with pytest.raises(TrainError) as caught:
        go(*arguments, **options)
    return caught.value.diagnostic


# ------------------------------------------------------------------------------- from the middle of an epoch


@pytest.mark.parametrize("kind", ["resident", "stream"])
def test_a_run_that_a_signal_stops_in_an_epoch_goes_on_as_if_it_had_not(kind: str, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    whole, stopped, rest = whole_and_parts(tmp_path, kind)
    assert (stopped.reason, stopped.step, stopped.signal) == ("interrupted", STOPPED, signal.SIGTERM)
    assert (whole.reason, rest.reason, rest.signal) == ("finished", "finished", None)
    assert [e.measured for e in rest.epochs] == [e.measured for e in whole.epochs]
    assert different(tmp_path / "whole", tmp_path / "parts") == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_where_the_samples_are_does_not_change_the_run(tmp_path: Path) -> None:
    ways = [train(tmp_path / kind, kind) for kind in ("resident", "stream")]
    assert ways[0].last.read_bytes() == ways[1].last.read_bytes()
    assert [e.measured for e in ways[0].epochs] == [e.measured for e in ways[1].epochs]


# ---------------------------------------------------------------------------------------- shares of a batch


def numbered(count: int, kind: str) -> Data:
    """Samples that are their own numbers."""
    x = torch.arange(count, dtype=torch.float32).view(-1, 1)
    part = Split(x, torch.arange(count))
    found = Unread(Late(part)) if kind == "stream" else part
    return Data(found, found)


def process(rank: int, size: int) -> Processes:
    one = Processes()
    one.rank, one.size = rank, size
    return one


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["resident", "stream"])
def test_a_batch_is_the_same_samples_in_the_same_order_whatever_the_processes(kind: str) -> None:
    chosen, found = (
        simple(batch=7),
        numbered(25, kind),
    )  # a last batch of 4, of which 8 processes have shares of 0 and 1
    alone = Batches(found.train, chosen, CPU)
    for size in (2, 3, 4, 8):
        shares = [Batches(found.train, chosen, CPU, processes=process(rank, size)) for rank in range(size)]
        for epoch in (0, 1):
            seen: list[int] = []
            for number in range(len(alone)):
                mine = [len(process(rank, size).part(alone.count(number))) for rank in range(size)]
                parts = [share.at(epoch, number)[1][:own] for share, own in zip(shares, mine, strict=True)]
                assert torch.cat(parts).tolist() == alone.at(epoch, number)[1].tolist()
                seen += torch.cat(parts).tolist()
            assert sorted(seen) == list(range(25))


@pytest.mark.parametrize("kind", ["resident", "stream"])
def test_what_is_measured_is_every_sample_once_whatever_the_processes(kind: str) -> None:
    found, prepare = numbered(1030, kind), prepare_on(CPU, simple())
    for size in (1, 2, 4, 7):
        seen: list[int] = []
        for rank in range(size):
            for _, y, counted in in_order(found.valid, prepare, CPU, process(rank, size)):
                seen += y.tolist() if counted else []
        assert sorted(seen) == list(range(1030))


# --------------------------------------------------------------------------------- when checkpoints are written


def test_epochs_that_are_short_are_written_at_a_pace_and_the_best_is_kept(tmp_path: Path) -> None:
    saved: dict[str, list[int]] = {}
    for name, pace in (("all", 0.0), ("first and last", 1e9)):
        records: list[Record] = []
        keep = Keep(100, report=False, pace=pace)
        found = go(
            tmp_path / name, simple(epochs=9, optimizer=SGD(lr=1.0)), keep=keep, on_record=records.append
        )
        saved[name] = [r.step // 4 for r in records if isinstance(r, Saved)]
    assert found.best is not None
    assert 1 < found.best.epoch < 9, "choose a run whose best epoch is neither the first nor the last"
    assert saved == {"all": list(range(1, 10)), "first and last": [1, found.best.epoch, 9]}
    assert different(tmp_path / "all", tmp_path / "first and last") == []
    (kept,) = [p for p in checkpoints(tmp_path / "first and last") if f"-{found.best.epoch:04}-" in p.name]
    assert found.weights.read_bytes() == (kept / "weights.safetensors").read_bytes()
    assert json.loads((kept / "manifest.json").read_text())["measured"] == dict(found.best.measured)


def test_a_run_goes_on_from_the_best_epoch_as_well(tmp_path: Path) -> None:
    """What a machine leaves that stops after the best epoch was written, and before the last one was."""
    chosen = simple(epochs=9, optimizer=SGD(lr=1.0))
    whole = go(tmp_path / "whole", chosen, keep=Keep(pace=1e9, report=False))
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    shutil.rmtree(checkpoints(tmp_path / "parts")[0])
    (tmp_path / "parts" / "best.safetensors").write_bytes(b"")
    records: list[Record] = []
    go(tmp_path / "parts", chosen, resume=True, on_record=records.append)
    assert whole.best is not None
    assert isinstance(records[0], Started)
    assert records[0].step == whole.best.step
    assert different(tmp_path / "whole", tmp_path / "parts") == []


def test_the_best_weights_are_those_of_the_checkpoint_that_a_run_goes_on_from(tmp_path: Path) -> None:
    whole = go(tmp_path, simple(epochs=9, optimizer=SGD(lr=1.0)))
    best = whole.weights.read_bytes()
    assert best != whole.last.read_bytes()
    for weights in (whole.weights, whole.last):
        weights.unlink()
    again = go(tmp_path, simple(epochs=9, optimizer=SGD(lr=1.0)), resume=True)
    assert again.weights.read_bytes() == best


def test_a_run_that_is_stopped_at_the_end_of_its_best_epoch_still_says_so(tmp_path: Path) -> None:
    records: list[Record] = []

    def watch(record: Record) -> None:
        records.append(record)
        if isinstance(record, Epoch) and record.epoch == 1:
            signal.raise_signal(signal.SIGINT)

    stopped = go(tmp_path / "run", on_record=watch)
    assert (stopped.reason, stopped.signal, stopped.step) == ("interrupted", signal.SIGINT, 4)
    assert [r.step for r in records if isinstance(r, Saved)] == [4]
    (only,) = checkpoints(tmp_path / "run")
    assert json.loads((only / "manifest.json").read_text())["best"]
    (tmp_path / "run" / "best.safetensors").unlink()
    go(tmp_path / "run", resume=True, changed=simple(epochs=1))
    assert (tmp_path / "run" / "best.safetensors").read_bytes() == (only / "weights.safetensors").read_bytes()


# ----------------------------------------------------------------------------------------- what may change


SPEC = """
model M {{
  input x: [N, 1, 4, 4]
  output x -> Flatten -> a: Linear(8) -> {activation} -> b: Linear({classes})
}}
train M {{ loss = CrossEntropyLoss
  optimizer = SGD(lr = 0.1)
  epochs = 2
  batch = 16 }}
"""


def of_text(activation: str = "relu", classes: int = 4, doc: str = "") -> Any:
    return netdsl.loads(doc + SPEC.format(activation=activation, classes=classes)).M


def scaled(amount: float) -> Data:
    """Of numbers, so that a model of numbers takes them."""
    every = samples()
    x = every.x.float() * amount
    return Data(Split(x, every.y), Split(x[:21], every.y[:21]), 4)


def test_another_model_is_refused_and_the_same_one_in_other_words_is_not(tmp_path: Path) -> None:
    options: dict[str, Any] = {"data": scaled(0.01), "out": tmp_path, "device": "cpu", "threads": 1}
    netdsl.fit(of_text(), **options)
    netdsl.fit(of_text(doc="## Told better.\n"), resume=True, epochs=3, **options)
    for changed, words in (
        (of_text("tanh"), "its layers are the same, and what is done with them is not"),
        (of_text("ReLU"), "where it had `(b): Linear"),
        (of_text("a2: Linear(8)"), "it has `(a2): Linear(in_features=8, out_features=8, bias=True)`"),
    ):
        with pytest.raises(TrainError) as caught:
            netdsl.fit(changed, resume=True, epochs=4, **options)
        found = caught.value.diagnostic
        assert (found.code, found.message) == ("E0632", "the model is not the one that the run began with")
        assert words in found.notes[0], found.notes
        assert found.helps


def test_other_data_is_refused(tmp_path: Path) -> None:
    go(tmp_path, simple(epochs=1))
    every = samples()
    x, y = every.x.clone(), every.y.clone()
    x[40] += 1
    y[7] = (y[7] + 1) % 4
    others = {
        "the samples of the training part were 61 and are 60": (every.first(60), every.first(21)),
        "the samples of the validation part were 21 and are 20": (every, every.first(20)),
        "the training part has other values in as many samples": (Split(x, every.y), every.first(21)),
        "the validation part has other values in as many samples": (every, Split(every.x, y).first(21)),
        "the inputs of the training part were uint8[1, 4, 4] and are float32[1, 4, 4]": (
            Split(every.x.float(), every.y),
            Split(every.x.float(), every.y).first(21),
        ),
    }
    for words, parts in others.items():
        found = refused(tmp_path, simple(epochs=2), data=Data(*parts, classes=4), resume=True)
        assert (found.code, found.message) == ("E0632", "the data are not those that the run began with")
        assert words in found.notes


def test_threads_and_versions_may_change_and_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(tmp_path, simple(epochs=1))
    records: list[Record] = []
    monkeypatch.setattr(torch, "__version__", "99.0")
    go(tmp_path, simple(epochs=2), resume=True, threads=2, on_record=records.append)
    assert isinstance(records[0], Started)
    notes = " ".join(records[0].notes)
    assert "from 1 to 2 threads: sums may round otherwise" in notes
    assert "and is 99.0: the run goes on, up to rounding" in notes


def test_a_recipe_may_be_longer_and_nothing_else(tmp_path: Path) -> None:
    go(tmp_path, simple(epochs=1))
    for changes, note in (
        ({"optimizer": SGD(lr=0.05, momentum=0.8)}, "`optimizer` was SGD(lr = 0.05, momentum = 0.9"),
        ({"ema": 0.9}, "`ema` was None and is 0.9"),
        ({"seed": 1}, "`seed` was 0 and is 1"),
        ({"precision": "bf16"}, "`precision` was fp32 and is bf16"),
        ({"augment": recipe().augment}, "`augment` was [] and is [RandomCrop(size = "),
    ):
        found = refused(tmp_path, simple(**changes), resume=True)
        assert found.code == "E0632"
        assert found.notes[0].startswith(note), found.notes
    longer = simple(epochs=2, log_every=3, early_stop=9, checkpoint_every=3)
    assert go(tmp_path, longer, resume=True).reason == "finished"


# ------------------------------------------------------------------------------------- what the disk does


def test_a_byte_that_is_flipped_anywhere_is_told_or_does_not_matter(tmp_path: Path) -> None:
    chosen = simple(epochs=2, ema=0.9, optimizer=AdamW(lr=0.01))
    whole = go(tmp_path / "whole", chosen, keep=Keep(pace=0, report=False))
    files = sorted(p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*") if p.is_file())
    assert len(files) >= 14, files
    chance = random.Random(0)
    for name in files:
        out = tmp_path / "one"
        shutil.copytree(tmp_path / "whole", out)
        content = bytearray((out / name).read_bytes())
        place = chance.randrange(len(content))
        content[place] ^= 1 << chance.randrange(8)
        (out / name).write_bytes(bytes(content))
        records: list[Record] = []
        again = go(out, chosen, resume=True, on_record=records.append)
        newest = checkpoints(tmp_path / "whole")[0].name
        if newest in name.parts:
            assert isinstance(records[0], Started)
            assert records[0].step == 4, name
            assert f"`{newest}` is damaged" in records[0].notes[0]
        assert again.last.read_bytes() == whole.last.read_bytes(), name
        assert again.weights.read_bytes() == whole.weights.read_bytes(), name
        shutil.rmtree(out)


MANIFESTS = {
    "of a netdsl to come": ({"format": 99}, "a newer one wrote it"),
    "without files": ({"files": {}}, "does not say what was written"),
    "a list": ([], "does not say what was written"),
    "of no format": ({"format": None}, "does not say what was written"),
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_manifest_that_says_something_else_is_told(what: str, tmp_path: Path) -> None:
    go(tmp_path, simple(epochs=2), keep=Keep(pace=0, report=False))
    changes, words = MANIFESTS[what]
    path = checkpoints(tmp_path)[0] / "manifest.json"
    changed = json.loads(path.read_text()) | changes if isinstance(changes, dict) else changes
    path.write_text(json.dumps(changed))
    records: list[Record] = []
    go(tmp_path, simple(epochs=2), resume=True, on_record=records.append)
    assert isinstance(records[0], Started)
    assert records[0].step == 4
    assert words in records[0].notes[0]


@pytest.mark.parametrize("what", ["the run", "the checkpoints", "a file in its place"])
def test_a_folder_that_goes_away_is_an_error_and_no_traceback(what: str, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def watch(record: Record) -> None:
        if isinstance(record, Epoch) and record.epoch == 2:
            shutil.rmtree(out / "checkpoints" if what == "the checkpoints" else out)
            if what == "a file in its place":
                out.write_text("")

    options: dict[str, Any] = {"keep": Keep(pace=0, report=False), "on_record": watch}
    if what == "the checkpoints":
        assert go(out, **options).reason == "finished"  # as they are written anew
        return
    found = refused(out, **options)
    assert found.code == "E0637"
    assert "cannot be written" in found.message
    assert "no checkpoint was written before" in found.notes[-1]


# -------------------------------------------------------------------------------------- what is not finite


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_of_a_program_that_is_not_finite_is_traced_like_any_other(
    precision: str, tmp_path: Path
) -> None:
    records: list[Record] = []
    with pytest.raises(TrainError) as caught:
        netdsl.fit(
            of_text(),
            data=scaled(0.01),
            out=tmp_path,
            epochs=500,
            optimizer=SGD(lr=0.01),
            schedule=SCHEDULES.members["ExponentialLR"](gamma=10.0),
            precision=precision,
            keep=Keep(pace=0, report=False),
            device="cpu",
            threads=1,
            on_record=records.append,
        )
    found = caught.value.diagnostic
    assert found.code == "E0634"
    bad = int(found.message.split("step ")[1].split()[0])
    assert 50 < bad < 2000
    told = ("`a` (Linear)", "`b` (Linear)", "`SGD` made", "`CrossEntropyLoss` made no finite loss of it")
    assert any(words in found.notes[0] for words in told), found.notes
    last = int(found.notes[-1].rstrip("`").split("-")[-1])
    assert bad - 8 <= last < bad
    assert not any(isinstance(r, Step) and r.step >= bad for r in records)
