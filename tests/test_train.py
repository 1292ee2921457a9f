"""The trainer: recipes are checked, runs are reproducible, resumable and safe, and models learn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor, nn

from netdsl.backends.errors import WeightsError
from netdsl.ir.dims import symbol
from netdsl.train import Display, TrainError, evaluate, predict, run
from netdsl.train.batches import Batches
from netdsl.train.checkpoint import checkpoints, newest_checkpoint, save_checkpoint
from netdsl.train.data import MNIST, SOURCES, Data, Digits, Split
from netdsl.train.data.digits import write_images
from netdsl.train.history import read_history
from netdsl.train.loop import fit
from netdsl.train.losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from netdsl.train.metrics import Accuracy, MeanAbsoluteError
from netdsl.train.optimizers import OPTIMIZERS, SGD, Adam
from netdsl.train.origin import Origin
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch, Record, Saved, Started, Step, Stopped
from netdsl.train.schedules import SCHEDULES
from netdsl.train.state import Run
from netdsl.train.transforms import Normalize, RandomCrop, RandomHorizontalFlip
from netdsl.train.writer import Keep

CPU = torch.device("cpu")
N = symbol("N")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors; and runs that are compared bit for bit must add up in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Small(nn.Module):
    """A network with what makes resuming hard: random dropout and running statistics."""

    def __init__(self, channels: int = 1, classes: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(4 * 16, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.norm(self.conv(x)).relu()).flatten(1))


class TwoInTraining(Small):
    """A network with a second output, in training only."""

    def forward(self, x: Tensor) -> Any:
        return (super().forward(x), x) if self.training else super().forward(x)


def stripes(count: int, seed: int = 0) -> Split:
    """Images of 4x4 in which the brightest row is the class."""
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (count,), generator=random)
    x = torch.randint(100, (count, 1, 4, 4), generator=random, dtype=torch.uint8)
    x[torch.arange(count), 0, y] += 100
    return Split(x, y)


DATA = Data(stripes(100), stripes(50, seed=1), classes=4)


def recipe(**changes: Any) -> Recipe:
    base: dict[str, Any] = {
        "model": "Small",
        "batch": 16,
        "epochs": 3,
        "loss": CrossEntropyLoss(),
        "optimizer": SGD(lr=0.05, momentum=0.9),
        "metrics": [Accuracy()],
        "transform": [Normalize(mean=0.5, std=0.25)],
        "channels_last": False,
        "log_every": 5,
    }
    return Recipe(**base | changes)


def weights_in(path: Path) -> dict[str, Tensor]:
    """Read, and not mapped: the file may change while they are looked at."""
    return load(path.read_bytes())


def train(out: Path, changed: Recipe | None = None, **options: Any) -> dict[str, Tensor]:
    """The weights at the end of a run in `out`."""
    run(Small, changed or recipe(), out=out, **{"data": DATA, "keep": Keep(pace=0)} | options)
    return weights_in(out / "last.safetensors")


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def columns(path: Path) -> list[dict[str, float]]:
    return [dict(epoch.measured) for epoch in read_history(path / "history.csv")]


def stop_after(step: int) -> Any:
    """A watcher that ends a run as SIGINT would, at the first record from `step` on."""

    sent = False

    def watch(record: Record) -> None:
        nonlocal sent
        if not sent and isinstance(record, Step) and record.step >= step:
            sent = True
            os.kill(os.getpid(), signal.SIGINT)

    return watch


# ------------------------------------------------------------------------------------------------- data


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    changed = recipe(augment=[RandomCrop(size=4, padding=1), RandomHorizontalFlip()])
    one, two = Batches(DATA.train, changed, CPU), Batches(DATA.train, changed, CPU)
    places = [(epoch, number) for epoch in range(3) for number in range(len(one))]
    forwards = {place: one.at(*place) for place in places}
    backwards = {place: two.at(*place) for place in reversed(places)}
    for place in places:
        assert all(map(torch.equal, forwards[place], backwards[place])), place
    assert not torch.equal(one.order(0), one.order(1))


def test_an_epoch_sees_every_sample_once() -> None:
    numbered = Split(torch.arange(100.0).view(100, 1), torch.arange(100))
    batches = Batches(numbered, recipe(transform=[]), CPU)
    seen = torch.cat([batches.at(2, number)[1] for number in range(len(batches))])
    assert torch.equal(seen.sort().values, torch.arange(100))


@pytest.mark.parametrize("size", [8, 28])
def test_the_digits_are_what_they_say(size: int) -> None:
    source = Digits(size=size)
    data = source.load((), download=False)
    assert (len(data.train), len(data.valid)) == (1437, 360)
    assert tuple(data.train.x.shape[1:]) == source.sample().input.shape
    assert data.train.x.dtype == torch.uint8
    assert int(data.train.x.max()) > 250
    assert sorted(set(data.valid.y.tolist())) == list(range(source.sample().target.classes))


def test_data_that_is_not_there_is_an_error_that_names_both_places(tmp_path: Path) -> None:
    changed = recipe(data=MNIST(root="nowhere"), folder=tmp_path / "project")
    with pytest.raises(TrainError) as caught:
        run(Small, changed, out=tmp_path / "run")
    found = caught.value.diagnostic
    assert found.code == "E0620"
    assert str(tmp_path / "project" / "nowhere") in found.notes[0]
    assert str(Path.cwd() / "nowhere") in found.notes[0]
    assert "download = True" in found.helps[0]


@pytest.mark.parametrize(("kind", "folder"), [("MNIST", "MNIST/raw"), ("CIFAR10", "cifar-10-batches-py")])
def test_a_root_that_is_one_folder_too_deep_is_told_as_such(kind: str, folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    source = SOURCES.members[kind](root=str(tmp_path / Path(folder).parts[0]))
    with pytest.raises(TrainError) as caught:
        source.load((Path.cwd(),), download=False)
    found = caught.value.diagnostic
    assert (found.code, found.helps) == (
        "E0620",
        (f'`root` is the folder that `{folder}` lies in: `root = "{tmp_path}"`',),
    )


@pytest.mark.parametrize(("kind", "folder"), [("MNIST", "MNIST/raw"), ("CIFAR100", "cifar-100-python")])
def test_data_of_which_files_are_missing_is_not_said_to_be_elsewhere(
    kind: str, folder: str, tmp_path: Path
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "train").write_bytes(b"x")
    with pytest.raises(TrainError) as caught:
        SOURCES.members[kind](root=str(tmp_path)).load((Path.cwd(),), download=False)
    found = caught.value.diagnostic
    assert found.code == "E0621"
    assert f"`{tmp_path / folder}` does not hold all files of {kind}" in found.message


@pytest.mark.parametrize("out", ["file", "file/run", "x" * 300])
def test_a_run_that_cannot_have_its_folder_is_told_what_to_name(out: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TrainError) as caught:
        run(Small, recipe(), out=tmp_path / out, data=DATA)
    found = caught.value.diagnostic
    assert found.code == "E0637"
    assert len(found.helps) == 1
    assert "folder" in found.helps[0]
    assert (tmp_path / "file").read_text() == "mine"


def test_data_that_is_cut_off_is_an_error_and_not_a_traceback(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03\x00\x00")
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(b"\x00\x00\x08\x01\x00")
    with pytest.raises(TrainError) as caught:
        run(Small, recipe(data=MNIST(root=str(tmp_path))), out=tmp_path / "run")
    assert caught.value.diagnostic.code == "E0621"


def broken_data() -> dict[str, Data]:
    x, y = DATA.train.x, DATA.train.y
    return {
        "class too high": Data(Split(x, y + 1), DATA.valid, 4),
        "class below 0": Data(Split(x, y - 1), DATA.valid, 4),
        "float targets": Data(Split(x, y.float()), DATA.valid, 4),
        "not a number": Data(Split(x / torch.zeros(1), y), DATA.valid, 4),
        "fewer targets": Data(Split(x, y[:-1]), DATA.valid, 4),
        "nothing": Data(Split(x[:0], y[:0]), DATA.valid, 4),
    }


@pytest.mark.parametrize("what", broken_data())
def test_broken_data_is_refused_before_training(what: str, tmp_path: Path) -> None:
    with pytest.raises(TrainError) as caught:
        train(tmp_path / "run", data=broken_data()[what])
    assert caught.value.diagnostic.code == "E0622"
    assert not (tmp_path / "run").exists()


def test_a_model_that_does_not_fit_is_refused_before_training(tmp_path: Path) -> None:
    misfits: list[tuple[str, Any]] = [
        ("E0611", lambda: Small(classes=7)),
        ("E0612", lambda: Small(channels=3)),
        ("E0615", nn.Flatten),
        ("E0618", TwoInTraining),
        ("E0618", lambda: nn.Conv2d(1, 4, 3)),
    ]
    for code, make in misfits:
        with pytest.raises(TrainError) as caught:
            run(make, recipe(), data=DATA, out=tmp_path / code)
        assert caught.value.diagnostic.code == code


# ------------------------------------------------------------------------------------------------- runs


def test_the_same_seed_is_the_same_run(tmp_path: Path) -> None:
    one, two = train(tmp_path / "one"), train(tmp_path / "two")
    assert same(one, two)
    assert columns(tmp_path / "one") == columns(tmp_path / "two")
    assert not same(one, train(tmp_path / "three", recipe(seed=1)))


HARD = {
    "momentum": {},
    "adam": {"optimizer": Adam(lr=0.01)},
    "averaged": {"ema": 0.9},
    "accumulated and clipped": {"accumulate": 3, "clip_norm": 0.5},
    "scheduled": {"schedule": SCHEDULES.members["ExponentialLR"](gamma=0.5)},
    "channels last": {"channels_last": True, "optimizer": Adam(lr=0.01)},
    "augmented": {"augment": [RandomCrop(size=4, padding=1)]},
    "bf16": {"precision": "bf16"},
    "in steps": {"steps": 17},
}


def go(state: Run, *, until: int | None = None) -> list[Epoch]:
    """Run `state` to its end, or to the record of step `until`."""
    epochs: list[Epoch] = []
    for record in fit(state):
        if isinstance(record, Epoch):
            epochs.append(record)
        if isinstance(record, Step) and record.step == until:
            state.stop_requested = True
    return epochs


def begin(changed: Recipe) -> Run:
    torch.manual_seed(0)
    return Run(Small(), changed, DATA, CPU, bool(changed.channels_last))


@pytest.mark.parametrize("what", HARD)
def test_a_resumed_run_is_the_same_run(what: str, tmp_path: Path) -> None:
    changed = recipe(**HARD[what], log_every=1)
    whole = begin(changed)
    measured = [epoch.measured for epoch in go(whole)]
    for step in (1, whole.steps_per_epoch, whole.total_steps - 2):
        stopped = begin(changed)
        before = go(stopped, until=step)
        assert stopped.step == step
        save_checkpoint(stopped, tmp_path / str(step), measured={}, best=False)
        checkpoint, damaged = newest_checkpoint(tmp_path / str(step))
        assert damaged == []
        torch.manual_seed(99)  # whatever was drawn in between
        resumed = Run(Small(), changed, DATA, CPU, bool(changed.channels_last))
        resumed.load(checkpoint.weights, checkpoint.state)
        assert [epoch.measured for epoch in before + go(resumed)] == measured
        assert same(dict(whole.model.state_dict()), dict(resumed.model.state_dict()))
        if whole.ema and resumed.ema:
            assert all(map(torch.equal, whole.ema.average, resumed.ema.average))


def test_a_run_that_is_interrupted_saves_and_goes_on_as_the_same_run(tmp_path: Path) -> None:
    changed = recipe(log_every=1)
    whole = train(tmp_path / "whole", changed)
    stopped = run(Small, changed, data=DATA, out=tmp_path / "parts", on_record=stop_after(10))
    assert (stopped.reason, stopped.step) == ("interrupted", 10)
    assert same(whole, train(tmp_path / "parts", changed, resume=True))
    assert columns(tmp_path / "whole") == columns(tmp_path / "parts")
    for name in ("best.safetensors", "steps.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", recipe(epochs=5))
    falling = {"monitor": "train_loss"}  # so that the newest epoch is the best
    train(tmp_path / "parts", recipe(epochs=2, **falling))
    for name in ("best", "last"):  # as if the machine had died before they were there
        (tmp_path / "parts" / f"{name}.safetensors").unlink()
    train(tmp_path / "parts", recipe(epochs=2, **falling), resume=True)
    assert (tmp_path / "parts" / "best.safetensors").is_file()
    assert same(whole, train(tmp_path / "parts", recipe(epochs=5, **falling), resume=True))


# The others are not for all parameters: see test_optimizers.
@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in OPTIMIZERS.members if kind not in ("Muon", "SparseAdam")])
def test_every_optimizer_makes_the_loss_smaller(kind: str) -> None:
    changed = recipe(optimizer=OPTIMIZERS.members[kind](lr=0.01), epochs=5, metrics=[])
    losses = [r.measured["train_loss"] for r in fit(Run(Small(), changed, DATA, CPU)) if isinstance(r, Epoch)]
    assert losses[-1] < losses[0]


def test_one_batch_can_be_learned_by_heart() -> None:
    few = Data(stripes(16), DATA.valid, 4)
    changed = recipe(epochs=150, transform=[])
    records = list(fit(Run(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), changed, few, CPU)))
    assert [r for r in records if isinstance(r, Epoch)][-1].measured["train_accuracy"] == 1


def test_the_loss_of_an_epoch_is_the_mean_over_its_samples() -> None:
    changed = recipe(optimizer=SGD(lr=0.0), epochs=1, batch=16)  # 100 samples: the last batch has 4
    state = Run(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), changed, Data(DATA.train, DATA.train, 4), CPU)
    measured = go(state)[0].measured
    assert measured["train_loss"] == pytest.approx(measured["valid_loss"], rel=1e-6)
    assert measured["train_accuracy"] == measured["valid_accuracy"]


def test_averaging_the_weights_leaves_training_alone() -> None:
    plain = begin(recipe())
    go(plain)
    averaged = begin(recipe(ema=0.9))
    go(averaged)
    assert same(dict(plain.model.state_dict()), dict(averaged.model.state_dict()))
    assert averaged.ema is not None
    assert not torch.equal(averaged.ema.average[0], averaged.ema.weights[0])


def test_accumulated_batches_step_as_one_large_one() -> None:
    weights = []
    for changes in ({"batch": 8, "accumulate": 4}, {"batch": 32}):
        torch.manual_seed(0)
        state = Run(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), recipe(**changes), DATA, CPU)
        assert len([r for r in fit(state) if isinstance(r, Epoch)]) == 3
        assert state.step == 12
        weights.append(state.model[1].weight.detach())
    torch.testing.assert_close(*weights)


def test_values_can_be_learned_as_well_as_classes(tmp_path: Path) -> None:
    x = torch.randn(200, 3)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 3
    data = Data(Split(x, y), Split(x[:50], y[:50]))
    changed = recipe(transform=[], loss=MSELoss(), metrics=[MeanAbsoluteError()], epochs=30)
    result = run(lambda: nn.Linear(3, 1), changed, data=data, out=tmp_path / "run")
    assert result.best is not None
    assert result.best.measured["valid_mean_absolute_error"] < 1e-3
    targets = Data(Split(x, (y > 3).float()), Split(x[:50], (y[:50] > 3).float()))
    binary = recipe(transform=[], loss=BCEWithLogitsLoss(), metrics=[])
    assert run(lambda: nn.Linear(3, 1), binary, data=targets, out=tmp_path / "two").reason == "finished"


def test_the_best_epoch_is_kept_and_patience_ends_the_run(tmp_path: Path) -> None:
    rising = recipe(epochs=50, early_stop=3, monitor="valid_loss")
    wrong = Split(DATA.valid.x, (DATA.valid.y + 1) % 4)  # the better it learns, the worse it does here
    result = run(Small, rising, data=Data(DATA.train, wrong, 4), out=tmp_path / "run")
    losses = [epoch.measured["valid_loss"] for epoch in result.epochs]
    assert result.reason == "early stop"
    assert result.best is not None
    assert result.best.measured["valid_loss"] == min(losses)
    assert len(losses) == losses.index(min(losses)) + 1 + 3
    kept = evaluate(Small, rising, data=Data(DATA.train, wrong, 4), weights=result.weights)
    assert kept.measured["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_a_loss_that_is_no_number_ends_the_run_and_names_step_and_checkpoint(tmp_path: Path) -> None:
    x = stripes(160).x.float()
    spoiled = Data(Split(x, stripes(160).y), Split(x[:8], stripes(160).y[:8]), 4)
    wild = recipe(optimizer=SGD(lr=1e9), transform=[], epochs=20)
    with pytest.raises(TrainError) as caught:
        run(
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 4)),
            wild,
            data=spoiled,
            out=tmp_path,
        )
    found = caught.value.diagnostic
    assert found.code == "E0634"
    assert "the loss of step" in found.message
    for path in checkpoints(tmp_path):
        assert path.name in found.notes[-1] or len(checkpoints(tmp_path)) > 1
        assert all(bool(w.isfinite().all()) for w in weights_in(path / "weights.safetensors").values())


# ------------------------------------------------------------------------------------------ checkpoints


def damage(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
        return
    content = bytearray(path.read_bytes())
    if how == "short":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["missing", "short", "flipped"])
@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "manifest.json"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(name: str, how: str, tmp_path: Path) -> None:
    whole = train(tmp_path / "run")
    newest, before, *_ = checkpoints(tmp_path / "run")
    damage(newest / name, how)
    started: list[Record] = []
    again = train(tmp_path / "run", resume=True, on_record=started.append)
    assert isinstance(started[0], Started)
    assert started[0].step == int(before.name.split("-")[-1])
    assert f"`{newest.name}` is damaged" in started[0].notes[0]
    assert same(whole, again)


def test_a_run_whose_checkpoints_are_all_damaged_is_an_error(tmp_path: Path) -> None:
    train(tmp_path / "run")
    for path in checkpoints(tmp_path / "run"):
        damage(path / "state.pt", "short")
    with pytest.raises(TrainError) as caught:
        train(tmp_path / "run", resume=True)
    assert caught.value.diagnostic.code == "E0631"
    assert len(caught.value.diagnostic.notes) == len(checkpoints(tmp_path / "run"))


def test_a_run_is_neither_written_over_nor_made_up_nor_changed_nor_lost(tmp_path: Path) -> None:
    train(tmp_path / "run")
    cases: dict[str, dict[str, Any]] = {
        "E0630": {"out": tmp_path / "run"},
        "E0632": {"out": tmp_path / "run", "resume": True, "changed": recipe(batch=8)},
    }
    for code, options in cases.items():
        with pytest.raises(TrainError) as caught:
            train(**options)
        assert caught.value.diagnostic.code == code
    assert caught.value.diagnostic.notes == ("`batch` was 16 and is 8",)
    with pytest.raises(TrainError) as caught:
        train(tmp_path / "elsewhere", resume=True)
    assert caught.value.diagnostic.code == "E0630"
    with pytest.raises(TrainError) as caught:
        train(Path("/dev/null/run"))
    assert caught.value.diagnostic.code == "E0637"


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", recipe(checkpoint_every=2))
    # Die without warning at the worst moment: while the checkpoint of step 6 is being written.
    script = f"""
import os, sys, torch
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_train as t
from netdsl.train import checkpoint
torch.set_num_threads(1)
write = checkpoint.write_synced
def die(path, content):
    write(path, content[: len(content) // 2])
    if "step-00000006" in str(path) and path.name == "state.pt":
        os._exit(9)
    write(path, content)
checkpoint.write_synced = die
t.train(t.Path({str(tmp_path / "parts")!r}), t.recipe(checkpoint_every=2))
"""
    code = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent.parent, check=False
    ).returncode
    assert code == 9
    assert any(p.name.endswith(".partial") for p in (tmp_path / "parts" / "checkpoints").iterdir())
    again = train(tmp_path / "parts", recipe(checkpoint_every=2), resume=True)
    assert same(whole, again)
    assert columns(tmp_path / "whole") == columns(tmp_path / "parts")


# ----------------------------------------------------------------------------------------- what is left


def test_a_run_leaves_everything_behind_that_one_needs_later(tmp_path: Path) -> None:
    records: list[Record] = []
    origin = Origin("Small", "small.net", {"small.net": "model Small {}\n", "parts/a.net": "# a part\n"})
    train(tmp_path, origin=origin, on_record=records.append)
    described = json.loads((tmp_path / "run.json").read_text())
    assert described["recipe"]["optimizer"]["momentum"] == 0.9
    assert described["environment"]["torch"] == torch.__version__
    assert (tmp_path / "spec" / "small.net").read_text() == "model Small {}\n"
    assert (tmp_path / "spec" / "parts" / "a.net").read_text() == "# a part\n"
    assert len(read_history(tmp_path / "history.csv")) == 3
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert [path.name[:10] for path in checkpoints(tmp_path)][:2] == ["epoch-0003", "epoch-0002"]
    assert [type(r) for r in records if isinstance(r, Started | Saved | Stopped)] == [
        Started,
        *[Saved] * 3,
        Stopped,
    ]
    assert not list(tmp_path.rglob("*.partial"))


def test_the_table_has_a_row_an_epoch_and_is_plain_where_it_is_not_a_terminal(tmp_path: Path) -> None:
    from io import StringIO

    from rich.console import Console

    text = StringIO()
    with Display(Console(file=text, width=20), Console(file=StringIO())) as display:
        train(tmp_path, on_record=display)
    lines = text.getvalue().splitlines()
    assert lines[0] == "Small: 308 parameters, 100 samples to train on, 50 to measure on"
    rows = [line for line in lines if line.strip()[:1].isdigit()]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert lines[-1] == "finished after 21 steps"
    assert "\x1b" not in text.getvalue()


def test_a_model_trained_on_digits_reads_them_from_files(tmp_path: Path) -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    changed = recipe(data=Digits(size=8), epochs=15)
    result = run(make, changed, out=tmp_path / "run")
    found = evaluate(make, changed, weights=result.weights)
    assert result.best is not None
    assert found.samples == 360
    assert found.measured["accuracy"] == pytest.approx(result.best.measured["valid_accuracy"])
    assert found.measured["accuracy"] > 0.9
    images = write_images(tmp_path / "digits", 10, size=8)
    predictions = predict(make, changed, images, weights=result.weights)
    right = [p.label == p.path.stem.split("-")[-1] for p in predictions]
    assert sum(right) >= 8
    assert all(sum(p.probabilities.values()) == pytest.approx(1, abs=1e-5) for p in predictions)


def test_weights_and_images_that_are_none_are_errors(tmp_path: Path) -> None:
    train(tmp_path / "run")
    (tmp_path / "text.png").write_text("no image")
    changed = recipe(data=Digits(size=8))
    cases: list[tuple[str, Any]] = [
        (
            "E0633",
            lambda: evaluate(
                lambda: Small(classes=5), recipe(), data=DATA, weights=tmp_path / "run/last.safetensors"
            ),
        ),
        ("E0631", lambda: evaluate(Small, recipe(), data=DATA, weights=tmp_path / "none.safetensors")),
        ("E0631", lambda: evaluate(Small, recipe(), data=DATA, weights=tmp_path / "text.png")),
        ("E0636", lambda: predict(nn.Flatten, changed, [tmp_path / "text.png"])),
        ("E0635", lambda: evaluate(Small, recipe(), data=DATA, device="tpu9")),
    ]
    for code, attempt in cases:
        with pytest.raises((TrainError, WeightsError)) as caught:
            attempt()
        assert caught.value.diagnostic.code == code


@pytest.mark.slow
@pytest.mark.data
def test_an_epoch_of_mnist_learns_to_read(data_folder: Path, tmp_path: Path) -> None:
    class LeNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2, self.fc = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5), nn.Linear(320, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.max_pool2d(self.conv1(x), 2).relu()
            return self.fc(torch.max_pool2d(self.conv2(x), 2).relu().flatten(1))

    digits = recipe(
        data=MNIST(root=str(data_folder)),
        transform=[Normalize(mean=0.1307, std=0.3081)],
        batch=64,
        epochs=1,
        optimizer=SGD(lr=0.01, momentum=0.5),
    )
    result = run(LeNet, digits, out=tmp_path)
    assert result.best is not None
    assert result.best.measured["valid_accuracy"] > 0.95
