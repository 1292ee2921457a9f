"""Iris: 150 flowers of three species."""

from __future__ import annotations

from netdsl.train.data.bundled import Bundled


class Iris(Bundled):
    """Length and width of sepal and petal, in centimetres, of flowers of three species (Fisher, 1936)."""

    function = "load_iris"
    inputs = 4
    names = ("setosa", "versicolor", "virginica")
