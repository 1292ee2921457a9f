"""What a run has said, on the disk: tables and lines that grow, and go on where a machine has stopped."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from netdsl.train import Keep, run
from netdsl.train.history import History, read_history, read_lines, read_steps
from netdsl.train.records import Epoch, Step
from tests import small_runs
from tests.small_runs import DATA, plain, small

one_thread = small_runs.one_thread  # a fixture


@pytest.mark.slow
def test_a_history_that_is_cut_anywhere_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    whole = History(tmp_path, ["valid_loss"])
    for step in range(1, 7):
        whole(Step(step, -(-step // 2), 1 / step, 0.1, None))
        if step % 2 == 0:
            whole(Epoch(step // 2, step, 0.1, {"valid_loss": 1 / step}, 0.5))
    whole.close()
    later = {
        "history.csv": b"\n2,4,",
        "steps.csv": b"\n3,2,",
        "history.jsonl": b'\n{"record": "step", "step": 3',
    }
    contents = {name: (tmp_path / name).read_bytes() for name in later}
    for name, first in later.items():  # as a machine that stops leaves it: more of one file than of another
        for end in range(contents[name].index(first) + 1, len(contents[name]), 7):
            (tmp_path / name).write_bytes(contents[name][:end])
            again = History(tmp_path, ["valid_loss"], epoch=1, step=2)
            assert [e.epoch for e in again.epochs] == [1]
            for step in range(3, 7):
                again(Step(step, -(-step // 2), 1 / step, 0.1, None))
                if step % 2 == 0:
                    again(Epoch(step // 2, step, 0.1, {"valid_loss": 1 / step}, 0.5))
            again.close()
            assert {other: (tmp_path / other).read_bytes() for other in later} == contents


def test_history_as_lines_has_what_the_tables_have_and_no_number_that_json_has_not(tmp_path: Path) -> None:
    history = History(tmp_path, ["valid_loss"])
    history(Step(2, 1, 0.5, 0.1, 3.0))
    history(Epoch(1, 2, 0.1, {"valid_loss": float("nan")}, 0.5))
    history.close()
    step, epoch = read_lines(tmp_path / "history.jsonl")
    assert step == {"record": "step", "step": 2, "epoch": 1, "loss": 0.5, "lr": 0.1, "grad_norm": 3.0}
    assert epoch == {"record": "epoch", "epoch": 1, "step": 2, "lr": 0.1, "valid_loss": None, "seconds": 0.5}
    assert read_steps(tmp_path / "steps.csv") == [Step(2, 1, 0.5, 0.1, 3.0)]
    assert read_history(tmp_path / "history.csv")[0].step == 2


def test_numbers_keep_every_digit_and_their_type(tmp_path: Path) -> None:
    epoch = Epoch(1, 2, 0.1 + 0.2, {"valid_loss": 1 / 3, "valid_x": 1e-310}, 5e-7)
    step = Step(2, 1, math.pi * 1e20, 1e-45, math.inf)
    history = History(tmp_path, ["valid_loss", "valid_x"])
    history(step)
    history(epoch)
    history.close()
    assert read_history(tmp_path / "history.csv") == [epoch]
    assert read_steps(tmp_path / "steps.csv") == [step]
    first, second = read_lines(tmp_path / "history.jsonl")
    assert (first["loss"], first["grad_norm"]) == (step.loss, None)
    assert (second["epoch"], second["lr"], second["valid_x"]) == (1, epoch.lr, 1e-310)
    assert [type(second[name]) for name in ("epoch", "step", "lr", "seconds")] == [int, int, float, float]


@pytest.mark.parametrize(
    "rubbish", ["\0\0\0\0\n", "x,y\n", "3,6,nan?,1\n", "3," + "9" * 200_000 + "\n", "{}\n", "null\n"]
)
def test_rubbish_at_the_end_is_dropped_and_what_was_whole_stays(rubbish: str, tmp_path: Path) -> None:
    history = History(tmp_path, ["valid_loss"])
    for number in (1, 2):
        history(Step(2 * number, number, 0.5, 0.1))
        history(Epoch(number, 2 * number, 0.1, {"valid_loss": 0.5}, 0.1))
    history.close()
    names = ("history.csv", "steps.csv", "history.jsonl")
    whole = {name: (tmp_path / name).read_bytes() for name in names}
    for name in names:
        with (tmp_path / name).open("a") as file:
            file.write(rubbish)
    again = History(tmp_path, ["valid_loss"], epoch=2, step=4)
    again.close()
    assert {name: (tmp_path / name).read_bytes() for name in names} == whole


def test_a_run_that_goes_on_has_each_step_and_epoch_once(tmp_path: Path) -> None:
    run(small, plain(epochs=2), data=DATA, out=tmp_path, keep=Keep(report=False))
    run(small, plain(epochs=5), data=DATA, out=tmp_path, resume=True, keep=Keep(report=False))
    assert [epoch.epoch for epoch in read_history(tmp_path / "history.csv")] == [1, 2, 3, 4, 5]
    assert [step.step for step in read_steps(tmp_path / "steps.csv")] == list(range(2, 21, 2))
    lines = [(line["record"], line["step"]) for line in read_lines(tmp_path / "history.jsonl")]
    every = [("step", step) for step in range(2, 21, 2)] + [("epoch", step) for step in range(4, 21, 4)]
    assert sorted(lines) == sorted(every)
    assert [step for _, step in lines] == sorted(step for _, step in lines)
