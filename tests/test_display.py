"""What a run shows of itself on a terminal while it goes on."""

from __future__ import annotations

import re
from contextlib import suppress
from io import StringIO
from time import sleep

import pytest
from rich.console import Console

from netdsl.train import Display
from netdsl.train.display import PACE
from netdsl.train.records import Epoch, Reading, Started, Step, Stopped

BEGUN = Started("Small", 42, "cpu", 1, False, 64, 32, 1000, 4)


class Paper(StringIO):
    """Text that counts how often something is drawn on it."""

    drawn = 0

    def flush(self) -> None:
        self.drawn += 1


def epoch(number: int, loss: float = 0.5, seconds: float = 0.001) -> Epoch:
    return Epoch(number, 4 * number, 0.1, {"valid_loss": loss, "valid_accuracy": 0.5}, seconds)


@pytest.mark.parametrize("terminal", [True, False])
def test_rows_of_short_epochs_are_drawn_together_and_none_is_lost(terminal: bool) -> None:
    paper = Paper()
    with Display(Console(file=paper, width=80, force_terminal=terminal), Console(file=StringIO())) as show:
        show(BEGUN)
        for number in range(1, 1001):
            show(Step(4 * number, number, 0.5, 0.1))
            show(epoch(number))
        show(Stopped("finished", 4000))
    text = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]|\r", "", paper.getvalue())
    rows = re.findall(r" +(\d+) +0\.5000 +50\.00%", text)
    assert [int(row) for row in rows] == list(range(1, 1001))
    assert paper.drawn < 200
    assert paper.getvalue().rindex("1000") < paper.getvalue().index("finished after 4000 steps")


def test_a_row_is_there_while_the_next_long_epoch_goes_on() -> None:
    paper = StringIO()
    with Display(Console(file=paper), Console(file=StringIO())) as show:
        show(BEGUN)
        show(epoch(1))
        assert "0.5000" in paper.getvalue()
        show(epoch(2, loss=0.25))
        sleep(2 * PACE)
        show(Step(9, 3, 0.5, 0.1))
        assert "0.2500" in paper.getvalue()


def test_rows_are_there_where_a_run_ends_in_an_error() -> None:
    paper = StringIO()
    display = Display(Console(file=paper), Console(file=StringIO()))
    with suppress(KeyError), display as show:
        show(BEGUN)
        for number in range(1, 9):
            show(epoch(number, loss=number))
        raise KeyError
    assert "8.0000" in paper.getvalue()


def test_reading_that_takes_a_while_is_shown_and_gone_when_the_run_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("netdsl.train.display.PATIENCE", 0.0)
    for terminal in (True, False):
        paper = StringIO()
        live = Console(file=paper, width=80, force_terminal=terminal)
        with Display(Console(file=StringIO()), live) as show:
            show(Reading(256, 50_000))
            show(Reading(512, 50_000))
            show(BEGUN)
            assert not show.reading.live.is_started
            show(Stopped("finished", 4000))
        assert ("512/50000 samples" in paper.getvalue()) == terminal


def test_reading_that_is_quick_is_not_mentioned() -> None:
    paper = StringIO()
    with Display(Console(file=StringIO()), Console(file=paper, force_terminal=True)) as show:
        show(Reading(256, 256))
        show(BEGUN)
        show(Stopped("finished", 4000))
    assert "samples" not in paper.getvalue()


def test_small_and_large_numbers_can_be_told_from_each_other() -> None:
    paper = StringIO()
    with Display(Console(file=paper), Console(file=StringIO())) as show:
        show(BEGUN)
        for number, (loss, seconds) in enumerate([(1.25e-7, 0.0004), (123456789.0, 12.34), (0.0, 1.0)], 1):
            show(epoch(number, loss, seconds))
    lines = [line.split() for line in paper.getvalue().splitlines()[3:]]
    assert [line[1] for line in lines] == ["1.25e-07", "1.235e+08", "0.0000"]
    assert [line[-1] for line in lines] == ["0.000", "12.3", "1.0"]
