"""The weights that torchvision publishes, by its own loader: from its folder of downloads, or from the network."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import torch
from torch import Tensor

from netdsl.backends.errors import WeightsError
from netdsl.diagnostics.suggest import did_you_mean

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

SCHEME = "torchvision:"
ENDING = "_Weights"


def is_asked(source: str | Path) -> bool:
    """Whether `source` names weights of torchvision, as `torchvision:DEFAULT`, and not a file."""
    return str(source).startswith(SCHEME)


def weights_of(source: str | Path, model: str) -> WeightsEnum:
    """What `torchvision:DEFAULT` means for a model of this name. `torchvision:ResNet50_Weights.DEFAULT` names both.

    Raises `WeightsError` E0638 where torchvision has no such model or no such weights.
    """
    from torchvision.models import get_model_weights, list_models

    which = str(source).removeprefix(SCHEME)
    family, dot, entry = which.partition(".")
    family, entry = (family.removesuffix(ENDING), entry) if dot else (model, which)
    known = {get_model_weights(name).__name__.removesuffix(ENDING): name for name in list_models()}
    if family not in known:
        raise WeightsError(
            "E0638",
            f"torchvision publishes no weights for `{family}`",
            helps=did_you_mean(family, known)
            or ("name its model too, as `torchvision:ResNet50_Weights.DEFAULT`, or give a file",),
        )
    entries = get_model_weights(known[family]).__members__
    if entry not in entries:
        listed = ", ".join(f"`{SCHEME}{name}`" for name in entries)
        raise WeightsError(
            "E0638",
            f"torchvision has no weights `{entry}` for `{family}`",
            helps=(*did_you_mean(entry, entries), f"it has {listed}"),
        )
    return entries[entry]


def refuse_what_differs(weights: WeightsEnum, model: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What would make a model of other sizes fit; E0633 for one that would fit and mean something else.

    torchvision's own constructors set `transform_input` for weights that were trained on images of another scale.
    """
    if arguments.get("transform_input") is False:
        raise WeightsError(
            "E0633",
            f"torchvision uses the weights of `{model}` with `transform_input = True`",
            [
                "the model then brings images that are normalised as those of ImageNet to the scale of these weights"
            ],
            [
                "`--param transform_input=True`, in Python `transform_input=True`",
                "for images that have that scale already, give the file itself",
            ],
        )
    size = weights.transforms.keywords.get("crop_size") if hasattr(weights.transforms, "keywords") else None
    given = arguments.get("image_size")
    if isinstance(size, int) and isinstance(given, int) and size != given:
        return (
            f"these weights are for images of {size}×{size}: `--param image_size={size}`, "
            f"in Python `image_size={size}`",
        )
    return ()


@contextmanager
def any_protocol() -> Iterator[None]:
    """Torch warns of files that were pickled otherwise than it does; what it cannot read is an error anyway."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
        yield


def state_of(weights: WeightsEnum, *, progress: bool = False) -> Mapping[str, Tensor]:
    """The tensors by name, from the folder where torchvision keeps what it fetches, or else fetched.

    Raises `WeightsError` E0631 where they are not there and cannot be fetched, or are not whole.
    """
    kept = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name
    was_there = kept.exists()
    try:
        with redirect_stdout(sys.stderr), any_protocol():  # it says what it fetches
            return weights.get_state_dict(
                progress=progress, check_hash=True, map_location="cpu", weights_only=True
            )
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as problem:
        if was_there:
            reason, way_out = f"`{kept}` is not a file of weights", "delete it: it is fetched again"
        else:
            reason, way_out = "what was fetched is not whole", "try again"
        raise WeightsError("E0631", f"{reason} ({_line(problem)})", helps=[way_out]) from None
    except OSError as problem:
        if was_there:
            raise WeightsError("E0631", f"`{kept}` cannot be read: {_line(problem)}") from None
        raise WeightsError(
            "E0631",
            f"torchvision's weights `{weights}` are not on this machine and cannot be fetched: {_line(problem)}",
            helps=[
                f"fetch {weights.url} where there is a network, and put it at `{kept}`: torchvision looks there first",
                f"or give the file itself: `--weights {kept.name}`",
            ],
        ) from None


def _line(problem: Exception) -> str:
    reason = getattr(problem, "reason", None) or problem  # what is behind the error of a URL
    return (getattr(reason, "strerror", None) or str(reason)).split("\n")[0].lower()
