"""Images and texts as data: what is read, what is refused, and that it does not matter where the samples are kept."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from netdsl.train import TrainError, run
from netdsl.train.batches import Batches, in_order, prepare_on
from netdsl.train.data import (
    Custom,
    Data,
    HoldOut,
    ImageFolder,
    Segmentation,
    Shapes,
    Split,
    Text,
    Tokens,
    Training,
)
from netdsl.train.data.unread import Unread
from netdsl.train.evaluation import measured
from netdsl.train.loading import load_data, try_model
from netdsl.train.loop import fit
from netdsl.train.losses import BCEWithLogitsLoss, CrossEntropyLoss
from netdsl.train.metrics import Accuracy
from netdsl.train.optimizers import SGD
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch, Reading, Record, Started
from netdsl.train.residence import placed
from netdsl.train.samples import check_data
from netdsl.train.state import Run
from netdsl.train.targets import compared
from netdsl.train.transforms import AUGMENTATIONS, CenterCrop, Pad, Resize
from netdsl.train.transforms.base import Moving
from netdsl.train.transforms.colours import brightened, contrasted, saturated, turned
from netdsl.train.transforms.sampled import Sampled

CPU = torch.device("cpu")


def recipe(data: Any = None, **changes: Any) -> Recipe:
    base: dict[str, Any] = {
        "data": data,
        "batch": 5,
        "epochs": 2,
        "loss": CrossEntropyLoss(),
        "optimizer": SGD(lr=0.1),
        "metrics": [Accuracy()],
    }
    return Recipe(**base | changes)


def photos(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 8, size: int = 6) -> Path:
    """Images of random pixels in a folder for each class."""
    random = numpy.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(256, size=(size, size, 3), dtype=numpy.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def refused(code: str, chosen: Recipe, budget: int | None = None) -> TrainError:
    with pytest.raises(TrainError) as caught:
        check_data(placed(load_data(chosen), CPU, budget)[0], chosen)
    assert caught.value.diagnostic.code == code
    return caught.value


# -------------------------------------------------------------------------------------------- image folders


@pytest.mark.parametrize("held", ["valid", "val", "test"])
def test_a_folder_with_two_parts_is_divided_as_it_is(held: str, tmp_path: Path) -> None:
    photos(tmp_path / "train", count=3)
    photos(tmp_path / held, count=2)
    data = load_data(recipe(ImageFolder(root=str(tmp_path))))
    assert (len(data.train), len(data.valid), data.names) == (6, 4, ("cat", "dog"))
    first = data.train.first(6)
    assert (first.x.shape, first.x.dtype, first.y.tolist()) == ((6, 3, 6, 6), torch.uint8, [0, 0, 0, 1, 1, 1])
    pixels = numpy.array(Image.open(tmp_path / "train" / "dog" / "1.png"))
    assert torch.equal(first.x[4], torch.from_numpy(pixels).permute(2, 0, 1))


def test_a_folder_of_classes_is_divided_by_the_recipe(tmp_path: Path) -> None:
    source = ImageFolder(root=str(photos(tmp_path)), classes=("dog", "cat"), channels=1, size=(4, 5))
    data = load_data(recipe(source, valid=HoldOut(fraction=0.25, stratified=True)))
    assert isinstance(data.valid, Unread)
    assert data.valid.y is not None
    assert data.valid.y.bincount().tolist() == [2, 2]
    assert data.train.first(1).x.shape == (1, 1, 4, 5)
    assert source.sample().target.names == ("dog", "cat")


def test_another_folder_can_be_measured_on(tmp_path: Path) -> None:
    photos(tmp_path / "a", count=3)
    photos(tmp_path / "b", count=2)
    chosen = recipe(ImageFolder(root=str(tmp_path / "a")), valid=ImageFolder(root=str(tmp_path / "b")))
    data = load_data(chosen)
    assert (len(data.train), len(data.valid)) == (6, 4)


def test_what_is_wrong_with_a_folder_is_said_before_training(tmp_path: Path) -> None:
    source = ImageFolder(root=str(tmp_path / "a"))
    assert "unpack" not in " ".join(refused("E0620", recipe(source, valid=0.5)).diagnostic.helps)
    (tmp_path / "a.tar").write_bytes(b"")
    assert "unpack" in refused("E0620", recipe(source, valid=0.5)).diagnostic.helps[0]
    (tmp_path / "a").mkdir()
    assert "no folders" in str(refused("E0660", recipe(source, valid=0.5)))
    photos(tmp_path / "a")
    refused("E0650", recipe(source))
    empty = tmp_path / "a" / "cow"
    empty.mkdir()
    (empty / "1.jfif").write_bytes(b"")
    assert "no images" in str(refused("E0660", recipe(source, valid=0.5)))
    assert ".jfif" in refused("E0660", recipe(source, valid=0.5)).diagnostic.helps[0]
    two = ImageFolder(root=str(tmp_path / "a"), classes=("cat", "dog"))
    assert "none of the 2 classes" in str(refused("E0660", recipe(two, valid=0.5)))
    three = ImageFolder(root=str(tmp_path / "a"), train="left")
    assert "no folder `left`" in str(refused("E0660", recipe(three)))


@pytest.mark.parametrize("budget", [None, 0])
def test_broken_images_and_sizes_that_differ_are_refused_wherever_they_would_be_kept(
    budget: int | None, tmp_path: Path
) -> None:
    chosen = recipe(ImageFolder(root=str(photos(tmp_path))), valid=0.5)
    path = tmp_path / "dog" / "7.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert str(path) in str(refused("E0661", chosen, budget))
    path.write_bytes(b"no image")
    assert str(path) in str(refused("E0661", chosen, budget))
    Image.new("RGB", (9, 6)).save(path)
    assert "size = 64" in refused("E0662", chosen, budget).diagnostic.helps[0]


# ---------------------------------------------------------------------------------- where samples are kept


def streamed(data: Data) -> Data:
    """The same data, read when it is due."""
    found, note = placed(data, CPU, 0)
    assert "when they are due" in note
    assert isinstance(found.train, Unread)
    return found


@pytest.mark.parametrize("augmented", [False, True])
def test_batches_are_the_same_wherever_samples_are_kept(augmented: bool, tmp_path: Path) -> None:
    names = ("RandomCrop", "ColorJitter", "RandomErasing")
    arguments = ({"size": 6, "padding": 1}, {"brightness": 0.5, "hue": 0.2}, {})
    augment = (
        [AUGMENTATIONS.members[n](**a) for n, a in zip(names, arguments, strict=True)] if augmented else []
    )
    chosen = recipe(ImageFolder(root=str(photos(tmp_path))), valid=0.25, augment=augment)
    loaded = load_data(chosen)
    kept, note = placed(loaded, CPU)
    assert "is kept on the device" in note
    assert isinstance(kept.train, Split)
    resident, stream = (Batches(d.train, chosen, CPU) for d in (kept, streamed(loaded)))
    places = [(epoch, number) for epoch in range(2) for number in range(len(resident))]
    for place in [*places, (0, 1), (1, 0), (1, 1)]:  # in their order, and out of it
        for one, other in zip(resident.at(*place), stream.at(*place), strict=True):
            assert torch.equal(one, other), place
    prepare = prepare_on(CPU, chosen)
    for one, other in zip(
        in_order(kept.valid, prepare, CPU), in_order(streamed(loaded).valid, prepare, CPU), strict=True
    ):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


class Net(nn.Module):
    """A network that draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(108, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_a_run_tells_how_many_of_its_images_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netdsl.train.data.unread.AT_ONCE", 2)
    records: list[Record] = []
    chosen = recipe(ImageFolder(root=str(photos(tmp_path))), valid=0.25, epochs=1)
    run(Net, chosen, out=tmp_path / "run", device="cpu", on_record=records.append)
    told = [record for record in records if isinstance(record, Reading)]
    (started,) = (record for record in records if isinstance(record, Started))
    assert records[: len(told) + 1] == [*told, started]
    samples = started.train_samples + started.valid_samples
    done = [record.done for record in told]
    assert {record.samples for record in told} == {samples} == {done[-1]}
    assert len(done) > 2
    assert done == sorted(set(done))


def test_a_run_is_the_same_wherever_its_samples_are_kept_and_when_it_goes_on(tmp_path: Path) -> None:
    chosen = recipe(ImageFolder(root=str(photos(tmp_path))), valid=0.25, log_every=1)
    loaded = load_data(chosen)

    def begin(data: Data) -> Run:
        torch.manual_seed(0)
        return Run(Net(), chosen, data, CPU)

    whole = begin(placed(loaded, CPU)[0])
    kept = [r.measured for r in fit(whole) if isinstance(r, Epoch)]
    stream = begin(streamed(loaded))
    assert [r.measured for r in fit(stream) if isinstance(r, Epoch)] == kept
    stopped = begin(streamed(loaded))
    for record in fit(stopped):
        if getattr(record, "step", 0) == 2:
            stopped.stop_requested = True
    state = stopped.state()
    resumed = begin(streamed(loaded))
    resumed.load(stopped.model.state_dict(), state)
    list(fit(resumed))
    for other in (stream, resumed):
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, other.model.state_dict()[name])


def test_an_image_that_breaks_during_the_run_stops_it_with_its_name(tmp_path: Path) -> None:
    chosen = recipe(ImageFolder(root=str(photos(tmp_path))), valid=0.25)
    batches = Batches(streamed(load_data(chosen)).train, chosen, CPU)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"gone")
    with pytest.raises(TrainError, match="is not an image") as caught:
        batches.at(0, 0)
    assert caught.value.diagnostic.code == "E0661"


# ---------------------------------------------------------------------------------------------- segmentation


def pairs(folder: Path, high: int = 255, suffix: str = "") -> tuple[str, str]:
    """Four images whose bright pixels are those of the mask."""
    random = numpy.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(4):
        mask = random.integers(2, size=(6, 8), dtype=numpy.uint8)
        Image.fromarray(numpy.repeat(mask[..., None] * 200, 3, 2)).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask * high).save(folder / "masks" / f"{number}{suffix}.png")
    return str(folder / "images"), str(folder / "masks")


def test_masks_become_class_numbers_by_their_values(tmp_path: Path) -> None:
    images, masks = pairs(tmp_path, suffix="_mask")
    for told in ({"values": (0, 255)}, {"threshold": 128}):
        source = Segmentation(images=images, masks=masks, mask_suffix="_mask", **told)
        data = load_data(recipe(source, valid=Training()))
        first = data.train.first(4)
        assert (first.y.shape, first.y.dtype) == ((4, 6, 8), torch.uint8)
        assert torch.equal(first.y, (first.x[:, 0] > 100).to(torch.uint8))


def test_a_mask_of_0_and_255_is_explained(tmp_path: Path) -> None:
    images, masks = pairs(tmp_path)
    chosen = recipe(Segmentation(images=images, masks=masks), valid=Training(), loss=BCEWithLogitsLoss())
    found = refused("E0663", chosen).diagnostic
    assert "has the value 255" in found.message
    assert "`values = [0, 255]`" in found.helps[0]
    path = Path(masks) / "2.png"
    Image.fromarray(numpy.arange(48, dtype=numpy.uint8).reshape(6, 8)).save(path)
    two = Segmentation(images=images, masks=masks, values=(0, 255))
    assert "threshold" in refused("E0663", recipe(two, valid=Training())).diagnostic.helps[0]
    path.rename(path.with_name("2_m.png"))
    assert 'mask_suffix = "_m"' in refused("E0663", recipe(two, valid=Training())).diagnostic.helps[0]
    Image.new("L", (3, 3)).save(path)
    assert "its mask" in str(refused("E0662", recipe(two, valid=Training())))


def augmentations() -> dict[str, Any]:
    needed = {
        "RandomCrop": {"size": (12, 10), "padding": 2},
        "RandomResizedCrop": {"size": 12},
        "RandomRotation": {"degrees": 40},
        "RandomAffine": {"degrees": 20, "translate": (0.2, 0.2), "shear": 10},
        "ColorJitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2},
        "GaussianBlur": {"kernel_size": 3},
        "RandomAdjustSharpness": {"sharpness_factor": 2},
        "RandomPosterize": {"bits": 3},
        "RandomSolarize": {"threshold": 0.5},
        "RandomApply": {"transforms": [AUGMENTATIONS.members["RandomInvert"]()]},
        "RandomOrder": {"transforms": [AUGMENTATIONS.members["GaussianNoise"]()]},
        "RandomChoice": {"transforms": [AUGMENTATIONS.members["RandomInvert"]()]},
    }
    return {name: made(**needed.get(name, {})) for name, made in AUGMENTATIONS.members.items()}


@pytest.mark.parametrize("name", AUGMENTATIONS.members)
def test_an_augmentation_follows_from_its_seed_and_says_its_shape(name: str) -> None:
    augmentation = augmentations()[name]
    x = torch.rand(6, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    kept = x.clone()
    torch.manual_seed(5)
    one = augmentation.apply(x, torch.Generator().manual_seed(3))
    after = torch.rand(1)
    torch.manual_seed(6)
    two = augmentation.apply(x, torch.Generator().manual_seed(3))
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))  # dropout's numbers are not touched
    assert torch.equal(one, two)
    assert torch.equal(x, kept)
    assert tuple(one.shape[1:]) == augmentation.shape((3, 24, 24))
    others = [augmentation.apply(x, torch.Generator().manual_seed(seed)) for seed in range(8)]
    assert any(not torch.equal(one, other) for other in others)


@pytest.mark.parametrize(
    "name", [n for n, a in augmentations().items() if isinstance(a, (Moving, Sampled)) and a.joint]
)
def test_masks_go_where_their_images_go(name: str) -> None:
    augmentation = augmentations()[name]
    masks = torch.zeros(8, 1, 24, 24, dtype=torch.uint8)
    masks[:, :, 3:11, 4:9] = 1
    x = masks.float().repeat(1, 3, 1, 1)
    moved, after = augmentation.apply_jointly(x, masks, torch.Generator().manual_seed(0))
    assert after.dtype == torch.uint8
    assert after.shape[2:] == moved.shape[2:]
    assert set(after.unique().tolist()) <= {0, 1}
    if isinstance(augmentation, Moving) or name in ("RandomAffine", "RandomResizedCrop", "RandomPerspective"):
        wrong = ((moved[:, 0] > 0.5) != (after[:, 0] == 1)).double().mean()
        assert wrong < 0.1, name


def test_transforms_bring_masks_along(tmp_path: Path) -> None:
    images, masks = pairs(tmp_path, high=1)
    stages = [Resize(size=(12, 16)), CenterCrop(size=10), Pad(padding=1)]
    chosen = recipe(Segmentation(images=images, masks=masks, size=(6, 8)), valid=Training(), transform=stages)
    data = placed(load_data(chosen), CPU)[0]
    check_data(data, chosen)
    model = nn.Conv2d(3, 2, 1)
    data = compared(data, chosen, try_model(model, chosen, data, CPU))
    x, y = Batches(data.train, chosen, CPU).at(0, 0)
    assert (x.shape, y.shape, y.dtype) == ((4, 3, 12, 12), (4, 12, 12), torch.int64)
    found = measured(model, chosen, data.valid, CPU)
    assert 0 <= found["accuracy"] <= 1


@pytest.mark.parametrize(("loss", "out"), [(BCEWithLogitsLoss(), 1), (CrossEntropyLoss(), 2)])
def test_shapes_can_be_told_from_their_ground(loss: Any, out: int) -> None:
    chosen = recipe(
        Shapes(count=60, size=16, noise=0.05),
        loss=loss,
        metrics=[],
        epochs=8,
        augment=[AUGMENTATIONS.members["RandomHorizontalFlip"]()],
    )
    data = load_data(chosen)
    assert torch.equal(data.train.first(3).x, load_data(chosen).train.first(3).x)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, out, 1))
    data = compared(data, chosen, try_model(model, chosen, data, CPU))
    losses = [r.measured["valid_loss"] for r in fit(Run(model, chosen, data, CPU)) if isinstance(r, Epoch)]
    assert losses[-1] < 0.8 * losses[0]


def test_colours_change_as_torchvisions_kernels_change_them() -> None:
    x = torch.rand(12, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    x[0] = 0.5  # grey has no hue
    x[1, :, 0] = torch.tensor([0.0, 1.0, 1.0])[:, None]
    factor = torch.linspace(0, 2, 12).view(-1, 1, 1, 1)
    kernels = {
        "brightness": (brightened, functional.adjust_brightness, factor),
        "contrast": (contrasted, functional.adjust_contrast, factor),
        "saturation": (saturated, functional.adjust_saturation, factor),
        "hue": (turned, functional.adjust_hue, factor / 2 - 0.5),
    }
    for name, (ours, theirs, factors) in kernels.items():
        expected = torch.stack([theirs(image, float(f)) for image, f in zip(x, factors, strict=True)])
        torch.testing.assert_close(ours(x, factors), expected, atol=2e-5, rtol=0, msg=name)


# -------------------------------------------------------------------------------------------------- texts


def test_texts_are_filled_and_cut_as_declared(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv.gz"
    path.write_bytes(gzip.compress(b"1\t5 6 7 8\n0\t9\n"))
    common = {"files": str(path), "length": 3, "tokens": "ids", "vocabulary": 10, "classes": 2}
    ways = {
        ("right", "first"): [[5, 6, 7], [9, 0, 0]],
        ("left", "last"): [[6, 7, 8], [0, 0, 9]],
    }
    for (padding, keep), expected in ways.items():
        source = Text(**common, padding=padding, keep=keep)
        data = load_data(recipe(source, valid=Training()))
        assert data.train.first(2).x.tolist() == expected
        assert data.train.first(2).y.tolist() == [1, 0]
    assert (source.sample().input.below, source.sample().target.classes) == (10, 2)
    few = Text(**common | {"vocabulary": 9})
    assert "the id 9 is not from 0 to 8" in str(refused("E0665", recipe(few, valid=Training())))
    data = load_data(recipe(Text(**common | {"vocabulary": 9, "unknown": 1}), valid=Training()))
    assert data.train.first(2).x.tolist() == [[5, 6, 7], [1, 0, 0]]


def test_words_are_numbered_by_the_training_part_alone(tmp_path: Path) -> None:
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text('label,text\ngood,"So good, so good!"\nbad,so bad\n')
    other.write_text("label,text\nbad,good grief\n")
    source = Text(files=str(path), test=str(other), length=4, header=True)
    data = load_data(recipe(source))
    assert data.names == ("bad", "good")
    assert data.fitted == {"tokens": ("<pad>", "<unknown>", "so", "good", "bad"), "classes": ("bad", "good")}
    assert data.train.first(2).x.tolist() == [[2, 3, 2, 3], [2, 4, 0, 0]]
    assert data.valid.first(1).x.tolist() == [[3, 1, 0, 0]]
    again = load_data(
        recipe(Text(files=str(other), length=4, header=True), valid=Training()), fitted=data.fitted
    )
    assert again.train.first(1).x.tolist() == [[3, 1, 0, 0]]


def test_lines_that_are_no_texts_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    source = Text(files=str(path), length=2, classes=("bad", "good"))
    for content, says in {
        b"good\tone\nbad\n": "line 2",
        b"good\tone\nso-so\ttwo\n": "line 2",
        b"good\t\xff\n": "not UTF-8",
        b"": "has no lines",
    }.items():
        path.write_bytes(content)
        assert says in str(refused("E0664", recipe(source, valid=0.5)))


def test_the_target_of_each_token_is_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("abcdefghij" * 4)
    data = load_data(recipe(Tokens(file=str(path), length=4), valid=0.25))
    assert (len(data.train), len(data.valid), data.classes) == (7, 2, 10)
    first = data.train.first(2)
    assert first.x.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert first.y.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    overlapping = load_data(recipe(Tokens(file=str(path), length=4, stride=1), valid=0.25))
    last = overlapping.train.rows([len(overlapping.train) - 1]).first(1).y[0, -1]
    assert int(last) == (len(overlapping.train) - 1 + 4) % 10
    refused("E0656", recipe(Tokens(file=str(path), length=40), valid=0.25))


def test_ids_on_the_disk_are_the_same_read_or_not(tmp_path: Path) -> None:
    path = tmp_path / "ids.npy"
    numpy.save(path, numpy.arange(200, dtype=numpy.uint16) % 50)
    chosen = recipe(Tokens(file=str(path), length=8, vocabulary=50), valid=0.25)
    loaded = load_data(chosen)
    one, other = (Batches(d.train, chosen, CPU) for d in (placed(loaded, CPU)[0], streamed(loaded)))
    for place in [(0, 0), (0, 1), (1, 0)]:
        assert all(map(torch.equal, one.at(*place), other.at(*place)))
    refused("E0665", recipe(Tokens(file=str(path), length=8, vocabulary=49), valid=0.25))
    numpy.save(path, numpy.zeros((2, 3)))
    refused("E0664", chosen)


# ------------------------------------------------------------------------------------------ one's own data

MODULE = """
import torch

class Squares(torch.utils.data.Dataset):
    def __len__(self):
        return 10
    def __getitem__(self, number):
        if number == 7 and BROKEN:
            return torch.zeros(4), 0
        return torch.full((3,), float(number)), number % 2

BROKEN = False

def load():
    return Squares()

def both():
    return Squares(), Squares()

def fails():
    raise ValueError("no luck")
"""


def test_a_data_set_of_ones_own_is_held_against_what_was_declared(tmp_path: Path) -> None:
    (tmp_path / "own_squares.py").write_text(MODULE)

    def chosen(factory: str, **changes: Any) -> Recipe:
        given = {"factory": f"own_squares:{factory}", "shape": (3,), "classes": 2} | changes
        valid = None if changes.get("test") else 0.2
        return recipe(Custom(**given), valid=valid, folder=tmp_path)

    data = load_data(chosen("load"))
    assert (len(data.train), len(data.valid)) == (8, 2)
    assert len(load_data(chosen("both", test=True)).valid) == 10
    assert "no luck" in str(refused("E0666", chosen("fails")))
    assert "has no `lost`" in str(refused("E0666", chosen("lost")))
    assert "two data sets" in str(refused("E0666", chosen("both")))
    assert "`shape` is [4]" in str(refused("E0666", chosen("load", shape=(4,))))
    assert "classes are whole numbers from 0 to 1" not in str(
        refused("E0666", chosen("load", target_shape=(2,)))
    )
    import own_squares  # pyright: ignore[reportMissingImports]

    own_squares.BROKEN = True
    assert "item 7" in str(refused("E0666", chosen("load")))
