"""The library beside torchvision and Hugging Face: keys, shapes, numbers, training, ONNX; `80 of 80` is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.zoo import GROUPS
from tests.zoo.compare import compare
from tests.zoo.entry import Entry

CASES = [
    pytest.param(entry, id=entry.name, marks=pytest.mark.zoo(group))
    for group, entries in GROUPS.items()
    for entry in entries
]


@pytest.mark.slow
@pytest.mark.parametrize("entry", CASES)
def test_a_model_has_the_keys_and_the_numbers_of_its_reference(entry: Entry, tmp_path: Path) -> None:
    compare(entry, tmp_path)
