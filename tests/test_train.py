"""The trainer: recipes are checked, runs are reproducible, resumable and safe, and models learn."""

from __future__ import annotations

import inspect
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
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from netdsl.diagnostics import Report
from netdsl.ir.dims import symbol
from netdsl.ir.types import Tensor as TensorType
from netdsl.train import Display, TrainError, evaluate, predict, run
from netdsl.train.batches import Batches
from netdsl.train.checkpoint import checkpoints
from netdsl.train.data import MNIST, SOURCES, Data, Digits, Split
from netdsl.train.data.digits import write_images
from netdsl.train.fit import fit
from netdsl.train.history import read_history
from netdsl.train.losses import LOSSES, BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from netdsl.train.metrics import Accuracy, F1Score, MeanAbsoluteError, MeanSquaredError
from netdsl.train.optimizers import OPTIMIZERS, SGD, Adam
from netdsl.train.recipe import KEYS, LATER, Recipe, read_recipe
from netdsl.train.records import Epoch, Record, Saved, Started, Step, Stopped
from netdsl.train.schedules import SCHEDULES
from netdsl.train.settings import Choice, Setting
from netdsl.train.state import Run
from netdsl.train.transforms import AUGMENTATIONS, TRANSFORMS, Normalize, RandomCrop, RandomHorizontalFlip

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


def train(out: Path, changed: Recipe | None = None, **options: Any) -> dict[str, Tensor]:
    """The weights at the end of a run in `out`."""
    run(Small, changed or recipe(), out=out, **{"data": DATA} | options)
    return load_file(out / "last.safetensors")


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


# --------------------------------------------------------------------------------------- recipes, without data


def read(**changes: Any) -> tuple[Recipe | None, list[tuple[str, str]]]:
    """The recipe of the first look of the language, changed, for a model [N, 1, 28, 28] -> [N, 10]."""
    shapes = {name: changes.pop(name, shape) for name, shape in (("x", (N, 1, 28, 28)), ("y", (N, 10)))}
    values: dict[str, Any] = {
        "data": Choice("MNIST", {"root": "data"}),
        "transform": Choice("Normalize", positional=[0.1307, 0.3081]),
        "batch": 64,
        "loss": Choice("CrossEntropyLoss"),
        "optimizer": Choice("SGD", {"lr": 0.01, "momentum": 0.5}),
        "metrics": [Choice("accuracy")],
    }
    report = Report()
    settings = {key: Setting(value) for key, value in (values | changes).items() if value != "absent"}
    found = read_recipe(
        settings, report, inputs=[TensorType(shapes["x"])], outputs=[TensorType(shapes["y"])], model="Net"
    )
    assert (found is None) == report.has_errors
    return found, [(d.code, d.message) for d in report]


def test_a_recipe_is_read_as_it_is_written() -> None:
    found, problems = read(schedule=Choice("StepLR", {"step_size": 3}), early_stop=5, precision=Choice("bf16"))
    assert problems == []
    assert found is not None
    assert (found.batch, found.epochs, found.early_stop, found.precision) == (64, 10, 5, "bf16")
    assert found.optimizer == SGD(lr=0.01, momentum=0.5)
    assert found.data == MNIST(root="data")
    assert found.monitored == ("valid_accuracy", True)
    assert [found.rate(epoch) for epoch in (0, 2, 3)] == pytest.approx([0.01, 0.01, 0.001])


REFUSED = {
    "E0601": {"bathc": 64},
    "E0602": {"compile": True},
    "E0603": {"optimizer": "absent"},
    "E0604": {"batch": 0},
    "E0605": {"optimizer": Choice("SDG", {"lr": 0.1})},
    "E0606": {"optimizer": Choice("SGD", {"learning_rate": 0.1})},
    "E0607": {"optimizer": Choice("SGD", {"lr": "fast"})},
    "E0608": {"steps": 10, "epochs": 10},
    "E0610": {"y": (N, 10, 1, 1)},
    "E0611": {"y": (N, 100)},
    "E0612": {"x": (N, 3, 32, 32)},
    "E0613": {"loss": Choice("MSELoss")},
    "E0614": {"metrics": [Choice("mean_squared_error")]},
    "E0616": {"monitor": "valid_f1_score"},
    "E0617": {"transform": Choice("Normalize", positional=[[0.1, 0.2, 0.3], 0.3])},
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_mistake_in_a_recipe_is_one_problem_with_its_code(code: str) -> None:
    found, problems = read(**REFUSED[code])
    assert found is None
    assert [c for c, _ in problems] == [code]


@pytest.mark.parametrize(
    "value", [-1, 0, 1.5, "many", True, None, [], [1, 2], Choice("Whatever"), float("nan"), float("inf")]
)
@pytest.mark.parametrize("key", [*KEYS, *LATER])
def test_no_value_of_a_key_escapes_the_check(key: str, value: Any) -> None:
    found, problems = read(**{key: value})
    assert found is not None or all(code.startswith("E06") for code, _ in problems)


@given(st.text(max_size=12), st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_no_argument_of_a_class_escapes_the_check(name: str, value: Any) -> None:
    for family in (LOSSES, OPTIMIZERS, SCHEDULES, TRANSFORMS, AUGMENTATIONS, SOURCES):
        for kind, member in family.members.items():
            report = Report()
            for argument in (name, *member.model_fields):
                from netdsl.train.component import construct

                construct(Choice(kind, {argument: value}), family, report)
            assert all(d.code in ("E0606", "E0607") for d in report)


def test_every_problem_of_a_recipe_is_reported_at_once() -> None:
    _, problems = read(bathc=1, loss=Choice("CrossEntropy"), optimizer=Choice("SGD", {"lr": -1, "momentun": 0}))
    assert [code for code, _ in problems] == ["E0605", "E0606", "E0601"]


def test_every_code_of_the_trainer_has_a_page() -> None:
    package = Path(inspect.getfile(Recipe)).parent
    text = "".join(path.read_text() for path in package.rglob("*.py"))
    pages = package.parent / "diagnostics" / "pages"
    codes = {text[i + 1 : i + 6] for i in range(len(text)) if text.startswith('"E06', i)}
    assert len(codes) > 20
    for code in codes:
        assert (pages / f"{code}.md").read_text().startswith(f"# {code}: ")


# ----------------------------------------------------------------------------- the classes that a recipe names

LEFT_OUT = {"size_average", "reduce", "capturable", "differentiable", "params", "optimizer", "last_epoch"}


@pytest.mark.parametrize(
    ("family", "home"),
    [(LOSSES, nn), (OPTIMIZERS, torch.optim), (SCHEDULES, torch.optim.lr_scheduler)],
    ids=["losses", "optimizers", "schedules"],
)
def test_arguments_and_defaults_are_those_of_torch(family: Any, home: Any) -> None:
    for kind, member in family.members.items():
        theirs = {
            name: parameter.default
            for name, parameter in inspect.signature(getattr(home, kind)).parameters.items()
            if name not in LEFT_OUT
        }
        ours = {
            name: inspect.Parameter.empty if field.is_required() else field.default
            for name, field in member.model_fields.items()
        }
        assert ours == theirs, kind
        positional = [name for name in ours if name not in member.keyword_only]
        assert positional == [name for name in theirs if name in positional], kind


def test_a_schedule_gives_the_rates_of_torchs_own() -> None:
    arguments = {
        "StepLR": {"step_size": 3, "gamma": 0.5},
        "MultiStepLR": {"milestones": (2, 5, 5), "gamma": 0.5},
        "ExponentialLR": {"gamma": 0.9},
        "CosineAnnealingLR": {"T_max": 7, "eta_min": 0.01},
        "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2},
    }
    for kind, member in SCHEDULES.members.items():
        given_ = arguments.get(kind, {})
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
        theirs = getattr(torch.optim.lr_scheduler, kind)(optimizer, **given_)
        ours = member(**given_)
        for epoch in range(20):
            assert ours.rate(0.3, epoch) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12), (kind, epoch)
            optimizer.step()
            theirs.step()


@pytest.mark.parametrize("kind", OPTIMIZERS.members)
def test_every_optimizer_makes_the_loss_smaller(kind: str) -> None:
    changed = recipe(optimizer=OPTIMIZERS.members[kind](lr=0.01), epochs=5, metrics=[])
    losses = [r.measured["train_loss"] for r in fit(Run(Small(), changed, DATA, CPU)) if isinstance(r, Epoch)]
    assert losses[-1] < losses[0]


def test_transforms_agree_with_torchvisions() -> None:
    from torchvision.transforms import v2

    x = torch.rand(5, 3, 12, 10)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("Normalize", {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}),
        ("Resize", {"size": (8, 9)}),
        ("Resize", {"size": 7}),
        ("CenterCrop", {"size": 7}),
        ("Pad", {"padding": (1, 2, 3, 4), "fill": 0.5}),
        ("Grayscale", {"num_output_channels": 3}),
    ]
    for kind, arguments in cases:
        ours = TRANSFORMS.members[kind](**arguments)
        theirs = getattr(v2, kind)(**{k: list(v) if isinstance(v, tuple) else v for k, v in arguments.items()})
        found = ours.on(CPU)(x.clone())
        torch.testing.assert_close(found, theirs(x), atol=1e-6, rtol=1e-5)
        assert ours.shape((3, 12, 10)) == tuple(found.shape[1:])


def test_augmentations_draw_for_every_sample_and_keep_its_pixels() -> None:
    x = torch.arange(36.0).view(1, 1, 6, 6).repeat(64, 1, 1, 1)
    flipped = RandomHorizontalFlip().apply(x, torch.Generator().manual_seed(0))
    turned = [torch.equal(image, x[0].flip(-1)) for image in flipped]
    assert 16 < sum(turned) < 48
    assert all(t or torch.equal(image, x[0]) for t, image in zip(turned, flipped, strict=True))
    crops = RandomCrop(size=4).apply(x, torch.Generator().manual_seed(0))
    assert len({float(image[0, 0, 0]) for image in crops}) == 9
    windows = {tuple(x[0, 0, i : i + 4, j : j + 4].flatten().tolist()) for i in range(3) for j in range(3)}
    assert {tuple(image.flatten().tolist()) for image in crops} == windows


def test_metrics_are_those_of_the_whole_set_whatever_the_batches() -> None:
    from sklearn.metrics import f1_score

    output, target = torch.randn(37, 5), torch.randint(5, (37,))
    values = torch.randn(37, 5)
    expected = {
        Accuracy(): float((output.argmax(1) == target).double().mean()),
        Accuracy(top_k=2): float((output.topk(2).indices == target[:, None]).any(1).double().mean()),
        F1Score(): f1_score(target, output.argmax(1), average="macro"),
        F1Score(average="micro"): f1_score(target, output.argmax(1), average="micro"),
        MeanSquaredError(squared=False): float((output - values).square().mean().sqrt()),
        MeanAbsoluteError(): float((output - values).abs().mean()),
    }
    for metric, value in expected.items():
        tally = metric.tally(output)
        for part in (slice(0, 16), slice(16, 32), slice(32, 37)):
            metric.add(tally, output[part], (target if metric.targets == "classes" else values)[part])
        assert metric.value(tally, 37) == pytest.approx(value, rel=1e-5), metric


# ------------------------------------------------------------------------------------------------------- data


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
    assert tuple(data.train.x.shape[1:]) == source.sample().image
    assert data.train.x.dtype == torch.uint8
    assert int(data.train.x.max()) > 250
    assert sorted(set(data.valid.y.tolist())) == list(range(source.sample().classes))


def test_data_that_is_not_there_is_an_error_that_names_both_places(tmp_path: Path) -> None:
    changed = recipe(data=MNIST(root="nowhere"), folder=tmp_path / "project")
    with pytest.raises(TrainError) as caught:
        run(Small, changed, out=tmp_path / "run")
    found = caught.value.diagnostic
    assert found.code == "E0620"
    assert str(tmp_path / "project" / "nowhere") in found.notes[0]
    assert str(Path.cwd() / "nowhere") in found.notes[0]
    assert "download = True" in found.helps[0]


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
    misfits = {
        "E0611": lambda: Small(classes=7),
        "E0612": lambda: Small(channels=3),
        "E0610": lambda: nn.Conv2d(1, 4, 3),
        "E0615": nn.Flatten,
    }
    for code, make in misfits.items():
        with pytest.raises(TrainError) as caught:
            run(make, recipe(), data=DATA, out=tmp_path / code)
        assert caught.value.diagnostic.code == code


# -------------------------------------------------------------------------------------------------------- runs


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


@pytest.mark.parametrize("what", HARD)
@pytest.mark.parametrize("step", [3, 7, 14])
def test_a_resumed_run_is_the_same_run(what: str, step: int, tmp_path: Path) -> None:
    changed = recipe(**HARD[what], log_every=1)
    whole = train(tmp_path / "whole", changed)
    parts = tmp_path / "parts"
    stopped = run(Small, changed, data=DATA, out=parts, on_record=stop_after(step))
    assert (stopped.reason, stopped.step) == ("interrupted", step)
    assert same(whole, train(parts, changed, resume=True))
    assert same(load_file(tmp_path / "whole" / "best.safetensors"), load_file(parts / "best.safetensors"))
    assert columns(tmp_path / "whole") == columns(parts)


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", recipe(epochs=5))
    train(tmp_path / "parts", recipe(epochs=2))
    assert same(whole, train(tmp_path / "parts", recipe(epochs=5), resume=True))


def test_one_batch_can_be_learned_by_heart() -> None:
    few = Data(stripes(16), DATA.valid, 4)
    changed = recipe(epochs=150, transform=[])
    records = [r for r in fit(Run(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), changed, few, CPU))]
    assert [r for r in records if isinstance(r, Epoch)][-1].measured["train_accuracy"] == 1


def test_accumulated_batches_step_as_one_large_one() -> None:
    weights = []
    for changes in ({"batch": 8, "accumulate": 4}, {"batch": 32}):
        torch.manual_seed(0)
        state = Run(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), recipe(**changes), DATA, CPU)
        assert [r for r in fit(state) if isinstance(r, Stopped)][0].step == 12
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
    rising = recipe(optimizer=SGD(lr=0.05), epochs=50, early_stop=3, monitor="valid_loss")
    result = run(Small, rising, data=DATA, out=tmp_path / "run")
    losses = [epoch.measured["valid_loss"] for epoch in result.epochs]
    assert result.reason == "early stop"
    assert result.best is not None
    assert result.best.measured["valid_loss"] == min(losses)
    assert len(losses) == losses.index(min(losses)) + 1 + 3
    kept = evaluate(Small, rising, data=DATA, weights=result.weights)
    assert kept.measured["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_a_loss_that_is_no_number_ends_the_run_and_names_step_and_checkpoint(tmp_path: Path) -> None:
    x = stripes(160).x.float()
    spoiled = Data(Split(x, stripes(160).y), Split(x[:8], stripes(160).y[:8]), 4)
    wild = recipe(optimizer=SGD(lr=1e9), transform=[], epochs=20)
    with pytest.raises(TrainError) as caught:
        run(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 4)), wild, data=spoiled, out=tmp_path)
    found = caught.value.diagnostic
    assert found.code == "E0634"
    assert "the loss of step" in found.message
    for path in checkpoints(tmp_path):
        assert path.name in found.notes[0] or len(checkpoints(tmp_path)) > 1
        assert all(bool(w.isfinite().all()) for w in load_file(path / "weights.safetensors").values())


# ------------------------------------------------------------------------------------------------- checkpoints


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


@pytest.mark.parametrize("how", ["missing", "short", "flipped"])
@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "manifest.json"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(name: str, how: str, tmp_path: Path) -> None:
    whole = train(tmp_path / "run")
    newest, before = checkpoints(tmp_path / "run")
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
    assert len(caught.value.diagnostic.notes) == 2


def test_a_run_is_neither_written_over_nor_made_up_nor_changed(tmp_path: Path) -> None:
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
    code = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent.parent, check=False).returncode
    assert code == 9
    assert any(p.name.endswith(".partial") for p in (tmp_path / "parts" / "checkpoints").iterdir())
    again = train(tmp_path / "parts", recipe(checkpoint_every=2), resume=True)
    assert same(whole, again)
    assert columns(tmp_path / "whole") == columns(tmp_path / "parts")


# ---------------------------------------------------------------------------------------------- what is left


def test_a_run_leaves_everything_behind_that_one_needs_later(tmp_path: Path) -> None:
    records: list[Record] = []
    train(tmp_path, spec="model Small {}\n", on_record=records.append)
    described = json.loads((tmp_path / "run.json").read_text())
    assert described["recipe"]["optimizer"]["momentum"] == 0.9
    assert described["environment"]["torch"] == torch.__version__
    assert (tmp_path / "spec.net").read_text() == "model Small {}\n"
    assert len(read_history(tmp_path / "history.csv")) == 3
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len(checkpoints(tmp_path)) == 2
    assert [type(r) for r in records if isinstance(r, Started | Saved | Stopped)] == [Started, *[Saved] * 3, Stopped]
    assert not list(tmp_path.rglob("*.partial"))


def test_the_table_has_a_row_an_epoch_and_is_plain_where_it_is_not_a_terminal(tmp_path: Path) -> None:
    from io import StringIO

    from rich.console import Console

    text = StringIO()
    with Display(Console(file=text, width=20), Console(file=StringIO())) as display:
        train(tmp_path, on_record=display)
    lines = text.getvalue().splitlines()
    assert lines[0] == "Small: 312 parameters, 100 samples to train on, 50 to measure on"
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
        ("E0633", lambda: evaluate(lambda: Small(classes=5), recipe(), data=DATA, weights=tmp_path / "run/last.safetensors")),
        ("E0631", lambda: evaluate(Small, recipe(), data=DATA, weights=tmp_path / "none.safetensors")),
        ("E0631", lambda: evaluate(Small, recipe(), data=DATA, weights=tmp_path / "text.png")),
        ("E0636", lambda: predict(nn.Flatten, changed, [tmp_path / "text.png"])),
        ("E0635", lambda: evaluate(Small, recipe(), data=DATA, device="tpu9")),
    ]
    for code, attempt in cases:
        with pytest.raises(TrainError) as caught:
            attempt()
        assert caught.value.diagnostic.code == code


def test_reading_a_recipe_loads_no_torch() -> None:
    script = "import sys, netdsl.train.recipe; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'sklearn')))"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent.parent, check=False).returncode == 0


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
