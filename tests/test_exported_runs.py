"""An export can be used by programs that know nothing of netdsl: the JSON beside it says all that they need."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests import trained as trained_runs
from tests.trained import MODELS, Command

house, told = trained_runs.house, trained_runs.told  # fixtures


class Foreign:
    """An export used by a program that has numpy, Pillow, onnxruntime and the JSON beside the model, and nothing else."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self.about = json.loads(path.with_suffix(".inputs.json").read_text(encoding="utf-8"))
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def __call__(self, path: str) -> list[list[float]]:
        value: Any = path
        for step in self.about["steps"]:
            value = getattr(self, step["do"])(value, **{k: v for k, v in step.items() if k != "do"})
        entry = self.about["inputs"][0]
        x = np.asarray(value, entry["dtype"]).reshape(-1, *entry["shape"][1:])
        (output,) = self.session.run([self.about["outputs"][0]["name"]], {entry["name"]: x})
        if self.about["result"]["then"] == "softmax":
            output = np.exp(output - output.max(1, keepdims=True))
            output /= output.sum(1, keepdims=True)
        if len(self.about["result"]["names"]) == 2 and output.shape[1] == 1:
            output = np.concatenate([1 - output, output], 1)
        return output.tolist()

    def image(self, path: str, mode: str) -> Image.Image:
        return Image.open(path).convert(mode)

    def resize(self, image: Image.Image, height: int, width: int, resampling: str) -> Image.Image:
        return image.resize((width, height), Image.Resampling[resampling.upper()])

    def axes(self, image: Image.Image, order: str) -> Any:
        pixels = np.asarray(image)
        return pixels[None] if order == "CHW" and pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    def divide(self, x: Any, by: float, dtype: str) -> Any:
        return x.astype(dtype) / np.float32(by)

    def Normalize(self, x: Any, mean: float, std: float) -> Any:
        return (x - np.float32(mean)) / np.float32(std)

    def table(self, path: str, header: bool, delimiter: str | None, missing: list[str], **rest: Any) -> Any:
        assert header
        assert (rest["encoding"], rest["decimal"]) == ("utf-8", ".")
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter=delimiter or ","))
        return [{k: None if v.strip() in missing else v.strip() for k, v in row.items()} for row in rows]

    def columns(self, rows: Any, columns: list[dict[str, Any]], names: list[str]) -> Any:
        made = []
        for row in rows:
            cells: list[float] = []
            for column in columns:
                cell = row[column["column"]]
                if column["is"] == "missing":
                    cells.append(float(cell is None))
                elif column["is"] == "number":
                    value = column["fill"] if cell is None else float(cell)
                    cells.append(
                        value if column["mean"] is None else (value - column["mean"]) / column["scale"]
                    )
                else:
                    known = [*column["categories"], *([None] if column["missing"] else [])]
                    cells += [float(cell == name) for name in known]
            made.append(cells)
        assert len(made[0]) == len(names)
        return made

    def difference(self, x: Any, order: int) -> Any:
        return np.diff(np.asarray(x), order, axis=0)

    def window(self, x: Any, rows: int, of: str) -> Any:
        assert of == "last"
        return x[None, -rows:]

    def tokens(self, path: str, of: str, lower: bool, pattern: str) -> Any:
        assert (of, lower) == ("words", True)
        lines = Path(path).read_text(encoding="utf-8").lower().splitlines()
        return [re.findall(pattern, line) for line in lines if line.strip()]

    def vocabulary(self, texts: Any, tokens: list[str], unknown: int) -> Any:
        return [[tokens.index(t) if t in tokens else unknown for t in text] for text in texts]

    def cut(self, texts: Any, length: int, keep: str) -> Any:
        return [text[-length:] if keep == "last" else text[:length] for text in texts]

    def pad(self, texts: Any, length: int, side: str, **rest: Any) -> Any:
        fill = [[rest["with"]] * (length - len(text)) for text in texts]
        return [f + t if side == "left" else t + f for f, t in zip(fill, texts, strict=True)]

    def numbers(self, path: str, shape: list[int]) -> Any:
        return np.loadtxt(path, delimiter=";", skiprows=1).reshape(-1, *shape)

    def __getattr__(self, name: str) -> Any:
        assert name == "as"  # a keyword of Python
        return lambda x, dtype: np.asarray(x).astype(dtype)


def test_an_export_says_all_that_is_needed_to_use_it_without_netdsl(told: Command) -> None:
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (30, 20, 3), np.uint8)).save("noise.png")
    Path("new.csv").write_text("b,a\nu,3\n,\nw,6\nv,\n")
    Path("new.txt").write_text(
        "Good film, it's fine!\nnever seen words\nbad bad bad dull plot was it bad\n\n"
    )
    Path("points.csv").write_text("x1;x2\n0;1\n0.5;0.25\n")
    files = {
        "Pixels": "noise.png",
        "Chance": "new.csv",
        "Mood": "new.txt",
        "Growth": "days.csv",
        "Plane": "points.csv",
    }
    for model, file in files.items():
        told("export", f"runs/{model}", "--to", "onnx", "-o", f"away/{model}.onnx")
        found = told("predict", f"runs/{model}", file, "--json")
        expected = [list((each.get("probabilities") or each["values"]).values()) for each in found]
        if model == "Growth":
            expected = [values[2:] for values in expected]  # of what the model gives, which are changes
        np.testing.assert_allclose(Foreign(Path(f"away/{model}.onnx"))(file), expected, rtol=1e-4, atol=1e-5)


def test_every_source_of_the_house_has_steps(told: Command) -> None:
    for model in MODELS:
        told("export", f"runs/{model}", "--to", "python", "-o", f"away/{model}.py")
        about = json.loads(Path(f"away/{model}.inputs.json").read_text())
        assert about["steps"]
        assert about["inputs"][0]["shape"][0] == "N"
        assert about["outputs"][0]["dtype"] == "float32"
    assert about["result"] == {"gives": "values", "then": None, "names": []}
