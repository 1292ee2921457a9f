"""The models of `specs/` beside the reference implementations they name: same keys, same shapes, same numbers."""

from __future__ import annotations

from collections.abc import Mapping

from tests.zoo.classifiers import ENTRIES as CLASSIFIERS
from tests.zoo.dense import ENTRIES as DENSE
from tests.zoo.entry import Entry
from tests.zoo.language import ENTRIES as LANGUAGE
from tests.zoo.variations import ENTRIES as VARIATIONS

GROUPS: Mapping[str, tuple[Entry, ...]] = {
    "torchvision classifiers": CLASSIFIERS,
    "classifiers with other parameters": VARIATIONS,
    "segmentation and video": DENSE,
    "transformers": LANGUAGE,
}
