"""Diabetes: 442 patients and how far the disease went in a year."""

from __future__ import annotations

from netdsl.train.data.bundled import Bundled


class Diabetes(Bundled):
    """Ten measures of patients, as scikit-learn scales them, and a number for the progress of the disease, 25 to 346
    (Efron et al., 2004).
    """

    function = "load_diabetes"
    inputs = 10
