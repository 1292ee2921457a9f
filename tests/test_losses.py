"""Losses: torch's own, a block of the file, and what each needs of the model and of the targets."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

import netdsl
from netdsl.compiler import check_program, open_program
from netdsl.diagnostics import Report
from netdsl.elaborate.program import Program
from netdsl.elaborate.settings import Choice, Setting
from netdsl.source import Source
from netdsl.train.criteria import BlockLoss, Criteria
from netdsl.train.data import Data, Split
from netdsl.train.encodings import OneHot
from netdsl.train.errors import TrainError
from netdsl.train.losses import LEFT_OUT, LOSSES, HingeEmbeddingLoss, Loss, SoftMarginLoss
from netdsl.train.optimizers import SGD
from netdsl.train.recipe import Recipe, read_recipe
from netdsl.train.samples import check_data
from netdsl.train.targets import as_compared

OLD = {"size_average", "reduce"}  # which torch has given up


def test_every_loss_of_torch_is_there_or_left_out_with_a_reason() -> None:
    theirs = {
        n for n, c in vars(nn).items() if inspect.isclass(c) and issubclass(c, nn.Module) and "Loss" in n
    }
    assert theirs == set(LOSSES.members) | set(LEFT_OUT)


@pytest.mark.parametrize("kind", LOSSES.members)
def test_arguments_and_defaults_are_those_of_torch(kind: str) -> None:
    parameters = inspect.signature(getattr(nn, kind)).parameters
    theirs = {name: p.default for name, p in parameters.items() if name not in OLD}
    ours = {name: field.default for name, field in LOSSES.members[kind].model_fields.items()}
    assert ours == theirs
    assert list(ours) == list(theirs)


def targets_for(loss: Loss) -> Tensor:
    """Targets as the data may have them."""
    if loss.targets == "classes" or loss.indices:
        return torch.tensor([0, 2, 1, 2])
    if loss.binary:
        return torch.tensor([[0.0, 1.0, 1.0]] * 4)
    return torch.rand(4, 3)


ONE_OUTPUT = [kind for kind, loss in LOSSES.members.items() if len(loss.takes) == 1 and loss.aligned]


@pytest.mark.parametrize("kind", ONE_OUTPUT)
def test_a_loss_takes_its_targets_and_has_a_gradient(kind: str) -> None:
    loss = LOSSES.members[kind]()
    recipe = Recipe(loss=loss, optimizer=SGD(lr=0.1))
    output = torch.rand(4, 3, requires_grad=True)
    value = loss.build()(output, as_compared(targets_for(loss), recipe, output))
    value.backward()
    assert value.shape == ()
    assert output.grad is not None
    assert bool(output.grad.isfinite().all())


@pytest.mark.filterwarnings("ignore:reduction")  # torch's advice, which a run does not print
@pytest.mark.parametrize("reduction", ["mean", "sum", "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_the_divergence_is_that_of_torch(reduction: str, log_target: bool) -> None:
    output, target = torch.rand(4, 3).log_softmax(1), torch.rand(4, 3).softmax(1)
    arguments: dict[str, Any] = {"reduction": reduction, "log_target": log_target}
    ours, theirs = LOSSES.members["KLDivLoss"](**arguments).build(), nn.KLDivLoss(**arguments)
    assert torch.equal(ours(output, target), theirs(output, target))


def test_yes_and_no_are_one_and_minus_one_for_a_loss_of_signs() -> None:
    recipe = Recipe(loss=SoftMarginLoss(), optimizer=SGD(lr=0.1))
    for y in (torch.tensor([0, 1]), torch.tensor([0.0, 1.0]), torch.tensor([-1.0, 1.0])):
        assert as_compared(y, recipe, torch.zeros(2, 1)).tolist() == [[-1.0], [1.0]]


def test_class_numbers_are_one_hot_where_the_recipe_says_so() -> None:
    recipe = Recipe(loss=LOSSES.members["MSELoss"](), optimizer=SGD(lr=0.1), target=OneHot())
    y = torch.tensor([[[1, 0], [2, 2]]])
    found = as_compared(y, recipe, torch.zeros(1, 3, 2, 2))
    assert torch.equal(found, nn.functional.one_hot(y, 3).movedim(-1, 1).float())


@pytest.mark.parametrize("loss", [SoftMarginLoss(), HingeEmbeddingLoss()], ids=str)
def test_targets_that_are_no_signs_are_refused(loss: Loss) -> None:
    recipe = Recipe(loss=loss, optimizer=SGD(lr=0.1))
    part = Split(torch.zeros(3, 2), torch.tensor([0.0, 1.0, 0.5]))
    with pytest.raises(TrainError, match="-1 or 1"):
        check_data(Data(part, part), recipe)


# --------------------------------------------------------------------- several outputs, and open places


def outputs_for(kind: str) -> tuple[Tensor, ...]:
    """Outputs of a model as `kind` takes them: numbers, vectors, or a mean and a variance."""
    random = torch.Generator().manual_seed(3)
    width = 1 if kind == "MarginRankingLoss" else 4
    count = len(LOSSES.members[kind].takes)
    outputs = tuple(torch.randn(6, width, generator=random) for _ in range(count))
    return (outputs[0], outputs[1].square()) if kind == "GaussianNLLLoss" else outputs


SEVERAL = [kind for kind, loss in LOSSES.members.items() if len(loss.takes) > 1]
MORE: dict[str, list[dict[str, Any]]] = {
    "GaussianNLLLoss": [{"full": True}, {"eps": 0.5}],
    "CosineEmbeddingLoss": [{"margin": 0.3}],
    "MarginRankingLoss": [{"margin": 0.2}],
    "TripletMarginLoss": [{"margin": 2.0, "p": 1.0}, {"swap": True}],
}


def theirs_of_several(kind: str, arguments: dict[str, Any], outputs: Any, y: Tensor) -> Tensor:
    loss = getattr(nn, kind)(**arguments)
    if kind == "GaussianNLLLoss":
        return loss(outputs[0], y, outputs[1])
    return loss(*outputs) if kind == "TripletMarginLoss" else loss(*outputs, y)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", SEVERAL)
def test_a_loss_of_several_outputs_is_torchs_own_with_its_gradients(kind: str, reduction: str) -> None:
    data = torch.randn(6, 4) if kind == "GaussianNLLLoss" else torch.tensor([0, 1, 1, 0, 1, 0])
    for arguments in [{}, *MORE[kind]]:
        loss = LOSSES.members[kind](reduction=reduction, **arguments)
        ours, theirs = (tuple(o.clone().requires_grad_() for o in outputs_for(kind)) for _ in range(2))
        y = as_compared(data, Recipe(loss=loss, optimizer=SGD()), ours[0])
        one = loss.build()(ours, y)
        two = theirs_of_several(kind, {"reduction": reduction, **arguments}, theirs, y)
        torch.testing.assert_close(one, two)
        one.backward()
        two.backward()
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a.grad, b.grad)


def test_a_negative_variance_is_no_number_and_no_exception() -> None:
    loss = LOSSES.members["GaussianNLLLoss"]().build()
    assert bool(loss((torch.zeros(2, 1), torch.tensor([[1.0], [-1.0]])), torch.zeros(2, 1)).isnan())


def test_rows_of_classes_are_compared_as_torch_does_it_by_their_lengths() -> None:
    output = torch.randn(3, 5, 9).log_softmax(1)
    y = torch.tensor([[1, 2, 2, 4], [3, 0, 0, 0], [4, 4, 0, 0]])
    lengths, places = torch.tensor([4, 1, 2]), torch.full((3,), 9)
    for reduction in ("mean", "sum"):
        loss = LOSSES.members["CTCLoss"](reduction=reduction)
        wanted = nn.CTCLoss(reduction=reduction)(output.permute(2, 0, 1), y, places, lengths)
        torch.testing.assert_close(loss.build()(output, y), wanted)


SIAMESE = """
model Siamese {{
  input x: [N, {count}, 3]
{lines}
}}
train Siamese {{
  data = Arrays("pairs.npz", shape = [{count}, 3]{classes})
  valid = 0.25
  loss = {loss}
  optimizer = Adam(lr = 0.02)
  epochs = 6
  batch = 8
}}
"""


def siamese(kind: str) -> str:
    count = 3 if kind == "TripletMarginLoss" else 2
    tail = " -> Linear(1)" if kind == "MarginRankingLoss" else ""
    names = ["a", "b", "c"][:count]
    lines = [
        f"  h = x -> Linear(4) -> Tanh{tail}",
        *(f"  output {n} = h[:, {i}]" for i, n in enumerate(names)),
    ]
    classes = ", classes = 2" if count == 2 else ""
    return SIAMESE.format(count=count, lines="\n".join(lines), classes=classes, loss=kind)


@pytest.mark.parametrize("kind", ["CosineEmbeddingLoss", "MarginRankingLoss", "TripletMarginLoss"])
def test_a_model_of_pairs_or_triples_learns_from_a_file(kind: str, tmp_path: Path) -> None:
    random = numpy.random.RandomState(0)
    x = random.randn(64, 3 if kind == "TripletMarginLoss" else 2, 3).astype("float32")
    y = (
        (x[:, 0, 0] > x[:, 1, 0]).astype("int64")
        if kind != "TripletMarginLoss"
        else numpy.zeros(64, "float32")
    )
    numpy.savez(tmp_path / "pairs.npz", x=x, y=y)
    path = tmp_path / "siamese.net"
    path.write_text(siamese(kind))
    found = netdsl.fit(netdsl.load(path).Siamese, out=tmp_path / "run", threads=1)
    losses = [epoch.measured["valid_loss"] for epoch in found.epochs]
    assert found.epochs[-1].measured["train_loss"] < found.epochs[0].measured["train_loss"]
    assert all(value == value for value in losses)
    assert (tmp_path / "run" / "report.html").is_file()


# ------------------------------------------------------------------------------------ blocks of the file

BLOCKS = """
block FocalLoss(gamma = 2.0, alpha = 0.75) {
  input prediction
  input target
  p      = prediction -> clamp(1e-7, 1 - 1e-7)
  right  = target * p + (1 - target) * (1 - p)
  weight = target * alpha + (1 - target) * (1 - alpha)
  output -weight * (1 - right) ** gamma * (right -> log)
}
block mspe {
  input prediction
  input target
  output (target - prediction) ** 2 / (target ** 2 -> clamp(min = 1e-7)) -> mean
}
block Scores {
  input prediction: [N, C]
  input target: int64[N]
  output (prediction -> mean(1)) - target
}
block Learned {
  input prediction
  input target
  output (prediction - target) -> Linear(1)
}
block Wide {
  input prediction
  input target
  output one = prediction
  output two = target
}
block Named {
  input x
  input target
  output x - target
}
block Column {
  input prediction: [N, 1]
  input target: [N, 1]
  output prediction - target
}
model M(outputs = 1) {
  input x: [N, 2]
  output x -> Linear(outputs) -> Sigmoid
}
"""


def opened() -> Program:
    program = open_program(Source(BLOCKS, "blocks.net"), Report())
    assert program is not None
    return program


def read(outputs: int = 1, **changes: Any) -> tuple[Recipe | None, list[str]]:
    program, report = opened(), Report()
    graph = program.graph("M", {"outputs": outputs})
    assert graph is not None
    types = [graph.types[o.value] for o in graph.outputs]
    settings = {"optimizer": Setting(Choice("SGD", {"lr": 0.1}))} | {
        k: Setting(v) for k, v in changes.items()
    }
    found = read_recipe(
        settings,
        report,
        inputs=[entry.type for entry in graph.inputs],
        outputs=types,
        model="M",
        graph=graph,
        criteria=Criteria(program, types, graph),
    )
    return found, [d.code for d in report]


def focal(p: Tensor, y: Tensor, gamma: float, alpha: float) -> Tensor:
    """The focal loss as its paper has it."""
    one, zero = -alpha * (1 - p) ** gamma * p.log(), -(1 - alpha) * p**gamma * (1 - p).log()
    return torch.where(y == 1, one, zero).mean()


def test_a_block_is_a_loss_with_arguments_of_its_own() -> None:
    found, problems = read(loss=Choice("FocalLoss", {"gamma": 3.0}))
    assert problems == []
    assert found is not None
    assert isinstance(found.loss, BlockLoss)
    assert found.loss.described()["gamma"] == 3.0
    assert found.loss.described()["alpha"] == 0.75
    assert found.loss.gives == "probabilities"
    p, y = torch.rand(9, 1), torch.randint(2, (9, 1)).float()
    torch.testing.assert_close(found.loss.build()(p, y), focal(p, y, 3.0, 0.75))


def test_a_block_is_a_metric_over_the_whole_set() -> None:
    found, problems = read(loss=Choice("MSELoss"), metrics=[Choice("mspe")])
    assert problems == []
    assert found is not None
    output, target = torch.rand(7, 1), torch.rand(7, 1)
    metric, task = found.metrics[0], found.task
    tally = metric.tally(output, task)
    for part in (slice(0, 4), slice(4, 7)):
        metric.add(tally, output[part], target[part], task)
    wanted = ((target - output) ** 2 / (target**2).clamp(min=1e-7)).mean()
    assert metric.value(tally, task) == pytest.approx(float(wanted), rel=1e-5)
    assert found.monitored == ("valid_mspe", False)


def test_a_block_with_whole_numbers_as_targets_compares_with_classes() -> None:
    found, problems = read(outputs=3, loss=Choice("Scores"), metrics=[Choice("accuracy")])
    assert problems == []
    assert found is not None
    assert found.loss.targets == "classes"
    assert found.task.kind == "multiclass"


REFUSED = {
    "inputs": (Choice("Named"), "E0641"),
    "weights": (Choice("Learned"), "E0641"),
    "two results": (Choice("Wide"), "E0641"),
    "argument": (Choice("FocalLoss", {"gama": 1.0}), "E0301"),
    "shape": (Choice("Column"), "E0416"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_block_that_cannot_be_a_loss_is_refused_without_data(what: str) -> None:
    choice, code = REFUSED[what]
    found, problems = read(outputs=2 if what == "shape" else 1, loss=choice)
    assert found is None
    assert set(problems) == {code}


def test_another_body_is_another_recipe() -> None:
    one, _ = read(loss=Choice("mspe"))
    global BLOCKS
    before = BLOCKS
    try:
        BLOCKS = BLOCKS.replace("min = 1e-7", "min = 1e-3")
        two, _ = read(loss=Choice("mspe"))
    finally:
        BLOCKS = before
    assert one is not None
    assert one != two


# -------------------------------------------------------------------------------- the end of the model

ENDS: dict[tuple[str, str], str | None] = {
    ("BCELoss", "Linear(1)"): "E0642",
    ("BCELoss", "Linear(1) -> ReLU"): "E0642",
    ("BCELoss", "Linear(1) -> Tanh"): "E0642",
    ("BCELoss", "Linear(1) -> Sigmoid"): None,
    ("BCELoss", "Linear(1) -> Sigmoid -> Flatten"): None,
    ("BCELoss", "Linear(1) -> clamp(0.0, 1.0)"): None,
    ("BCELoss", "Linear(1) -> Flatten"): "E0642",
    ("BCEWithLogitsLoss", "Linear(1)"): None,
    ("BCEWithLogitsLoss", "Linear(1) -> Sigmoid"): "E0610",
    ("BCEWithLogitsLoss", "Linear(1) -> Sigmoid -> Flatten"): "E0610",
    ("NLLLoss", "Linear(3)"): "E0642",
    ("NLLLoss", "Linear(3) -> Sigmoid"): "E0642",
    ("NLLLoss", "Linear(3) -> Softmax(dim = 1)"): "E0610",
    ("NLLLoss", "Linear(3) -> LogSoftmax(dim = 1)"): None,
    ("CrossEntropyLoss", "Linear(3)"): None,
    ("CrossEntropyLoss", "Linear(3) -> Softmax(dim = 1)"): "E0610",
    ("CrossEntropyLoss", "Linear(3) -> LogSoftmax(dim = 1)"): "E0610",
    ("KLDivLoss", "Linear(3)"): "E0642",
    ("KLDivLoss", "Linear(3) -> LogSoftmax(dim = 1)"): None,
    ("MSELoss", "Linear(3) -> Sigmoid"): None,
}


@pytest.mark.parametrize(("end", "code"), [("Linear(1)", "E0642"), ("Linear(1) -> Softplus", None)])
def test_a_variance_is_not_negative(end: str, code: str | None) -> None:
    from netdsl.cli.check import check_recipes

    text = f"""
model M {{
  input x: [N, 2]
  output mean = x -> Linear(1)
  output variance = x -> {end}
}}
train M {{
  loss      = GaussianNLLLoss
  optimizer = SGD(lr = 0.1)
}}
"""
    program = open_program(Source(text, "ends.net"), Report())
    assert program is not None
    check_recipes(program, check_program(program), program.report)
    assert {d.code for d in program.report} == ({code} if code else set())


def test_rows_that_are_filled_up_at_their_beginning_are_refused() -> None:
    recipe = Recipe(loss=LOSSES.members["CTCLoss"](), optimizer=SGD(lr=0.1))
    part = Split(torch.zeros(2, 4, 9), torch.tensor([[1, 2, 0], [0, 3, 0]]))
    with pytest.raises(TrainError, match="blank"):
        check_data(Data(part, part, classes=5), recipe)


@pytest.mark.parametrize(("loss", "end"), ENDS, ids=str)
def test_the_end_of_the_model_suits_the_loss(loss: str, end: str) -> None:
    from netdsl.cli.check import check_recipes

    text = f"""
block Head {{
  input x
  output x -> {end}
}}
model M {{
  input x: [N, 2]
  output x -> head: Head
}}
train M {{
  loss      = {loss}
  optimizer = SGD(lr = 0.1)
}}
"""
    program = open_program(Source(text, "ends.net"), Report())
    assert program is not None
    check_recipes(program, check_program(program), program.report)
    wanted = ENDS[loss, end]
    assert {d.code for d in program.report} == ({wanted} if wanted else set())
