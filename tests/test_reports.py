"""The page of a run, `report.html`: one file that needs nothing else and shows what is so."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shlex
import xml.etree.ElementTree as XML
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn

import netdsl
from netdsl.train import Data, Split, open_run, run
from netdsl.train.charts import DARK, Line, histogram_chart, line_chart, matrix_chart, scatter_chart, thinned
from netdsl.train.data.digits import write_images
from netdsl.train.findings import looked_at
from netdsl.train.gallery import CURVES
from netdsl.train.losses import MSELoss
from netdsl.train.metrics import METRICS
from netdsl.train.prediction import examine
from netdsl.train.python import recipe_of
from netdsl.train.report import write_report
from tests import small_runs
from tests import trained as trained_runs
from tests.small_runs import DATA, VALID, netdsl_, plain, small
from tests.trained import MODELS, Command

here, one_thread = small_runs.project, small_runs.one_thread  # fixtures
house, told = trained_runs.house, trained_runs.told  # fixtures


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


def page_of(folder: Path) -> str:
    """The text of a run's page, which is whole and fetches nothing."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not re.findall(r"@import|url\(|https?://(?!www\.w3\.org/)", text)
    return text


def charts_of(text: str) -> list[XML.Element]:
    return [
        XML.fromstring(part)
        for part in re.findall(r'<svg xmlns="[^"]*" class="chart".*?</svg>', text, re.DOTALL)
    ]


SHOWN = {  # what the page of each run of the house has to show of its worst samples
    "Pixels": r'<img src="data:image/png[^>]*><figcaption><b>\d</b><br><i>taken for</i> \d \(\d+%\)<br><i>loss',
    "Chance": r"<th class=\"number\">a</th><th class=\"number\">a missing</th><th class=\"number\">b = u</th>",
    "Mood": r'<td class="long">(good|fine|film|it\'s|it&#x27;s|plot|bad|dull|was)[a-z&#x0-9; ]*</td>',
    "Growth": r'style="color:#[0-9a-f]{6}">u</span> <span style="color:#[0-9a-f]{6}">v</span></th>',
    "Letters": r'<td class="long">[a-g ]{5}</td>',
    "Masks": r"<span>image</span>.*?<span>true</span>.*?<span>predicted</span>.*?\d+\.\d% of it wrong",
    "Plane": r"predicted and true.*residuals.*variance explained",
}


@pytest.mark.parametrize("model", MODELS)
def test_every_kind_of_data_has_a_page_that_shows_it(model: str, house: Path, told: Command) -> None:
    told("report", f"runs/{model}")
    text = page_of(house / "runs" / model)
    assert re.search(SHOWN[model], text, re.DOTALL)
    best = open_run(house / "runs" / model).best
    assert best is not None
    assert (
        f"<span>{open_run(house / 'runs' / model).monitor[0].replace('_', ' ')}, epoch {best.epoch}</span>"
        in text
    )
    assert "as compiled" not in text
    known = {*DARK, "none", *CURVES}
    for chart in charts_of(text):
        for element in chart.iter():  # what is drawn in a colour has one in the dark
            assert {element.get("fill", "none"), element.get("stroke", "none")} <= known


def test_masks_lie_over_their_images_in_the_colours_of_the_legend(house: Path, told: Command) -> None:
    from PIL import Image

    told("report", "runs/Masks")
    text = page_of(house / "runs" / "Masks")
    assert re.findall(r"<i style=\"background:([^\"]*)\"></i>(\w+)", text) == [
        ("transparent", "ground"),
        ("rgb(230,159,0)", "shape"),
    ]
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]*)" alt="([^"]*)"', text)
    assert [alt for _, alt in pictures[1:3]] == ["true mask", "predicted mask"]
    image, true = (Image.open(io.BytesIO(base64.b64decode(code))).convert("RGB") for code, _ in pictures[:2])
    pixels = torch.tensor(np.stack([np.asarray(image), np.asarray(true)]), dtype=torch.float32).flatten(1, 2)
    changed = (pixels[0] != pixels[1]).any(1)
    assert 0 < int(changed.sum()) < len(changed)
    wanted = 0.45 * pixels[0] + 0.55 * torch.tensor([230.0, 159.0, 0.0])
    torch.testing.assert_close(pixels[1][changed], wanted[changed], atol=2, rtol=0)


NAMES = ["<script>alert(1)</script>", "a\"b'&amp;c"]


def test_names_are_shown_and_never_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    column = "<img src=x>"
    quoted = [json.dumps(name) for name in NAMES]
    (tmp_path / "x.net").write_text(
        "model M { input x: [N, 1]\n output x -> Linear(2) }\n"
        f'train M {{ data = Table("x.csv", target = "y", classes = [{", ".join(quoted)}], features = ["{column}"])\n'
        "valid = 0.5\nepochs = 2\nloss = CrossEntropyLoss\noptimizer = SGD(lr = 0.1)\nmetrics = [accuracy] }\n"
    )
    with (tmp_path / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[column, "y"], *([i, NAMES[i % 2]] for i in range(40))])
    out = "a <b>&'run'"
    netdsl_(capsys, "train", "x.net", "--out", out)
    text = page_of(tmp_path / out)
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "<b>&" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "a &lt;b&gt;&amp;&#x27;run&#x27;" in text
    assert "&amp;amp;c" in text


def test_a_loss_that_is_one_number_for_a_batch_is_taken_of_each_sample(tmp_path: Path) -> None:
    (tmp_path / "x.net").write_text(
        "block Cubed { input prediction: [N, C]\n input target: [N, C]\n"
        " output abs(prediction - target) ** 3 -> mean }\n"
        "model M { input x: [N, 2]\n output x -> Linear(1) }\n"
        'train M { data = Synthetic("plane", test = True)\nepochs = 1\nloss = Cubed\noptimizer = SGD(lr = 0.01) }\n'
    )
    model = netdsl.load(str(tmp_path / "x.net")).M
    result = netdsl.fit(model, out=tmp_path / "run")
    rows = re.findall(
        r"<td class=\"number\">(\d+)</td><td class=\"number\">([^<]*)</td>", page_of(result.folder)
    )
    recipe = recipe_of(model)
    found = examine(model, recipe, result.weights)
    assert [(str(w.number), f"{w.loss:.4g}") for w in found.worst] == rows[: len(found.worst)]
    for worst in found.worst:
        assert worst.loss == pytest.approx(abs(float(worst.output) - float(worst.target)) ** 3, rel=0.02)
    assert found.worst[0].loss > found.worst[-1].loss > 0


def test_a_long_run_has_a_short_page_with_its_best_and_its_last_epoch(tmp_path: Path) -> None:
    run(small, plain(epochs=2), data=DATA, out=tmp_path)
    epochs = 5000
    rows = [f"{i},{4 * i},0.1,{1 / i},{abs(i - 3333) + 1},0.001" for i in range(1, epochs + 1)]
    (tmp_path / "history.csv").write_text(
        "epoch,step,lr,train_loss,valid_loss,seconds\n" + "\n".join(rows) + "\n"
    )
    write_report(open_run(tmp_path))
    text = page_of(tmp_path)
    assert len(text) < 150_000
    assert "best 3333" in text
    assert re.search(r'<tr class="best"><td class="number">3333</td>', text)
    assert '<td class="number">5000</td>' in text
    assert text.count("<tr") < 300


def test_a_curve_with_fewer_points_keeps_its_peaks() -> None:
    points = [(float(i), float(i % 7)) for i in range(10_000)]
    points[4321] = (4321.0, 1e6)
    points[777] = (777.0, -1e6)
    found = thinned(points)
    assert len(found) < 700
    assert {points[0], points[-1], points[4321], points[777]} <= set(found)
    assert found == sorted(found)


def test_what_the_page_says_to_go_on_with_works(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = "--set", "batch=40", "--data", "Digits(size = 8)"
    netdsl_(capsys, "train", "digits.net", "--out", "a run", "--param", "width=24", *changes)
    lines = [unescape(line) for line in re.findall(r"<pre>(.*?)</pre>", page_of(here / "a run"), re.DOTALL)]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("netdsl ")]
    assert [command[0] for command in commands] == ["train", "eval", "predict", "export"]
    again = ["5" if part == "MORE" else part for part in commands[0]]
    assert "finished after" in netdsl_(capsys, *again)
    assert len(open_run("a run").epochs) == 5
    netdsl_(capsys, *commands[1])
    netdsl_(capsys, *commands[3], "--out", "x.onnx")
    code = next(line for line in lines if "load_run" in line).replace("[...]", "['images']")
    write_images("images", 2, size=8)
    exec(code, {"netdsl": netdsl})


def test_a_page_is_made_of_what_is_left_of_a_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    netdsl_(capsys, "train", "digits.net", "--out", "run")
    for name, content in (
        ("steps.csv", b"\0\xff\n1,2\n"),
        ("history.csv", b"epoch,step\n"),
        ("history.jsonl", b"["),
    ):
        (here / "run" / name).write_bytes(content)
    netdsl_(capsys, "report", "run")
    text = page_of(here / "run")
    assert "0 of 3 epochs" in text
    (here / "run" / "best.safetensors").write_bytes(b"nothing")
    refused = netdsl_(capsys, "report", "run", status=1)
    assert "error[E" in refused
    assert page_of(here / "run") == text
