"""Augmentations of whole batches: mixed samples with their targets, augmentations made of others, and which there are."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from netdsl.diagnostics import Report
from netdsl.elaborate.settings import Choice, Setting
from netdsl.train import TrainError
from netdsl.train.batches import Batches
from netdsl.train.data import Data, Split
from netdsl.train.loop import fit
from netdsl.train.losses import BCEWithLogitsLoss, CrossEntropyLoss
from netdsl.train.metrics import Accuracy
from netdsl.train.optimizers import SGD
from netdsl.train.recipe import Recipe, read_recipe
from netdsl.train.records import Epoch, Step
from netdsl.train.runs import settings_of
from netdsl.train.state import Run
from netdsl.train.transforms import AUGMENTATIONS, TRANSFORMS
from netdsl.train.transforms.sampled import drawing_from

CPU = torch.device("cpu")
MEMBERS = AUGMENTATIONS.members


def images(count: int = 24) -> Data:
    random = torch.Generator().manual_seed(1)
    x = torch.randint(256, (count, 3, 8, 8), generator=random).to(torch.uint8)
    y = torch.randint(4, (count,), generator=random)
    return Data(Split(x, y), Split(x[:8], y[:8]), classes=4)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


def recipe(*augment: Any, **changes: Any) -> Recipe:
    base: dict[str, Any] = {
        "model": "Small",
        "batch": 7,
        "epochs": 2,
        "loss": CrossEntropyLoss(label_smoothing=0.1),
        "optimizer": SGD(lr=0.01),
        "metrics": [Accuracy()],
        "channels_last": False,
    }
    return Recipe(augment=augment, **base | changes)


def test_every_transform_of_torchvision_is_there_or_left_out_with_a_reason() -> None:
    theirs = {
        name
        for name, found in vars(v2).items()
        if inspect.isclass(found) and issubclass(found, v2.Transform) and found is not v2.Transform
    }
    ours = {*TRANSFORMS.members, *AUGMENTATIONS.members}
    assert theirs == ours | set(TRANSFORMS.left_out) | set(AUGMENTATIONS.left_out)


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
def test_a_mixed_batch_is_torchvisions_for_the_same_numbers(kind: str) -> None:
    x, y = torch.rand(6, 3, 9, 7), torch.tensor([0, 3, 1, 2, 2, 0])
    for seed in range(5):
        random = torch.Generator().manual_seed(seed)
        images, shares = MEMBERS[kind](alpha=0.7).mix(x, y, random, 4)
        with drawing_from(random.initial_seed()):
            theirs = getattr(v2, kind)(alpha=0.7, num_classes=4)(x, y)
        assert torch.equal(images, theirs[0])
        assert torch.equal(shares, theirs[1])
        torch.testing.assert_close(shares.sum(1), torch.ones(6))


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
def test_what_is_no_class_number_is_mixed_as_it_is(kind: str) -> None:
    x, y = torch.rand(4, 1, 6, 6), torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    _, mixed = MEMBERS[kind]().mix(x, y, torch.Generator().manual_seed(2))
    assert mixed.shape == y.shape
    assert float(mixed.sum()) == pytest.approx(2)
    assert bool(((mixed > 0) & (mixed < 1)).any())


AUGMENT: dict[str, Any] = {
    "mixup": [MEMBERS["RandomHorizontalFlip"](), MEMBERS["MixUp"](alpha=0.4)],
    "cutmix": [MEMBERS["CutMix"]()],
    "either": [MEMBERS["RandomChoice"](transforms=[MEMBERS["MixUp"](), MEMBERS["CutMix"]()])],
    "policies": [MEMBERS["AutoAugment"](policy="cifar10"), MEMBERS["RandAugment"]()],
    "at times": [MEMBERS["RandomApply"](transforms=[MEMBERS["ColorJitter"](hue=0.2)], p=0.3)],
    "in any order": [
        MEMBERS["RandomOrder"](transforms=[MEMBERS["RandomInvert"](), MEMBERS["RandomRotation"](degrees=20)])
    ],
}


@pytest.mark.parametrize("what", AUGMENT)
def test_a_batch_follows_from_seed_epoch_and_number(what: str) -> None:
    chosen, data = recipe(*AUGMENT[what], shuffle=False), images()  # what is drawn differs, and not the order
    one = Batches(data.train, chosen, CPU, classes=4)
    two = Batches(data.train, chosen, CPU, classes=4)
    forwards = [one.at(epoch, number) for epoch in range(2) for number in range(len(one))]
    backwards = [two.at(epoch, number) for epoch in (1, 0) for number in reversed(range(len(two)))]
    for (x, y), (again, its) in zip(forwards, reversed(backwards), strict=True):
        assert torch.equal(x, again)
        assert torch.equal(y, its)
    assert not torch.equal(forwards[0][0], forwards[len(one)][0])
    other = Batches(data.train, recipe(*AUGMENT[what], shuffle=False, seed=1), CPU, classes=4)
    assert not torch.equal(other.at(0, 0)[0], forwards[0][0])


@pytest.mark.parametrize("what", ["mixup", "cutmix", "either"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_with_mixed_samples_resumes_to_the_bit_and_counts_whole_classes(
    what: str, accumulate: int
) -> None:
    weight = (1.0, 2.0, 0.5, 1.0) if accumulate == 2 else None
    changed = recipe(*AUGMENT[what], loss=CrossEntropyLoss(weight=weight), accumulate=accumulate, log_every=1)

    def begun() -> Run:
        torch.manual_seed(0)
        return Run(Small(), changed, images(), CPU)

    whole = begun()
    records = list(fit(whole))
    part = begun()
    for record in fit(part):
        if isinstance(record, Step) and record.step == 3:
            break
    rest = begun()
    rest.load({n: t.clone() for n, t in part.model.state_dict().items()}, part.state())
    later = list(fit(rest))
    assert all(map(torch.equal, whole.model.state_dict().values(), rest.model.state_dict().values()))
    epochs = [[r.measured for r in found if isinstance(r, Epoch)] for found in (records, later)]
    assert epochs[0][-1] == epochs[1][-1]
    counted = epochs[0][0]["train_accuracy"] * 24
    assert counted == pytest.approx(round(counted))


def test_a_metric_of_training_counts_the_class_with_the_largest_share() -> None:
    changed = recipe(*AUGMENT["mixup"], optimizer=SGD(lr=0.0), epochs=1)
    torch.manual_seed(0)
    state = Run(Small(), changed, images(), CPU)
    batches = [state.batches.at(0, number) for number in range(len(state.batches))]
    right = sum(int((state.model(x).argmax(1) == shares.argmax(1)).sum()) for x, shares in batches)
    closed = next(record for record in fit(state) if isinstance(record, Epoch))
    assert closed.measured["train_accuracy"] == pytest.approx(right / 24)


def test_the_loss_of_a_mixed_batch_is_torchs_of_its_shares() -> None:
    changed = recipe(*AUGMENT["mixup"])
    torch.manual_seed(0)
    state = Run(Small(), changed, images(), CPU)
    x, shares = state.batches.at(0, 0)
    assert shares.shape == (7, 4)
    wanted = nn.functional.cross_entropy(state.model(x), shares, label_smoothing=0.1)
    first = next(r for r in fit(Run(state.model, changed.model_copy(update={"log_every": 1}), images(), CPU)))
    assert isinstance(first, Step)
    assert first.loss == pytest.approx(float(wanted.detach()), rel=1e-6)


def test_masks_are_chosen_with_their_images() -> None:
    parts = [MEMBERS["RandomHorizontalFlip"](p=1.0), MEMBERS["RandomVerticalFlip"](p=1.0)]
    x = torch.rand(32, 1, 5, 5)
    masks = (x * 255).to(torch.uint8)
    for chosen in (
        MEMBERS["RandomChoice"](transforms=parts),
        MEMBERS["RandomApply"](transforms=parts),
        MEMBERS["RandomOrder"](transforms=parts),
    ):
        moved, after = chosen.apply_jointly(x, masks, torch.Generator().manual_seed(4))
        assert torch.equal((moved * 255).to(torch.uint8), after)
        assert not torch.equal(after, masks)


def test_each_image_draws_its_own_choice_by_the_weights() -> None:
    parts = [MEMBERS["RandomInvert"](p=1.0), MEMBERS["RandomHorizontalFlip"](p=0.0)]
    chosen = MEMBERS["RandomChoice"](transforms=parts, p=[0.25, 0.75])
    x = torch.rand(4000, 1, 2, 2)
    inverted = (chosen.apply(x, torch.Generator().manual_seed(0)) != x).flatten(1).any(1)
    assert float(inverted.float().mean()) == pytest.approx(0.25, abs=0.03)


MIXUP, FLIP = Choice("MixUp"), Choice("RandomHorizontalFlip")
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "something after it": ({"augment": [MIXUP, FLIP]}, "E0608"),
    "a loss of class numbers": ({"augment": [MIXUP], "loss": Choice("NLLLoss")}, "E0608"),
    "a class that is ignored": (
        {"augment": [MIXUP], "loss": Choice("CrossEntropyLoss", {"ignore_index": 3})},
        "E0608",
    ),
    "a strength of 0": ({"augment": [Choice("MixUp", {"alpha": 0.0})]}, "E0607"),
    "a choice of both kinds": ({"augment": [Choice("RandomChoice", {}, ([MIXUP, FLIP],))]}, "E0607"),
    "mixed at times": ({"augment": [Choice("RandomApply", {}, ([MIXUP],))]}, "E0607"),
    "a part that is none": (
        {"augment": [Choice("RandomApply", {}, ([Choice("Resize", {}, (4,))],))]},
        "E0605",
    ),
    "weights": ({"augment": [Choice("RandomChoice", {"p": [1.0]}, ([FLIP, FLIP],))]}, "E0607"),
    "positional": ({"augment": [Choice("MixUp", {}, (0.2,))]}, "E0606"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_mixed_is_refused_without_data(what: str) -> None:
    changes, code = REFUSED[what]
    settings = {"loss": Choice("CrossEntropyLoss"), "optimizer": Choice("SGD"), **changes}
    report = Report()
    assert read_recipe({key: Setting(value) for key, value in settings.items()}, report) is None
    assert [d.code for d in report] == [code]


def test_losses_of_yes_and_no_take_mixed_answers() -> None:
    data = images()
    y = (data.train.y > 1).float().unsqueeze(1)
    yes = Data(Split(data.train.x, y), Split(data.train.x, y))
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 1))
    state = Run(model, recipe(*AUGMENT["mixup"], loss=BCEWithLogitsLoss()), yes, CPU)
    assert [type(r) for r in fit(state)][-1].__name__ == "Stopped"


def test_another_number_of_classes_than_there_are_is_refused() -> None:
    from netdsl.train.rehearsal import rehearse

    with pytest.raises(TrainError) as caught:
        rehearse(Small, recipe(MEMBERS["MixUp"](num_classes=3)), data=images())
    assert caught.value.diagnostic.code == "E0611"


@pytest.mark.parametrize("what", AUGMENT)
def test_a_record_of_a_run_is_read_again_as_the_same_recipe(what: str) -> None:
    before, report = recipe(*AUGMENT[what]), Report()
    again = read_recipe(settings_of(json.loads(json.dumps(before.described()))), report, model="Small")
    assert again == before, [d.message for d in report]
