"""After training: what `eval` and `predict` make of a run, for each kind of source. `predict` sees what training saw."""

from __future__ import annotations

import csv
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from netdsl.train import Data, Split, TrainError, load_run, open_run
from netdsl.train.data import Source
from netdsl.train.loading import load_data
from netdsl.train.prediction import Manner
from tests import trained as trained_runs
from tests.trained import MODELS, Command

house, told = trained_runs.house, trained_runs.told  # fixtures


def held_out(house: Path, model: str) -> tuple[Data, Any]:
    """The data of a run, and the run itself."""
    trained = load_run(house / "runs" / model)
    return load_data(trained.recipe), trained


def outputs_of(trained: Any, x: torch.Tensor) -> torch.Tensor:
    """What the model gives for the samples `x` of a source, computed apart from `predict`."""
    from netdsl.train.batches import prepare_on

    with torch.inference_mode():
        return trained.model(prepare_on(torch.device("cpu"), trained.recipe)(x.clone()))


# -------------------------------------------------------------------------------------------------- eval


@pytest.mark.parametrize("model", MODELS)
def test_a_run_measures_what_its_history_says_to_the_bit(model: str, told: Command) -> None:
    run = open_run(Path("runs") / model)
    for which, epoch in {"best": run.best, "last": run.epochs[-1]}.items():
        assert epoch is not None
        found = told("eval", f"runs/{model}", "--weights", which, "--json")
        recorded = {k.removeprefix("valid_"): v for k, v in epoch.measured.items() if k.startswith("valid_")}
        assert {name: found[name] for name in recorded} == recorded
    assert load_run(run.path).evaluate().measured == told_best(run)


def told_best(run: Any) -> dict[str, float]:
    return {k.removeprefix("valid_"): v for k, v in run.best.measured.items() if k.startswith("valid_")}


def test_the_manner_of_a_run_is_kept(house: Path) -> None:
    environment = {**open_run(house / "runs/Pixels").environment, "channels_last": True}
    manner = Manner.of_run(environment)
    assert (manner.threads, manner.channels_last, manner.device) == (environment["threads"], True, "cpu")
    assert Manner.of_run({"device": "tpu:3"}).device is None


def test_other_data_is_measured_whole(told: Command) -> None:
    lines = Path("rows.csv").read_text().splitlines()
    Path("other.csv").write_text("\n".join(lines[:31]) + "\n")
    assert told("eval", "runs/Chance", "--data", "other.csv", "--json")["samples"] == 30
    made = told(
        "predict", "runs/Chance", "other.csv", "--json"
    )  # by what the training part of the run has taught
    right = [each["probabilities"][line[-1]] for each, line in zip(made, lines[1:31], strict=True)]
    loss = told("eval", "runs/Chance", "--data", "other.csv", "--json")["loss"]
    assert loss == pytest.approx(-sum(map(math.log, right)) / 30, rel=1e-5)
    assert told("eval", "runs/Chance", "--data", "rows.csv", "--json")["samples"] == 120
    assert told("eval", "runs/Chance", "--json")["samples"] == 30
    assert told("eval", "runs/Masks", "--data", "Shapes(count = 20, size = 16)", "--json")["samples"] == 4
    same = told("eval", "runs/Masks", "--data", "Shapes(count = 40, size = 16)", "--json")
    assert same["loss"] == told("eval", "runs/Masks", "--json")["loss"]
    assert load_run("runs/Chance").evaluate("other.csv").samples == 30
    assert "no file or folder `other.scv`" in told("eval", "runs/Chance", "--data", "other.scv", status=1)
    assert "E0620" in told("eval", "runs/Masks", "--data", "other.csv", status=1)


# ----------------------------------------------------------------------------------------------- predict


def test_images_are_predicted_as_they_were_measured(house: Path, told: Command) -> None:
    data, trained = held_out(house, "Pixels")
    assert isinstance(data.valid, Split)
    folder = house / "images"
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(data.valid.x):
        Image.fromarray(image[0].numpy()).save(folder / f"{number:04}.png")
    np.save("valid.npy", data.valid.x.numpy())
    np.savez("valid.npz", x=data.valid.x.numpy())
    wanted = outputs_of(trained, data.valid.x).softmax(1)
    for given in ("images", "valid.npy", "valid.npz"):
        found = told("predict", "runs/Pixels", given, "--json")
        assert [list(each["probabilities"].values()) for each in found] == wanted.tolist()
        right = [each["label"] == str(int(y)) for each, y in zip(found, data.valid.y, strict=True)]
        assert sum(right) / len(right) == told("eval", "runs/Pixels", "--json")["accuracy"]


def test_an_image_may_have_any_size_and_colours(told: Command) -> None:
    pixels = load_run("runs/Pixels")
    digit = load_data(pixels.recipe).valid.first(1).x[0, 0].numpy()
    Image.fromarray(digit).save("small.png")
    Image.fromarray(digit).resize((64, 64), Image.Resampling.NEAREST).convert("RGBA").save("large.png")
    Image.fromarray(digit).resize((8, 8)).convert("RGB").save("colour.webp", lossless=True)
    small, large, colour = pixels.predict(["small.png", "large.png", "colour.webp"])
    assert small.label == large.label == colour.label
    assert small.probabilities == pytest.approx(colour.probabilities, abs=1e-5)
    assert told("predict", "runs/Pixels", "small.png", "--top", "2").splitlines()[0].split() == [
        *("file", "prediction", "probability"),
        *("prediction", "2", "probability", "2"),
    ]
    assert len(told("predict", "runs/Pixels", "small.png", "--top", "3", "--json")[0]["probabilities"]) == 3


def test_rows_are_predicted_as_they_were_measured(house: Path, told: Command) -> None:
    data, trained = held_out(house, "Chance")
    lines = Path("rows.csv").read_text().splitlines()
    wanted = outputs_of(trained, data.valid.x)[:, 0].tolist()
    from netdsl.train.loading import held_out as divided

    _, numbers = divided(120, 0.25, trained.recipe.seed)
    held = [lines[1 + number] for number in numbers]
    Path("held.csv").write_text("\n".join(["a,b,y", *held]) + "\n")
    Path("without.tsv").write_text(
        "\n".join(["b\ta", *("\t".join(row.split(",")[1::-1]) for row in held)]) + "\n"
    )
    import pandas

    pandas.DataFrame([row.split(",")[:2] for row in held], columns=["a", "b"]).replace("", None).to_parquet(
        "h.parquet"
    )
    for given in ("held.csv", "without.tsv", "h.parquet"):
        found = told("predict", "runs/Chance", given, "--json")
        assert [each["probabilities"]["1"] for each in found] == wanted
        assert [each["row"] for each in found] == list(range(1, 31))
    right = [each["label"] == row[-1] for each, row in zip(found, held, strict=True)]
    assert sum(right) / 30 == told("eval", "runs/Chance", "--json")["accuracy"]


def test_texts_are_predicted_as_they_were_measured(house: Path, told: Command) -> None:
    data, trained = held_out(house, "Mood")
    from netdsl.train.loading import held_out as divided

    _, numbers = divided(60, 0.25, trained.recipe.seed)
    lines = Path("texts.tsv").read_text().splitlines()
    held = [lines[number] for number in numbers]
    Path("held.tsv").write_text("\n".join(held) + "\n")
    Path("held.txt").write_text("\n\n".join(line.split("\t")[1] for line in held) + "\n")
    wanted = outputs_of(trained, data.valid.x).softmax(1).tolist()
    for given in ("held.tsv", "held.txt"):
        found = told("predict", "runs/Mood", given, "--json")
        assert [list(each["probabilities"].values()) for each in found] == wanted


def test_a_series_goes_on_from_its_last_rows(house: Path, told: Command) -> None:
    data, trained = held_out(house, "Growth")
    lines = Path("days.csv").read_text().splitlines()
    wanted = outputs_of(trained, data.valid.x)
    for back in range(3):  # the windows that end before the last rows
        Path("part.csv").write_text("\n".join(lines[: len(lines) - 1 - back]) + "\n")
        (found,) = told("predict", "runs/Growth", "part.csv", "--json")
        values = found["values"]
        changes = [values["change of u"], values["change of v"]]
        assert changes == pytest.approx(wanted[-1 - back].tolist(), rel=1e-5)  # of one window, and not of all
        last = [float(cell) for cell in lines[-2 - back].split(",")[1:]]
        levels = [level + change for level, change in zip(last, changes, strict=True)]
        assert [values["u"], values["v"]] == levels


def test_a_forecast_of_several_steps_is_that_of_a_series_with_the_first_steps(told: Command) -> None:
    three = told("predict", "runs/Growth", "days.csv", "--steps", "3", "--json")
    assert [each["step"] for each in three] == [1, 2, 3]
    first = three[0]["values"]
    text = Path("days.csv").read_text()
    Path("longer.csv").write_text(f"{text}40,{first['u']!r},{first['v']!r}\n")
    assert told("predict", "runs/Growth", "longer.csv", "--json")[0]["values"] == three[1]["values"]


def test_a_text_goes_on_with_the_most_likely_tokens(told: Command) -> None:
    Path("begin.txt").write_text("efg abc\n")
    found = told("predict", "runs/Letters", "begin.txt", "--steps", "6", "--json")
    assert "".join(each["label"] for each in found) == "defg a"
    assert "' '" in told("predict", "runs/Letters", "begin.txt", "--steps", "6")


def test_masks_are_images_that_can_be_learned_from(house: Path, told: Command) -> None:
    data, trained = held_out(house, "Masks")
    assert isinstance(data.valid, Split)
    shutil.rmtree("shapes", ignore_errors=True)
    Path("shapes").mkdir()
    for number, image in enumerate(data.valid.x):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(f"shapes/{number}.png")
    wanted = (outputs_of(trained, data.valid.x).sigmoid() > 0.5).squeeze(1)
    found = told("predict", "runs/Masks", "shapes", "-o", "masks", "--json")
    assert [each["mask"] for each in found] == [f"masks/{number}.png" for number in range(8)]
    for each, mask in zip(found, wanted, strict=True):
        with Image.open(each["mask"]) as image:
            assert (np.asarray(image) == mask.numpy()).all()
        assert each["shares"]["shape"] == pytest.approx(float(mask.float().mean()))
    assert told("eval", "runs/Masks", "--data", 'Segmentation("shapes", "masks")', "--json")["accuracy"] == 1
    with Image.open("shapes/0.png") as image:
        image.resize((40, 20)).save("wide.png")
    told("predict", "runs/Masks", "wide.png", "-o", "masks")
    with Image.open("masks/wide.png") as mask:
        assert mask.size == (40, 20)
    assert "written over an image" in told("predict", "runs/Masks", "shapes", "-o", "shapes", status=1)


def test_a_broken_image_leaves_no_masks(told: Command) -> None:
    Path("some").mkdir(exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(noise).save("some/a.png")
    Path("some/b.png").write_bytes(Path("some/a.png").read_bytes()[:200])
    assert "error[E0636]: `some/b.png` cannot be read" in told(
        "predict", "runs/Masks", "some", "-o", "m", status=1
    )
    assert not Path("m").exists()


def test_predictions_are_written_as_a_table(told: Command) -> None:
    Path("points.csv").write_text("x1;x2\n0;1\n0.5;0.25\n")
    shown = told("predict", "runs/Plane", "points.csv").splitlines()
    assert [line.split() for line in shown[:2]] == [
        ["file", "row", "value"],
        ["points.csv", "1", shown[1].split()[2]],
    ]
    told("predict", "runs/Plane", "points.csv", "-o", "out/values.csv")
    with Path("out/values.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = told("predict", "runs/Plane", "points.csv", "--json")
    assert [float(row["value"]) for row in rows] == [each["values"]["value"] for each in found]


FAULTS: Mapping[str, tuple[str, str, str | bytes, str]] = {
    "no file": ("Pixels", "gone.png", "", "E0636.*no file `gone.png`"),
    "a text for an image": ("Pixels", "t.png", "hi", "E0636.*`t.png` is not an image"),
    "a column by another name": ("Chance", "c.csv", "aa,b\n1,u\n", "E0652.*no column `a`.*it has `aa`, `b`"),
    "an unseen category": ("Chance", "d.csv", "a,b\n1,u\n1,z\n", "E0653.*`z` is no category.*line 3"),
    "text for a number": ("Chance", "e.csv", "a,b\nx,u\n", "E0653.*`x` in line 2"),
    "an infinite number": ("Chance", "f.csv", "a,b\ninf,u\n", "E0653.*`inf` in line 2"),
    "nothing in a file": ("Chance", "g.csv", "", "E0651.*is empty"),
    "a gap that was never there": ("Growth", "h.csv", "u,v\n1,2\n3,\n" + "1,1\n" * 4, "E0654.*`v`.*line 3"),
    "a short series": ("Growth", "i.csv", "u,v\n1,2\n", "E0636.*1 row, .*looks at 4 and 1 before"),
    "bytes for a text": ("Mood", "j.txt", bytes(range(256)), "E0636.*not UTF-8 text"),
    "zeros for a text": ("Mood", "k.txt", b"good\0film", "E0636.*is no text"),
    "a text of nothing": ("Mood", "l.txt", "\n\n", "E0636.*has no lines"),
    "an unknown letter": ("Letters", "m.txt", "abcdefz", "E0665.*`z` is not in the vocabulary"),
    "a short text": ("Letters", "n.txt", "abc", "E0636.*3 tokens, and the model looks at 5"),
    "no number": ("Plane", "o.csv", "1,2\n3,nan\n", "E0636.*line 2.*`nan`"),
    "a number too many": ("Plane", "p.csv", "1,2,3\n", "E0636.*line 1.*3 numbers, not 2"),
    "an array that is none": ("Plane", "q.npy", b"PK", "E0636.*cannot be read"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_without_samples_is_refused_with_its_place(fault: str, told: Command) -> None:
    model, name, content, wanted = FAULTS[fault]
    if content or fault == "nothing in a file":
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    said = told("predict", f"runs/{model}", name, "-o", "refused.csv", status=1)
    assert re.search(wanted, said, re.DOTALL), said
    assert not Path("refused.csv").exists()
    assert "= help: " in said


def test_a_folder_without_images_and_arrays_of_other_shapes_are_refused(told: Command) -> None:
    Path("empty").mkdir(exist_ok=True)
    Path("empty/a.doc").write_text("")
    assert "1 of its files end in `.doc`" in told("predict", "runs/Pixels", "empty", status=1)
    assert "name the files in it" in told("predict", "runs/Chance", "empty", status=1)
    np.save("wrong.npy", np.zeros((2, 1, 9, 8), np.uint8))
    assert "holds [2, 1, 9, 8], and samples are [1, 8, 8]" in told(
        "predict", "runs/Pixels", "wrong.npy", status=1
    )
    np.save("wrong.npy", np.zeros((2, 1, 8, 8)))
    assert "samples are bytes" in told("predict", "runs/Pixels", "wrong.npy", status=1)
    np.save("wrong.npy", np.array([[1.0, 2.0], [np.nan, 1.0]]))
    assert "a value in sample 1 that is not a finite" in told("predict", "runs/Plane", "wrong.npy", status=1)
    assert "predicts no steps" in told("predict", "runs/Plane", "wrong.npy", "--steps", "2", status=1)
    np.savez("two.npz", a=np.zeros((1, 2)), b=np.zeros((1, 2)))
    assert "no array `x`" in told("predict", "runs/Plane", "two.npz", status=1)


def test_a_run_that_was_tampered_with_says_so(told: Command) -> None:
    broken = Path("runs/Broken")
    shutil.copytree("runs/Chance", broken, dirs_exist_ok=True)
    spec = broken / "spec" / "nets.net"
    whole = spec.read_text()
    spec.write_text(
        whole.replace(
            "Linear(8) -> ReLU -> Linear(1) -> Sigmoid", "Linear(9) -> ReLU -> Linear(1) -> Sigmoid"
        )
    )
    for command in (["eval", broken], ["predict", broken, "rows.csv"], ["export", broken, "--to", "onnx"]):
        assert "do not fit `Chance`" in told(*command, status=1)
    spec.write_text(whole.replace("model Chance", "model Luck").replace("train Chance", "train Luck"))
    assert "has no model `Chance`" in told("predict", broken, "rows.csv", status=1)
    with pytest.raises(TrainError, match="no model `Chance` any more"):
        load_run(broken)
    spec.write_text(whole)
    (broken / "preprocessing.json").unlink()
    assert "as `preprocessing.json`" in told("predict", broken, "rows.csv", status=1)
    for path in broken.glob("*.safetensors"):
        path.unlink()
    assert "has no weights yet" in told("predict", broken, "rows.csv", status=1)


def test_tensors_and_sources_are_measured_from_python(house: Path) -> None:
    data, trained = held_out(house, "Plane")
    assert isinstance(data.valid, Split)
    assert trained.evaluate(Data(data.train, data.valid)).measured == trained.evaluate().measured
    source = trained.recipe.data
    assert isinstance(source, Source)
    assert trained.evaluate(source.model_copy(update={"seed": 5})).measured != trained.evaluate().measured
