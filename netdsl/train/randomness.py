"""The streams of random numbers of a process: torch's, on the CPU and on the device, Python's and numpy's, which a
user's own data or layers may draw from.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import Any

import torch

from netdsl.train.batches import mixed


def begin_streams(seed: int, *numbers: int) -> None:
    """Begin every stream anew, as follows from the numbers."""
    torch.manual_seed(mixed(seed, *numbers))
    random.seed(mixed(seed, *numbers, 1))
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(mixed(seed, *numbers, 2))


def streams(device: torch.device) -> dict[str, Any]:
    """Where the streams are, as tensors and plain values.

    >>> before = streams(torch.device("cpu"))
    >>> drawn = torch.rand(2), random.random()
    >>> continue_streams(before, torch.device("cpu"))
    >>> (torch.rand(2) == drawn[0]).all().item(), random.random() == drawn[1]
    (True, True)
    """
    version, words, spare = random.getstate()
    found: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": [version, torch.tensor(words, dtype=torch.int64), spare],
        "device": None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device),
    }
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        kind, keys, *rest = numpy.random.get_state()
        found["numpy"] = [kind, torch.from_numpy(keys.astype("int64")), *rest]
    return found


def continue_streams(state: Mapping[str, Any], device: torch.device) -> None:
    """Go on from where the streams were; of the device only where it is of the same kind."""
    torch.set_rng_state(state["torch"])
    version, words, spare = state["python"]
    random.setstate((version, tuple(words.tolist()), spare))
    if state["device"] is not None and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state["device"], device)
    if "numpy" in state:
        import numpy

        kind, keys, *rest = state["numpy"]
        numpy.random.set_state((kind, keys.numpy().astype("uint32"), *rest))
