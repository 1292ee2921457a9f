"""Whether a model, its loss, metrics and data go together, decided from types and declarations alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from netdsl.diagnostics import Report
from netdsl.ir.dims import Dim, Expr, substitute
from netdsl.ir.types import Tensor, Type
from netdsl.train.transforms import Augmentation, ImageShape, Misfit, Transform

if TYPE_CHECKING:
    from netdsl.train.recipe import Recipe


def check_match(recipe: Recipe, inputs: Sequence[Type], outputs: Sequence[Type], report: Report) -> None:
    """Report what does not go together (E0611 to E0618)."""
    image = _image(recipe, report)
    _check_targets(recipe, report)
    if not inputs and not outputs:
        return
    if len(inputs) != 1 or len(outputs) != 1:
        _report_count(recipe, inputs, outputs, report)
        return
    x, y = inputs[0], outputs[0]
    sizes = _check_input(recipe, x, image, report) if image and isinstance(x, Tensor) else {}
    if isinstance(y, Tensor):
        _check_output(recipe, Tensor(tuple(substitute(d, sizes) for d in y.shape), y.dtype), report)


def _image(recipe: Recipe, report: Report) -> ImageShape | None:
    """The shape of an image as the model gets it. Augmentations come first, and in training only."""
    if recipe.data is None:
        return None
    raw = recipe.data.sample().image
    try:
        trained = _after(_after(raw, recipe.augment), recipe.transform)
        measured = _after(raw, recipe.transform)
    except Misfit as problem:
        report.error("E0617", str(problem), recipe.places.of("transform" if recipe.transform else "augment"))
        return None
    if trained == measured:
        return measured
    report.error(
        "E0617",
        f"the model is trained on images of {_by(trained)} and measured on images of {_by(measured)}",
        recipe.places.of("augment"),
        helps=[f"bring both to one size, for example by `CenterCrop({trained[1]})` in `transform`"],
    )
    return None


def _after(image: ImageShape, stages: Sequence[Transform | Augmentation]) -> ImageShape:
    for stage in stages:
        image = stage.shape(image)
    return image


def _by(image: ImageShape) -> str:
    return f"{image[1]}x{image[2]}"


def _check_targets(recipe: Recipe, report: Report) -> None:
    """The sources of this trainer have class numbers as targets."""
    if recipe.data is None:
        return
    source = recipe.data.kind
    if recipe.loss.targets != "classes":
        report.error(
            "E0613",
            f"`{recipe.loss.kind}` compares with values, but the targets of `{source}` are class numbers",
            recipe.places.of("loss"),
            helps=["`CrossEntropyLoss` compares scores with class numbers"],
        )
    for metric in recipe.metrics:
        if metric.targets != "classes":
            report.error(
                "E0614",
                f"`{metric.kind}` compares with values, but the targets of `{source}` are class numbers",
                recipe.places.of("metrics"),
                helps=["`accuracy` compares scores with class numbers"],
            )
    weight = getattr(recipe.loss, "weight", None)
    classes = recipe.data.sample().classes
    if weight is not None and recipe.loss.targets == "classes" and len(weight) != classes:
        report.error(
            "E0611",
            f"`weight` of `{recipe.loss.kind}` is {len(weight)} numbers, but `{source}` has {classes}",
            recipe.places.of("loss"),
            helps=["give a weight for each class"],
        )


def _report_count(recipe: Recipe, inputs: Sequence[Type], outputs: Sequence[Type], report: Report) -> None:
    report.error(
        "E0615",
        f"`{recipe.model}` has {_count(inputs, 'input')} and {_count(outputs, 'output')}, "
        "and this trainer takes one of each",
        recipe.places.block,
    )


def _count(of: Sequence[Type], noun: str) -> str:
    return f"{len(of)} {noun}{'s' * (len(of) != 1)}"


def _check_input(recipe: Recipe, x: Tensor, image: ImageShape, report: Report) -> Mapping[str, Dim]:
    """The sizes that the images give to the model's free dimensions."""
    place, source = recipe.places.of("data"), recipe.data.kind if recipe.data else "the data"
    given = "[N, " + ", ".join(map(str, image)) + "]"
    because = f"`{source}` gives {given}" + (" after `transform`" if recipe.transform else "")
    if x.dtype != "float32":
        report.error("E0612", f"{because}, but the input of `{recipe.model}` is {x}", place)
        return {}
    if x.rank != 4:
        helps = ["start the model with `-> Flatten`"] if x.rank == 2 else []
        report.error("E0612", f"{because}, but the input of `{recipe.model}` is {x}", place, helps=helps)
        return {}
    if isinstance(x.shape[0], int) and x.shape[0] != recipe.batch:
        report.error(
            "E0612",
            f"the batch is {recipe.batch}, but the input of `{recipe.model}` is {x}",
            recipe.places.of("batch"),
            helps=["leave the first dimension free: `[N, ...]`"],
        )
        return {}
    sizes: dict[str, Dim] = {}
    for dim, size in zip(x.shape[1:], image, strict=True):
        if not _binds(dim, size, sizes):
            report.error(
                "E0612",
                f"{because}, but the input of `{recipe.model}` is {x}",
                place,
                helps=_input_helps(x, image),
            )
            return {}
    return sizes


def _binds(dim: Dim, size: int, sizes: dict[str, Dim]) -> bool:
    """Whether `dim` can be `size`; a free dimension then is."""
    dim = substitute(dim, sizes)
    if isinstance(dim, int):
        return dim == size
    name = str(dim)
    if name.isidentifier():
        sizes[name] = size
    return isinstance(dim, Expr)


def _input_helps(x: Tensor, image: ImageShape) -> list[str]:
    if x.shape[1] == 1 and image[0] == 3:
        return ["add `Grayscale` to `transform`"]
    if x.shape[1] == image[0] and isinstance(x.shape[2], int) and x.shape[2] == x.shape[3]:
        return [f"add `Resize({x.shape[2]})` to `transform`, or declare an input of {_by(image)}"]
    return [f"declare the input as `[N, {image[0]}, {image[1]}, {image[2]}]`"]


def _check_output(recipe: Recipe, y: Tensor, report: Report) -> None:
    """What the loss and the classes need of the output. Data here has one class number a sample."""
    if recipe.loss.targets != "classes" or recipe.data is None:
        return
    place = recipe.places.of("loss")
    if not y.is_float:
        report.error("E0618", f"the output of `{recipe.model}` is {y}, which has no gradient", place)
    elif y.rank != 2:
        helps = ["end the model with `-> Flatten -> Linear(classes)`"] if y.rank > 2 else []
        report.error(
            "E0618",
            f"`{recipe.loss.kind}` takes [N, classes] here, but the output of `{recipe.model}` is {y}",
            place,
            helps=helps,
        )
    elif isinstance(y.shape[1], int) and y.shape[1] != recipe.data.sample().classes:
        source, classes = recipe.data.kind, recipe.data.sample().classes
        report.error(
            "E0611",
            f"`{source}` has {classes} classes, but the output of `{recipe.model}` is {y}",
            recipe.places.of("data"),
            helps=[f"end the model with `Linear({classes})`"],
        )
