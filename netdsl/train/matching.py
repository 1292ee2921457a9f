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
from netdsl.train.data.table import Table
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
    _check_leak(recipe, report)
    shape = _input_shape(recipe, sample.input, report) if sample else None
    if sample:
        _check_targets(recipe, sample.target, report)
    if not inputs and not outputs:
        return
    if len(inputs) != 1:
        _report_count(recipe, inputs, report)
        return
    x = inputs[0]
    sizes: Mapping[str, Dim] = {}
    if sample and shape and isinstance(x, Tensor):
        sizes = _check_input(recipe, x, replace(sample.input, shape=shape), report)
    if recipe.loss.several:
        _check_several(recipe, outputs, report)
    for y in _compared(recipe.loss, outputs):
        if sample and isinstance(y, Tensor):
            output = Tensor(tuple(substitute(d, sizes) for d in y.shape), y.dtype)
            _check_output(recipe, output, _placed(sample.target, shape), report)


def _compared(loss: Loss, outputs: Sequence[Type]) -> Sequence[Type]:
    """The outputs that have the shape of the targets, or scores for them."""
    return () if loss.single else outputs[:1] if loss.several else outputs


def _check_several(recipe: Recipe, outputs: Sequence[Type], report: Report) -> None:
    """Report outputs that a loss of several of them cannot take (E0618)."""
    tensors = [y for y in outputs if isinstance(y, Tensor)]
    wrong = next((y for y in tensors if not y.is_float or y.shape != tensors[0].shape), None)
    if wrong is None:
        return
    found = " and ".join(map(str, tensors))
    message = f"`{recipe.loss.kind}` takes outputs of one shape, and `{recipe.model}` gives {found}"
    report.error(
        "E0618", message, recipe.places.of("loss"), helps=["let all of them have the shape of the first"]
    )


def _check_leak(recipe: Recipe, report: Report) -> None:
    """Report a table whose target is among its features (E0608): the model would be told the answer."""
    if not isinstance(recipe.data, Table):
        return
    for number, feature in enumerate(recipe.data.declared()):
        told = next((c for c in feature.columns() if c in recipe.data.targets()), None)
        if told is not None:
            report.error(
                "E0608",
                f"`{told}` is the target, and a feature too: the model would be given what it is to find",
                recipe.places.argument("data", recipe.data, f"features.{number}"),
                helps=["leave it out"],
            )


def _placed(target: Target, shape: Shape | None) -> Target:
    """`target` as the transforms leave it, which bring images to `shape`."""
    return replace(target, shape=shape[1:]) if shape and target.pixels else target


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
        helps = ["leave it out, or take one that moves both, as `RandomHorizontalFlip`"]
        report.error("E0617", message, recipe.places.of("augment"), helps=helps)
        return None
    raw = image_shape(given.shape)
    if raw is None:
        return given.shape
    try:
        trained = _after(_after(raw, recipe.augment), recipe.transform)
        measured = _after(raw, recipe.transform)
    except Misfit as problem:
        place = recipe.places.of("transform" if recipe.transform else "augment")
        helps = problem.helps or ["leave it out, or change the images before it"]
        report.error("E0617", str(problem), place, helps=helps)
        return None
    if trained == measured:
        return measured
    message, helps = sizes_apart(trained, measured)
    report.error("E0617", message, recipe.places.of("augment"), helps=helps)
    return None


def sizes_apart(trained: ImageShape, measured: ImageShape) -> tuple[str, list[str]]:
    """What to say of images that are of one size in training and of another where the model is measured."""
    message = f"the model is trained on images of {_by(trained)} and measured on images of {_by(measured)}"
    return message, [f"bring both to one size, for example by `CenterCrop({trained[1]})` in `transform`"]


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
            helps=[_INSTEAD[target.kind], *(_ENCODED if target.kind == "classes" else ())],
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
    for metric in recipe.metrics:
        if target.kind == "classes" and target.classes and getattr(metric, "top_k", 1) >= target.classes:
            top, count = getattr(metric, "top_k", 1), target.classes
            message = f"`top_k = {top}` of {count} classes is always right"
            report.error("E0614", message, recipe.places.of("metrics"), helps=[f"take fewer than {count}"])
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
    if recipe.target is not None or loss.targets == target.kind or not loss.compares:
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
_ENCODED = ("or make values of the class numbers: `target = OneHot`",)
_MEASURES = {
    "classes": "`accuracy` compares scores with class numbers",
    "values": "`mean_absolute_error` compares numbers with numbers",
}


def _source(recipe: Recipe) -> str:
    return recipe.data.kind if recipe.data else "the data"


def _report_count(recipe: Recipe, inputs: Sequence[Type], report: Report) -> None:
    report.error(
        "E0615",
        f"`{recipe.model}` has {len(inputs)} inputs, and the samples of a data source are one",
        recipe.places.block,
    )


def _check_input(recipe: Recipe, x: Tensor, given: Input, report: Report) -> Mapping[str, Dim]:
    """The sizes that the samples give to the model's free dimensions."""
    place = recipe.places.of("data")
    kind = "" if given.dtype == "float32" else given.dtype
    shape = f"{kind}[N, " + ", ".join("?" if size is None else str(size) for size in given.shape) + "]"
    because = f"`{_source(recipe)}` gives {shape}" + (" after `transform`" if recipe.transform else "")
    message = f"{because}, but the input of `{recipe.model}` is {x}"
    if x.dtype != given.dtype:
        helps = [f"declare the input as `{shape}`"] if "?" not in shape else []
        helps = helps or [f"declare the input in {given.dtype}"]
        report.error("E0612", message, place, helps=helps)
        return {}
    if x.rank != len(given.shape) + 1:
        declared = "declare the input with all of these axes"
        helps = [f"{declared}, and start the model with `-> Flatten`" if x.rank == 2 else declared]
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
        return ["add `Grayscale` to `transform`, or declare an input of 3 channels"]
    if image and x.shape[1] == image[0] and isinstance(x.shape[2], int) and x.shape[2] == x.shape[3]:
        return [f"add `Resize({x.shape[2]})` to `transform`, or declare an input of {_by(image)}"]
    sizes = ["_" if size is None else str(size) for size in given.shape]
    dtype = "" if given.dtype == "float32" else given.dtype
    return [f"declare the input as `{dtype}[N, {', '.join(sizes)}]`" + ", `_` being free" * ("_" in sizes)]


def _check_output(recipe: Recipe, y: Tensor, target: Target, report: Report) -> None:
    """What the loss and the targets need of the output."""
    if not y.is_float:
        place = recipe.places.of("loss")
        message = f"the output of `{recipe.model}` is {y}, which has no gradient"
        report.error("E0618", message, place, helps=["output the scores, and not the classes they tell"])
        return
    for metric in recipe.metrics:
        if metric.takes & _kinds(recipe, None) and not metric.takes & _kinds(recipe, y):
            answers = (
                "several yes or no answers a sample" if "binary" in metric.takes else "one yes or no a sample"
            )
            message = f"`{metric.kind}` is not for {answers}, and the output of `{recipe.model}` is {y}"
            report.error("E0614", message, recipe.places.of("metrics"), helps=["leave it out"])
    scored = recipe.loss.targets == "classes" or recipe.target is not None or _names(recipe.loss, target)
    if scored and target.kind == "classes":
        _check_scores(recipe, y, target, report)
    elif _compares(recipe, target) and (target.kind == "values" or takes_pairs(recipe.loss, target)):
        _check_values(recipe, y, target, report)


def _check_scores(recipe: Recipe, y: Tensor, target: Target, report: Report) -> None:
    """A score for each class, of each place that has one: [N, classes, ...]."""
    wanted = ", ".join(["N", "classes", *("?" if size is None else str(size) for size in target.shape)])
    if y.rank != 2 + len(target.shape):
        helps = [f"end the model with what gives [{wanted}]"]
        if y.rank > 2 and not target.shape:
            helps = ["end the model with `-> Flatten -> Linear(classes)`"]
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
        helps=[
            f"end the model with what gives [{wanted}]"
            if len(target.shape) > 1
            else f"end the model with `Linear({(*target.shape, 1)[0] or 1})`"
        ],
    )


def suits(dims: Sequence[Dim], shape: Shape) -> bool:
    """Whether dimensions can have the sizes of `shape`, as far as both are known."""
    if len(dims) != len(shape):
        return False
    known = ((dim, size) for dim, size in zip(dims, shape, strict=True) if isinstance(dim, int) and size)
    return all(dim == size for dim, size in known)
