"""Images in a folder for each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.train.component import listed
from netdsl.train.data.base import Data, Input, Sample, Target
from netdsl.train.data.divided import Divide, Divided, Fitted, undivided
from netdsl.train.data.division import Samples
from netdsl.train.data.images import EXTENSIONS, Channels, Names, Size, image_files, sides
from netdsl.train.data.places import found_folder
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from netdsl.train.data.unread import Unread

PARTS = ("train", "valid", "val", "test")


class ImageFolder(Divided):
    """Images in the folders of their classes: `root/cat/1.jpg`, or `root/train/cat/1.jpg` and `root/valid/cat/9.jpg`.

    `train` and `valid` are the folders of the two parts, where they are called something else than `train` and
    `valid`, `val` or `test`; without such folders, `valid` of the recipe divides what is there. Images are resized
    to `size`; without it, they must be of one size. Classes are in the order of their names, or of `classes`.
    """

    root: str = "data"
    size: Size | None = None
    channels: Channels = 3
    classes: Names | None = None
    train: str | None = None
    valid: str | None = None
    extensions: Names = EXTENSIONS

    def sample(self) -> Sample:
        return Sample(
            Input((self.channels, *sides(self.size)), "image"), Target("classes", names=self.classes or ())
        )

    @property
    def has_test(self) -> bool:
        return True  # as far as can be told before the folder is looked at

    def has_test_in(self, folders: Sequence[Path]) -> bool:
        return self.parts(found_folder(self.root, folders))[1] is not None

    def divided(self, folders: Sequence[Path], divide: Divide | None, fitted: Fitted | None) -> Data:  # noqa: ARG002
        root = found_folder(self.root, folders)
        trained, measured = self.parts(root)
        names = self.classes or tuple(p.name for p in _classes(trained))
        if len(names) < 2:
            message = f"`{trained}` has one folder, `{''.join(names)}`, and a class is told from others"
            helps = ["put the images of other classes in folders beside it"]
            raise TrainError("E0660", message, helps=helps)
        train = self.unread(trained, names)
        if divide is not None:
            classes = train.y
            rows = divide(Samples(len(train), None if classes is None else classes.numpy()))
            return Data(train.rows(rows[0]), train.rows(rows[1]), len(names), names)
        if measured is None:
            raise undivided(self.kind)
        return Data(train, self.unread(measured, names), len(names), names)

    def parts(self, root: Path) -> tuple[Path, Path | None]:
        """The folders of the two parts; `root` itself where it is not divided."""
        if self.train is not None or self.valid is not None:
            return _within(root, self.train or "train"), _within(root, self.valid or "valid")
        found = {p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")}
        measured = next((root / name for name in PARTS[1:] if name in found), None)
        if "train" not in found or (
            measured is None and len(found) > 1
        ):  # `train` may be a class of vehicles
            return root, None
        return root / "train", measured

    def unread(self, folder: Path, names: Sequence[str]) -> Unread:
        """The images below `folder`; E0660 where its folders are not the classes or one of them is empty."""
        import torch

        from netdsl.train.data.image_readers import ClassReader
        from netdsl.train.data.unread import Unread

        found = {p.name: p for p in _classes(folder)}
        unknown = [name for name in found if name not in names]
        if unknown:
            message = f"`{folder}` has the folder `{unknown[0]}`, which is none of the {len(names)} classes"
            helps = [*did_you_mean(unknown[0], names), "add a folder of that name for training, or remove it"]
            notes = [f"the classes are {listed(names[:20])}"]
            raise TrainError("E0660", message, notes=notes, helps=helps)
        missing = [name for name in names if name not in found]
        if missing:
            message = f"`{folder}` has no folder `{missing[0]}` for the class of that name"
            helps = ["put images of the class there: both parts have all classes"]
            raise TrainError("E0660", message, helps=helps)
        paths: list[Path] = []
        classes: list[int] = []
        for number, name in enumerate(names):
            files = image_files(found[name], self.extensions)
            if not files:
                raise no_images(found[name], self.extensions)
            paths += files
            classes += [number] * len(files)
        y = torch.tensor(classes)
        return Unread(ClassReader(paths, y, self.channels, sides(self.size)), classes=y)


def _classes(folder: Path) -> list[Path]:
    """The folders in `folder`; E0660 where there are none."""
    found = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not found:
        raise TrainError(
            "E0660",
            f"`{folder}` has no folders, and each class is a folder of images",
            helps=[f"put the images of a class in a folder of its name, as `{folder.name}/cat/1.jpg`"],
        )
    return found


def _within(root: Path, name: str) -> Path:
    if not (root / name).is_dir():
        found = sorted(p.name for p in root.iterdir() if p.is_dir())
        notes = [f"it has {listed(found[:20])}"] if found else []
        helps = did_you_mean(name, found) or ["name the folders of the parts by `train` and `valid`"]
        raise TrainError("E0660", f"`{root}` has no folder `{name}`", notes=notes, helps=helps)
    return root / name


def no_images(folder: Path, extensions: Sequence[str]) -> TrainError:
    """That a folder has no images; perhaps they end otherwise."""
    endings = Counter(p.suffix.lower() for p in folder.iterdir() if p.is_file() and p.suffix)
    notes = [f"what ends in {listed(extensions)} is one"]
    helps = ["put images there, or remove the folder"]
    if endings:
        ending, count = endings.most_common(1)[0]
        notes.append(f"{count} of its files end in `{ending}`")
        helps = [f'`extensions = ["{ending}"]` takes them, where they are images']
    return TrainError("E0660", f"`{folder}` has no images", notes=notes, helps=helps)
