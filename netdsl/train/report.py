"""The curves of a run as a picture: loss and metrics over the epochs, in training and validation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from netdsl.train.files import write_atomically
from netdsl.train.records import Epoch

STYLES = {"train": {"color": "#8a8f98", "linestyle": "--"}, "valid": {"color": "#1f5fbf"}}


def plot_curves(epochs: Sequence[Epoch], folder: Path, title: str = "") -> list[Path]:
    """Write `curves.svg` and `curves.png` into `folder`; nothing where there are no epochs."""
    if not epochs:
        return []
    names = [name.removeprefix("valid_") for name in epochs[0].measured if name.startswith("valid_")]
    width, height = 4.6 * len(names), 3.4
    figure = Figure(figsize=(width, height))
    # Margins in inches by hand: the layouts that find them draw everything twice.
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 0.2 / width, bottom=0.5 / height, top=1 - 0.6 / height, wspace=0.22
    )
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for part, style in STYLES.items():
            points = [
                (e.epoch, e.measured[f"{part}_{name}"]) for e in epochs if f"{part}_{name}" in e.measured
            ]
            x, y = zip(*points, strict=True)
            axes.plot(x, y, label=part, marker="." if len(points) < 30 else "", **style)
        axes.set_xlabel("epoch")
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    if title:
        figure.suptitle(title, fontsize=11)
    paths = [folder / "curves.svg", folder / "curves.png"]
    for path in paths:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix[1:], dpi=120)
        write_atomically(path, buffer.getvalue())
    return paths
