"""What a run leaves behind, and what can be done with it later: history, report, events, `runs`, `eval`, `predict`,
`export`; and how a run ends that cannot go on.
"""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as XML
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor, nn

import netdsl
from netdsl.cli.app import main
from netdsl.train import Data, Keep, Split, TrainError, begin, fit, open_run, run, runs_in
from netdsl.train.charts import Line, histogram_chart, line_chart, matrix_chart, scatter_chart
from netdsl.train.checkpoint import checkpoints
from netdsl.train.history import History, read_history, read_lines, read_steps
from netdsl.train.losses import BCELoss, CrossEntropyLoss, MSELoss
from netdsl.train.metrics import METRICS
from netdsl.train.optimizers import SGD, Adam
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch, Step
from netdsl.train.runs import differing, settings_of

ROOT = Path(__file__).resolve().parent.parent

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
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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


# ----------------------------------------------------------------------------------------------- history


def test_a_history_that_is_cut_anywhere_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    whole = History(tmp_path, ["valid_loss"])
    for step in range(1, 7):
        whole(Step(step, -(-step // 2), 1 / step, 0.1, None))
        if step % 2 == 0:
            whole(Epoch(step // 2, step, 0.1, {"valid_loss": 1 / step}, 0.5))
    whole.close()
    later = {
        "history.csv": b"\n2,4,",
        "steps.csv": b"\n3,2,",
        "history.jsonl": b'\n{"record": "step", "step": 3',
    }
    contents = {name: (tmp_path / name).read_bytes() for name in later}
    for name, first in later.items():  # as a machine that stops leaves it: more of one file than of another
        for end in range(contents[name].index(first) + 1, len(contents[name]), 7):
            (tmp_path / name).write_bytes(contents[name][:end])
            again = History(tmp_path, ["valid_loss"], epoch=1, step=2)
            assert [e.epoch for e in again.epochs] == [1]
            for step in range(3, 7):
                again(Step(step, -(-step // 2), 1 / step, 0.1, None))
                if step % 2 == 0:
                    again(Epoch(step // 2, step, 0.1, {"valid_loss": 1 / step}, 0.5))
            again.close()
            assert {other: (tmp_path / other).read_bytes() for other in later} == contents


def test_history_as_lines_has_what_the_tables_have_and_no_number_that_json_has_not(tmp_path: Path) -> None:
    history = History(tmp_path, ["valid_loss"])
    history(Step(2, 1, 0.5, 0.1, 3.0))
    history(Epoch(1, 2, 0.1, {"valid_loss": float("nan")}, 0.5))
    history.close()
    step, epoch = read_lines(tmp_path / "history.jsonl")
    assert step == {"record": "step", "step": 2, "epoch": 1, "loss": 0.5, "lr": 0.1, "grad_norm": 3.0}
    assert epoch == {"record": "epoch", "epoch": 1, "step": 2, "lr": 0.1, "valid_loss": None, "seconds": 0.5}
    assert read_steps(tmp_path / "steps.csv") == [Step(2, 1, 0.5, 0.1, 3.0)]
    assert read_history(tmp_path / "history.csv")[0].step == 2


# ------------------------------------------------------------------------------------------- run folder


def test_the_best_checkpoint_and_the_last_ones_are_kept(tmp_path: Path) -> None:
    away = Data(DATA.train, Split(VALID.x, 1 - VALID.y), 2)  # the better it learns, the worse it does
    result = run(small, plain(epochs=7, optimizer=SGD(lr=1.0)), data=away, out=tmp_path, keep=Keep(3, pace=0))
    assert result.best is not None
    best_one = result.best.epoch
    assert best_one < 5
    assert [path.name[:10] for path in checkpoints(tmp_path)] == [
        f"epoch-000{n}" for n in (7, 6, 5, best_one)
    ]
    best = load((checkpoints(tmp_path)[-1] / "weights.safetensors").read_bytes())
    assert all(torch.equal(best[k], v) for k, v in load(result.weights.read_bytes()).items())


def test_a_run_says_what_it_ran_on_and_how_it_ended(tmp_path: Path) -> None:
    run(small, plain(model="Small"), data=DATA, out=tmp_path / "a")
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert record["environment"]["torch"] == torch.__version__
    assert {"netdsl", "python", "platform", "cpus", "device", "threads"} <= record["environment"].keys()
    assert record["seeds"]["weights"] == 0
    assert record["ended"]["reason"] == "finished"
    assert [part["step"] for part in record["parts"]] == [0]
    run(small, plain(model="Small", epochs=5), data=DATA, out=tmp_path / "a", resume=True)
    longer = json.loads((tmp_path / "a" / "run.json").read_text())
    assert [part["step"] for part in longer["parts"]] == [0, 12]
    assert longer["started"] == record["started"]
    assert json.loads((tmp_path / "a" / "inputs.json").read_text())["shape"] == [3]


def test_runs_are_compared_by_what_their_recipes_do_not_share(tmp_path: Path) -> None:
    for name, changes in {"a": {}, "b": {"optimizer": SGD(lr=0.5), "batch": 32}}.items():
        run(small, plain(**changes), data=DATA, out=tmp_path / name)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{")
    found = runs_in(tmp_path)
    assert [each.path.name for each in found] == ["a", "b"]
    assert differing(found) == {"batch": [16, 32], "optimizer.lr": [0.1, 0.5]}
    assert [each.status for each in found] == ["finished"] * 2
    with pytest.raises(TrainError) as caught:
        open_run(tmp_path / "c")
    assert caught.value.diagnostic.code == "E0639"


def test_a_recipe_comes_back_from_its_record(here: Path) -> None:
    (here / "rows.csv").write_text("a,b,y\n1,u,0\n")
    for text, name in ((DIGITS, "Digit"), (ROWS, "Chance")):
        (here / "one.net").write_text(text)
        model = getattr(netdsl.load("one.net"), name)
        from netdsl.train.python import recipe_of

        recipe = recipe_of(model)
        described = json.loads(json.dumps(recipe.described()))
        changes: dict[str, Any] = {k: v.value for k, v in settings_of(described).items()}
        again = recipe_of(model, **changes)
        assert again == recipe


# ----------------------------------------------------------------------------------------------- report


class Page(HTMLParser):
    """Every tag of a page that is opened is closed, in order."""

    EMPTY = ("meta", "img", "br", "rect", "line", "circle", "polyline", "polygon", "path", "ellipse")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        self.links += [v or "" for k, v in attrs if k in ("src", "href")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        self.links += [v or "" for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def test_the_report_is_one_page_that_needs_nothing_else(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    netdsl_(capsys, "train", "digits.net", "--out", "run")
    text = (here / "run" / "report.html").read_text()
    page = Page(text)
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert len(page.links) == 12
    for part in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        XML.fromstring(part.replace("xlink:", ""))
    for title in ("Measured", "Where it is wrong", "Worst samples", "Model", "Recipe", "Time", "Environment"):
        assert f"<h2>{title}</h2>" in text
    assert "Adam(lr = 0.01)" in text
    (here / "run" / "report.html").unlink()
    assert netdsl_(capsys, "report", "run") == "run/report.html\n"
    again = (here / "run" / "report.html").read_text()
    assert re.findall(r'class="best".*?</tr>', again) == re.findall(r'class="best".*?</tr>', text)
    assert re.findall(r"taken for.*?<br>", again) == re.findall(r"taken for.*?<br>", text)


def test_the_confusion_matrix_counts_what_the_metric_counts(tmp_path: Path) -> None:
    from netdsl.train.findings import looked_at

    recipe = plain(metrics=[METRICS.members["accuracy"]()], epochs=10)
    result = run(small, recipe, data=DATA, out=tmp_path)
    found = looked_at(small(), recipe, DATA, torch.device("cpu"), result.weights)
    assert result.best is not None
    hits = sum(row[i] for i, row in enumerate(found.confusion))
    assert hits / 32 == pytest.approx(result.best.measured["valid_accuracy"])
    losses = [worst.loss for worst in found.worst]
    assert losses == sorted(losses, reverse=True)
    model = small()
    model.load_state_dict(load(result.weights.read_bytes()))
    each = nn.functional.cross_entropy(model(VALID.x).detach(), VALID.y, reduction="none")
    assert losses[0] == pytest.approx(float(each.max()), rel=1e-5)
    assert found.worst[0].number == int(each.argmax())


def test_values_have_residuals_and_pairs_in_place_of_a_matrix(tmp_path: Path) -> None:
    x = torch.rand(50, 2)
    y = x.sum(1, keepdim=True)
    data = Data(Split(x, y), Split(x[:20], y[:20]))
    run(lambda: nn.Linear(2, 1), plain(loss=MSELoss()), data=data, out=tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "predicted and true" in text
    assert "residuals" in text
    assert "confusion" not in text
    Page(text)


def test_charts_are_xml_whatever_is_drawn() -> None:
    nan, inf = float("nan"), float("inf")
    cases: list[list[float]] = [
        [1.0],
        [1, 1, 1],
        [1e-9, 1e9],
        [-5, 3, nan],
        [inf, 1, 2],
        [1e-300, 2e-300],
        [0, 0],
    ]
    for values in cases:
        numbers = [float(i) for i in range(len(values))]
        for text in (
            line_chart(
                "a < b & c", [Line("<x>", numbers, values), Line("y", numbers, values, dashed=True)], mark=0
            ),
            scatter_chart("t", values, values, "x", "y"),
            histogram_chart("h", values, "x"),
        ):
            if text:
                assert "nan" not in text.replace("nan</", "")
                XML.fromstring(text)
    assert line_chart("", [Line("", [1.0], [nan])]) == ""
    for count in (1, 2, 10, 120):
        XML.fromstring(
            matrix_chart(
                [[i * j for j in range(count)] for i in range(count)], [f"<{i}>" for i in range(count)]
            )
        )


def test_events_have_the_curves_the_weights_the_graph_and_the_figures(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason="events are for TensorBoard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

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


# ------------------------------------------------------------------------------------- after training


def test_a_run_is_used_from_its_folder_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    netdsl_(capsys, "train", "digits.net", "--param", "width=24", "--set", "epochs=2", "--out", "run")
    (here / "run").rename(here / "moved")
    for path in ("digits.net", "parts/head.net"):
        (here / path).unlink()
    best = open_run("moved").best
    assert best is not None
    measured = json.loads(netdsl_(capsys, "eval", "moved", "--json"))
    assert measured["accuracy"] == pytest.approx(best.measured["valid_accuracy"])
    other = json.loads(netdsl_(capsys, "eval", "moved", "--set", "metrics=[]", "--json"))
    assert other["loss"] == measured["loss"]
    assert "accuracy" not in other
    assert "moved  Digit  finished" in netdsl_(capsys, "runs", ".")
    from netdsl.train.data.digits import write_images

    images = [str(path) for path in write_images("images", 6, size=8)]
    table = netdsl_(capsys, "predict", "moved", *images).splitlines()
    assert [line.split()[0] for line in table[1:]] == images
    netdsl_(capsys, "predict", "moved", *images, "--out", "found.csv")
    with (here / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [f"{row['path']} {row['label']} {float(row['probability']):.1%}".split() for row in rows] == [
        line.split() for line in table[1:]
    ]
    assert sum(float(rows[0][f"p({digit})"]) for digit in range(10)) == pytest.approx(1, abs=1e-5)
    refused = netdsl_(capsys, "predict", "moved", *images, "--out", "found.txt", status=1)
    assert "written as .csv or .json" in refused


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "pt2", "module", "python"])
def test_a_run_is_exported_with_its_best_weights_and_what_its_inputs_go_through(
    kind: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    netdsl_(capsys, "train", "digits.net", "--epochs", "1", "--out", "run", "--no-report")
    assert not (here / "run" / "report.html").exists()
    done = json.loads(netdsl_(capsys, "export", "run", "--to", kind, "--out", f"made/digit_{kind}", "--json"))
    inputs = json.loads(Path(done["inputs"]).read_text())
    assert inputs["transform"] == [{"kind": "Normalize", "mean": 0.5, "std": 0.25}]
    assert (inputs["shape"], inputs["scale"]) == ([1, 8, 8], "uint8 divided by 255")
    assert inputs["classes"] == list("0123456789")
    if kind == "python":
        assert "class Digit(" in Path(done["out"]).read_text()
        return
    assert done["largest_difference"] < 1e-4
    if kind == "onnx":
        import onnx
        from onnxruntime import InferenceSession

        model = onnx.load(done["out"])
        assert json.loads({p.key: p.value for p in model.metadata_props}["netdsl.inputs"]) == inputs
        weights = load((here / "run" / "best.safetensors").read_bytes())
        session = InferenceSession(done["out"], providers=["CPUExecutionProvider"])
        x = torch.rand(2, 1, 8, 8)
        found = torch.tensor(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
        module = netdsl.load("digits.net").Digit()
        module.load_state_dict(weights)
        torch.testing.assert_close(found, module.eval()(x))


def test_rows_are_predicted_by_what_the_training_part_has_taught(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "chance.net").write_text(ROWS)
    lines = [f"{i % 7 if i % 9 else ''},{'uvw'[i % 3]},{int(i % 3 == 0)}" for i in range(80)]
    (here / "rows.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    netdsl_(capsys, "train", "chance.net", "--out", "run", "--epochs", "20")
    (here / "rows.csv").unlink()
    (here / "new.csv").write_text("b,a\nu,3\nv,\nw,6\n")
    found = json.loads(netdsl_(capsys, "predict", "run", "new.csv", "--json"))
    assert [(each["row"], each["label"]) for each in found] == [(1, "1"), (2, "0"), (3, "0")]
    shown = netdsl_(capsys, "predict", "run", "new.csv").splitlines()
    assert shown[0].split() == ["file", "row", "prediction", "probability"]
    exported = json.loads(netdsl_(capsys, "export", "run", "--to", "onnx", "--json"))
    fitted = json.loads(Path(exported["inputs"]).read_text())["fitted"]
    assert fitted["learned"][0][0]["mean"] > 0
    said = netdsl_(capsys, "report", "run")
    assert "without confusion matrix and samples" in said  # the data is gone
    (here / "new.csv").write_text("a,b\nx,u\n")
    assert "error[E0653]" in netdsl_(capsys, "predict", "run", "new.csv", status=1)


def test_what_is_no_run_is_told_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(small, plain(), data=DATA, out=here / "module")
    for arguments, words in {
        ("eval", "parts"): "there is no run in `parts`",
        ("eval", "digits.net"): "`digits.net` has no weights",
        ("report", "nothing"): "there is no run in `nothing`",
        ("runs", "parts"): "there are no runs in `parts`",
        ("eval", "."): "for example `module`",
        ("export", "module", "--to", "onnx"): "only Python can make it",
    }.items():
        assert words in netdsl_(capsys, *arguments, status=1), arguments


# --------------------------------------------------------------------------------------- how runs fail


class Rooted(nn.Module):
    """The square root at 0 has no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last((x - x.detach()).sqrt())


class Logged(Rooted):
    """The logarithm of what is below 0 is no number."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).log())


class Exploding(nn.Module):
    """A layer that gives infinity after some steps."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.register_buffer("count", torch.zeros(()))
        self.burst = Burst(self)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.count += 1
        return self.last(self.burst(self.first(x)))


class Burst(nn.Module):
    def __init__(self, owner: Exploding) -> None:
        super().__init__()
        self.owner = [owner]

    def forward(self, x: Tensor) -> Tensor:
        return x / (11 - float(self.owner[0].count)) if self.owner[0].count else x


NOT_FINITE = {
    "an operation": (Logged, 1, r"between `first` \(Linear\) and `last` \(Linear\), whose input it is"),
    "a gradient": (
        Rooted,
        2,
        r"going back from `last` \(Linear\).*`first` \(Linear\) was not, with (inf|nan)",
    ),
    "a layer": (
        Exploding,
        11,
        r"`burst` \(Burst\) gave the first numbers that are not finite, .* its input was finite",
    ),
}


@pytest.mark.parametrize("what", NOT_FINITE)
@pytest.mark.parametrize("given", ["made", "as it is"])
@pytest.mark.parametrize("every", [None, 3])
def test_what_is_not_finite_is_traced_to_where_it_came_up(
    what: str, given: str, every: int | None, tmp_path: Path
) -> None:
    kind, step, words = NOT_FINITE[what]
    recipe = plain(epochs=5, log_every=4, checkpoint_every=every)
    with pytest.raises(TrainError) as caught:
        run(kind if given == "made" else kind(), recipe, data=DATA, out=tmp_path)
    found = caught.value.diagnostic
    assert (found.code, found.message) == ("E0634", f"the loss of step {step} is not a finite number")
    assert re.search(words, found.notes[0]), found.notes[0]
    last = "the last good checkpoint" if step > 5 else "no checkpoint was written before"
    assert found.notes[-1].startswith(last)
    assert open_run(tmp_path).status == "not finite"


def test_a_step_that_is_too_long_is_told_from_the_layer_that_meets_it(tmp_path: Path) -> None:
    with pytest.raises(TrainError) as caught:
        run(small, plain(optimizer=SGD(lr=1e38)), data=DATA, out=tmp_path)
    found = caught.value.diagnostic
    assert re.search(r"`[02]` \(Linear\) gave|made `[02]\.(weight|bias)` not finite", found.notes[0])
    assert "a smaller learning rate" in found.helps[0]


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import test_runs as t
t.torch.set_num_threads(1)
"""


def process(code: str, **options: Any) -> subprocess.Popen[str]:
    text = SCRIPT.format(tests=str(Path(__file__).parent)) + code
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
        **options,
    )


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_the_checkpoint_before_it_is_used(tmp_path: Path) -> None:
    wide = "lambda: t.nn.Sequential(t.nn.Linear(3, {width}), t.nn.ReLU(), t.nn.Linear({width}, 2))"
    whole = run(
        eval(wide.format(width=5000).replace("t.nn", "nn")),
        plain(epochs=4),
        data=DATA,
        out=tmp_path / "whole",
    )
    code = f"""
from resource import RLIMIT_FSIZE, setrlimit
model, out = {wide.format(width=5000)}, t.Path({str(tmp_path / "run")!r})
def watch(record):
    if isinstance(record, t.Epoch) and record.epoch == 2:
        setrlimit(RLIMIT_FSIZE, (20000, 20000))
try:
    t.run(model, t.plain(epochs=4), data=t.DATA, out=out, on_record=watch)
except t.TrainError as problem:
    found = problem.diagnostic
    print(found.code, found.message, *found.notes, *found.helps, sep="\\n")
"""
    done = process(code)
    out, err = done.communicate(timeout=120)
    lines = out.splitlines()
    assert lines[0] == "E0637", err
    assert "cannot be written: file too large" in lines[1]
    newest = checkpoints(tmp_path / "run")[0]
    assert newest.name == "epoch-0002-step-00000008"
    assert lines[2] == f"the last good checkpoint is `{newest}`"
    assert "--resume" in lines[3]
    assert not list((tmp_path / "run").rglob("*.partial"))
    again = run(
        eval(wide.format(width=5000).replace("t.nn", "nn")),
        plain(epochs=4),
        data=DATA,
        out=tmp_path / "run",
        resume=True,
    )
    assert whole.last.read_bytes() == again.last.read_bytes()
    for name in ("history.csv", "steps.csv"):
        texts = [(tmp_path / part / name).read_text() for part in ("whole", "run")]
        strip = [[row[:-1] for row in csv.reader(text.splitlines())] for text in texts]
        assert strip[0] == strip[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_from_outside_saves_and_stops_with_a_message(number: int, tmp_path: Path) -> None:
    code = f"""
from netdsl.train import Display
with Display() as show:
    result = t.run(t.small, t.plain(epochs=100_000), data=t.DATA, out=t.Path({str(tmp_path / "run")!r}), on_record=show)
print(result.reason)
"""
    child = process(code)
    while not checkpoints(tmp_path / "run"):
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    lines = out.splitlines()
    assert lines[-1] == "interrupted"
    step = int(checkpoints(tmp_path / "run")[0].name.split("-")[-1])
    assert lines[-2] == f"interrupted and saved after {step} steps; `--resume` goes on from there"
    assert open_run(tmp_path / "run").status == "interrupted"
    rows = read_steps(tmp_path / "run" / "steps.csv")
    assert rows[-1].step == step


def test_disks_have_limits_here() -> None:
    """What the test of a full disk rests on: a limit on files is an error of writing, and no end of the process."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    open("/tmp/netdsl-limit", "wb", buffering=0).write(b"x" * 100 + b"y")
    open("/tmp/netdsl-limit", "ab", buffering=0).write(b"z")
except OSError as problem:
    print(problem.errno)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "27", done.stderr
    assert resource.RLIMIT_FSIZE >= 0


# -------------------------------------------------------------------------------------------- from Python


def test_fit_does_what_the_command_does(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    netdsl_(capsys, "train", "digits.net", "--set", "batch=64", "--out", "one")
    result = netdsl.fit(netdsl.load("digits.net").Digit, batch=64, out="two")
    assert result.reason == "finished"
    assert (here / "one" / "best.safetensors").read_bytes() == result.weights.read_bytes()
    assert differing([open_run("one"), open_run("two")]) == {}
    assert "accuracy" in netdsl_(capsys, "eval", "two")


def test_changes_are_components_or_what_the_language_writes(here: Path) -> None:
    from netdsl.train.python import recipe_of

    model = netdsl.load("digits.net").Digit
    assert recipe_of(model, optimizer=SGD(lr=0.5)) == recipe_of(model, optimizer="SGD(lr = 0.5)")
    assert recipe_of(model, steps=20).steps == 20
    with pytest.raises(netdsl.NetError, match=r"E0607|E0606"):
        recipe_of(model, optimizer="SGD(rate = 0.5)")
    with pytest.raises(netdsl.NetError, match="E0609"):
        recipe_of(model, bacth=3)


def test_a_module_of_ones_own_is_trained_by_keys_alone(tmp_path: Path) -> None:
    x = torch.rand(64, 3)
    data = Data(Split(x, (x[:, :1] > 0.5).float()), Split(x[:16], (x[:16, :1] > 0.5).float()))
    model = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    result = netdsl.fit(
        model, loss=BCELoss(), optimizer=Adam(lr=0.1), epochs=2, data=data, out=tmp_path / "run"
    )
    assert len(result.epochs) == 2


def test_the_loop_is_a_generator_to_act_in(here: Path) -> None:
    state = begin(netdsl.load("digits.net").Digit, log_every=4)
    rates: list[float] = []
    for record in fit(state):
        if isinstance(record, Step):
            rates.append(record.loss)
        if isinstance(record, Epoch) and record.epoch == 2:
            state.stop_requested = True
    assert state.epoch == 2
    assert rates[-1] < rates[0]
    assert not (here / "runs").exists()
