"""What a data source is: a declaration of its samples that needs no torch, and a way to load them once, as
tensors.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from netdsl.elaborate.settings import shown
from netdsl.train.component import Component
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from torch import Tensor

    from netdsl.train.data.unread import Unread

Part: TypeAlias = "Split | Unread"

Shape: TypeAlias = tuple[int | None, ...]  # without the batch; None is a size that only the data tells


@dataclass(frozen=True)
class Input:
    """What a model gets of one sample.

    `image`: [C, H, W], uint8 as it is kept, float32 in [0, 1] as the transforms get it. `numbers`: float32.
    `ids`: int64, from 0 to `below`, where that is known.
    """

    shape: Shape
    kind: Literal["image", "numbers", "ids"] = "numbers"
    below: int | None = None

    @property
    def dtype(self) -> str:
        """Of the tensor that the model gets."""
        return "int64" if self.kind == "ids" else "float32"


@dataclass(frozen=True)
class Target:
    """What a model's output is compared with.

    `classes`: int64, class numbers of `shape`, () where a sample has one. `values`: float32 of `shape`. `names` are
    those of the classes, in order, and `count` how many there are; None where only the data tells. `pixels` says that
    `shape` is the height and width of the image: what moves the image moves its target.
    """

    kind: Literal["classes", "values"]
    shape: Shape = ()
    names: tuple[str, ...] = ()
    count: int | None = None
    pixels: bool = False

    @property
    def classes(self) -> int | None:
        """How many classes there are, as far as that is known."""
        return len(self.names) or self.count


@dataclass(frozen=True)
class Sample:
    """What one sample is, as far as it is known before the data is read."""

    input: Input
    target: Target


def pictures(shape: tuple[int, int, int], names: tuple[str, ...]) -> Sample:
    """A sample that is an image of one of the classes `names`."""
    return Sample(Input(shape, "image"), Target("classes", names=names))


@dataclass(frozen=True)
class Split:
    """Inputs [N, ...] and targets [N, ...], as `Input` and `Target` describe them; images are uint8, and so are the
    class numbers of their pixels. `late` makes of the targets of a batch what the loss compares.
    """

    x: Tensor
    y: Tensor
    late: Callable[[Tensor], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def first(self, count: int) -> Split:
        """The first `count` samples, or fewer where there are fewer."""
        return replace(self, x=self.x[:count], y=self.y[:count])

    def rows(self, rows: Any) -> Split:
        """The samples with these numbers, in this order."""
        import torch

        chosen = torch.as_tensor(rows)
        return replace(self, x=self.x[chosen], y=self.y[chosen])

    def with_targets(self, change: Callable[[Tensor], Tensor]) -> Split:
        """The samples with changed targets; those of pixels are left as small as they are until a batch needs them."""
        return replace(self, late=change) if self.y.ndim > 2 else replace(self, y=change(self.y))

    @property
    def size(self) -> int:
        """In bytes."""
        return self.x.nbytes + self.y.nbytes


@dataclass(frozen=True)
class Data:
    """What a run trains on and what it is measured on."""

    train: Part
    valid: Part
    classes: int | None = None
    names: tuple[str, ...] = ()  # of the classes, where only the data tells
    fitted: Mapping[str, Any] | None = None  # JSON: what preprocessing has learned of the training part


class Source(Component):
    """A data source by name, as `MNIST(root = "data")`."""

    @abstractmethod
    def sample(self) -> Sample:
        """What one sample is, known without looking at the data."""

    @abstractmethod
    def load(self, folders: Sequence[Path], download: bool) -> Data:
        """The training and the test part. `folders` are tried for a relative `root`, in order.

        `download` allows fetching what is not there. `TrainError` E0620 where it is not found, E0621 where it
        cannot be read.
        """


class FolderSource(Source):
    """A source whose files lie in `folder` below a folder `root`."""

    root: str = "data"
    download: bool = False

    @property
    @abstractmethod
    def folder(self) -> str:
        """What `root` holds."""

    @abstractmethod
    def read(self, root: Path, download: bool) -> Data:
        """Both parts from `root`; `RuntimeError`, as torchvision has it, where they are not there."""

    def load(self, folders: Sequence[Path], download: bool) -> Data:
        roots = self.places(folders)
        for root in roots:
            if not root.is_dir():
                continue
            try:
                return self.read(root, download=False)
            except RuntimeError as problem:
                if "not found" not in str(problem) or (root / self.folder).is_dir():
                    raise self._unread(root, problem) from problem
            except (OSError, ValueError, EOFError) as problem:
                raise self._unread(root, problem) from problem
        if not (download or self.download):
            raise self._missing(roots)
        try:
            return self.read(roots[-1], download=True)
        except (RuntimeError, OSError) as problem:
            helps = ["look whether the network can be reached, or put the files there by hand"]
            message = f"{self.kind} could not be downloaded: {problem}"
            raise TrainError("E0621", message, helps=helps) from problem

    def damaged(self, root: Path) -> str:
        """What is wrong with one of the files, as far as that shows before it is read; "" for nothing."""
        del root
        return ""

    def _unread(self, root: Path, problem: Exception) -> TrainError:
        """That the files are there, and are not what they should be."""
        reason = self.damaged(root) or f"{self.kind} in `{root}` cannot be read: {problem}"
        if "not found" in str(problem):  # in torchvision's words, which say to write Python
            reason = f"`{root / self.folder}` does not hold all files of {self.kind} as they should be"
        helps = ["a file is cut off or damaged: remove it, and fetch it again by `--download`"]
        return TrainError("E0621", reason, argument="root", helps=helps)

    def places(self, folders: Sequence[Path]) -> list[Path]:
        """Where `root` may be: itself where it is absolute, else in each of `folders`."""
        places = [(folder / Path(self.root).expanduser()).resolve() for folder in folders]
        return list(dict.fromkeys(places))

    def _missing(self, roots: Sequence[Path]) -> TrainError:
        example = f"{self.kind}(root = {shown(self.root)}, download = True)"
        help = f"give the folder that holds it as `root`, or allow the download: `{example}` or `--download`"
        above = [root.parent for root in roots if (root.parent / self.folder).is_dir()]
        if above and Path(self.folder).parts[0] == roots[0].name:
            help = f'`root` is the folder that `{self.folder}` lies in: `root = "{above[0]}"`'
        return TrainError(
            "E0620",
            f"{self.kind} is not in `{self.root}`",
            notes=["looked for " + " and ".join(f"`{root / self.folder}`" for root in roots)],
            helps=[help],
        )
