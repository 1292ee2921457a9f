"""Every source as its user has it: trained from a `.net` file, gone on with and measured, wherever its samples are kept;
what is held out is not learned from.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
import torch
from PIL import Image
from torch import nn

import netdsl
from netdsl.train import Data, Split, evaluate, recipe_of, run
from netdsl.train.data import (
    Arrays,
    HoldOut,
    ImageFolder,
    Numeric,
    OneHot,
    Points,
    Sequence,
    Source,
    Table,
    Text,
    Tokens,
)
from netdsl.train.data.unread import Held, Unread
from netdsl.train.loading import load_data
from netdsl.train.losses import MSELoss
from netdsl.train.optimizers import SGD
from netdsl.train.recipe import Recipe
from netdsl.train.stream import Stream
from tests import in_runs

RANDOM = numpy.random.default_rng(0)


def recipe(source: Source, **changes: Any) -> Recipe:
    base: dict[str, Any] = {"data": source, "loss": MSELoss(), "optimizer": SGD(lr=0.01)}
    return Recipe(**base | changes)


# ------------------------------------------------------------------------------- every source, trained


def idx(folder: Path, name: str) -> None:
    """Files as those of MNIST."""
    (folder / name / "raw").mkdir(parents=True)
    for part, count in (("train", 40), ("t10k", 20)):
        y = RANDOM.integers(0, 10, count, dtype=numpy.uint8)
        x = RANDOM.integers(0, 256, (count, 28, 28), dtype=numpy.uint8)
        sizes = [numpy.array([k, count, *s], ">i4").tobytes() for k, s in ((2051, (28, 28)), (2049, ()))]
        (folder / name / "raw" / f"{part}-images-idx3-ubyte").write_bytes(sizes[0] + x.tobytes())
        (folder / name / "raw" / f"{part}-labels-idx1-ubyte").write_bytes(sizes[1] + y.tobytes())


def photos(folder: Path) -> None:
    for part, count in (("train", 8), ("val", 4)):
        for name in ("cat", "dog"):
            (folder / "pets" / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = RANDOM.integers(0, 256, (9, 12, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(folder / "pets" / part / name / f"{number}.png")


def masks(folder: Path) -> None:
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(8):
        mask = RANDOM.integers(0, 2, (8, 8), dtype=numpy.uint8) * 255
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
        Image.fromarray(numpy.stack([mask] * 3, 2)).save(folder / "images" / f"{number}.png")


def table(folder: Path) -> None:
    rows = pandas.DataFrame(RANDOM.normal(size=(40, 3)), columns=["a", "b", "c"])
    rows.loc[::7, "b"] = None
    rows["kind"] = ["red", "green"] * 20
    rows["y"] = RANDOM.integers(0, 2, 40)
    rows.to_csv(folder / "t.csv", index=False)
    rows.to_csv(folder / "t.tsv", index=False, sep="\t")
    rows.to_parquet(folder / "t.parquet")


def texts(folder: Path) -> None:
    words = ["good", "bad", "fine", "awful", "so", "it", "is"]
    lines = [f"{n % 2},{' '.join(RANDOM.choice(words, 5))}" for n in range(40)]
    (folder / "reviews.csv").write_text("\n".join(lines))
    (folder / "book.txt").write_text("to be or not to be " * 30)


def arrays(folder: Path) -> None:
    x, y = RANDOM.normal(size=(40, 5)), RANDOM.integers(0, 3, 40)
    numpy.savez(folder / "a.npz", x=x, y=y)


def module(folder: Path) -> None:
    (folder / "of_my_own.py").write_text(
        "import torch\n"
        "class Pairs(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 40\n"
        "    def __getitem__(self, i): return torch.full((4,), i / 40), i % 2\n"
        "def make(): return Pairs()\n"
    )


def nothing(folder: Path) -> None:
    del folder


PICTURES = "input x: [N, {0}, H, W]\n output x -> Conv2d(4, 3) -> ReLU -> AdaptiveAvgPool2d(2) -> Flatten -> Linear({1})"
NUMBERS = "input x: [N, {0}]\n output x -> Linear(8) -> ReLU -> Linear({1})"
FEATURES = 'features = ["a", Numeric(["b", "c"], fill = "mean", flag = True, standardise = True), OneHot("kind", ["red", "green"])]'
ROWS = f'target = "y", classes = 2, {FEATURES}'
CLASSES, VALUES = "loss = CrossEntropyLoss\n metrics = accuracy", "loss = MSELoss"
SYSTEMS: dict[str, tuple[Callable[[Path], None], str, str, str]] = {
    "MNIST": (lambda f: idx(f, "MNIST"), PICTURES.format(1, 10), 'MNIST(root = ".")', CLASSES),
    "FashionMNIST": (lambda f: idx(f, "FashionMNIST"), PICTURES.format(1, 10), 'FashionMNIST(root = ".")', CLASSES),
    "KMNIST": (lambda f: idx(f, "KMNIST"), PICTURES.format(1, 10), 'KMNIST(root = ".")', CLASSES),
    "ImageFolder": (photos, PICTURES.format(3, 2), 'ImageFolder("pets", size = 8)', CLASSES),
    "Segmentation": (
        masks,
        "input x: [N, 3, H, W]\n output x -> Conv2d(2, 3, padding = 1)",
        'Segmentation("images", "masks", values = [0, 255])\n valid = 0.25',
        CLASSES,
    ),
    "Shapes": (
        nothing,
        "input x: [N, 3, H, W]\n output x -> Conv2d(2, 3, padding = 1)",
        "Shapes(count = 10, size = 16)",
        CLASSES,
    ),
    "Digits": (nothing, PICTURES.format(1, 10), "Digits(size = 8)", CLASSES),
    "Iris": (nothing, NUMBERS.format(4, 3), "Iris(standardise = True)", CLASSES),
    "Wine": (nothing, NUMBERS.format(13, 3), "Wine(standardise = True)", CLASSES),
    "BreastCancer": (nothing, NUMBERS.format(30, 2), "BreastCancer(standardise = True)", CLASSES),
    "Diabetes": (nothing, NUMBERS.format(10, 1), "Diabetes", VALUES),
    "Table of CSV": (table, NUMBERS.format(7, 2), f'Table("t.csv", {ROWS})\n valid = 0.25', CLASSES),
    "Table of TSV": (table, NUMBERS.format(7, 2), f'Table("t.tsv", {ROWS})\n valid = 0.25', CLASSES),
    "Table of parquet": (table, NUMBERS.format(7, 2), f'Table("t.parquet", {ROWS})\n valid = 0.25', CLASSES),
    "Sequence": (
        table,
        "input x: [N, 4, 2]\n h = x -> LSTM(4, batch_first = True)\n output h[:, -1] -> Linear(1)",
        'Sequence(Table("t.csv", target = "a", features = ["a", "c"]), window = 4, difference = 1)\n valid = 0.25',
        VALUES,
    ),
    "Text": (
        texts,
        "input ids: int64[N, 6]\n output ids -> Embedding(20, 4) -> mean(dim = 1) -> Linear(2)",
        'Text("reviews.csv", length = 6)\n valid = 0.25',
        CLASSES,
    ),
    "Tokens": (
        texts,
        "input ids: int64[N, 8]\n output ids -> Embedding(7, 4) -> Linear(7) -> transpose(1, 2)",
        'Tokens("book.txt", length = 8)\n valid = 0.25',
        CLASSES,
    ),
    "Arrays": (arrays, NUMBERS.format(5, 3), 'Arrays("a.npz", shape = [5], classes = 3)\n valid = 0.25', CLASSES),
    "Points": (nothing, NUMBERS.format(1, 1), "Points([0, 1, 2, 3], [1, 3, 5, 7])\n valid = Training", VALUES),
    "Synthetic": (nothing, NUMBERS.format(2, 2), 'Synthetic("rings", 60)\n valid = 0.25', CLASSES),
    "Custom": (
        module,
        NUMBERS.format(4, 2),
        'Custom("of_my_own:make", shape = [4], classes = 2)\n valid = 0.25',
        CLASSES,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("what", SYSTEMS)
def test_every_source_trains_goes_on_and_is_measured_the_same(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, body, source, loss = SYSTEMS[what]
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = f"model M {{\n {body}\n}}\ntrain M {{\n data = {source}\n {loss}\n optimizer = Adam(lr = 0.01)\n batch = 8\n}}\n"
    (tmp_path / "m.net").write_text(text)
    model = netdsl.load("m.net", allow_extern=True).M
    whole = netdsl.fit(model, epochs=3, out="whole", threads=1, channels_last=False)
    netdsl.fit(model, epochs=2, out="parts", threads=1, channels_last=False)
    resumed = netdsl.fit(model, epochs=3, out="parts", threads=1, channels_last=False, resume=True)
    assert resumed.last.read_bytes() == whole.last.read_bytes()
    asked = recipe_of(model, epochs=3, channels_last=False)
    found = evaluate(lambda: model(), asked, weights=whole.last).measured
    for name, value in found.items():
        assert value == pytest.approx(whole.epochs[-1].measured[f"valid_{name}"], rel=1e-6), name


def test_what_lies_beside_the_parts_of_an_image_folder_is_no_class(tmp_path: Path) -> None:
    photos(tmp_path)
    for name in ("runs", "extra"):
        (tmp_path / "pets" / name).mkdir()
        Image.new("RGB", (12, 9)).save(tmp_path / "pets" / name / "1.png")
    data = load_data(recipe(ImageFolder(root=str(tmp_path / "pets"))))
    assert (data.names, len(data.train), len(data.valid)) == (("cat", "dog"), 16, 8)


# ----------------------------------------------------------------------------------- what is held out


def numbered(folder: Path, kind: str) -> Source:
    """Sources whose samples can be told apart by their inputs."""
    numpy.savez(folder / "n.npz", x=numpy.arange(40.0)[:, None], y=numpy.arange(40) % 2)
    pandas.DataFrame({"a": range(40), "y": [0, 1] * 20}).to_csv(folder / "n.csv", index=False)
    (folder / "n.txt").write_text("".join(f"{n % 2},w{n}\n" for n in range(40)))
    sources: dict[str, Callable[[], Source]] = {
        "Points": lambda: Points(
            x=tuple(map(float, range(40))), y=tuple(n % 2 for n in range(40)), classes=2
        ),
        "Arrays": lambda: Arrays(path=str(folder / "n.npz"), shape=(1,), classes=2),
        "Table": lambda: Table(path=str(folder / "n.csv"), target="y", classes=2),
        "Text": lambda: Text(
            files=str(folder / "n.txt"), length=1, pad=0, vocabulary=tuple(f"w{n}" for n in range(40))
        ),
    }
    return sources[kind]()


def parts_of(chosen: Recipe) -> tuple[list[float], list[float]]:
    data = load_data(chosen)
    assert isinstance(data.train, Split)
    assert isinstance(data.valid, Split)
    return data.train.x.flatten().tolist(), data.valid.x.flatten().tolist()


@pytest.mark.parametrize("kind", ["Points", "Arrays", "Table", "Text"])
@pytest.mark.parametrize("valid", [0.25, HoldOut(fraction=0.25), HoldOut(fraction=0.25, stratified=True)])
def test_a_split_follows_from_the_seed_and_from_nothing_else(kind: str, valid: Any, tmp_path: Path) -> None:
    source = numbered(tmp_path, kind)
    train, held = parts_of(recipe(source, valid=valid))
    assert (len(train), len(held)) == (30, 10)
    assert sorted(train + held) == list(range(40))
    for changes in ({"epochs": 7}, {"batch": 3}, {"optimizer": SGD(lr=1.0)}, {"shuffle": False}):
        assert parts_of(recipe(source, valid=valid, **changes)) == (train, held), changes
    assert set(parts_of(recipe(source, valid=valid, seed=1))[1]) != set(held)
    if getattr(valid, "stratified", False):
        assert sum(int(number) % 2 for number in held) == 5


@pytest.mark.parametrize("horizon", [1, 3])
def test_no_window_of_a_series_is_learned_from_with_a_target_that_is_held_out(
    horizon: int, tmp_path: Path
) -> None:
    pandas.DataFrame({"t": range(50)}).to_csv(tmp_path / "s.csv", index=False)
    rows = Table(path=str(tmp_path / "s.csv"), target="t", features=("t",))
    data = load_data(recipe(Sequence(table=rows, window=4, horizon=horizon, difference=0), valid=0.3))
    assert isinstance(data.train, Split)
    assert isinstance(data.valid, Split)
    learned = {*data.train.x.flatten().tolist(), *data.train.y.flatten().tolist()}
    assert not learned & set(data.valid.y.flatten().tolist())
    assert max(learned) < min(data.valid.y.flatten().tolist())


def test_tokens_that_are_held_out_are_not_learned_from(tmp_path: Path) -> None:
    numpy.save(tmp_path / "ids.npy", numpy.arange(400))
    source = Tokens(file=str(tmp_path / "ids.npy"), length=8, stride=3, vocabulary=400)
    data = load_data(recipe(source, valid=0.25))
    learned, held = (part.first(len(part)) for part in (data.train, data.valid))
    seen = set(learned.x.flatten().tolist()) | set(learned.y.flatten().tolist())
    assert not seen & set(held.y.flatten().tolist())


@pytest.mark.parametrize("valid", [0.25, HoldOut(fraction=0.25), HoldOut(fraction=0.25, shuffle=False)])
def test_preprocessing_is_the_same_whatever_is_held_out_holds(valid: Any, tmp_path: Path) -> None:
    """Other values in what is held out, among them gaps, change neither what was learned nor the training part."""
    frame = pandas.DataFrame({"a": RANDOM.normal(size=40), "c": ["x", "y"] * 20, "y": RANDOM.normal(size=40)})
    frame.loc[::5, "a"] = None
    features = (
        Numeric(column="a", fill="median", flag=True, standardise=True),
        OneHot(column="c", handle_unknown="ignore"),
    )
    frame.insert(0, "row", range(40))

    def of(frame: pandas.DataFrame) -> Data:
        frame.to_csv(tmp_path / "t.csv", index=False)
        source = Table(path=str(tmp_path / "t.csv"), target="row", features=features)
        return load_data(recipe(source, valid=valid))

    before = of(frame)
    assert isinstance(before.valid, Split)
    assert isinstance(before.train, Split)
    changed = frame.copy()
    held = before.valid.y.long().tolist()
    changed.loc[held, "a"] = 1e6
    changed.loc[held, "c"] = "new"
    after = of(changed)
    assert isinstance(after.train, Split)
    assert after.fitted == before.fitted
    assert torch.equal(after.train.x, before.train.x)
    planted = frame.copy()
    planted.loc[before.train.y.long().tolist()[0], "a"] = 1e6
    assert of(planted).fitted != before.fitted  # so the comparison can fail


# --------------------------------------------------------------------------- resident or read when due


@pytest.mark.parametrize("what", ["Table of CSV", "Text", "Sequence"])
def test_numbers_that_do_not_fit_train_the_same_weights(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, body, source, loss = SYSTEMS[what]
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = f"model M {{\n {body}\n}}\ntrain M {{\n data = {source}\n {loss}\n optimizer = Adam(lr = 0.01)\n batch = 8\n epochs = 3\n}}\n"
    (tmp_path / "m.net").write_text(text)
    model = netdsl.load("m.net").M
    asked = recipe_of(model)
    kept = load_data(asked)
    assert isinstance(kept.train, Split)
    assert isinstance(kept.valid, Split)
    due = Data(Unread(Held(kept.train)), Unread(Held(kept.valid)), kept.classes, kept.names, kept.fitted)
    one, other = (
        run(lambda: model(), asked, data=data, out=tmp_path / name, threads=1)
        for name, data in (("kept", kept), ("due", due))
    )
    assert one.last.read_bytes() == other.last.read_bytes()
    assert [e.measured for e in one.epochs] == [e.measured for e in other.epochs]


ROOT = Path(__file__).parent.parent
MEASURED = """
import re, sys
from pathlib import Path
import torch
from torch import nn
from netdsl.train import run
from netdsl.train.data import Custom
from netdsl.train.losses import CrossEntropyLoss
from netdsl.train.optimizers import SGD
from netdsl.train.recipe import Recipe

class Large(torch.utils.data.Dataset):
    def __len__(self): return 1200
    def __getitem__(self, i): return torch.full((3, 128, 128), i % 256, dtype=torch.uint8).float(), i % 2

def make(): return Large(), torch.utils.data.Subset(Large(), range(100))

if __name__ == "__main__":
    data = Custom(factory="large:make", shape=(3, 128, 128), classes=2, test=True)
    asked = Recipe(data=data, loss=CrossEntropyLoss(), optimizer=SGD(lr=1e-9), batch=32, epochs=1)
    net = lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    found = run(net, asked, out=sys.argv[1], memory_budget=int(sys.argv[2]), threads=1)
    # Of this program alone: `ru_maxrss` begins with what the process had that started it.
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    print(peak // 1000, found.epochs[-1].measured)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_what_does_not_fit_the_budget_is_not_in_memory(tmp_path: Path) -> None:
    """236 MB of samples, kept and read when they are due: the numbers are the same, and the memory is not."""
    (tmp_path / "large.py").write_text(MEASURED)
    found: list[tuple[int, str]] = []
    for name, budget in (("kept", 10**10), ("due", 10**7)):
        command = [sys.executable, "large.py", name, str(budget)]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        memory, _, measured = done.stdout.partition(" ")
        found.append((int(memory), measured))
    assert found[0][1] == found[1][1]
    assert found[0][0] - found[1][0] > 150, found


def test_readers_end_when_they_are_told_also_where_a_cycle_of_garbage_held_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count, join = 61, BaseProcess.join
    ended: list[int | None] = []

    def joined(process: BaseProcess, timeout: float | None = None) -> None:
        join(process, timeout)
        ended.append(process.exitcode)  # None where it was waited for in vain

    def rows(epoch: int, number: int) -> torch.Tensor:
        del epoch
        return torch.arange(8 * number, min(8 * number + 8, count))

    before = set(active_children())
    stream: Any = Stream(in_runs.data("stream").train, rows, 8, torch.device("cpu"))
    stream.at(0, 0)
    stream.itself = stream
    assert len(set(active_children()) - before) == stream.workers > 0
    monkeypatch.setattr(BaseProcess, "join", joined)
    del stream
    gc.collect()
    assert set(ended) == {0}


# ------------------------------------------------------------------------------------ several outputs

TWO = """
model M {
  input x: [N, 4]
  h = x -> body: Linear(6) -> Tanh
  output scores = h -> head: Linear(3)
  output early = x -> aux: Linear(3) when training
}
train M {
  data = Iris(standardise = True)
  loss = CrossEntropyLoss
  optimizer = SGD(lr = 0.5)
  metrics = accuracy
  batch = 120
  epochs = 1
  shuffle = False
  %s
}
"""


def test_the_losses_of_auxiliary_outputs_count_by_their_weights(tmp_path: Path) -> None:
    model = netdsl.loads(TWO % "aux_weight = 0.3").M
    torch.manual_seed(0)
    hand = model()
    result = netdsl.fit(model, out=tmp_path / "run", threads=1)
    data = load_data(recipe_of(model))
    assert isinstance(data.train, Split)
    optimizer = torch.optim.SGD(hand.parameters(), lr=0.5)
    scores, early = hand.train()(data.train.x)
    loss = nn.functional.cross_entropy(scores, data.train.y)
    loss = loss + 0.3 * nn.functional.cross_entropy(early, data.train.y)
    loss.backward()
    optimizer.step()
    assert result.epochs[0].measured["train_loss"] == pytest.approx(loss.item(), rel=1e-6)
    trained = model()
    netdsl.load_weights(trained, result.last)
    for (name, a), (_, b) in zip(hand.named_parameters(), trained.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, msg=name)
    # What it is measured by is the first output alone.
    hand.eval()
    first = hand(data.valid.first(99).x)[0]
    assert result.epochs[0].measured["valid_loss"] == pytest.approx(
        nn.functional.cross_entropy(first, data.valid.first(99).y).item(), rel=1e-5
    )


@pytest.mark.parametrize(
    ("says", "code", "words"),
    [
        ("", "E0615", "`early`"),
        ("aux_weight = [0.3, 0.3]", "E0608", "2 numbers"),
        ("aux_weight = -1", "E0604", "at least 0"),
    ],
)
def test_auxiliary_outputs_need_a_weight_each(says: str, code: str, words: str) -> None:
    model = netdsl.loads(TWO % says).M
    with pytest.raises(netdsl.NetError) as caught:
        recipe_of(model)
    assert [problem.code for problem in caught.value.report.errors] == [code]
    assert words in str(caught.value)


def test_a_weight_for_outputs_that_are_not_there_is_refused() -> None:
    text = (TWO % "aux_weight = 0.3").replace(" when training", "").replace("output early = ", "early = ")
    with pytest.raises(netdsl.NetError, match="has one output") as caught:
        recipe_of(netdsl.loads(text).M)
    assert [problem.code for problem in caught.value.report.errors] == ["E0608"]


@pytest.mark.parametrize(
    ("name", "size", "head"),
    [
        ("googlenet:GoogLeNet", 64, "aux1.fc2.weight"),
        ("inception_v3:Inception_V3", 299, "AuxLogits.fc.weight"),
    ],
)
@pytest.mark.slow
def test_nets_with_auxiliary_heads_can_be_trained(name: str, size: int, head: str, tmp_path: Path) -> None:
    file, _, kind = name.partition(":")
    text = f'import {kind} from "std/{file}.net"\nmodel M = {kind}(classes = 4)\n'
    text += "train M { loss = CrossEntropyLoss\n optimizer = SGD(lr = 0.1)\n steps = 1\n batch = 4\n aux_weight = 0.4 }"
    model = netdsl.loads(text).M
    part = Split(torch.randn(4, 3, size, size), torch.arange(4))
    torch.manual_seed(0)
    before = model().state_dict()[head]
    result = netdsl.fit(model, data=Data(part, part, 4), out=tmp_path / "run", threads=1)
    trained = model()
    netdsl.load_weights(trained, result.last)
    assert not torch.equal(trained.state_dict()[head], before)
