"""Sources that are numbers: tables, series, arrays and what is drawn; how they are divided, encoded and refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
import torch
from torch import Tensor, nn

from netdsl.diagnostics import Report
from netdsl.elaborate.settings import Choice
from netdsl.source import Source as Text
from netdsl.train import TrainError, evaluate, run
from netdsl.train.checkpoint import newest_checkpoint, preprocessing_beside
from netdsl.train.component import construct
from netdsl.train.data import (
    SOURCES,
    Arrays,
    BreastCancer,
    Data,
    Diabetes,
    HoldOut,
    Iris,
    Missing,
    Numeric,
    OneHot,
    Points,
    Sequence,
    Source,
    Synthetic,
    Table,
    Training,
    Wine,
)
from netdsl.train.loading import load_data
from netdsl.train.losses import CrossEntropyLoss, MSELoss
from netdsl.train.optimizers import SGD, Adam
from netdsl.train.recipe import Recipe

PEOPLE = """\
name,age,city,port,rich
"Lee, Ann",30,Rome,S,1
Bo,,Oslo,C,0
Cy,50,Rome,,1
Di,20,Lima,S,0
Ed,40,Oslo,C,1
Flo,10,Rome,S,0
"""
FEATURES = (
    OneHot(column="city"),
    Numeric(column="age", fill="mean", flag=True, standardise=True),
    OneHot(column="port", categories=("C", "S"), missing=True),
    Missing(column="port"),
)
ALL_CITIES = OneHot(column="city", categories=("Lima", "Oslo", "Rome"))


def recipe(source: Source, **changes: Any) -> Recipe:
    base: dict[str, Any] = {"data": source, "loss": MSELoss(), "optimizer": SGD(lr=0.01)}
    return Recipe(**base | changes)


def people(folder: Path, text: str = PEOPLE, **changes: Any) -> Table:
    (folder / "people.csv").write_text(text)
    base: dict[str, Any] = {
        "path": str(folder / "people.csv"),
        "target": "rich",
        "classes": 2,
        "features": FEATURES,
    }
    return Table(**base | changes)


def refused(source: Source, **changes: Any) -> TrainError:
    with pytest.raises(TrainError) as caught:
        load_data(recipe(source, **{"valid": Training()} | changes))
    return caught.value


# --------------------------------------------------------------------------------------------- encoding


def test_columns_become_what_the_features_say(tmp_path: Path) -> None:
    table = people(tmp_path)
    data = load_data(recipe(table, valid=Training()))
    ages = numpy.array([30, 30, 50, 20, 40, 10.0])
    expected = numpy.stack(
        [
            *(
                [float(c == city) for c in ("Rome", "Oslo", "Rome", "Lima", "Oslo", "Rome")]
                for city in ("Lima", "Oslo", "Rome")
            ),
            (ages - ages.mean()) / ages.std(),
            [0, 1, 0, 0, 0, 0],
            *([float(p == port) for p in ("S", "C", "", "S", "C", "S")] for port in ("C", "S", "")),
            [0, 0, 1, 0, 0, 0],
        ],
        axis=1,
    )
    torch.testing.assert_close(data.train.x, torch.from_numpy(expected).float())
    assert data.train.y.tolist() == [1, 0, 1, 0, 1, 0]
    assert data.fitted is not None
    assert table.input_names(data.fitted) == (
        "city = Lima",
        "city = Oslo",
        "city = Rome",
        "age",
        "age missing",
        "port = C",
        "port = S",
        "port missing",
        "port missing",
    )


def test_preprocessing_learns_of_the_training_part_alone(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("name,age,city,port,rich\nX,1000,Rome,S,1\nY,,Oslo,C,0\n")
    data = load_data(recipe(people(tmp_path, test=str(tmp_path / "test.csv"))))
    assert data.fitted is not None
    facts = data.fitted["learned"][1][0]
    assert facts["fill"] == facts["mean"] == 30.0
    assert data.valid.x[1, 3] == 0.0
    assert float(data.valid.x[0, 3]) == pytest.approx(970 / facts["scale"])


def test_preprocessing_does_not_see_what_is_held_out(tmp_path: Path) -> None:
    table = people(tmp_path, features=(FEATURES[1],))
    data = load_data(recipe(table, valid=HoldOut(fraction=0.34, shuffle=False)))
    assert data.fitted is not None
    facts = data.fitted["learned"][0][0]
    assert facts["fill"] == facts["mean"] == pytest.approx((30 + 50 + 20) / 3)
    assert float(data.valid.x[0, 0]) == pytest.approx((40 - facts["mean"]) / facts["scale"])


def test_what_was_learned_is_plain_data_and_gives_the_same_numbers(tmp_path: Path) -> None:
    features = (ALL_CITIES, *FEATURES[1:])
    table = people(tmp_path, features=features)
    first = load_data(recipe(table, valid=0.5, seed=3))
    saved = json.loads(json.dumps(first.fitted))
    other = load_data(recipe(table, valid=0.5, seed=4), fitted=saved)
    whole = table.inputs(table.path, [], saved)
    for part in (first.train, first.valid, other.train, other.valid):
        assert all(any(torch.equal(row, each) for each in whole) for row in part.x)
    fewer = people(tmp_path, features=features[:3])
    with pytest.raises(TrainError) as caught:
        load_data(recipe(fewer, valid=0.5), fitted=saved)
    assert caught.value.diagnostic.code == "E0655"


def test_a_table_reads_the_same_whatever_it_is_written_as(tmp_path: Path) -> None:
    frame = pandas.DataFrame(
        {"a": [1, 2, 3, 4], "b": [0.5, None, 2.5, 1e-3], "c": ["x", "y", None, "x"], "y": [1.0, 2, 3, 4]}
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    frame.to_csv(tmp_path / "semi.csv", index=False, sep=";", encoding="utf-8-sig", lineterminator="\r\n")
    frame.to_parquet(tmp_path / "t.parquet")
    features = (OneHot(column="a"), Numeric(column="b", fill=0.0), OneHot(column="c", missing=True))
    ways = {"t.csv": None, "t.tsv": None, "t.csv.gz": None, "semi.csv": ";", "t.parquet": None}
    found = [
        load_data(
            recipe(
                Table(path=str(tmp_path / name), target="y", features=features, delimiter=d), valid=Training()
            )
        )
        for name, d in ways.items()
    ]
    assert all(torch.equal(one.train.x, found[0].train.x) for one in found)
    assert found[0].train.x.shape == (4, 8)
    assert all(torch.equal(one.train.y, found[0].train.y) for one in found)


def test_without_features_every_other_column_is_one(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("1,2,0\n3,4,1\n")
    source = Table(path=str(tmp_path / "t.csv.gz"), target=-1, header=False, classes=2)
    assert source.sample().input.shape == (None,)
    data = load_data(recipe(source, valid=Training()))
    assert data.train.x.tolist() == [[1, 2], [3, 4]]
    assert data.train.y.tolist() == [0, 1]


def test_the_number_of_inputs_is_known_before_the_file_is_read() -> None:
    features = (*FEATURES[1:], Numeric(column=("a", "b")), "c")
    source = Table(path="nowhere.csv", target=["y", "z"], features=features)
    assert source.sample().input.shape == (2 + 3 + 1 + 2 + 1,)
    assert source.sample().target.shape == (2,)
    assert Table(path="nowhere.csv", target="y", features=FEATURES).sample().input.shape == (None,)


# --------------------------------------------------------------------------------------------- refusals


def changed(old: str, new: str) -> str:
    assert old in PEOPLE
    return PEOPLE.replace(old, new, 1)


BROKEN: dict[str, tuple[str, str, Callable[[Path], Source]]] = {
    "no file": ("E0620", "people.csv", lambda f: Table(path=str(f / "peple.csv"), target="rich")),
    "bytes that are no text": ("E0621", "UTF-8", lambda f: _bytes(f, b"a,b\n\xff\xfe,1\n")),
    "packed and cut off": ("E0621", "cannot be read", lambda f: _bytes(f, gzip.compress(PEOPLE.encode())[:40], "p.csv.gz")),
    "no parquet": ("E0621", "cannot be read", lambda f: _bytes(f, b"PAR1 not really", "p.parquet")),
    "empty": ("E0651", "is empty", lambda f: people(f, "")),
    "header alone": ("E0651", "no rows", lambda f: people(f, PEOPLE.splitlines()[0] + "\n")),
    "short row": ("E0651", "line 3", lambda f: people(f, changed("Bo,,Oslo,C,0", "Bo,,Oslo,C"))),
    "long row": ("E0651", "line 2", lambda f: people(f, changed('"Lee, Ann"', "Lee, Ann"))),
    "column twice": ("E0651", "two columns `city`", lambda f: people(f, changed("port", "city"))),
    "other delimiter": ("E0651", 'delimiter = ";"', lambda f: people(f, PEOPLE.replace(",", ";"))),
    "no header": ("E0651", "header = False", lambda f: people(f, "1,2\n3,4\n")),
    "no such column": ("E0652", "`age`", lambda f: people(f, features=("aeg",))),
    "no such target": ("E0652", "`rich`", lambda f: people(f, target="Rich")),
    "no such number": ("E0652", "number 9", lambda f: people(f, features=(9,))),
    "text as a number": ("E0653", 'OneHot("city")', lambda f: people(f, features=("city",))),
    "text as a target": ("E0653", "classes = [", lambda f: people(f, target="city", classes=None, features=("rich",))),
    "infinite": ("E0653", "not finite", lambda f: people(f, changed("30", "inf"), features=(Numeric(column="age", fill=0.0),))),
    "unknown category": ("E0653", "`Rome`", lambda f: people(f, features=(OneHot(column="city", categories=("Oslo", "Rom")),))),
    "class too high": ("E0653", "0 to 1", lambda f: people(f, changed("S,1", "S,2"))),
    "class without a name": ("E0653", "`Lima`", lambda f: people(f, target="city", classes=("Rome", "Oslo"), features=("rich",))),
    "gaps in a number": ("E0654", "line 3", lambda f: people(f, features=("age",))),
    "gaps in a category": ("E0654", "missing = True", lambda f: people(f, features=(OneHot(column="port"),))),
    "gaps in the target": ("E0654", "line 3", lambda f: people(f, changed("C,0", "C,"), features=(Missing(column="age"),))),
    "window too long": ("E0656", "at most 5", lambda f: Sequence(table=_series(f), window=6)),
}  # fmt: skip


def _bytes(folder: Path, content: bytes, name: str = "people.csv") -> Table:
    (folder / name).write_bytes(content)
    return Table(path=str(folder / name), target="rich")


def _series(folder: Path) -> Table:
    return people(folder, features=("rich",), classes=None)


@pytest.mark.parametrize("what", BROKEN)
def test_a_fault_in_a_table_is_said_with_its_code_and_place(what: str, tmp_path: Path) -> None:
    code, words, make = BROKEN[what]
    people(tmp_path)
    found = refused(make(tmp_path)).diagnostic
    assert found.code == code, found
    assert words in " ".join((found.message, *found.notes, *found.helps)), found


@pytest.mark.parametrize("what", BROKEN)
def test_a_fault_in_a_table_is_found_before_training(what: str, tmp_path: Path) -> None:
    people(tmp_path)
    with pytest.raises(TrainError):
        run(
            lambda: nn.Linear(1, 1),
            recipe(BROKEN[what][2](tmp_path), valid=Training()),
            out=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


def test_a_fault_is_shown_at_the_feature_that_has_it(tmp_path: Path) -> None:
    from netdsl.compiler import open_program
    from netdsl.elaborate.recipe import Recipes
    from netdsl.train.recipe import read_recipe

    people(tmp_path)
    text = f"""model M {{
  input x: [N, 2]
  output x -> Linear(1)
}}
train M {{
  data = Table("{tmp_path}/people.csv", target = "rich", features = [Missing("port"), Numeric("aeg", fill = 0)])
  valid = 0.5
  loss = MSELoss
  optimizer = SGD(lr = 0.1)
}}
"""
    report = Report()
    program = open_program(Text(text, "x.net"), report)
    assert program is not None
    settings = Recipes(program.session, program.main.scope.child(), None).settings(program.trains[0])
    found = read_recipe(settings, report)
    assert found is not None
    with pytest.raises(TrainError) as caught:
        load_data(found)
    span = caught.value.diagnostic.span
    assert span is not None
    assert span.source.text[span.start : span.end] == 'Numeric("aeg", fill = 0)'


def test_declarations_that_cannot_be_are_refused_where_they_are_written() -> None:
    table = Choice("Table", positional=["a.csv"], arguments={"target": "y"})
    cases = [
        Choice("Table", {"target": "y", "features": [Choice("OneHott", positional=["a"])]}, ["a.csv"]),
        Choice("Table", {"target": "y", "features": [Choice("OneHot", positional=["a", []])]}, ["a.csv"]),
        Choice("Table", {"target": "y", "features": [Choice("Numeric", {"flag": True}, ["a"])]}, ["a.csv"]),
        Choice("Table", {"target": "y", "features": 1.5}, ["a.csv"]),
        Choice("Table", {"target": ["y", "z"], "classes": 2}, ["a.csv"]),
        Choice("Sequence", {"window": 0}, [table]),
        Choice("Sequence", {"window": 3}, [Choice("Digits")]),
        Choice("Synthetic", {}, ["spiral"]),
        Choice("Synthetic", {"samples": [1, 2]}, ["line"]),
        Choice("Synthetic", {"low": 2, "high": 1}, ["line"]),
        Choice("Points", {}, [[1, 2], [1]]),
        Choice("Points", {"classes": 2}, [[1, 2], [1, 2]]),
        Choice("Arrays", {}, ["a.npz"]),
    ]
    for choice in cases:
        report = Report()
        assert construct(choice, SOURCES, report) is None, choice
        assert {d.code for d in report} <= {"E0605", "E0607"}, choice
    report = Report()
    assert construct(Choice("Sequence", {"window": 3}, [table]), SOURCES, report) is not None
    assert not report.has_errors


# ------------------------------------------------------------------------------------------------ series


def test_windows_follow_each_other_and_the_last_are_held_out(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("t,v\n" + "".join(f"{i},{i * i}\n" for i in range(12)))
    table = Table(path=str(tmp_path / "s.csv"), target="v", features=("t", "v"))
    source = Sequence(table=table, window=3, horizon=2, difference=1)
    data = load_data(recipe(source, valid=Training()))
    assert source.sample().input.shape == tuple(data.train.x.shape[1:]) == (3, 2)
    assert source.sample().target.shape == tuple(data.train.y.shape[1:]) == (2,)
    assert len(data.train) == 12 - 1 - 3 - 2 + 1
    assert data.train.x[0].tolist() == [[1, 1], [1, 3], [1, 5]]
    assert data.train.y[0].tolist() == [7, 9]
    for valid in (0.3, HoldOut(fraction=0.3)):
        data = load_data(recipe(source, valid=valid))
        assert float(data.train.y.max()) < float(data.valid.y[:, 1].min())
    assert refused(source, valid=HoldOut(fraction=0.3, shuffle=True)).diagnostic.code == "E0650"


def test_a_series_is_standardised_by_the_rows_that_training_sees(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("v\n" + "".join(f"{v}\n" for v in [0, 2, 0, 2, 0, 2, 100, 200]))
    table = Table(path=str(tmp_path / "s.csv"), target="v", features=(Numeric(column="v", standardise=True),))
    data = load_data(recipe(Sequence(table=table, window=2), valid=0.3))
    assert data.fitted is not None
    assert data.fitted["learned"] == [[{"fill": None, "mean": 1.0, "scale": 1.0}]]


# ------------------------------------------------------------------------------- what is drawn or bundled


def test_what_is_drawn_is_what_numpy_and_torch_draw() -> None:
    def drawn(**arguments: Any) -> tuple[Tensor, Tensor]:
        data = load_data(recipe(Synthetic(**arguments), valid=Training()))
        return data.train.x, data.train.y

    numpy.random.seed(0)
    x = numpy.random.rand(100)
    y = 2 * x + 3 + numpy.random.randn(100)
    _close(drawn(shape="line", coefficients=[3, 2]), x[:, None], y)
    numpy.random.seed(32)
    x = numpy.random.uniform(-5, 5, 100)
    y = x**2 + 1 + 5 * numpy.random.normal(0, 1, 100)
    _close(drawn(shape="parabola", coefficients=[1, 0, 1], noise=5.0, low=-5, high=5, seed=32), x[:, None], y)
    numpy.random.seed(0)
    x = numpy.linspace(-5, 5, 1000)
    y = 0.3 * x**2 + numpy.random.randn(1000)
    curve: dict[str, Any] = {"shape": "parabola", "coefficients": [0, 0, 0.3], "low": -5, "high": 5}
    _close(drawn(**curve, spaced=True, samples=1000), x[:, None], y)
    torch.manual_seed(2333)
    line = torch.linspace(-1, 1, 20)
    dropout = Synthetic(
        shape="line", samples=20, noise=0.3, low=-1, spaced=True, seed=2333, generator="torch", test=True
    )
    data = load_data(recipe(dropout))
    torch.testing.assert_close(data.train.y, line + 0.3 * torch.randn(20))
    torch.testing.assert_close(data.valid.y, line + 0.3 * torch.randn(20))
    torch.testing.assert_close(data.valid.x[:, 0], line)


def _close(found: tuple[Tensor, Tensor], x: Any, y: Any) -> None:
    torch.testing.assert_close(found[0], torch.from_numpy(x).float())
    torch.testing.assert_close(found[1], torch.from_numpy(y).float())


def test_rings_are_where_they_are_said_to_be() -> None:
    source = Synthetic(shape="rings", samples=[200, 6000])
    data = load_data(recipe(source, valid=HoldOut(fraction=0.3, stratified=True), loss=CrossEntropyLoss()))
    assert (len(data.train), len(data.valid)) == (4340, 1860)
    assert int(data.valid.y.sum()) == 60
    distance = data.train.x.norm(dim=1)
    assert float(distance[data.train.y == 1].mean()) == pytest.approx(5, abs=0.3)
    assert float(distance[data.train.y == 0].mean()) == pytest.approx(8, abs=0.1)
    guess = (distance < 6.5).long()
    assert float((guess == data.train.y).double().mean()) > 0.9


@pytest.mark.parametrize("source", [Iris(), Wine(), BreastCancer(), Diabetes()], ids=str)
def test_bundled_data_is_what_it_says(source: Any) -> None:
    for chosen in (source, type(source)(standardise=True)):
        data = load_data(recipe(chosen))
        assert tuple(data.train.x.shape[1:]) == chosen.sample().input.shape
        assert len(data.valid) == -(-(len(data.train) + len(data.valid)) // 5)
        if chosen.sample().target.kind == "classes":
            assert sorted(set(data.train.y.tolist())) == sorted(set(data.valid.y.tolist()))
            assert set(data.train.y.tolist()) == set(range(chosen.sample().target.classes))
        if chosen.standardise:
            torch.testing.assert_close(data.train.x.mean(0), torch.zeros(chosen.inputs), atol=1e-5, rtol=0)


def test_points_are_the_samples() -> None:
    data = load_data(recipe(Points(x=[1, 2, 3], y=[0, 0, 1], classes=2), valid=Training()))
    assert (data.train.x.tolist(), data.train.y.tolist()) == ([[1], [2], [3]], [0, 0, 1])
    assert Points(x=[[1.0, 2], [3, 4]], y=[[1.0, 2, 3], [4, 5, 6]]).sample().target.shape == (3,)


# ------------------------------------------------------------------------------------------------ arrays


def test_arrays_are_read_as_they_were_saved(tmp_path: Path) -> None:
    x, y = numpy.random.RandomState(0).rand(10, 3, 4), numpy.arange(10) % 3
    path = tmp_path / "a.npz"
    numpy.savez(
        path, x=x, y=y, x_test=x[:2], y_test=y[:2], image=(x * 255).astype(numpy.uint8), odd=numpy.array([{}])
    )
    data = load_data(recipe(Arrays(path=str(path), shape=[3, 4], classes=3, test=True)))
    torch.testing.assert_close(data.train.x, torch.from_numpy(x).float())
    assert (len(data.valid), data.train.y.dtype) == (2, torch.int64)
    as_image = Arrays(path=str(path), shape=[3, 4], x="image", inputs="image", classes=3)
    assert load_data(recipe(as_image, valid=0.2)).train.x.dtype == torch.uint8
    refusals: list[tuple[str, dict[str, Any]]] = [
        ("E0652", {"shape": [3, 4], "x": "xs"}),
        ("E0653", {"shape": [4, 3]}),
        ("E0653", {"shape": [3, 4], "inputs": "ids"}),
        ("E0653", {"shape": [3, 4], "classes": 3, "y": "x"}),
        ("E0621", {"shape": [], "x": "odd"}),
    ]
    for code, arguments in refusals:
        assert refused(Arrays(path=str(path), **arguments)).diagnostic.code == code, arguments
    path.write_bytes(b"PK\x03\x04 cut off")
    assert refused(Arrays(path=str(path), shape=[3, 4])).diagnostic.code == "E0621"


# ------------------------------------------------------------------------------------------------ splits


def divided(valid: Any, seed: int = 0) -> Data:
    numbered = Points(x=list(range(20)), y=[0] * 5 + [1] * 15, classes=2)
    return load_data(recipe(numbered, valid=valid, seed=seed))


def numbers(data: Data) -> tuple[list[int], list[int]]:
    return tuple(sorted(int(v) for v in part.x[:, 0]) for part in (data.train, data.valid))  # type: ignore[return-value]


def test_a_split_is_what_it_says(tmp_path: Path) -> None:
    from sklearn.model_selection import train_test_split

    assert numbers(divided(HoldOut(fraction=0.25, shuffle=False)))[1] == [15, 16, 17, 18, 19]
    drawn = numbers(divided(HoldOut(fraction=0.3, seed=5)))
    assert list(drawn) == [sorted(p) for p in train_test_split(range(20), test_size=0.3, random_state=5)]
    assert numbers(divided(HoldOut(fraction=0.3), seed=5)) == drawn
    assert int(divided(HoldOut(fraction=0.2, stratified=True)).valid.y.sum()) == 3
    (tmp_path / "out.txt").write_text("3\n\n7\n")
    assert numbers(divided(HoldOut(file=str(tmp_path / "out.txt"))))[1] == [3, 7]
    everything = numbers(divided(Training()))
    assert everything[0] == everything[1] == list(range(20))
    for valid in (0.3, HoldOut(fraction=0.3, stratified=True), HoldOut(fraction=0.3)):
        train, held = numbers(divided(valid))
        assert sorted(train + held) == list(range(20))
        assert numbers(divided(valid)) == (train, held)
        assert numbers(divided(valid, seed=1)) != (train, held)


def test_a_split_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("3\n70\n")
    values = Points(x=[1, 2, 3], y=[1, 2, 3])
    one = Points(x=[1], y=[1])
    assert refused(values, valid=HoldOut(file=str(tmp_path / "out.txt"))).diagnostic.code == "E0650"
    assert refused(values, valid=HoldOut(fraction=0.3, stratified=True)).diagnostic.code == "E0650"
    assert refused(values, valid=None).diagnostic.code == "E0650"
    assert refused(one, valid=0.5).diagnostic.code == "E0650"


def test_another_source_is_what_is_measured_on(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("name,age,city,port,rich\nX,60,Rome,S,1\n")
    first, other = people(tmp_path), people(tmp_path).model_copy(update={"path": str(tmp_path / "other.csv")})
    data = load_data(recipe(first, valid=other))
    assert (len(data.train), len(data.valid)) == (6, 1)
    assert data.fitted is not None
    assert float(data.valid.x[0, 3]) == pytest.approx(30 / data.fitted["learned"][1][0]["scale"])


# ------------------------------------------------------------------------------- saved with the run


def test_a_run_keeps_its_preprocessing_and_uses_it_again(tmp_path: Path) -> None:
    features = (ALL_CITIES, *FEATURES[1:])
    (tmp_path / "test.csv").write_text(PEOPLE.replace("50", "45"))
    table = people(tmp_path, features=features, test=str(tmp_path / "test.csv"))
    asked = recipe(table, loss=CrossEntropyLoss(), optimizer=Adam(lr=0.05), batch=2, epochs=4)

    def make() -> nn.Module:
        return nn.Linear(9, 2)

    whole = run(make, asked, out=tmp_path / "whole")
    run(make, asked, out=tmp_path / "parts", epochs=2)
    fitted = preprocessing_beside(tmp_path / "parts" / "last.safetensors")
    assert fitted is not None
    assert fitted == newest_checkpoint(tmp_path / "parts")[0].fitted
    resumed = run(make, asked, out=tmp_path / "parts", resume=True)
    assert resumed.last.read_bytes() == whole.last.read_bytes()
    # What was learned stays as it was, also where the file has changed meanwhile.
    (tmp_path / "people.csv").write_text(PEOPLE.replace("30", "90"))
    measured = evaluate(make, asked, weights=whole.last)
    assert measured.measured["loss"] == pytest.approx(whole.epochs[-1].measured["valid_loss"])
    with pytest.raises(TrainError) as other:  # but a run does not go on with other data
        run(make, asked, out=tmp_path / "parts", epochs=5, resume=True)
    assert other.value.diagnostic.code == "E0632"
    (tmp_path / "people.csv").write_text(PEOPLE)
    run(make, asked, out=tmp_path / "parts", epochs=5, resume=True)
    assert preprocessing_beside(tmp_path / "parts" / "last.safetensors") == fitted
    (tmp_path / "whole" / "preprocessing.json").write_text("{")
    with pytest.raises(TrainError) as caught:
        evaluate(make, asked, weights=whole.last)
    assert caught.value.diagnostic.code == "E0655"
