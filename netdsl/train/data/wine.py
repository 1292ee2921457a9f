"""Wine: 178 wines of three cultivars."""

from __future__ import annotations

from netdsl.train.data.bundled import Bundled


class Wine(Bundled):
    """Thirteen chemical measures of wines of three cultivars. Their scales differ a hundredfold: `standardise`."""

    function = "load_wine"
    inputs = 13
    names = ("class_0", "class_1", "class_2")
