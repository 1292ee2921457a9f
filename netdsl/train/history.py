"""What a run has said, on the disk: `history.csv`, a row an epoch, `steps.csv`, a row a record of steps, and both, in
their order, as `history.jsonl`.

Rows are appended as they come, and synced before a checkpoint is written. So the history of a checkpoint is always
whole, and a resumed run goes on below it; what came after is dropped, as it will come again.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from netdsl.train.errors import TrainError
from netdsl.train.files import unwritable, write_atomically
from netdsl.train.records import Epoch, Record, Step

STEPS = ("step", "epoch", "loss", "lr", "grad_norm")


class History:
    """The files of a run in `folder`. Call it with every record; `sync` before a checkpoint, `close` in the end.

    `epoch` and `step` are where the run is: what the files say of later ones is dropped.
    """

    def __init__(self, folder: Path, columns: Sequence[str], *, epoch: int = 0, step: int = 0) -> None:
        self.columns = ("epoch", "step", "lr", *columns, "seconds")
        self.epochs = [row for row in read_history(folder / "history.csv") if row.epoch <= epoch]
        steps = [each for each in read_steps(folder / "steps.csv") if each.step <= step]
        lines = [line for line in read_lines(folder / "history.jsonl") if _is_before(line, epoch, step)]
        self._epochs = _Appended(folder / "history.csv", [_csv(self.columns), *map(self._row, self.epochs)])
        self._steps = _Appended(folder / "steps.csv", [_csv(STEPS), *map(_step_row, steps)])
        self._lines = _Appended(folder / "history.jsonl", [json.dumps(line) + "\n" for line in lines])

    def __call__(self, record: Record) -> None:
        if isinstance(record, Epoch):
            self.epochs.append(record)
            self._epochs.add(self._row(record))
            self._lines.add(_line("epoch", described(record)))
        elif isinstance(record, Step):
            self._steps.add(_step_row(record))
            self._lines.add(_line("step", {name: getattr(record, name) for name in STEPS}))

    def sync(self) -> None:
        """Wait until all of it is on the disk."""
        for file in (self._epochs, self._steps, self._lines):
            file.sync()

    def close(self) -> None:
        for file in (self._epochs, self._steps, self._lines):
            file.close()

    def _row(self, epoch: Epoch) -> str:
        measured = (epoch.measured.get(name, "") for name in self.columns[3:-1])
        return _csv((epoch.epoch, epoch.step, epoch.lr, *measured, epoch.seconds))


def described(epoch: Epoch) -> dict[str, Any]:
    """An epoch as plain data."""
    return {
        "epoch": epoch.epoch,
        "step": epoch.step,
        "lr": epoch.lr,
        **epoch.measured,
        "seconds": epoch.seconds,
    }


def read_history(path: Path) -> list[Epoch]:
    """The epochs in a `history.csv`, up to a row that is none; none at all where there is no such file."""
    rows = _rows(path)
    names = rows[0][3:-1] if rows else []
    epochs: list[Epoch] = []
    for row in rows[1:]:
        try:
            number, step, rate, *values, seconds = row
            measured = {name: float(value) for name, value in zip(names, values, strict=True) if value}
            epochs.append(Epoch(int(number), int(step), float(rate), measured, float(seconds)))
        except ValueError:  # as a machine leaves it that stops while it writes
            break
    return epochs


def read_steps(path: Path) -> list[Step]:
    """The records of steps in a `steps.csv`, up to a row that is none."""
    steps: list[Step] = []
    for row in _rows(path)[1:]:
        try:
            step, epoch, loss, rate, norm = row
            found = Step(int(step), int(epoch), float(loss), float(rate), float(norm) if norm else None)
        except ValueError:
            break
        steps.append(found)
    return steps


def read_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """The records in a `history.jsonl`, up to one that is cut off."""
    for text in _text(path).split("\n"):
        try:
            line = json.loads(text)
        except ValueError:
            return
        if not isinstance(line, dict):
            return
        yield line


class _Appended:
    """A text file that begins with `lines` and grows at its end. Only whole lines are ever left in it, unless the
    machine stops; a disk that is full takes none."""

    def __init__(self, path: Path, lines: Sequence[str]) -> None:
        self.path = path
        write_atomically(path, "".join(lines))
        try:
            self.file = path.open("ab", buffering=0)
        except OSError as problem:
            raise unwritable(path, problem) from problem
        self.length = self.file.seek(0, os.SEEK_END)
        self.synced = True

    def add(self, line: str) -> None:
        content = line.encode()
        try:
            written = self.file.write(content)
            if written != len(content):  # the disk was full in the middle of it
                self.file.write(content[written:])
        except OSError as problem:
            self.file.truncate(self.length)
            raise unwritable(self.path, problem) from problem
        self.length += len(content)
        self.synced = False

    def sync(self) -> None:
        if self.synced:
            return
        try:
            os.fsync(self.file.fileno())
        except OSError as problem:
            raise unwritable(self.path, problem) from problem
        self.synced = True

    def close(self) -> None:
        """Sync and close, whatever happened before; a problem with the disk has been told by then."""
        try:
            self.sync()
        except TrainError:
            pass
        finally:
            self.file.close()


def _line(kind: str, values: Mapping[str, Any]) -> str:
    """A record as a line of JSON, which has no number for infinity."""
    numbers = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
    return json.dumps({"record": kind, **numbers}) + "\n"


def _is_before(line: Mapping[str, Any], epoch: int, step: int) -> bool:
    number, last = (line.get("epoch"), epoch) if line.get("record") == "epoch" else (line.get("step"), step)
    return isinstance(number, int) and number <= last


def _rows(path: Path) -> list[list[str]]:
    text = _text(path)
    whole = text[: text.rfind("\n") + 1]  # a last line without an end is cut off
    rows: list[list[str]] = []
    with suppress(csv.Error):
        rows += (row for row in csv.reader(io.StringIO(whole)) if row)
    return rows


def _text(path: Path) -> str:
    """The text of a file, with what is none in it replaced; E0639 where it cannot be read."""
    if not path.exists():
        return ""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise TrainError("E0639", f"`{path}` cannot be read: {reason}") from problem


def _step_row(step: Step) -> str:
    return _csv("" if value is None else value for value in (getattr(step, name) for name in STEPS))


def _csv(row: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()
