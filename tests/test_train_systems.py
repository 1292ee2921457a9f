"""The small systems of the teaching material: their sizes, their recipes, and that they learn what they should."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import netdsl
from netdsl.cli.program import request
from netdsl.cli.recipes import requested
from netdsl.diagnostics import Report
from netdsl.train import Run, RunResult, Split, begin, fit, run
from netdsl.train.loading import load_data
from netdsl.train.recipe import Recipe

ROOT = Path(__file__).parent.parent
SPECS = ROOT / "specs"
COUNTS = {
    "linear.net:Plane": 3,
    "linear.net:Line": 2,
    "linear.net:Points3": 2,
    "linear.net:LineFromZero": 2,
    "linear.net:LineFromOnes": 2,
    "linear.net:LineByAdagrad": 2,
    "linear.net:Slope": 1,
    "linear.net:Outlier": 1,
    "linear.net:PlaneByHalves": 3,
    "linear.net:PlaneBySGD": 3,
    "linear.net:MillionPoints": 3,
    "logistic.net:Logistic": 2,
    "diabetes.net:Diabetic": 87,
    "diabetes.net:DiabeticFullBatch": 87,
    "titanic.net:Titanic": 651,
    "rings.net:RingsBySGD": 61,
    "rings.net:RingsByAdam": 61,
    "rings.net:RingsBySigns": 61,
    "rings.net:Rings": 61,
    "rings.net:RareRing": 61,
    "parabola.net:UnderFit": 2,
    "parabola.net:Fit": 25,
    "parabola.net:OverFit": 66_561,
    "parabola.net:BatchDescent": 1_153,
    "parabola.net:StochasticDescent": 1_153,
    "parabola.net:MiniBatchDescent": 1_153,
    "parabola.net:Minimum": 1,
    "dropout.net:Plain": 40_801,
    "dropout.net:Dropped": 40_801,
    "covid.net:Covid": 492,
    "softmax.net:Softmax": 7_850,
    "mlp.net:MLP": 575_050,
    "mlp.net:WideMLP": 669_706,
    "mlp.net:OneHotMLP": 218_058,
    "lenet.net:LeNet": 8_490,
    "inception.net:InceptionNet": 97_298,
    "residual.net:ResidualNet": 41_514,
    "mnist_cnn.net:MnistCNN": 53_994,
    "mnist_cnn.net:MnistCNNBySGD": 53_994,
    "mnist_cnn.net:FastMnistCNN": 53_994,
    "cifar2.net:Cifar2": 54_273,
    "imdb.net:Imdb": 40_625,
    "imdb.net:LongImdb": 40_625,
    "imdb.net:FrozenImdb": 40_625,
    "unet.net:UNet": 31_037_633,
    "unet.net:SmallUNet": 482_737,
}
# By how many steps a system learns in an epoch, and how many epochs there are.
STEPS = {
    "linear.net:Outlier": (5, 999),
    "linear.net:PlaneByHalves": (40, 1000),
    "rings.net:RingsByAdam": (400, 300),
    "parabola.net:BatchDescent": (1, 1000),
    "parabola.net:StochasticDescent": (1000, 1),
    "parabola.net:MiniBatchDescent": (8, 125),
    "parabola.net:Minimum": (1, 500),
}
# What the source gives to train on and to measure on, and the shape of one input.
SAMPLES = {
    "linear.net:Plane": (280, 120, (2,)),
    "linear.net:LineFromZero": (80, 20, (1,)),
    "logistic.net:Logistic": (3, 3, (1,)),
    "diabetes.net:Diabetic": (758, 758, (8,)),
    "titanic.net:Titanic": (712, 179, (15,)),
    "rings.net:Rings": (2800, 1200, (2,)),
    "rings.net:RareRing": (4340, 1860, (2,)),
    "parabola.net:Fit": (70, 30, (1,)),
    "dropout.net:Plain": (20, 20, (1,)),
    "covid.net:Covid": (38, 38, (8, 3)),
}


@pytest.mark.parametrize("system", COUNTS)
def test_a_system_has_as_many_parameters_as_the_notes_say(system: str) -> None:
    file, name = system.split(":")
    module = getattr(netdsl.load(SPECS / file), name)()
    assert sum(p.numel() for p in module.parameters()) == COUNTS[system]


def recipe(system: str, data: Path, tmp_path: Path) -> tuple[Any, Recipe]:
    """The model's builder and its recipe, with the data beside it."""
    report = Report()
    asked = request(f"{SPECS}/{system}", report)
    assert asked is not None, list(report)
    found = requested(asked, report, [])
    assert found is not None, list(report)
    if not (tmp_path / "data").exists():
        (tmp_path / "data").symlink_to(data)
    return asked.build, found.model_copy(update={"folder": tmp_path})


def trained(system: str, data: Path, tmp_path: Path, **changes: Any) -> RunResult:
    make, found = recipe(system, data, tmp_path)
    return run(make, found.model_copy(update=changes), out=tmp_path / "run", threads=1)


@pytest.mark.data
@pytest.mark.parametrize("system", SAMPLES)
def test_the_data_of_a_system_is_what_the_notes_had(system: str, data_folder: Path, tmp_path: Path) -> None:
    _, found = recipe(system, data_folder, tmp_path)
    data = load_data(found)
    assert isinstance(data.train, Split)
    train, valid, shape = SAMPLES[system]
    assert (len(data.train), len(data.valid), tuple(data.train.x.shape[1:])) == (train, valid, shape)
    assert data.train.x.isfinite().all()


def test_linear_regression_from_zeros_gives_the_printed_error_to_the_digit(tmp_path: Path) -> None:
    """Error on test data 0.9014630358776691, b 3.2940507061348856, w 1.8881539583398386, in float64."""
    from safetensors.torch import load_file

    result = trained("linear.net:LineFromZero", tmp_path, tmp_path)
    assert result.epochs[-1].measured["valid_loss"] == pytest.approx(0.9014630358776691, abs=1e-5)
    weights = load_file(result.last)
    assert float(weights["linear.bias"]) == pytest.approx(3.2940507061348856, abs=1e-4)
    assert float(weights["linear.weight"]) == pytest.approx(1.8881539583398386, abs=1e-4)


@pytest.mark.slow
@pytest.mark.data
def test_titanic_reaches_the_accuracy_of_the_notes(data_folder: Path, tmp_path: Path) -> None:
    result = trained("titanic.net:Titanic", data_folder, tmp_path)
    assert result.epochs[-1].measured["valid_accuracy"] > 0.75  # 0.81 in the notes; one passenger is 0.0056


@pytest.mark.data
def test_a_missing_column_of_titanic_is_said_with_its_place(data_folder: Path, tmp_path: Path) -> None:
    from netdsl.train import TrainError

    (tmp_path / "data" / "titanic").mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        text = (data_folder / "titanic" / name).read_text().replace("Fare", "Price", 1)
        (tmp_path / "data" / "titanic" / name).write_text(text)
    _, found = recipe("titanic.net:Titanic", data_folder, tmp_path)
    with pytest.raises(TrainError) as caught:
        load_data(found)
    diagnostic = caught.value.diagnostic
    assert diagnostic.code == "E0652"
    assert diagnostic.span is not None
    assert "`Fare`" in diagnostic.message
    assert "`Price`" in " ".join(diagnostic.helps)


@pytest.mark.parametrize("system", STEPS)
def test_a_system_learns_by_as_many_steps_as_the_notes_say(system: str) -> None:
    run = begun(system)
    assert (run.steps_per_epoch, run.epochs) == STEPS[system]


def begun(system: str, **changes: Any) -> Run:
    file, name = system.split(":")
    return begin(getattr(netdsl.load(SPECS / file), name), device="cpu", **changes)


def learned(system: str, parameter: str, **changes: Any) -> float:
    """A parameter of one number, after the last step."""
    run = begun(system, **changes)
    for _ in fit(run):
        pass
    return run.model.get_parameter(parameter).item()


def test_an_outlier_pulls_as_far_as_in_the_notes_where_points_come_in_their_order() -> None:
    """16.8369, and 38.218 by least squares."""
    assert learned("linear.net:Outlier", "linear.weight") == pytest.approx(16.8369, abs=1e-4)
    assert learned("linear.net:Outlier", "linear.weight", shuffle=True) != pytest.approx(16.8369, abs=0.1)


@pytest.mark.parametrize(
    ("system", "parameter", "found", "near"),
    [
        ("linear.net:Slope", "linear.weight", 1.9999996, 1e-6),
        ("linear.net:LineByAdagrad", "linear.weight", 0.18, 0.005),
        ("linear.net:LineByAdagrad", "linear.bias", 0.18, 0.005),
        ("parabola.net:Minimum", "x", 1.0, 1e-4),
    ],
)
def test_a_parameter_ends_where_the_notes_have_it(
    system: str, parameter: str, found: float, near: float
) -> None:
    assert learned(system, parameter) == pytest.approx(found, abs=near)


def test_an_adam_that_remembers_nothing_is_one_made_anew_for_each_step() -> None:
    import torch

    def stepped(forgets: bool) -> torch.Tensor:
        weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
        betas = (0.0, 0.0) if forgets else (0.9, 0.999)
        optimizer = torch.optim.Adam([weight], lr=0.1, betas=betas)
        for _ in range(5):
            optimizer = optimizer if forgets else torch.optim.Adam([weight], lr=0.1)
            optimizer.zero_grad()
            (weight**2).sum().backward()
            optimizer.step()
        return weight.detach()

    torch.testing.assert_close(stepped(forgets=True), stepped(forgets=False))


@pytest.mark.data
def test_a_frozen_table_of_words_leaves_as_many_parameters_as_the_notes_say(
    data_folder: Path, tmp_path: Path
) -> None:
    make, found = recipe("imdb.net:FrozenImdb", data_folder, tmp_path)
    run = begin(make, found)
    assert sum(p.numel() for p in run.learned) == 10_625


def script() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(ROOT / "examples" / "reproduce.py")))


def test_the_rows_of_the_comparison_are_systems_that_there_are() -> None:
    for system in script().SYSTEMS:
        report = Report()
        asked = request(f"{SPECS}/{system.spec}", report)
        found = asked and requested(asked, report, [])
        assert asked is not None, (system.spec, list(report))
        assert found is not None, (system.spec, list(report))
        parameters = dict(asked.build().named_parameters())
        known = system.column in found.columns() or parameters[system.column].numel() == 1
        assert known, system


def test_every_small_system_has_a_row() -> None:
    """But the large U-Net, for which a CPU is too slow."""
    assert {system.spec for system in script().SYSTEMS} == COUNTS.keys() - {"unet.net:UNet"}


def test_every_system_of_the_notes_is_in_the_table_of_the_specs() -> None:
    numbers = {"000": 8, "001": 6, "002": 31, "003": 15, "004": 3}
    every = {f"{notes}-{number}" for notes, last in numbers.items() for number in range(1, last + 1)}
    table = (SPECS / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| (\d{3}-\d+) \|", table, re.MULTILINE)) == every
    for system in script().SYSTEMS:
        for name in noted(system.notes):
            line = re.search(rf"^\| {name} \|.*$", table, re.MULTILINE)
            assert line is not None
            assert f"`{system.spec}`" in line[0], (name, system.spec)


def test_the_kept_table_has_the_rows_of_the_comparison() -> None:
    table = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    kept = [
        tuple(cell.strip() for cell in line.split("|")[1:5])
        for line in table.splitlines()
        if line.startswith("| 00")
    ]
    told = script()
    rows = [told.row(told.Outcome(system, (0.0,), 0.0)) for system in told.SYSTEMS]
    assert kept == [tuple(cell.strip() for cell in row.split("|")[1:5]) for row in rows]


def noted(notes: str) -> list[str]:
    """
    >>> noted("000-1, 002-28, -29")
    ['000-1', '002-28', '002-29']
    """
    found: list[str] = []
    for part in notes.split(", "):
        found.append(part if part[0] != "-" else found[-1][:3] + part)
    return found


def test_a_row_says_whether_the_figure_is_reached() -> None:
    system, outcome = script().System, script().Outcome
    rising = system("0", "a.net", "valid_accuracy", 0.9, 0.01, rising=True)
    falling = system("0", "a.net", "valid_loss", 0.5, 0.01)
    exact = system("0", "a.net", "a.weight", 2.0, 0.01, exact=True)
    assert outcome(rising, (0.88, 0.9), 1.0).reached
    assert not outcome(rising, (0.80, 0.80), 1.0).reached
    assert outcome(falling, (0.1, 0.1), 1.0).reached
    assert not outcome(falling, (0.6, 0.6), 1.0).reached
    assert outcome(exact, (2.0, 2.01), 1.0).reached
    assert not outcome(exact, (1.9, 1.9), 1.0).reached
    assert not outcome(exact, (2.1, 2.1), 1.0).reached
    assert outcome(system("0", "a.net", "valid_loss"), (0.6,), 1.0).reached is None


def test_a_figure_that_cannot_be_reached_is_no_failure_where_the_row_says_why() -> None:
    system, outcome = script().System, script().Outcome
    assert outcome(system("0", "a.net", "valid_loss", 0.5), (0.6,), 1.0).failed
    told = outcome(system("0", "a.net", "valid_loss", 0.5, unreachable="less data"), (0.6,), 1.0)
    assert not told.failed
    assert "| no |" in script().row(told)
    assert "less data" in script().row(told)


def reproduced(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script in `root`, with no folder of data but an empty one."""
    (root / "empty").mkdir(exist_ok=True)
    command = [sys.executable, str(root / "examples" / "reproduce.py"), "--data", str(root / "empty")]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, cwd=root)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The specs and the script, where a fault can be planted."""
    shutil.copytree(SPECS, tmp_path / "specs")
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "reproduce.py", tmp_path / "examples")
    (tmp_path / "netdsl").symlink_to(ROOT / "netdsl")
    return tmp_path


@pytest.mark.slow
def test_a_row_that_fails_is_told_and_the_others_go_on(copied: Path) -> None:
    done = reproduced(
        copied, "--only", "002-1,", "--only", "Titanic", "--only", "003-13", "--jobs", "2", "-o", "t.md"
    )
    assert done.returncode == 1
    assert "Failed or missed: titanic.net:Titanic" in done.stdout
    failed, *_ = [line for line in done.stdout.splitlines() if "Titanic" in line]
    assert "| failed |" in failed
    assert "seed 0 was not trained: E0620, " in failed
    passed, *_ = [line for line in done.stdout.splitlines() if "LineByAdagrad" in line]
    assert "| yes |" in passed
    assert (copied / "t.md").read_text(encoding="utf-8").strip() == done.stdout.strip()


@pytest.mark.slow
def test_a_figure_that_is_missed_is_an_exit_code(copied: Path) -> None:
    spec = copied / "specs" / "linear.net"
    spec.write_text(spec.read_text(encoding="utf-8").replace("Adagrad(lr = 0.01)", "Adagrad(lr = 0.02)"))
    done = reproduced(copied, "--only", "003-13", "--seeds", "2")
    assert done.returncode == 1, done.stderr
    assert "| no |" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "nothing of the kind"), "no row has nothing of the kind"),
        (("--seeds", "0"), "--seeds is at least 1"),
        (("--jobs", "-1"), "--jobs is at least 1"),
        (("-o", "nowhere/table.md"), "there is no folder for nowhere/table.md"),
        (("--data", "nowhere"), "there is no folder nowhere"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_before_anything_is_trained(
    arguments: tuple[str, ...], said: str, copied: Path
) -> None:
    done = reproduced(copied, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.data
def test_a_mean_over_batches_counts_a_short_batch_as_a_whole_one(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """179 passengers in batches of 89 are two of them and one passenger, who counts for a third."""
    from safetensors.torch import save_file

    (tmp_path / "data").symlink_to(data_folder)
    monkeypatch.chdir(tmp_path)
    run = begun("titanic.net:Titanic")
    save_file(run.model.state_dict(), tmp_path / "last.safetensors")
    told = script()

    def accuracy(batches: int) -> float:
        row = told.System("0", "titanic.net:Titanic", "valid_accuracy", batches=batches)
        return told.value(row, told.Trained(tmp_path))

    of_all = accuracy(179)
    parts = accuracy(89)
    right = round(of_all * 179)
    last = (
        3 * parts - (right - 1) / 89,
        3 * parts - right / 89,
    )  # where the last passenger is told, and where not
    assert any(each == pytest.approx(expected, abs=1e-6) for each, expected in zip(last, (1, 0), strict=True))
