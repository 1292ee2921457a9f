"""Breast cancer: 569 tumours, malignant or benign."""

from __future__ import annotations

from netdsl.train.data.bundled import Bundled


class BreastCancer(Bundled):
    """Thirty measures of cell nuclei of tumours, malignant (0) or benign (1). Their scales differ: `standardise`."""

    function = "load_breast_cancer"
    inputs = 30
    names = ("malignant", "benign")
