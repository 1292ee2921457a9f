"""Whether a model, its loss, metrics and data go together, decided from types and declarations alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from netdsl.diagnostics import Report
from netdsl.ir.dims import Dim, Expr, substitute
from netdsl.ir.types import Tensor, Type
from netdsl.train.data.base import Input, Shape, Target
from netdsl.train.data.divided import Divided, undivided
from netdsl.train.losses import Loss
from netdsl.train.metrics.base import Kind
from netdsl.train.transforms import Augmentation, ImageShape, Misfit, Transform

if TYPE_CHECKING:
    from netdsl.train.recipe import Recipe


def check_match(recipe: Recipe, inputs: Sequence[Type], outputs: Sequence[Type], report: Report) -> None:
    """Report what does not go together (E0611 to E0618, E0650)."""
    sample = recipe.data.sample() if recipe.data else None
    if isinstance(recipe.data, Divided) and recipe.valid is None and not recipe.data.has_test:
        report.add(undivided(recipe.data.kind, recipe.places.of("data")).diagnostic)
    shape = _input_shape(recipe, sample.input, report) if sample else None
    if sample:
        _check_targets(recipe, sample.target, report)
    if not inputs and not outputs:
        return
    if len(inputs) != 1 or len(outputs) != 1:
        _report_count(recipe, inputs, outputs, report)
        return
    x, y = inputs[0], outputs[0]
    sizes: Mapping[str, Dim] = {}
    if sample and shape and isinstance(x, Tensor):
        sizes = _check_input(recipe, x, replace(sample.input, shape=shape), report)
    if sample and isinstance(y, Tensor):
        output = Tensor(tuple(substitute(d, sizes) for d in y.shape), y.dtype)
        target = replace(sample.target, shape=shape[1:]) if shape and sample.target.pixels else sample.target
        _check_output(recipe, output, target, report)


def _input_shape(recipe: Recipe, given: Input, report: Report) -> Shape | None:
    """The shape of a sample as the model gets it. Augmentations come first, and in training only."""
    if given.kind != "image":
        for key in ("transform", "augment"):
            if stages := getattr(recipe, key):
                message = f"`{stages[0].kind}` is for images, and `{_source(recipe)}` has none"
                report.error("E0617", message, recipe.places.of(key), helps=[f"leave `{key}` out"])
                return None
        return given.shape
    alone = next((a for a in recipe.augment if not a.joint), None)
    if alone and recipe.data and recipe.data.sample().target.pixels:
        message = f"`{alone.kind}` moves images, and cannot move the masks of `{_source(recipe)}` with them"
        report.error("E0617", message, recipe.places.of("augment"))
        return None
    raw = image_shape(given.shape)
    if raw is None:
        return given.shape
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


def image_shape(shape: Shape) -> ImageShape | None:
    """Channels, height and width, where all of them are known."""
    if len(shape) != 3 or shape[0] is None or shape[1] is None or shape[2] is None:
        return None
    return shape[0], shape[1], shape[2]


def _after(image: ImageShape, stages: Sequence[Transform | Augmentation]) -> ImageShape:
    for stage in stages:
        image = stage.shape(image)
    return image


def _by(image: ImageShape) -> str:
    return f"{image[1]}x{image[2]}"


def takes_pairs(loss: Loss, target: Target) -> bool:
    """Whether `loss` compares values with classes that are two: 0 and 1, as numbers."""
    return (
        loss.targets == "values" and loss.binary and target.kind == "classes" and target.classes in (2, None)
    )


def _check_targets(recipe: Recipe, target: Target, report: Report) -> None:
    source, loss = _source(recipe), recipe.loss
    has = _WORDS[target.kind]
    if recipe.target is not None and target.kind != "classes":
        message = f"`{recipe.target.kind}` is for class numbers, but the targets of `{source}` are {has}"
        report.error("E0613", message, recipe.places.of("target"), helps=["leave `target` out"])
    elif not _compares(recipe, target):
        report.error(
            "E0613",
            f"`{loss.kind}` compares with {_WORDS[loss.targets]}, but the targets of `{source}` are {has}",
            recipe.places.of("loss"),
            helps=[_INSTEAD[target.kind]],
        )
    for metric in recipe.metrics:
        if _compares(recipe, target) and not metric.takes & _kinds(recipe, None):
            compares = _WORDS["values" if "values" in metric.takes else "classes"]
            place = f"the targets of `{source}`" if recipe.loss.scores else f"those of `{loss.kind}`"
            report.error(
                "E0614",
                f"`{metric.kind}` compares with {compares}, but {place} are {has if loss.scores else 'no scores'}",
                recipe.places.of("metrics"),
                helps=[_MEASURES[target.kind]],
            )
    weight = getattr(loss, "weight", None)
    if weight is not None and loss.targets == "classes" and target.classes not in (None, len(weight)):
        report.error(
            "E0611",
            f"`weight` of `{loss.kind}` is {len(weight)} numbers, but `{source}` has {target.classes}",
            recipe.places.of("loss"),
            helps=["give a weight for each class"],
        )


def _compares(recipe: Recipe, target: Target) -> bool:
    """Whether the loss can compare with such targets."""
    loss = recipe.loss
    if recipe.target is not None or loss.targets == target.kind:
        return True
    return takes_pairs(loss, target) or _names(loss, target)


def _names(loss: Loss, target: Target) -> bool:
    """Whether `loss` takes the numbers of the classes that apply, one for each sample here."""
    return loss.indices and target.kind == "classes"


def _kinds(recipe: Recipe, y: Tensor | None) -> frozenset[Kind]:
    """What metrics may take outputs and targets for, as far as the output `y` is known."""
    kind = recipe.task.kind
    if not recipe.loss.scores:
        return frozenset()
    if kind != "binary":
        return frozenset({kind})
    if y is None:
        return frozenset({"binary", "multilabel"})
    return frozenset({"binary" if y.rank in (1, 3) or y.shape[1] == 1 else "multilabel"})


_WORDS = {"classes": "class numbers", "values": "values"}
_INSTEAD = {
    "classes": "`CrossEntropyLoss` compares scores with class numbers",
    "values": "`MSELoss` compares numbers with numbers",
}
_MEASURES = {
    "classes": "`accuracy` compares scores with class numbers",
    "values": "`mean_absolute_error` compares numbers with numbers",
}


def _source(recipe: Recipe) -> str:
    return recipe.data.kind if recipe.data else "the data"


def _report_count(recipe: Recipe, inputs: Sequence[Type], outputs: Sequence[Type], report: Report) -> None:
    report.error(
        "E0615",
        f"`{recipe.model}` has {_count(inputs, 'input')} and {_count(outputs, 'output')}, "
        "and this trainer takes one of each",
        recipe.places.block,
    )


def _count(of: Sequence[Type], noun: str) -> str:
    return f"{len(of)} {noun}{'s' * (len(of) != 1)}"


def _check_input(recipe: Recipe, x: Tensor, given: Input, report: Report) -> Mapping[str, Dim]:
    """The sizes that the samples give to the model's free dimensions."""
    place = recipe.places.of("data")
    kind = "" if given.dtype == "float32" else given.dtype
    shape = f"{kind}[N, " + ", ".join("?" if size is None else str(size) for size in given.shape) + "]"
    because = f"`{_source(recipe)}` gives {shape}" + (" after `transform`" if recipe.transform else "")
    message = f"{because}, but the input of `{recipe.model}` is {x}"
    if x.dtype != given.dtype:
        report.error("E0612", message, place)
        return {}
    if x.rank != len(given.shape) + 1:
        helps = ["start the model with `-> Flatten`"] if x.rank == 2 else []
        report.error("E0612", message, place, helps=helps)
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
    for dim, size in zip(x.shape[1:], given.shape, strict=True):
        if size is not None and not _binds(dim, size, sizes):
            report.error("E0612", message, place, helps=_input_helps(x, given))
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


def _input_helps(x: Tensor, given: Input) -> list[str]:
    image = image_shape(given.shape) if given.kind == "image" else None
    if image and x.shape[1] == 1 and image[0] == 3:
        return ["add `Grayscale` to `transform`"]
    if image and x.shape[1] == image[0] and isinstance(x.shape[2], int) and x.shape[2] == x.shape[3]:
        return [f"add `Resize({x.shape[2]})` to `transform`, or declare an input of {_by(image)}"]
    sizes = ["_" if size is None else str(size) for size in given.shape]
    dtype = "" if given.dtype == "float32" else given.dtype
    return [] if "_" in sizes else [f"declare the input as `{dtype}[N, {', '.join(sizes)}]`"]


def _check_output(recipe: Recipe, y: Tensor, target: Target, report: Report) -> None:
    """What the loss and the targets need of the output."""
    if not y.is_float:
        place = recipe.places.of("loss")
        report.error("E0618", f"the output of `{recipe.model}` is {y}, which has no gradient", place)
        return
    for metric in recipe.metrics:
        if metric.takes & _kinds(recipe, None) and not metric.takes & _kinds(recipe, y):
            answers = (
                "several yes or no answers a sample" if "binary" in metric.takes else "one yes or no a sample"
            )
            message = f"`{metric.kind}` is not for {answers}, and the output of `{recipe.model}` is {y}"
            report.error("E0614", message, recipe.places.of("metrics"))
    scored = recipe.loss.targets == "classes" or recipe.target is not None or _names(recipe.loss, target)
    if scored and target.kind == "classes":
        _check_scores(recipe, y, target, report)
    elif target.kind == "values" or takes_pairs(recipe.loss, target):
        _check_values(recipe, y, target, report)


def _check_scores(recipe: Recipe, y: Tensor, target: Target, report: Report) -> None:
    """A score for each class, of each place that has one: [N, classes, ...]."""
    wanted = ", ".join(["N", "classes", *("?" if size is None else str(size) for size in target.shape)])
    if y.rank != 2 + len(target.shape):
        helps = (
            ["end the model with `-> Flatten -> Linear(classes)`"] if y.rank > 2 and not target.shape else []
        )
        report.error(
            "E0618",
            f"`{recipe.loss.kind}` takes [{wanted}] here, but the output of `{recipe.model}` is {y}",
            recipe.places.of("loss"),
            helps=helps,
        )
    elif target.classes is not None and isinstance(y.shape[1], int) and y.shape[1] != target.classes:
        source, classes = _source(recipe), target.classes
        report.error(
            "E0611",
            f"`{source}` has {classes} classes, but the output of `{recipe.model}` is {y}",
            recipe.places.of("data"),
            helps=[
                "the scores of the classes come second: end the model with `-> transpose(1, 2)`"
                if y.rank == 3 and y.shape[2] == classes
                else f"end the model with `{'Conv2d' if y.rank > 3 else 'Linear'}({classes}{', 1' * (y.rank > 3)})`"
            ],
        )


def _check_values(recipe: Recipe, y: Tensor, target: Target, report: Report) -> None:
    """A number for each number: one of a sample may be [N] or [N, 1]."""
    if any(suits(y.shape[1:], shape) for shape in (target.shape, (1, *target.shape))):
        return
    wanted = ", ".join(["N", *("?" if size is None else str(size) for size in target.shape or (1,))])
    report.error(
        "E0618",
        f"`{recipe.loss.kind}` takes [{wanted}] here, but the output of `{recipe.model}` is {y}",
        recipe.places.of("loss"),
        helps=[] if len(target.shape) > 1 else [f"end the model with `Linear({(*target.shape, 1)[0] or 1})`"],
    )


def suits(dims: Sequence[Dim], shape: Shape) -> bool:
    """Whether dimensions can have the sizes of `shape`, as far as both are known."""
    if len(dims) != len(shape):
        return False
    known = ((dim, size) for dim, size in zip(dims, shape, strict=True) if isinstance(dim, int) and size)
    return all(dim == size for dim, size in known)
