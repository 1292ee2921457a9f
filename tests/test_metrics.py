"""Metrics are those of the whole set, as torchmetrics gives them for it, whatever the batches."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from netdsl.diagnostics import Report
from netdsl.elaborate.settings import Choice, Setting
from netdsl.train.component import construct
from netdsl.train.metrics import METRICS, DiceScore, Metric, Task
from netdsl.train.recipe import read_recipe

TASKS: dict[str, Task] = {
    "scores": Task("multiclass", "logits"),
    "log-probabilities": Task("multiclass", "log-probabilities"),
    "images": Task("multiclass", "logits"),
    "ignored": Task("multiclass", "logits", ignore=-100),
    "one-hot": Task("multiclass", "values", one_hot=True),
    "rare": Task("multiclass", "logits"),
    "logits": Task("binary", "logits"),
    "column": Task("binary", "logits"),
    "probabilities": Task("binary", "probabilities"),
    "signs": Task("binary", "logits", low=-1.0),
    "masks": Task("binary", "logits"),
    "labels": Task("multilabel", "logits"),
    "values": Task("values"),
    "rows": Task("values"),
}


def samples(name: str, count: int = 61) -> tuple[Tensor, Tensor]:
    """Outputs and targets as a loss of the task gets them; scores have ties."""
    random = torch.Generator().manual_seed(7)

    def drawn(*shape: int) -> Tensor:
        return (torch.randn(shape, generator=random) * 8).round() / 8

    def classes(most: int, *shape: int) -> Tensor:
        return torch.randint(most, shape, generator=random)

    return {
        "scores": lambda: (drawn(count, 5), classes(5, count)),
        "log-probabilities": lambda: (drawn(count, 5).log_softmax(1), classes(5, count)),
        "images": lambda: (drawn(count, 3, 4, 4), classes(3, count, 4, 4)),
        "ignored": lambda: (drawn(count, 3), torch.where(classes(3, count) == 0, -100, classes(3, count))),
        "one-hot": lambda: (drawn(count, 4), torch.eye(4)[classes(4, count)]),
        "rare": lambda: (drawn(count, 9) + torch.tensor([0.0] * 8 + [-99]), classes(7, count)),
        "logits": lambda: (drawn(count), classes(2, count).float()),
        "column": lambda: (drawn(count, 1), classes(2, count, 1).float()),
        "probabilities": lambda: (drawn(count, 1).sigmoid(), classes(2, count, 1).float()),
        "signs": lambda: (drawn(count), classes(2, count) * 2.0 - 1),
        "masks": lambda: (drawn(count, 1, 4, 4), classes(2, count, 1, 4, 4).float()),
        "labels": lambda: (drawn(count, 4), classes(2, count, 4).float()),
        "values": lambda: (drawn(count).abs(), drawn(count).abs()),
        "rows": lambda: (drawn(count, 3).abs(), drawn(count, 3).abs()),
    }[name]()


def theirs(metric: Metric, name: str, output: Tensor, target: Tensor) -> float:
    """torchmetrics' value of the whole set."""
    import torchmetrics.functional as functional

    task, arguments = TASKS[name], metric.arguments()
    if task.kind != "values":
        target = (
            target.argmax(1) if task.one_hot else (target > 0).long() if task.kind != "multiclass" else target
        )
        if task.kind == "multiclass":
            output = task.probabilities(output)
    if isinstance(metric, DiceScore):
        return theirs_dice(metric, task, output, target)
    if task.kind != "values":
        arguments |= {"task": task.kind}
        if task.kind == "multiclass":
            arguments |= {"num_classes": output.shape[1], "ignore_index": task.ignore}
        elif task.kind == "multilabel":
            arguments |= {"num_labels": output.shape[1]}
        else:
            output = output if task.gives == "probabilities" else output.sigmoid()
    found = getattr(functional, metric.kind)
    takes = inspect.signature(found).parameters
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are missing
        return float(found(output, target, **{n: v for n, v in arguments.items() if n in takes}).mean())


def theirs_dice(metric: DiceScore, task: Task, output: Tensor, target: Tensor) -> float:
    from torchmetrics.functional.segmentation import dice_score

    if task.kind == "multiclass":
        classes = output.shape[1]
        decided = torch.nn.functional.one_hot(output.argmax(1), classes).movedim(-1, 1)
        target = torch.nn.functional.one_hot(target, classes).movedim(-1, 1)
    else:
        decided = (output > (0.5 if task.gives == "probabilities" else 0)).long()
        if decided.dim() == 1:
            decided, target = decided[:, None], target[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a default that has changed
        return float(dice_score(decided, target, decided.shape[1], **metric.arguments()).nanmean())


def ours(metric: Metric, task: Task, output: Tensor, target: Tensor, parts: list[int]) -> float:
    if task.kind == "multilabel":
        task = replace(task, kind="binary")  # which it is to a recipe: the output tells
    tally = metric.tally(output[:1], task)
    for o, t in zip(output.split(parts), target.split(parts), strict=True):
        metric.add(tally, o, t, task)
    return metric.value(tally, task)


MORE: list[tuple[str, dict[str, Any]]] = [
    ("accuracy", {"top_k": 2}),
    ("fbeta_score", {"beta": 2.0, "average": "macro"}),
    ("cohen_kappa", {"weights": "quadratic"}),
    ("cohen_kappa", {"weights": "linear"}),
    ("mean_squared_error", {"squared": False}),
    ("relative_squared_error", {"squared": False}),
    ("r2_score", {"adjusted": 2}),
    ("r2_score", {"multioutput": "variance_weighted"}),
    ("explained_variance", {"multioutput": "variance_weighted"}),
    ("dice_score", {"aggregation_level": "global"}),
    ("dice_score", {"aggregation_level": "global", "average": "micro"}),
    ("dice_score", {"average": "weighted"}),
    ("dice_score", {"include_background": False}),
    ("kendall_rank_corrcoef", {"variant": "a"}),
    ("calibration_error", {"norm": "l2", "n_bins": 7}),
    ("hinge_loss", {"squared": True}),
    ("normalized_root_mean_squared_error", {"normalization": "std"}),
]
MORE += [
    (kind, {"average": average})
    for kind, member in METRICS.members.items()
    if "average" in member.model_fields
    for average in ("macro", "weighted")
]
MORE += [
    (kind, {"threshold": 0.7})
    for kind, member in METRICS.members.items()
    if "threshold" in member.model_fields
]
CASES = [
    (kind, arguments, name)
    for kind, arguments in [*((kind, {}) for kind in METRICS.members), *MORE]
    for name, task in TASKS.items()
    if task.kind in METRICS.members[kind].takes
    and not ("top_k" in arguments and task.kind != "multiclass")
    and not (kind in ("dice_score", "calibration_error", "exact_match", "hinge_loss") and name == "ignored")
    and not (kind == "dice_score" and name not in ("images", "masks"))
    and not (
        kind == "dice_score" and not arguments.get("include_background", True) and task.kind != "multiclass"
    )
    and not (kind in ("kendall_rank_corrcoef", "normalized_root_mean_squared_error") and name == "rows")
]


@pytest.mark.parametrize(("kind", "arguments", "name"), CASES, ids=lambda v: str(v))
def test_a_metric_is_torchmetrics_of_the_whole_set(kind: str, arguments: dict[str, Any], name: str) -> None:
    metric, (output, target) = METRICS.members[kind](**arguments), samples(name)
    wanted = theirs(metric, name, output, target)
    for parts in ([61], [16, 16, 16, 13], [1, 60]):
        found = ours(metric, TASKS[name], output, target, parts)
        assert found == pytest.approx(wanted, rel=2e-4, abs=2e-5, nan_ok=True), parts


def test_every_metric_of_torchmetrics_for_such_targets_is_there_or_left_out_with_a_reason() -> None:
    from torchmetrics.functional import classification, regression

    theirs = {
        name
        for home in (classification, regression)
        for name, found in vars(home).items()
        if inspect.isfunction(found) and not name.startswith(("binary_", "multiclass_", "multilabel_", "_"))
    }
    ours = set(METRICS.members) | set(METRICS.left_out)
    assert theirs - ours == set()
    assert set(METRICS.left_out) <= theirs
    assert set(METRICS.members) - theirs == {"dice_score"}  # which stands among those of segmentation


def test_short_names_are_the_same_metrics() -> None:
    report = Report()
    for name, kind in METRICS.also.items():
        found = construct(Choice(name), METRICS, report)
        assert found is not None
        assert found.kind == kind
    assert construct(Choice("rmse"), METRICS, report) == METRICS.members["mean_squared_error"](squared=False)
    assert not report.has_errors


def test_a_column_may_be_named_by_the_short_name_of_its_metric() -> None:
    settings = {"loss": Choice("MSELoss"), "optimizer": Choice("SGD"), "metrics": [Choice("mae")]}
    report = Report()
    given = {key: Setting(value) for key, value in {**settings, "monitor": Choice("valid_mae")}.items()}
    found = read_recipe(given, report)
    assert found is not None, [d.message for d in report]
    assert found.monitored == ("valid_mean_absolute_error", False)


@pytest.mark.parametrize("kind", METRICS.members)
def test_arguments_and_defaults_are_those_of_torchmetrics(kind: str) -> None:
    import torchmetrics.functional as functional
    from torchmetrics.functional.segmentation import dice_score

    found = dice_score if kind == "dice_score" else getattr(functional, kind)
    takes = {name: parameter.default for name, parameter in inspect.signature(found).parameters.items()}
    fields = METRICS.members[kind].model_fields
    assert {name: field.default for name, field in fields.items()} == {name: takes[name] for name in fields}
    assert list(fields) == [name for name in takes if name in fields]


def test_the_sets_are_what_the_cases_need() -> None:
    covered = {kind for kind, _, _ in CASES}
    assert covered == set(METRICS.members)
    _, target = samples("ignored")
    assert 0 < int((target == -100).sum()) < len(target)


def test_our_own_tallies_need_no_torchmetrics() -> None:
    script = (
        "import sys, torch\n"
        "from netdsl.train.metrics import Auroc, Accuracy, R2Score, Task\n"
        "x, y = torch.rand(9), torch.tensor([0., 1, 1] * 3)\n"
        "for metric, task in ((Auroc(), Task('binary')), (Accuracy(), Task('binary')), (R2Score(), Task('values'))):\n"
        "    tally = metric.tally(x, task); metric.add(tally, x, y, task); metric.value(tally, task)\n"
        "sys.exit('torchmetrics' in sys.modules)"
    )
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", script], cwd=root, check=False).returncode == 0
