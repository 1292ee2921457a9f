"""How a run ends that cannot go on: numbers that are none, a disk that is full, a signal."""

from __future__ import annotations

import csv
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netdsl.train import TrainError, open_run, run
from netdsl.train.checkpoint import checkpoints
from netdsl.train.history import read_steps
from netdsl.train.optimizers import SGD
from tests import small_runs
from tests.small_runs import DATA, plain, small

ROOT = Path(__file__).resolve().parent.parent
here, one_thread = small_runs.project, small_runs.one_thread  # fixtures


class Rooted(nn.Module):
    """The square root at 0 has no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last((x - x.detach()).sqrt())


class Logged(Rooted):
    """The logarithm of what is below 0 is no number."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).log())


class Exploding(nn.Module):
    """A layer that gives infinity after some steps."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.register_buffer("count", torch.zeros(()))
        self.burst = Burst(self)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.count += 1
        return self.last(self.burst(self.first(x)))


class Burst(nn.Module):
    def __init__(self, owner: Exploding) -> None:
        super().__init__()
        self.owner = [owner]

    def forward(self, x: Tensor) -> Tensor:
        return x / (11 - float(self.owner[0].count)) if self.owner[0].count else x


NOT_FINITE = {
    "an operation": (Logged, 1, r"between `first` \(Linear\) and `last` \(Linear\), whose input it is"),
    "a gradient": (
        Rooted,
        2,
        r"going back from `last` \(Linear\).*`first` \(Linear\) was not, with (inf|nan)",
    ),
    "a layer": (
        Exploding,
        11,
        r"`burst` \(Burst\) gave the first numbers that are not finite, .* its input was finite",
    ),
}


@pytest.mark.parametrize("what", NOT_FINITE)
@pytest.mark.parametrize("given", ["made", "as it is"])
@pytest.mark.parametrize("every", [None, 3])
def test_what_is_not_finite_is_traced_to_where_it_came_up(
    what: str, given: str, every: int | None, tmp_path: Path
) -> None:
    kind, step, words = NOT_FINITE[what]
    recipe = plain(epochs=5, log_every=4, checkpoint_every=every)
    with pytest.raises(TrainError) as caught:
        run(kind if given == "made" else kind(), recipe, data=DATA, out=tmp_path)
    found = caught.value.diagnostic
    assert (found.code, found.message) == ("E0634", f"the loss of step {step} is not a finite number")
    assert re.search(words, found.notes[0]), found.notes[0]
    last = "the last good checkpoint" if step > 5 else "no checkpoint was written before"
    assert found.notes[-1].startswith(last)
    assert open_run(tmp_path).status == "not finite"


def test_a_step_that_is_too_long_is_told_from_the_layer_that_meets_it(tmp_path: Path) -> None:
    with pytest.raises(TrainError) as caught:
        run(small, plain(optimizer=SGD(lr=1e38)), data=DATA, out=tmp_path)
    found = caught.value.diagnostic
    assert re.search(r"`[02]` \(Linear\) gave|made `[02]\.(weight|bias)` not finite", found.notes[0])
    assert "a smaller learning rate" in found.helps[0]


SCRIPT = """
from pathlib import Path
import torch
from torch import nn
from netdsl.train import Display, Keep, TrainError, run
from netdsl.train.records import Epoch
from tests.small_runs import DATA, plain, small
torch.set_num_threads(1)
"""


def process(code: str, **options: Any) -> subprocess.Popen[str]:
    text = SCRIPT + code
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("room", "failing"), [(20_000, "checkpoints"), (50, "steps.csv")])
def test_a_full_disk_is_an_error_and_the_checkpoint_before_it_is_used(
    room: int, failing: str, tmp_path: Path
) -> None:
    wide = "lambda: nn.Sequential(nn.Linear(3, {width}), nn.ReLU(), nn.Linear({width}, 2))"
    whole = run(
        eval(wide.format(width=5000)),
        plain(epochs=4),
        data=DATA,
        out=tmp_path / "whole",
    )
    code = f"""
from resource import RLIMIT_FSIZE, setrlimit
model, out = {wide.format(width=5000)}, Path({str(tmp_path / "run")!r})
def watch(record):
    if isinstance(record, Epoch) and record.epoch == 2:
        setrlimit(RLIMIT_FSIZE, ({room}, {room}))
try:
    run(model, plain(epochs=4), data=DATA, out=out, keep=Keep(pace=0), on_record=watch)
except TrainError as problem:
    found = problem.diagnostic
    print(found.code, found.message, *found.notes, *found.helps, sep="\\n")
"""
    done = process(code)
    out, err = done.communicate(timeout=120)
    lines = out.splitlines()
    assert lines[0] == "E0637", err
    assert "cannot be written: file too large" in lines[1]
    assert failing in lines[1]
    newest = checkpoints(tmp_path / "run")[0]
    assert newest.name == "epoch-0002-step-00000008"
    assert lines[2] == f"the last good checkpoint is `{newest}`"
    assert "--resume" in lines[3]
    assert not list((tmp_path / "run").rglob("*.partial"))
    again = run(
        eval(wide.format(width=5000)),
        plain(epochs=4),
        data=DATA,
        out=tmp_path / "run",
        resume=True,
    )
    assert whole.last.read_bytes() == again.last.read_bytes()
    for name in ("history.csv", "steps.csv"):
        texts = [(tmp_path / part / name).read_text() for part in ("whole", "run")]
        strip = [[row[:-1] for row in csv.reader(text.splitlines())] for text in texts]
        assert strip[0] == strip[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_from_outside_saves_and_stops_with_a_message(number: int, tmp_path: Path) -> None:
    code = f"""
from netdsl.train import Display
with Display() as show:
    result = run(small, plain(epochs=100_000), data=DATA, out=Path({str(tmp_path / "run")!r}), on_record=show)
print(result.reason)
"""
    child = process(code)
    while not checkpoints(tmp_path / "run"):
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    lines = out.splitlines()
    assert lines[-1] == "interrupted"
    step = int(checkpoints(tmp_path / "run")[0].name.split("-")[-1])
    assert lines[-2] == f"interrupted and saved after {step} steps; `--resume` goes on from there"
    assert open_run(tmp_path / "run").status == "interrupted"
    rows = read_steps(tmp_path / "run" / "steps.csv")
    assert 0 <= step - rows[-1].step < 2  # a record comes every second step


def test_disks_have_limits_here() -> None:
    """What the test of a full disk rests on: a limit on files is an error of writing, and no end of the process."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    open("/tmp/netdsl-limit", "wb", buffering=0).write(b"x" * 100 + b"y")
    open("/tmp/netdsl-limit", "ab", buffering=0).write(b"z")
except OSError as problem:
    print(problem.errno)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "27", done.stderr
    assert resource.RLIMIT_FSIZE >= 0
