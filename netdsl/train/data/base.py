"""What a data source is: a declaration of its samples that needs no torch, and a way to load them once, as
tensors.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netdsl.elaborate.settings import shown
from netdsl.train.component import Component
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One sample: an image of `image` = (channels, height, width), of one of the classes `names`."""

    image: tuple[int, int, int]
    names: tuple[str, ...]

    @property
    def classes(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Split:
    """Inputs [N, ...] and targets, [N] class numbers (int64) or [N, ...] values. Images are uint8 in [0,
    255].
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Data:
    """What a run trains on and what it is measured on."""

    train: Split
    valid: Split
    classes: int | None = None


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
    """A source whose files lie in a folder `root`."""

    root: str = "data"
    download: bool = False

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
                if "not found" not in str(problem):
                    raise TrainError(
                        "E0621", f"{self.kind} in `{root}` cannot be read: {problem}"
                    ) from problem
            except (OSError, ValueError, EOFError) as problem:
                raise TrainError("E0621", f"{self.kind} in `{root}` cannot be read: {problem}") from problem
        if not (download or self.download):
            raise self._missing(roots)
        try:
            return self.read(roots[-1], download=True)
        except (RuntimeError, OSError) as problem:
            raise TrainError("E0621", f"{self.kind} could not be downloaded: {problem}") from problem

    def places(self, folders: Sequence[Path]) -> list[Path]:
        """Where `root` may be: itself where it is absolute, else in each of `folders`."""
        places = [(folder / Path(self.root).expanduser()).resolve() for folder in folders]
        return list(dict.fromkeys(places))

    def _missing(self, roots: Sequence[Path]) -> TrainError:
        example = f"{self.kind}(root = {shown(self.root)}, download = True)"
        return TrainError(
            "E0620",
            f"{self.kind} is not in `{self.root}`",
            notes=["looked in " + " and ".join(f"`{root}`" for root in roots)],
            helps=[
                f"give the folder that holds it as `root`, or allow the download: `{example}` or `--download`"
            ],
        )
