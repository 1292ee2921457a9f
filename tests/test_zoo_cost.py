"""Parameters and multiply-adds of the classifiers, read off their graphs, are those that torchvision publishes.

What both count: a multiplication with its addition for every weight of a convolution or linear layer at every place,
and for every product of a matrix multiplication, those of attention among them. Norms, activations, pooling and sums
count nothing; auxiliary heads work in training only.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torchvision
from torchvision.models import WeightsEnum, get_model_builder, get_model_weights, list_models

import netdsl
from netdsl.backends.summary import summary
from netdsl.cli.app import main
from netdsl.compiler import Program, open_program
from netdsl.diagnostics import Report
from netdsl.ir.dims import substitute
from netdsl.ir.measure import multiply_adds, parameter_count
from netdsl.source import Source
from tests.zoo.classifiers import family, model_name
from tests.zoo.compare import ROOT

BUILDERS = [
    name
    for name in list_models(torchvision.models)
    if (ROOT / "specs" / family(get_model_builder(name)).file).exists()
]
# torchvision counts GoogLeNet without its auxiliary heads, which its weights have, and Inception-v3 with its own.
ARGUMENTS: dict[str, dict[str, Any]] = {"googlenet": {"aux_logits": False}}


@cache
def program_of(file: str) -> Program:
    found = open_program(Source((ROOT / "specs" / file).read_text(encoding="utf-8"), f"std/{file}"), Report())
    assert found is not None
    return found


def model_of(builder: str) -> netdsl.Model:
    return netdsl.Model(program_of(family(get_model_builder(builder)).file), model_name(builder))


def crop(weights: WeightsEnum) -> int:
    return weights.transforms.keywords["crop_size"]


@pytest.mark.slow
@pytest.mark.parametrize("builder", BUILDERS)
def test_parameters_and_multiply_adds_are_those_published(builder: str) -> None:
    model = model_of(builder)
    for weights in get_model_weights(builder):
        size = crop(weights)
        arguments = {"image_size": size} if "image_size" in model.parameters else {}
        graph = model.graph(**arguments, **ARGUMENTS.get(builder, {}))
        work = substitute(multiply_adds(graph), {"N": 1, "H": size, "W": size})
        assert parameter_count(graph) == weights.meta["num_params"], weights
        assert isinstance(work, int)
        assert round(work / 1e9, 3) == weights.meta["_ops"], weights


# The others that publish figures: their file, and the arguments and sizes that these are for.
OTHERS: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    **dict.fromkeys(
        ("fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101"),
        ("segmentation.net", {"aux_loss": True}, {"N": 1, "H": 520, "W": 520}),
    ),
    **dict.fromkeys(
        ("r3d_18", "mc3_18", "r2plus1d_18"), ("video_resnet.net", {}, {"N": 1, "T": 16, "H": 112, "W": 112})
    ),
}


@pytest.mark.parametrize("builder", OTHERS)
def test_figures_of_segmentation_and_video_are_those_published(builder: str) -> None:
    file, arguments, sizes = OTHERS[builder]
    weights = get_model_weights(builder).DEFAULT  # type: ignore[attr-defined]
    graph = netdsl.Model(program_of(file), model_name(builder)).graph(**arguments)
    work = substitute(multiply_adds(graph), sizes)
    assert isinstance(work, int)
    assert (parameter_count(graph), round(work / 1e9, 3)) == (
        weights.meta["num_params"],
        weights.meta["_ops"],
    )


@pytest.mark.parametrize("builder", ["resnet50", "googlenet", "swin_v2_t", "vit_b_16", "mobilenet_v3_small"])
def test_modules_have_what_the_model_has(builder: str) -> None:
    graph = model_of(builder).graph()
    found = summary(graph, {"N": 1, "H": 224, "W": 224})
    top = [row for row in found.rows if row.depth == 0]
    assert sum(row.parameters for row in top) == found.totals.parameters == parameter_count(graph)
    work = substitute(multiply_adds(graph), {"N": 1, "H": 224, "W": 224})
    assert sum(row.multiply_adds for row in top) == found.totals.multiply_adds == work  # type: ignore[misc]
    inside: dict[str, int] = {}
    for row in found.rows:
        if row.path and not row.is_block:
            for depth in range(row.path.count(".") + 1):
                path = row.path.rsplit(".", depth)[0]
                inside[path] = inside.get(path, 0) + row.parameters
    for row in found.rows:
        if row.is_block and not row.shared:
            assert inside.get(row.path, 0) == row.parameters, row.path


@pytest.mark.slow
def test_the_list_has_every_classifier_with_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    listed = {Path(file["path"]).name: {m["name"]: m for m in file["models"]} for file in files}
    for builder in BUILDERS:
        found = listed[family(get_model_builder(builder)).file][model_name(builder)]
        # Listed at its usual size, which not all of its published weights have.
        size = {*found["inputs"][0]["shape"][2:]}
        weights = [*get_model_weights(builder)]
        (first, *_) = [each for each in weights if {crop(each)} == size] or weights
        if builder not in ARGUMENTS:
            assert found["parameters"] == first.meta["num_params"]
        if {crop(first)} == size:
            assert round(found["multiply_adds"] / 1e9, 3) == first.meta["_ops"]
        assert found["paper"], f"{builder} cites no paper"
