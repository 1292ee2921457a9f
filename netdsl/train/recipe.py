"""`Recipe`: every number of a run, checked. `read_recipe` makes one of a `train` block without touching torch
or data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationError

from netdsl.diagnostics import Report
from netdsl.diagnostics.suggest import did_you_mean
from netdsl.elaborate.settings import Choice, Setting, Value, shown
from netdsl.ir.graph import Graph
from netdsl.ir.types import Type
from netdsl.source import Span
from netdsl.train.agreement import check_agreement
from netdsl.train.component import Component, Family, as_tuple, by_field, construct, expected, listed
from netdsl.train.data import HELD_OUT, SOURCES, Division, Source
from netdsl.train.encodings import ENCODINGS, Encoding
from netdsl.train.endings import check_ending
from netdsl.train.groups import Patterns, Penalty, Rule, read_penalties, read_rules
from netdsl.train.lookups import check_lookups
from netdsl.train.losses import LOSSES, Loss
from netdsl.train.matching import check_match
from netdsl.train.metrics import METRICS, Metric, Task
from netdsl.train.optimizers import OPTIMIZERS, Optimizer
from netdsl.train.schedules import SCHEDULES, Schedule
from netdsl.train.transforms import AUGMENTATIONS, TRANSFORMS, Augmentation, Transform

if TYPE_CHECKING:
    from netdsl.train.criteria import Criteria

__all__ = ["Choice", "Places", "Recipe", "Setting", "read_recipe"]


Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Places:
    """Where the keys and values of a recipe stand, for what is found out later."""

    values: Mapping[str, Span | None] = field(default_factory=dict)
    block: Span | None = None

    def of(self, key: str) -> Span | None:
        return self.values.get(key) or self.block

    def argument(self, key: str, component: Component | None, path: str) -> Span | None:
        """The place of an argument of the component at `key`, as `features.2`, or of what is around it."""
        name, _, rest = path.partition(".")
        fields = list(type(component).model_fields) if component else []
        number = f"{fields.index(name)}.{rest}".rstrip(".") if name in fields else path
        for known, span in self.values.items():
            head, _, tail = known.partition(".")
            if head == key and span and path and (tail in (path, number) or tail.endswith(f".{path}")):
                return span
        above = path.rpartition(".")[0]
        return self.argument(key, component, above) if above else self.of(key)


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
    valid: SerializeAsAny[Source] | SerializeAsAny[Division] | Annotated[float, Field(gt=0, lt=1)] | None = (
        None
    )
    transform: Annotated[tuple[SerializeAsAny[Transform], ...], BeforeValidator(as_tuple)] = ()
    augment: Annotated[tuple[SerializeAsAny[Augmentation], ...], BeforeValidator(as_tuple)] = ()
    target: SerializeAsAny[Encoding] | None = None
    batch: int = Field(64, gt=0)
    shuffle: bool = True
    epochs: int = Field(10, gt=0)
    steps: Annotated[int, Field(gt=0)] | None = None
    loss: SerializeAsAny[Loss]
    aux_weight: Annotated[Weight | tuple[Weight, ...], BeforeValidator(as_tuple)] | None = None
    optimizer: SerializeAsAny[Optimizer]
    rules: Annotated[tuple[Rule, ...], BeforeValidator(as_tuple)] = ()
    freeze: Patterns = ()
    penalty: Annotated[tuple[SerializeAsAny[Penalty], ...], BeforeValidator(as_tuple)] = ()
    schedule: SerializeAsAny[Schedule] | None = None
    schedule_every: Literal["epoch", "step"] | None = None
    metrics: Annotated[tuple[SerializeAsAny[Metric], ...], BeforeValidator(as_tuple)] = ()
    monitor: str | None = None
    mode: Literal["min", "max"] | None = None
    early_stop: Annotated[int, Field(gt=0)] | None = None
    min_delta: float = Field(0.0, ge=0)
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    clip_value: Annotated[float, Field(gt=0)] | None = None
    accumulate: int = Field(1, gt=0)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
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
        names = ["loss", *self.named_metrics]
        return [f"{part}_{name}" for part in ("train", "valid") for name in names]

    @property
    def named_metrics(self) -> dict[str, Metric]:
        """The metrics by the names of their columns: `accuracy`, and `accuracy_top_k_5` beside it."""
        kinds = [metric.kind for metric in self.metrics]
        return {m.kind if kinds.count(m.kind) == 1 else _told_apart(m): m for m in self.metrics}

    @property
    def task(self) -> Task:
        """What the metrics take outputs and targets for."""
        loss = self.loss
        if self.target is not None:
            return Task("multiclass", loss.gives, one_hot=True)
        if loss.targets == "classes":
            return Task("multiclass", loss.gives, ignore=getattr(loss, "ignore_index", None))
        return Task("binary", loss.gives, loss.low) if loss.binary else Task("values", "values")

    @property
    def monitored(self) -> tuple[str, bool]:
        """The column that decides which epoch is best, and whether more of it is better."""
        names = self.named_metrics
        column = self.monitor or f"valid_{next(iter(names), 'loss')}"
        if self.mode is not None:
            return column, self.mode == "max"
        metric = names.get(column.removeprefix("valid_").removeprefix("train_"))
        return column, metric is not None and metric.higher_is_better

    @property
    def clock(self) -> Literal["epoch", "step"]:
        """What the time of the schedule counts."""
        return self.schedule_every or (self.schedule.every if self.schedule else "epoch")

    def rate(self, epoch: int) -> float:
        """The learning rate of `epoch`, from 0, of a schedule that goes by epochs."""
        base = self.optimizer.lr
        return self.schedule.rate(base, epoch, self.epochs) if self.schedule else base


def _told_apart(metric: Metric) -> str:
    """A name that says which arguments are not the defaults."""
    fields = type(metric).model_fields
    changed = [f"{n}_{v}" for n, v in metric.arguments().items() if v != fields[n].default]
    return "_".join([metric.kind, *changed])


FAMILIES: Mapping[str, Family[Any]] = {
    "data": SOURCES,
    "valid": HELD_OUT,
    "transform": TRANSFORMS,
    "augment": AUGMENTATIONS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "metrics": METRICS,
    "target": ENCODINGS,
}
LISTS = ("transform", "augment", "metrics")
WORDS = ("monitor", "precision", "mode", "schedule_every")  # a bare name or a string
OPEN = ("loss", "metrics")  # which a block of the file may be
REQUIRED = ("loss", "optimizer")  # `data` may come later, from the command line or from Python
KEYS = tuple(key for key in Recipe.model_fields if key not in ("model", "folder", "places"))


def read_recipe(
    settings: Mapping[str, Setting],
    report: Report,
    *,
    inputs: Sequence[Type] = (),
    outputs: Sequence[Type] = (),
    model: str = "",
    span: Span | None = None,
    folder: Path | None = None,
    graph: Graph | None = None,
    criteria: Criteria | None = None,
) -> Recipe | None:
    """The recipe that a `train` block describes, or None after reporting what is wrong with it (E0602 to
    E0618, E0640 to E0644).

    `inputs` and `outputs` are the model's; without them the model is not checked against the data and the
    loss. `span` is the place of the block's head, `folder` that of the file. `graph` is the model, whose parameters
    and last layer are looked at, and `criteria` knows the blocks that may be a loss or a metric.
    """
    before = len(report.errors)
    missing = [key for key in REQUIRED if key not in settings]
    if missing:
        helps = [f"add `{key} = {_EXAMPLES[key]}`" for key in missing]
        report.error(
            "E0603", f"the recipe has no {' and no '.join(f'`{k}`' for k in missing)}", span, helps=helps
        )
    values: dict[str, Any] = {}
    for key in sorted(settings, key=_after_what_it_needs):
        _read_setting(key, settings[key], values, report, criteria)
    if "epochs" in settings and "steps" in settings:
        setting = settings["steps"]
        place = setting.key_span or setting.span
        helps = ["leave one of them out"]
        report.error("E0608", "the recipe has both `epochs` and `steps`", place, helps=helps)
    if len(report.errors) > before:
        return None
    spans = {
        path: at
        for key, setting in settings.items()
        for path, at in _places(key, setting.value, setting.span)
    }
    places = Places(spans, span)
    recipe = _assembled(values, settings, report, model=model, folder=folder, places=places)
    if recipe is None:
        return None
    _check_monitor(recipe, report)
    check_match(recipe, inputs, outputs, report)
    check_lookups(recipe, graph, report)
    check_agreement(recipe, graph, report)
    if len(report.errors) == before:
        check_ending(recipe, graph, report)
    return recipe if len(report.errors) == before else None


def _places(path: str, value: Value, span: Span | None) -> Iterator[tuple[str, Span | None]]:
    """The places of a value and of what is in it: `data`, `data.features`, `data.features.0`; numbers for what is
    positional.
    """
    yield path, span
    if isinstance(value, Choice):
        for name, item in (*enumerate(value.positional), *value.arguments.items()):
            yield from _places(f"{path}.{name}", item, value.argument_spans.get(name))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            if isinstance(item, Choice):
                yield from _places(f"{path}.{number}", item, item.span)


_EXAMPLES = {"loss": "CrossEntropyLoss", "optimizer": "SGD(lr = 0.01)"}


def _after_what_it_needs(key: str) -> int:
    """A block needs to know the data, and a rule the optimizer."""
    return {"data": 0, "target": 0, "rules": 2}.get(key, 1)


def _read_setting(
    key: str, setting: Setting, values: dict[str, Any], report: Report, criteria: Criteria | None
) -> None:
    """Put the value of one key into `values`, components built, or report why not."""
    if key not in KEYS:
        helps = [*did_you_mean(key, KEYS), f"the keys are {listed(KEYS)}"]
        report.error("E0609", f"a recipe has no key `{key}`", setting.key_span or setting.span, helps=helps)
    elif key == "rules":
        values[key] = read_rules(setting, values.get("optimizer"), report)
    elif key == "penalty":
        values[key] = read_penalties(setting, report)
    elif key in OPEN:
        values[key] = _opened(key, setting, values, report, criteria)
    elif key in LISTS:
        values[key] = _components(key, setting, report)
    elif key == "schedule" and isinstance(setting.value, Choice) and criteria is not None:
        chosen = criteria.resolved(setting.value, report)
        values[key] = _component(key, chosen, setting.span, report) if chosen else None
    elif key in FAMILIES and not (setting.value is None or (key == "valid" and _is_number(setting.value))):
        values[key] = _component(key, setting.value, setting.span, report)
    elif key in WORDS and isinstance(setting.value, (Choice, str)):
        word = setting.value.name if isinstance(setting.value, Choice) else setting.value
        values[key] = _column(word) if key == "monitor" else word
    elif key == "freeze" and isinstance(setting.value, str):
        values[key] = (setting.value,)
    else:
        values[key] = setting.value


def _opened(
    key: str, setting: Setting, values: Mapping[str, Any], report: Report, criteria: Criteria | None
) -> Any:
    """The loss, or the metrics, among which may be blocks of the file."""
    source, one_hot = values.get("data"), values.get("target") is not None
    several = isinstance(setting.value, (list, tuple))
    found: list[Any] = []
    for item in setting.value if several and key in LISTS else [setting.value]:  # type: ignore[union-attr]
        if isinstance(item, Choice) and criteria is not None and criteria.has(item.name):
            target = source.sample().target if isinstance(source, Source) else None
            placed = item if item.span else replace(item, span=setting.span)
            found.append(criteria.construct(key, placed, target, one_hot, report))
        else:
            found.append(_component(key, item, setting.span, report))
    return tuple(found) if key in LISTS else found[0]


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
                helps=[_usual(key)],
            )
        return None


def _usual(key: str) -> str:
    """What a key may be set to, or is where nothing is said."""
    default = Recipe.model_fields[key].default
    if key in _SET_TO or default is None or default == ():
        return f"for example `{key} = {_SET_TO.get(key, 1)}`"
    return f"where nothing is said, it is `{key} = {shown(default)}`"


_SET_TO = {
    "valid": "0.2",
    "ema": "0.999",
    "steps": "1000",
    "early_stop": "5",
    "monitor": "valid_loss",
    "mode": "min",
    "precision": "bf16",
    "schedule_every": "step",
    "channels_last": "True",
    "checkpoint_every": "500",
    "freeze": '["head.*"]',
    "clip_norm": "1.0",
    "clip_value": "0.5",
}


def _check_monitor(recipe: Recipe, report: Report) -> None:
    column = recipe.monitor
    if column is None or column in recipe.columns():
        return
    helps = [*did_you_mean(column, recipe.columns()), f"measured are {listed(recipe.columns())}"]
    report.error(
        "E0616", f"`monitor` is `{column}`, which is not measured", recipe.places.of("monitor"), helps=helps
    )


def _column(name: str) -> str:
    """A column by the names that metrics have in the history: `valid_f1_score` for `valid_f1`."""
    part, _, metric = name.partition("_")
    return f"{part}_{METRICS.also[metric]}" if metric in METRICS.also else name


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return value.described()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
