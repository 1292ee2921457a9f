"""Predictions as tables for people, as CSV and as plain data."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netdsl.train import Prediction

FIRST = ("path", "row", "step")
SHOWN = 8  # values of a row that a person is shown


def described(made: Prediction, top: int | None = None) -> dict[str, Any]:
    """A prediction as plain data; of the classes the `top` most probable, the best one first, or all in order."""
    found: dict[str, Any] = {"path": str(made.path), **_place(made)}
    if made.label:
        found["label"] = made.label
    if made.probabilities:
        chosen = made.probabilities if top is None else made.best(top)
        if made.mask is not None:
            return found | {"share": made.probability, "shares": chosen}
        return found | {"probability": made.probability, "probabilities": chosen}
    return found | {"values": {name: _finite(value) for name, value in made.values.items()}}


def _place(made: Prediction) -> dict[str, int]:
    places = {"row": made.row, "step": made.step}
    return {name: number for name, number in places.items() if number is not None}


def _finite(value: float) -> float | None:
    """JSON has no number for infinity."""
    return value if math.isfinite(value) else None


def as_csv(made: Sequence[Prediction], top: int | None = None) -> str:
    """A row a prediction, a column a class or value; with `top`, a pair of columns for each of the best classes."""
    rows = [_cells(each, top) for each in made]
    text = io.StringIO()
    if rows:
        keys = dict.fromkeys(key for row in rows for key in row)
        names = [*(key for key in FIRST if key in keys), *(key for key in keys if key not in FIRST)]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def _cells(made: Prediction, top: int | None) -> dict[str, Any]:
    cells: dict[str, Any] = {"path": str(made.path), **_place(made)}
    if made.label:
        cells["label"] = made.label
    if not made.probabilities:
        return cells | made.values
    what, short = ("share", "share of") if made.mask is not None else ("probability", "p")
    cells[what] = made.probability
    if top is None:
        return cells | {f"{short}({name})": share for name, share in made.probabilities.items()}
    for number, (name, share) in enumerate(made.best(top).items(), 1):
        if number > 1:
            cells |= {f"label {number}": name, f"{what} {number}": share}
    return cells


def table(made: Sequence[Prediction], top: int | None = None) -> list[str]:
    """For a person: aligned columns below their names; the name of a file stands once."""
    rows = [_shown(each, top) for each in made]
    keys = dict.fromkeys(key for row in rows for key in row)
    first = [key for key in ("file", *FIRST) if key in keys]
    columns = [*first, *(key for key in keys if key not in first)]
    before = ""
    for row in rows:
        before, row["file"] = row["file"], "" if row["file"] == before else row["file"]
    lines = [dict(zip(columns, columns, strict=True)), *rows]
    widths = {name: max(len(line.get(name, "")) for line in lines) for name in columns}
    return [
        "  ".join(_aligned(line.get(name, ""), name, widths) for name in columns).rstrip() for line in lines
    ]


def _aligned(text: str, name: str, widths: Mapping[str, int]) -> str:
    left = name == "file" or name.startswith("prediction")
    return text.ljust(widths[name]) if left else text.rjust(widths[name])


def _shown(made: Prediction, top: int | None) -> dict[str, str]:
    found = {"file": str(made.path), **{name: str(number) for name, number in _place(made).items()}}
    if made.mask is not None:
        return found | {name: f"{share:.1%}" for name, share in list(made.probabilities.items())[:SHOWN]}
    if made.probabilities:
        for number, (name, share) in enumerate(made.best(top or 1).items(), 1):
            again = f" {number}" if number > 1 else ""
            found |= {f"prediction{again}": _visible(name), f"probability{again}": f"{share:.1%}"}
        return found
    if made.label:
        found["prediction"] = _visible(made.label)
    values = list(made.values.items())
    found |= {name: f"{value:.6g}" for name, value in values[:SHOWN]}
    return found | ({"": f"and {len(values) - SHOWN} more"} if len(values) > SHOWN else {})


def _visible(name: str) -> str:
    """A token that is blank, or ends a line, as Python writes it."""
    return name if name.strip() == name and name.isprintable() and name else repr(name)
