"""`history.csv`, a row an epoch, and `steps.csv`, a row a record of steps. A resumed run goes on below the
row of its checkpoint; what came after it is dropped, as it will come again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from netdsl.train.files import unwritable, write_atomically
from netdsl.train.records import Epoch, Record, Step

STEPS = ("step", "epoch", "loss", "lr", "grad_norm")


class History:
    """The two files of a run in `folder`. Call it with every record."""

    def __init__(self, folder: Path, columns: Sequence[str], *, epoch: int = 0, step: int = 0) -> None:
        self.path, self.steps_path = folder / "history.csv", folder / "steps.csv"
        self.columns = ("epoch", "step", "lr", *columns, "seconds")
        self.epochs = [row for row in read_history(self.path) if row.epoch <= epoch]
        self._write()
        steps = [row for row in _rows(self.steps_path) if len(row) == len(STEPS) and _upto(row[0], step)]
        write_atomically(self.steps_path, _csv([STEPS, *steps]))

    def __call__(self, record: Record) -> None:
        if isinstance(record, Epoch):
            self.epochs.append(record)
            self._write()
        elif isinstance(record, Step):
            norm = "" if record.grad_norm is None else record.grad_norm
            row = _csv([(record.step, record.epoch, record.loss, record.lr, norm)])
            try:
                with self.steps_path.open("a", encoding="utf-8", newline="") as file:
                    file.write(row)
            except OSError as problem:
                raise unwritable(self.steps_path, problem) from problem

    def _write(self) -> None:
        """All of it at once: it is small, and so it is never half a row."""
        rows = [
            (e.epoch, e.step, e.lr, *(e.measured.get(name, "") for name in self.columns[3:-1]), e.seconds)
            for e in self.epochs
        ]
        write_atomically(self.path, _csv([self.columns, *rows]))


def read_history(path: Path) -> list[Epoch]:
    """The epochs in a `history.csv`; none where there is no such file."""
    rows = _rows(path)
    if not rows:
        return []
    names = rows[0][3:-1]
    epochs: list[Epoch] = []
    for row in rows[1:]:
        measured = {name: float(value) for name, value in zip(names, row[3:-1], strict=True) if value}
        epochs.append(Epoch(int(row[0]), int(row[1]), float(row[2]), measured, float(row[-1])))
    return epochs


def _rows(path: Path) -> list[list[str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.reader(file) if row]


def _upto(text: str, step: int) -> bool:
    return text.isdecimal() and int(text) <= step


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
