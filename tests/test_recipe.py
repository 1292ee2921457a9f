"""Recipes: what a `train` block may say, checked without data and without torch; and the classes it names."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netdsl.diagnostics import Report
from netdsl.elaborate.settings import Choice, Setting
from netdsl.ir.dims import symbol
from netdsl.ir.types import Tensor as TensorType
from netdsl.train.component import construct
from netdsl.train.data import MNIST, SOURCES
from netdsl.train.losses import LOSSES
from netdsl.train.optimizers import OPTIMIZERS, SGD
from netdsl.train.recipe import KEYS, Recipe, read_recipe
from netdsl.train.schedules import SCHEDULES
from netdsl.train.transforms import (
    AUGMENTATIONS,
    TRANSFORMS,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
)

CPU = torch.device("cpu")
N = symbol("N")

# -------------------------------------------------------------------------------- recipes, without data


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
    found, problems = read(
        schedule=Choice("StepLR", {"step_size": 3}), early_stop=5, precision=Choice("bf16")
    )
    assert problems == []
    assert found is not None
    assert (found.batch, found.epochs, found.early_stop, found.precision) == (64, 10, 5, "bf16")
    assert found.optimizer == SGD(lr=0.01, momentum=0.5)
    assert found.data == MNIST(root="data")
    assert found.monitored == ("valid_accuracy", True)
    assert [found.rate(epoch) for epoch in (0, 2, 3)] == pytest.approx([0.01, 0.01, 0.001])


REFUSED = {
    "E0609": {"bathc": 64},
    "E0602": {"loss": Choice("AdaptiveLogSoftmaxWithLoss")},
    "E0603": {"optimizer": "absent"},
    "E0604": {"batch": 0},
    "E0605": {"optimizer": Choice("SDG", {"lr": 0.1})},
    "E0606": {"optimizer": Choice("SGD", {"learning_rate": 0.1})},
    "E0607": {"optimizer": Choice("SGD", {"lr": "fast"})},
    "E0608": {"steps": 10, "epochs": 10},
    "E0618": {"y": (N, 10, 1, 1)},
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
@pytest.mark.parametrize("key", KEYS)
def test_no_value_of_a_key_escapes_the_check(key: str, value: Any) -> None:
    found, problems = read(**{key: value})
    assert found is not None or all(code.startswith("E06") for code, _ in problems)


@pytest.mark.slow
@given(
    st.text(max_size=12),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists),
)
def test_no_argument_of_a_class_escapes_the_check(name: str, value: Any) -> None:
    for family in (LOSSES, OPTIMIZERS, SCHEDULES, TRANSFORMS, AUGMENTATIONS, SOURCES):
        for kind, member in family.members.items():
            report = Report()
            for argument in (name, *member.model_fields):
                construct(Choice(kind, {argument: value}), family, report)
            assert all(d.code in ("E0606", "E0607") for d in report)


def test_every_problem_of_a_recipe_is_reported_at_once() -> None:
    _, problems = read(
        bathc=1, loss=Choice("CrossEntropy"), optimizer=Choice("SGD", {"lr": -1, "momentun": 0})
    )
    assert [code for code, _ in problems] == ["E0605", "E0606", "E0609"]


def test_data_may_be_named_later_and_what_is_missing_is_one_problem() -> None:
    assert read(data="absent")[1] == []
    _, problems = read(loss="absent", optimizer="absent")
    assert problems == [("E0603", "the recipe has no `loss` and no `optimizer`")]


def test_every_code_of_the_trainer_has_a_page() -> None:
    package = Path(inspect.getfile(Recipe)).parent
    text = "".join(path.read_text() for path in package.rglob("*.py"))
    pages = package.parent / "diagnostics" / "pages"
    codes = {text[i + 1 : i + 6] for i in range(len(text)) if text.startswith('"E06', i)}
    assert len(codes) > 20
    for code in codes:
        assert (pages / f"{code}.md").read_text().startswith(f"# {code}: ")


# ---------------------------------------------------------------------- the classes that a recipe names


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
        theirs = getattr(v2, kind)(
            **{k: list(v) if isinstance(v, tuple) else v for k, v in arguments.items()}
        )
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


def test_a_rotation_turns_as_torchvisions_does() -> None:
    from torchvision.transforms.v2.functional import InterpolationMode, rotate

    x, random = torch.rand(3, 2, 9, 13), torch.Generator().manual_seed(0)
    for angle in (0.0, 90.0, 30.0):
        for mode in ("nearest", "bilinear"):
            ours = RandomRotation(degrees=(angle, angle), interpolation=mode).apply(x, random)
            theirs = rotate(x, angle, InterpolationMode(mode))
            near = (ours - theirs).abs() < 1e-4
            assert near.double().mean() > 0.95, (angle, mode)  # rounding decides ties between two pixels
    drawn = RandomRotation(degrees=20).apply(x[:1].repeat(8, 1, 1, 1), random)
    assert not any(torch.equal(drawn[0], other) for other in drawn[1:])


def test_reading_a_recipe_loads_no_torch() -> None:
    heavy = ("torch", "numpy", "sklearn", "matplotlib")
    script = f"import sys, netdsl.train.recipe; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert (
        subprocess.run(
            [sys.executable, "-c", script], cwd=Path(__file__).parent.parent, check=False
        ).returncode
        == 0
    )
