"""`Recipe`: every number of a run, checked. `read_recipe` makes one of a `train` block without touching torch
or data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationError

from netdsl.diagnostics import Report
from netdsl.diagnostics.suggest import did_you_mean
from netdsl.elaborate.settings import Choice, Setting, Value, shown
from netdsl.ir.types import Type
from netdsl.source import Span
from netdsl.train.component import Component, Family, as_tuple, by_field, construct, expected, listed
from netdsl.train.data import SOURCES, Source
from netdsl.train.losses import LOSSES, Loss
from netdsl.train.matching import check_match
from netdsl.train.metrics import METRICS, Metric
from netdsl.train.optimizers import OPTIMIZERS, Optimizer
from netdsl.train.schedules import SCHEDULES, Schedule
from netdsl.train.transforms import AUGMENTATIONS, TRANSFORMS, Augmentation, Transform

__all__ = ["Choice", "Places", "Recipe", "Setting", "read_recipe"]


@dataclass(frozen=True)
class Places:
    """Where the keys and values of a recipe stand, for what is found out later."""

    values: Mapping[str, Span | None] = field(default_factory=dict)
    block: Span | None = None

    def of(self, key: str) -> Span | None:
        return self.values.get(key) or self.block


class Recipe(BaseModel):
    """A run in numbers. Fields are the keys of a `train` block; two recipes that say the same are equal.

    >>> from netdsl.train.losses import CrossEntropyLoss
    >>> from netdsl.train.optimizers import SGD
    >>> recipe = Recipe(loss=CrossEntropyLoss(), optimizer=SGD(lr=0.1))
    >>> recipe.batch, recipe.columns()
    (64, ['train_loss', 'valid_loss'])
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True
    )

    data: SerializeAsAny[Source] | None = None
    valid: SerializeAsAny[Source] | Annotated[float, Field(gt=0, lt=1)] | None = None
    transform: Annotated[tuple[SerializeAsAny[Transform], ...], BeforeValidator(as_tuple)] = ()
    augment: Annotated[tuple[SerializeAsAny[Augmentation], ...], BeforeValidator(as_tuple)] = ()
    batch: int = Field(64, gt=0)
    epochs: int = Field(10, gt=0)
    steps: Annotated[int, Field(gt=0)] | None = None
    loss: SerializeAsAny[Loss]
    optimizer: SerializeAsAny[Optimizer]
    schedule: SerializeAsAny[Schedule] | None = None
    metrics: Annotated[tuple[SerializeAsAny[Metric], ...], BeforeValidator(as_tuple)] = ()
    monitor: str | None = None
    early_stop: Annotated[int, Field(gt=0)] | None = None
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    accumulate: int = Field(1, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool | None = None
    seed: int = Field(0, ge=0, lt=2**31)
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    log_every: int = Field(100, gt=0)
    checkpoint_every: Annotated[int, Field(gt=0)] | None = None

    model: str = ""
    folder: Path | None = Field(
        None, exclude=True
    )  # of the `.net` file: where a relative `root` is tried first
    places: Places = Field(Places(), exclude=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.described() == other.described()

    __hash__ = None  # type: ignore[assignment]

    def described(self) -> dict[str, Any]:
        """As plain JSON data, with every default, for the run's record."""
        return {key: _plain(getattr(self, key)) for key in ("model", *KEYS)}

    def columns(self) -> list[str]:
        """What the history of a run measures, and what `monitor` may name."""
        names = ["loss", *(metric.kind for metric in self.metrics)]
        return [f"{part}_{name}" for part in ("train", "valid") for name in names]

    @property
    def monitored(self) -> tuple[str, bool]:
        """The column that decides which epoch is best, and whether more of it is better."""
        column = self.monitor or (f"valid_{self.metrics[0].kind}" if self.metrics else "valid_loss")
        rising = [
            m.higher_is_better for m in self.metrics if column in (f"valid_{m.kind}", f"train_{m.kind}")
        ]
        return column, bool(rising and rising[0])

    def rate(self, epoch: int) -> float:
        """The learning rate of `epoch`, from 0."""
        base = self.optimizer.lr
        return self.schedule.rate(base, epoch) if self.schedule else base


FAMILIES: Mapping[str, Family[Any]] = {
    "data": SOURCES,
    "valid": SOURCES,
    "transform": TRANSFORMS,
    "augment": AUGMENTATIONS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "metrics": METRICS,
}
LISTS = ("transform", "augment", "metrics")
WORDS = ("monitor", "precision")  # a bare name or a string
REQUIRED = ("loss", "optimizer")  # `data` may come later, from the command line or from Python
KEYS = tuple(key for key in Recipe.model_fields if key not in ("model", "folder", "places"))
LATER = ("target", "compile", "freeze", "rules")  # of the language, and not of this trainer yet
LATER_WORDS = {"precision": ("fp16",)}


def read_recipe(
    settings: Mapping[str, Setting],
    report: Report,
    *,
    inputs: Sequence[Type] = (),
    outputs: Sequence[Type] = (),
    model: str = "",
    span: Span | None = None,
    folder: Path | None = None,
) -> Recipe | None:
    """The recipe that a `train` block describes, or None after reporting what is wrong with it (E0602 to
    E0617).

    `inputs` and `outputs` are the model's; without them the model is not checked against the data and the
    loss. `span` is the place of the block's head, `folder` that of the file.
    """
    before = len(report.errors)
    missing = [key for key in REQUIRED if key not in settings]
    if missing:
        helps = [f"add `{key} = {_EXAMPLES[key]}`" for key in missing]
        report.error(
            "E0603", f"the recipe has no {' and no '.join(f'`{k}`' for k in missing)}", span, helps=helps
        )
    values: dict[str, Any] = {}
    for key, setting in settings.items():
        _read_setting(key, setting, values, report)
    if "epochs" in settings and "steps" in settings:
        setting = settings["steps"]
        report.error("E0608", "the recipe has both `epochs` and `steps`", setting.key_span or setting.span)
    if len(report.errors) > before:
        return None
    places = Places({key: setting.span for key, setting in settings.items()}, span)
    recipe = _assembled(values, settings, report, model=model, folder=folder, places=places)
    if recipe is None:
        return None
    _check_monitor(recipe, report)
    check_match(recipe, inputs, outputs, report)
    return recipe if len(report.errors) == before else None


_EXAMPLES = {"loss": "CrossEntropyLoss", "optimizer": "SGD(lr = 0.01)"}


def _read_setting(key: str, setting: Setting, values: dict[str, Any], report: Report) -> None:
    """Put the value of one key into `values`, components built, or report why not."""
    if key in LATER:
        report.error("E0602", f"`{key}` is not supported by this trainer", setting.key_span or setting.span)
    elif key not in KEYS:
        helps = [*did_you_mean(key, (*KEYS, *LATER)), f"the keys are {listed(KEYS)}"]
        report.error("E0609", f"a recipe has no key `{key}`", setting.key_span or setting.span, helps=helps)
    elif key in LISTS:
        values[key] = _components(key, setting, report)
    elif key in FAMILIES and not (setting.value is None or (key == "valid" and _is_number(setting.value))):
        values[key] = _component(key, setting.value, setting.span, report)
    elif key in WORDS and isinstance(setting.value, Choice):
        values[key] = setting.value.name
    else:
        values[key] = setting.value
    if values.get(key) in LATER_WORDS.get(key, ()) and isinstance(values.get(key), str):
        report.error("E0602", f"`{key} = {values[key]}` is not supported by this trainer", setting.span)


def _components(key: str, setting: Setting, report: Report) -> tuple[Component | None, ...]:
    items = setting.value if isinstance(setting.value, (list, tuple)) else [setting.value]
    return tuple(_component(key, item, setting.span, report) for item in items)


def _component(key: str, value: Value, span: Span | None, report: Report) -> Any:
    family = FAMILIES[key]
    if not isinstance(value, Choice):
        names = list(family.members)
        report.error(
            "E0604",
            f"`{key}` is {shown(value)}, which names no {family.noun}",
            span,
            helps=[f"name one, for example `{key} = {names[0]}`"],
        )
        return None
    if key == "transform" and value.name in AUGMENTATIONS.members:
        report.error(
            "E0604",
            f"`{value.name}` is random, and `transform` is applied to what the model is measured on as well",
            value.span or span,
            helps=[f"write it under `augment = [{shown(value)}]`, which is for training samples only"],
        )
        return None
    placed = (
        value
        if value.span
        else Choice(value.name, value.arguments, value.positional, span, value.argument_spans)
    )
    return construct(placed, family, report)


def _assembled(
    values: dict[str, Any], settings: Mapping[str, Setting], report: Report, **context: Any
) -> Recipe | None:
    try:
        return Recipe(**values, **context)
    except ValidationError as problem:
        for key, errors in by_field(problem).items():
            if key not in settings:
                continue  # a key that is missing was reported as that
            wanted = expected(errors)
            report.error(
                "E0604",
                f"`{key}` is {shown(settings[key].value)}, which is not {wanted}",
                settings[key].span,
                f"expected {wanted}",
            )
        return None


def _check_monitor(recipe: Recipe, report: Report) -> None:
    column = recipe.monitor
    if column is None or column in recipe.columns():
        return
    helps = [*did_you_mean(column, recipe.columns()), f"measured are {listed(recipe.columns())}"]
    report.error(
        "E0616", f"`monitor` is `{column}`, which is not measured", recipe.places.of("monitor"), helps=helps
    )


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return value.described()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
