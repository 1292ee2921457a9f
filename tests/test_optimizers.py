"""Optimizers are torch's own, over the groups that rules make; what is frozen stays; penalties are in the gradient."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save_file
from torch import Tensor, nn

from netdsl.diagnostics import Report
from netdsl.elaborate.settings import Choice, Setting
from netdsl.train import TrainError, run
from netdsl.train.data import Data, Split
from netdsl.train.encodings import OneHot
from netdsl.train.groups import L1, L2, Rule, grouped, read_rules
from netdsl.train.loop import Window, fit, update
from netdsl.train.losses import CrossEntropyLoss, MSELoss, MultiLabelMarginLoss
from netdsl.train.metrics import Accuracy, Auroc
from netdsl.train.optimizers import LBFGS, OPTIMIZERS, SGD, Adam, Muon, Optimizer, SparseAdam
from netdsl.train.parameters import freeze
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch, Stopped
from netdsl.train.rehearsal import rehearse
from netdsl.train.schedules import CyclicLR, LinearLR, OneCycleLR, ReduceLROnPlateau, SequentialLR, StepLR
from netdsl.train.state import Run
from netdsl.train.warm import start_from

CPU = torch.device("cpu")
LEFT_OUT = {"params", "capturable", "differentiable"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Net(nn.Module):
    """Two layers with names."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).tanh())


def data(count: int = 48) -> Data:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, generator=random)
    y = (x[:, 0] + 0.3 * x[:, 1] > 0).long()
    return Data(Split(x[:32], y[:32]), Split(x[32:], y[32:]), classes=2)


def recipe(**changes: Any) -> Recipe:
    base: dict[str, Any] = {
        "model": "Net",
        "batch": 8,
        "epochs": 4,
        "loss": CrossEntropyLoss(),
        "optimizer": SGD(lr=0.1, momentum=0.5),
        "channels_last": False,
        "log_every": 3,
    }
    return Recipe(**base | changes)


def begun(changed: Recipe, model: nn.Module | None = None) -> Run:
    torch.manual_seed(0)
    model = model or Net()
    freeze(model, changed)
    return Run(model, changed, data(), CPU)


def after_one_step(changed: Recipe, model: nn.Module | None = None) -> tuple[dict[str, Tensor], Run]:
    state = begun(changed, model)
    state.model.train()
    update(state, Window(state))
    return {name: p.detach().clone() for name, p in state.model.named_parameters()}, state


# ------------------------------------------------------------------------------------------- torch's own


def test_every_optimizer_of_torch_is_there() -> None:
    home = torch.optim
    theirs = {n for n, c in vars(home).items() if inspect.isclass(c) and issubclass(c, home.Optimizer)}
    assert theirs - {"Optimizer"} == set(OPTIMIZERS.members)


@pytest.mark.parametrize("kind", OPTIMIZERS.members)
def test_arguments_and_defaults_are_those_of_torch(kind: str) -> None:
    parameters = inspect.signature(getattr(torch.optim, kind)).parameters
    theirs = {name: p.default for name, p in parameters.items() if name not in LEFT_OUT}
    member = OPTIMIZERS.members[kind]
    ours = {name: field.default for name, field in member.model_fields.items()}
    assert ours == theirs
    positional = [name for name in ours if name not in member.keyword_only]
    assert positional == [name for name in theirs if name in positional]


@pytest.mark.parametrize("kind", [kind for kind in OPTIMIZERS.members if kind not in ("Muon", "SparseAdam")])
def test_an_optimizer_takes_the_step_of_torchs_own(kind: str) -> None:
    optimizer = OPTIMIZERS.members[kind]()
    found, state = after_one_step(recipe(optimizer=optimizer))
    torch.manual_seed(0)
    model = Net()
    theirs = getattr(torch.optim, kind)(model.parameters())
    x, y = state.batches.at(0, 0)

    def closure() -> Tensor:
        theirs.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    theirs.step(closure)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.detach(), atol=1e-6, rtol=1e-5)


# ------------------------------------------------------------------------------------- rules and freezing


def test_groups_follow_from_names_and_rules_alone_and_the_later_rule_decides() -> None:
    names = ["a.weight", "a.bias", "b.weight", "b.bias"]
    rules = [
        Rule(pattern="*.bias", changes={"lr": 0.1, "weight_decay": 0.0}),
        Rule(pattern="b.*", changes={"lr": 0.2}),
    ]
    assert grouped(names, rules) == [
        ({}, ["a.weight"]),
        ({"lr": 0.1, "weight_decay": 0.0}, ["a.bias"]),
        ({"lr": 0.2}, ["b.weight"]),
        ({"lr": 0.2, "weight_decay": 0.0}, ["b.bias"]),
    ]


def test_a_rule_changes_the_step_of_the_parameters_that_it_names() -> None:
    plain, _ = after_one_step(recipe(optimizer=SGD(lr=0.1)))
    ruled, state = after_one_step(
        recipe(optimizer=SGD(lr=0.1), rules=[Rule(pattern="*.bias", changes={"lr": 0.2})])
    )
    torch.manual_seed(0)
    start = dict(Net().named_parameters())
    for name, before in start.items():
        factor = 2 if name.endswith("bias") else 1
        torch.testing.assert_close(
            ruled[name] - before, factor * (plain[name] - before), atol=1e-6, rtol=1e-4
        )
    assert [len(group["params"]) for group in state.optimizer.param_groups] == [2, 2]


def test_what_is_frozen_does_not_move() -> None:
    torch.manual_seed(0)
    start = {name: p.detach().clone() for name, p in Net().named_parameters()}
    found, _ = after_one_step(recipe(freeze=["body.*"]))
    for name in start:
        assert torch.equal(found[name], start[name]) == name.startswith("body.")


@pytest.mark.parametrize(
    "changes",
    [
        {"freeze": ["bodi.*"]},
        {"penalty": [L1(factor=0.1, pattern="x")]},
        {"rules": [Rule(pattern="y", changes={"lr": 1.0})]},
    ],
    ids=["freeze", "penalty", "rules"],
)
def test_a_pattern_without_a_match_is_an_error_also_for_a_model_from_python(changes: dict[str, Any]) -> None:
    with pytest.raises(TrainError) as caught:
        begun(recipe(**changes))
    assert caught.value.diagnostic.code == "E0640"


def test_near_names_help_where_a_pattern_matches_nothing() -> None:
    with pytest.raises(TrainError) as caught:
        begun(recipe(freeze=["bodi.*"]))
    assert "did you mean `body.*`" in caught.value.diagnostic.helps[0]


RULES = {
    "no rule": ([Choice("roule", {}, ("*",))], "E0604"),
    "no pattern": ([Choice("rule", {"lr": 0.1})], "E0607"),
    "nothing": ([Choice("rule", {}, ("*",))], "E0607"),
    "unknown": ([Choice("rule", {"beta": 0.1}, ("*",))], "E0606"),
    "of no group": ([Choice("rule", {"fused": True}, ("*",))], "E0606"),
    "range": ([Choice("rule", {"lr": -0.1}, ("*",))], "E0607"),
    "kind": ([Choice("rule", {"lr": "fast"}, ("*",))], "E0607"),
}


@pytest.mark.parametrize("what", RULES)
def test_a_rule_that_cannot_be_is_one_problem(what: str) -> None:
    value, code = RULES[what]
    report = Report()
    assert read_rules(Setting(value), SGD(lr=0.1), report) == ()
    assert [d.code for d in report] == [code]


# --------------------------------------------------------------------------------- penalties and clipping


def test_a_penalty_is_in_the_gradient_and_not_in_the_loss() -> None:
    plain, one = after_one_step(recipe(optimizer=SGD(lr=0.1)))
    terms = [L1(factor=0.01, pattern="*.weight"), L2(factor=0.02, pattern="head.*")]
    found, two = after_one_step(recipe(optimizer=SGD(lr=0.1), penalty=terms, accumulate=1))
    torch.manual_seed(0)
    for name, w in Net().named_parameters():
        term = 0.01 * w.sign() * name.endswith("weight") + 0.04 * w * name.startswith("head")
        torch.testing.assert_close(plain[name] - found[name], 0.1 * term, atol=1e-6, rtol=1e-4)
    assert one.loss_sum == two.loss_sum


def test_a_penalty_counts_once_a_step_whatever_is_accumulated() -> None:
    changes: dict[str, Any] = {"optimizer": SGD(lr=0.1), "penalty": [L2(factor=0.5)]}
    one, _ = after_one_step(recipe(batch=16, **changes))
    two, _ = after_one_step(recipe(batch=8, accumulate=2, **changes))
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-6, rtol=1e-5)


def test_gradients_are_clipped_by_value() -> None:
    torch.manual_seed(0)
    start = dict(Net().named_parameters())
    found, _ = after_one_step(recipe(optimizer=SGD(lr=1.0), clip_value=1e-3))
    moved = torch.cat([(found[name] - w).detach().abs().flatten() for name, w in start.items()])
    assert float(moved.max()) == pytest.approx(1e-3, rel=1e-3)


# ------------------------------------------------------------------------------ schedules, within a run


SCHEDULES: dict[str, dict[str, Any]] = {
    "one cycle": {"schedule": OneCycleLR(max_lr=0.3)},
    "cyclic": {"schedule": CyclicLR(base_lr=0.01, max_lr=0.2, step_size_up=3)},
    "plateau": {"schedule": ReduceLROnPlateau(patience=0, factor=0.5, threshold=0.5)},
    "by steps": {"schedule": StepLR(step_size=3), "schedule_every": "step"},
    "in turn": {"schedule": SequentialLR(schedulers=[LinearLR(), StepLR(step_size=1)], milestones=[2])},
    "rules": {"rules": [Rule(pattern="*.bias", changes={"lr": 0.02})], "schedule": StepLR(step_size=1)},
    "adam": {"optimizer": Adam(lr=0.01), "schedule": OneCycleLR(max_lr=0.02)},
    "lbfgs": {"optimizer": LBFGS(lr=0.5, max_iter=3), "penalty": [L2(factor=0.01)]},
    "metrics": {"metrics": [Accuracy(), Auroc()]},
    "patience": {"early_stop": 2, "min_delta": 10.0, "epochs": 9},
}


@pytest.mark.parametrize("what", SCHEDULES)
def test_a_resumed_run_is_the_run_that_was_not_stopped(what: str) -> None:
    changed = recipe(**SCHEDULES[what])
    whole = begun(changed)
    records = list(fit(whole))
    for stop in (3, 6):
        part = begun(changed)
        for record in fit(part):
            if not isinstance(record, Stopped) and record.step >= stop:
                break
        weights = {name: t.clone() for name, t in part.model.state_dict().items()}
        state = part.state()
        rest = begun(changed)
        rest.load(weights, state)
        later = list(fit(rest))
        assert all(map(torch.equal, whole.model.state_dict().values(), rest.model.state_dict().values()))
        epochs = [
            [(r.epoch, r.lr, dict(r.measured)) for r in rs if isinstance(r, Epoch)] for rs in (records, later)
        ]
        assert epochs[0][-len(epochs[1]) :] == epochs[1]


def test_a_plateau_makes_the_rate_smaller_in_the_run() -> None:
    rates = [r.lr for r in fit(begun(recipe(**SCHEDULES["plateau"]))) if isinstance(r, Epoch)]
    assert rates[0] == 0.1
    assert rates[-1] < 0.1


def test_one_cycle_moves_rate_and_momentum_at_every_step() -> None:
    state, seen = begun(recipe(log_every=1, **SCHEDULES["one cycle"])), []
    for record in fit(state):
        if not isinstance(record, (Epoch, Stopped)):
            seen.append((record.lr, state.optimizer.param_groups[0]["momentum"]))
    assert len({lr for lr, _ in seen}) == len(seen) == 16
    assert max(seen)[1] == pytest.approx(0.85, abs=0.02)


def test_a_cycle_that_is_over_too_early_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainError) as caught:
        run(Net, recipe(schedule=OneCycleLR(max_lr=0.1, total_steps=5)), out=tmp_path / "run", data=data())
    assert caught.value.diagnostic.code == "E0644"


def test_early_stopping_waits_for_a_gain_of_min_delta() -> None:
    stopped = list(fit(begun(recipe(**SCHEDULES["patience"]))))[-1]
    assert isinstance(stopped, Stopped)
    assert (stopped.reason, stopped.step) == ("early stop", 4 * 3)


def test_mode_says_which_way_is_better() -> None:
    assert recipe().monitored == ("valid_loss", False)
    assert recipe(metrics=[Accuracy()]).monitored == ("valid_accuracy", True)
    assert recipe(monitor="train_loss", mode="max").monitored == ("train_loss", True)
    assert recipe(metrics=[Accuracy(), Accuracy(top_k=2)]).columns()[-2:] == [
        "valid_accuracy",
        "valid_accuracy_top_k_2",
    ]


# ------------------------------------------------------------- what a machine or an optimizer cannot do


def test_an_optimizer_that_cannot_learn_the_parameters_is_refused_before_the_run(tmp_path: Path) -> None:
    refused: list[tuple[Optimizer, str]] = [(Muon(), "E0643"), (SparseAdam(), "E0643")]
    for optimizer, code in refused:
        with pytest.raises(TrainError) as caught:
            run(Net, recipe(optimizer=optimizer), out=tmp_path / "run", data=data())
        assert caught.value.diagnostic.code == code
        assert not (tmp_path / "run").exists()
    found = rehearse(Net, recipe(optimizer=Muon(), freeze=["*.bias"]), data=data())
    assert (found.parameters, found.frozen) == (25, 7)


def test_half_precision_is_for_gpus() -> None:
    with pytest.raises(TrainError) as caught:
        rehearse(Net, recipe(precision="fp16"), data=data(), device="cpu")
    assert caught.value.diagnostic.code == "E0645"


def test_compiling_without_a_compiler_is_an_error_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "")
    with pytest.raises(TrainError) as caught:
        rehearse(Net, recipe(compile=True), data=data(), device="cpu")
    assert caught.value.diagnostic.code == "E0645"


def test_a_rehearsal_writes_nothing_and_leaves_the_model_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = Net()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    found = rehearse(model, recipe(loss=CrossEntropyLoss(), epochs=3), data=data())
    assert (found.epochs, found.steps, found.train_samples) == (3, 12, 32)
    assert found.loss > 0
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------- a warm start


def test_a_run_starts_from_what_fits_of_other_weights(tmp_path: Path) -> None:
    source, other = tmp_path / "w.safetensors", Net()
    other.head = nn.Linear(5, 4)
    save_file(other.state_dict(), source)
    model = Net()
    head = model.head.weight.detach().clone()
    notes = start_from(model, source)
    assert torch.equal(model.body.weight, other.body.weight)
    assert torch.equal(model.head.weight, head)
    assert "2 of 4 tensors fit" in notes[0]
    assert "`head.weight` is [4, 5] there and [2, 5] here" in notes[0]


def test_a_frozen_body_keeps_the_weights_that_a_run_started_from(tmp_path: Path) -> None:
    source, other = tmp_path / "w.safetensors", Net()
    save_file(other.state_dict(), source)
    run(Net, recipe(freeze=["body.*"]), out=tmp_path / "run", data=data(), init_from=source)
    last = load((tmp_path / "run" / "last.safetensors").read_bytes())
    assert torch.equal(last["body.weight"], other.body.weight)
    assert not torch.equal(last["head.weight"], other.head.weight)


SPREAD: dict[str, dict[str, Any]] = {
    "one-hot": {"loss": MSELoss(), "target": OneHot(), "metrics": [Accuracy(), Auroc()]},
    "indices": {"loss": MultiLabelMarginLoss()},
}


@pytest.mark.parametrize("what", SPREAD)
def test_class_numbers_are_spread_over_the_outputs_of_a_whole_run(what: str, tmp_path: Path) -> None:
    changed = recipe(**SPREAD[what])
    found = run(Net, changed, out=tmp_path / "run", data=data())
    assert found.epochs[-1].measured["train_loss"] < found.epochs[0].measured["train_loss"]
    assert rehearse(Net, changed, data=data()).loss > 0
    wide = Data(data().train, data().valid, classes=3)
    with pytest.raises(TrainError) as caught:
        rehearse(Net, changed, data=wide)
    assert caught.value.diagnostic.code == "E0611"
