"""A run on a terminal: a row an epoch on stdout, and a live bar on stderr where that is a terminal."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn

from netdsl.train.records import Epoch, Reading, Record, Started, Step, Stopped

SHARES = ("accuracy", "f1_score")  # shown as percentages
PACE = (
    0.1  # seconds between what is drawn: rows of short epochs are drawn together, as each costs a millisecond
)

PATIENCE = 0.5  # seconds that samples are read without a word


class Display:
    """Shows records as they come. Use it as a context, so that the bar is gone in the end.

    >>> with Display() as show:  # doctest: +SKIP
    ...     run(model, recipe, out=folder, on_record=show)
    """

    def __init__(self, out: Console | None = None, live: Console | None = None) -> None:
        self.out = out or Console(highlight=False)
        # Rows and bar share a terminal, so they must share what draws on it.
        self.live = self.out if self.out.is_terminal else live or Console(stderr=True)
        self.started: Started | None = None
        self.widths: dict[str, int] = {}
        self.waiting: list[str] = []  # rows that are still to be drawn
        self.drawn = 0.0  # when the last ones were
        self.task: TaskID | None = None
        self.began = 0.0  # when the first samples were read
        self.reading = self._bar(
            TextColumn("reading"), BarColumn(None), TextColumn("{task.completed}/{task.total} samples")
        )
        self.progress = self._bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(None),
            TextColumn("{task.completed}/{task.total} steps  loss {task.fields[loss]}"),
        )

    def _bar(self, *columns: ProgressColumn) -> Progress:
        """A bar that is there while something goes on, on a terminal."""
        shown = self.live.is_terminal
        return Progress(*columns, TimeRemainingColumn(), console=self.live, transient=True, disable=not shown)

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw()
        self.reading.stop()
        self.progress.stop()

    def __call__(self, record: Record) -> None:
        if isinstance(record, Reading):
            self._read(record)
        elif isinstance(record, Started):
            self._start(record)
        elif isinstance(record, Step):
            self._advance(record)
            self._draw_at_times()
        elif isinstance(record, Epoch):
            self._row(record)
            self._draw_at_times()
        elif isinstance(record, Stopped):
            self._draw()
            self.progress.stop()
            if record.reason != "not finite":  # which is an error, and said as one
                self._say(_ending(record))

    def _read(self, record: Reading) -> None:
        """A bar for what takes a while."""
        self.began = self.began or perf_counter()
        if self.reading.disable or perf_counter() - self.began < PATIENCE:
            return
        if not self.reading.tasks:
            self.reading.start()
            self.reading.add_task("", total=record.samples)
        self.reading.update(self.reading.task_ids[0], completed=record.done)

    def _start(self, record: Started) -> None:
        self.reading.stop()
        self.started = record
        self._say(
            f"{record.model or 'model'}: {record.parameters:,} parameters, "
            f"{record.train_samples:,} samples to train on, {record.valid_samples:,} to measure on"
        )
        threads = f", {record.threads} thread{'s' * (record.threads != 1)}" if record.device == "cpu" else ""
        layout = ", channels last" if record.channels_last else ""
        self._say(
            f"on {record.device}{threads}{layout}" + (f", from step {record.step}" if record.step else "")
        )
        for note in record.notes:
            self._say(note)
        self.progress.start()

    def _advance(self, record: Step) -> None:
        if self.started is None or self.progress.disable:
            return
        each = self.started.steps_per_epoch
        done = record.step - (record.epoch - 1) * each
        if self.task is None:
            self.task = self.progress.add_task("", total=each, epoch="", loss="")
        epoch, loss = f"{record.epoch}/{self.started.epochs}", f"{record.loss:.4f}"
        self.progress.update(self.task, completed=done, epoch=epoch, loss=loss)

    def _row(self, record: Epoch) -> None:
        cells = {"epoch": str(record.epoch)}
        cells |= {name.replace("_", " "): _shown(name, value) for name, value in record.measured.items()}
        cells |= {"lr": f"{record.lr:g}", "seconds": _seconds(record.seconds)}
        if not self.widths:
            self.widths = {name: max(len(name), 7) for name in cells}
            self.waiting.append("  ".join(name.rjust(width) for name, width in self.widths.items()))
        row = "  ".join(cells[name].rjust(width) for name, width in self.widths.items())
        self.waiting.append(row + ("  best" if record.best else ""))

    def _draw_at_times(self) -> None:
        if self.waiting and perf_counter() - self.drawn >= PACE:
            self._draw()

    def _draw(self) -> None:
        """Draw the rows that wait."""
        if self.waiting:
            self._say("\n".join(self.waiting))
            self.waiting.clear()
            self.drawn = perf_counter()

    def _say(self, text: str) -> None:
        self.out.print(text, soft_wrap=True, markup=False, highlight=False)


def _shown(name: str, value: float) -> str:
    if name.split("_", 1)[1] in SHARES:
        return f"{value:.2%}"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.3f}"


def _ending(record: Stopped) -> str:
    words = {
        "finished": f"finished after {record.step} steps",
        "early stop": f"stopped early after {record.step} steps",
        "interrupted": f"interrupted and saved after {record.step} steps; `--resume` goes on from there",
    }
    return words[record.reason] + (f": {record.message}" if record.message else "")
