"""Runs in several processes are the run of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from netdsl.train.checkpoint import checkpoints
from netdsl.train.errors import TrainError
from netdsl.train.loop import fit
from netdsl.train.optimizers import SGD
from netdsl.train.processes import ALONE, Processes, join, launched_outside
from netdsl.train.records import Step, Stopped
from netdsl.train.state import Run
from tests.in_processes import CASES, begin, outcome
from tests.in_runs import train
from tests.kills import different

ROOT = Path(__file__).parent.parent
SPEC = """
model Small {
  input x: [N, 1, 8, 8]
  output x -> Flatten -> fc1: Linear(16) -> norm: BatchNorm1d -> ReLU -> fc2: Linear(10)
}
train Small {
  data = Digits(size = 8)
  batch = 64
  epochs = 2
  loss = CrossEntropyLoss
  optimizer = SGD(lr = 0.1)
  metrics = [accuracy]
}
"""


def command(*arguments: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")
    }
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=clean | {"OMP_NUM_THREADS": "1"} | environment,
    )


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_the_shares_of_a_batch_are_all_of_it_in_order(size: int) -> None:
    for count in (0, 1, 2, 7, 64):
        parts: list[range] = []
        for rank in range(size):
            process = Processes()
            process.rank, process.size = rank, size
            parts.append(process.part(count))
        assert [n for part in parts for n in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max((float((a[name] - b[name]).abs().max()) for name in a), default=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_learns(strategy: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    alone = {name: outcome(begin(ALONE, changes)) for name, changes in CASES.items()}
    alone["resumed"] = alone["averaged and clipped"]
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = command(*launcher, "-m", "tests.in_processes", strategy, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "distributed" not in done.stdout + done.stderr.lower()
    for rank in range(2):
        found: dict[str, Any] = torch.load(tmp_path / f"{strategy}-2-{rank}.pt", weights_only=True)
        for name, one in alone.items():
            assert largest_difference(one["weights"], found[name]["weights"]) < 1e-9, name
            assert largest_difference(one["averaged"], found[name]["averaged"]) < 1e-9, name
            count = len(found[name]["losses"])
            assert found[name]["losses"] == pytest.approx(one["losses"][-count:], abs=1e-6)
            for columns, expected in zip(found[name]["measured"], one["measured"], strict=True):
                assert columns == pytest.approx(expected, abs=1e-6)
    kept = torch.load(tmp_path / "state-2.pt", weights_only=True)
    again = begin(ALONE, CASES["averaged and clipped"])
    again.load(*kept)  # another number of processes: exact, as this model draws no random numbers
    assert largest_difference(alone["resumed"]["weights"], outcome(again)["weights"]) < 1e-9


@pytest.mark.slow
def test_a_run_on_two_devices_is_started_and_resumed_by_the_command_line(tmp_path: Path) -> None:
    spec, out = tmp_path / "small.net", tmp_path / "run"
    spec.write_text(SPEC)
    options = ("netdsl", "train", str(spec), "--device", "cpu", "--json")
    one = command(*options, "--out", str(tmp_path / "one"))
    two = command(*options, "--out", str(out), "--devices", "2")
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    assert json.loads(two.stderr) == []
    assert json.loads(two.stdout)["steps"] == 46
    weights = [load((folder / "last.safetensors").read_bytes()) for folder in (tmp_path / "one", out)]
    assert largest_difference(*weights) < 1e-5
    more = command(*options, "--out", str(out), "--resume", "--epochs", "3")
    assert more.returncode == 0, more.stderr
    assert json.loads(more.stdout)["steps"] == 69


def test_what_cannot_be_started_is_an_error_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    asked: list[dict[str, Any]] = [
        {"devices": 2, "strategy": "ddpp"},
        {"devices": 100_000, "device": "cpu"},
        {"devices": 2, "device": "cuda:1"},
        {"devices": 4096, "device": "cuda"},
    ]
    for options in asked:
        with pytest.raises(TrainError) as caught:
            join(**options)
        assert caught.value.diagnostic.code == "E0670"
    assert join(devices=1) is ALONE
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert launched_outside(os.environ) == (4, 4)
    with pytest.raises(TrainError) as caught:
        join(devices=2)
    assert caught.value.diagnostic.code == "E0670"


@pytest.mark.slow
def test_a_batch_smaller_than_the_processes_is_refused_once(tmp_path: Path) -> None:
    spec = tmp_path / "small.net"
    spec.write_text(SPEC)
    done = command(
        *("netdsl", "train", str(spec), "--device", "cpu", "--devices", "2", "--set", "batch=1"),
        *("--out", str(tmp_path / "run")),
    )
    assert done.returncode == 1
    assert done.stderr.count("E0671") == 1
    assert not (tmp_path / "run").exists()


def gone_on(run: Run) -> Run:
    """The same run, made anew and put where this one is."""
    again = begin(
        ALONE, {key: getattr(run.recipe, key) for key in ("epochs", "early_stop", "monitor", "optimizer")}
    )
    again.load(run.weights(), run.state())
    return again


def test_an_epoch_whose_last_step_is_saved_is_still_closed() -> None:
    stopped = begin(ALONE, {})
    for record in fit(stopped):
        if isinstance(record, Step) and record.step == stopped.total_steps:
            break
    whole, rest = outcome(begin(ALONE, {})), outcome(gone_on(stopped))
    assert rest["measured"] == whole["measured"][-1:]
    assert largest_difference(whole["weights"], rest["weights"]) == 0


def test_a_run_that_was_to_stop_early_stops_when_it_goes_on() -> None:
    stopped = begin(ALONE, {"early_stop": 1, "monitor": "valid_loss", "optimizer": SGD(lr=0.0)}, epochs=9)
    assert [record.reason for record in fit(stopped) if isinstance(record, Stopped)] == ["early stop"]
    again = gone_on(stopped)
    assert [type(record) for record in fit(again)] == [Stopped]
    assert again.step == stopped.step


HARD = ("ddp resident drawn", "ddp stream drawn", "fsdp stream plain")


@pytest.mark.slow
@pytest.mark.parametrize("case", HARD)
def test_two_processes_go_on_as_if_a_signal_to_one_had_not_stopped_them(case: str, tmp_path: Path) -> None:
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tests.in_runs")
    done = command(*launcher, str(tmp_path), *case.split())
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert different(tmp_path / "whole", tmp_path / "parts") == []
    if "plain" in case:
        torch.set_num_threads(1)
        one = train(tmp_path / "one", "resident", drawn=False)
        both = [load(path.read_bytes()) for path in (one.last, tmp_path / "whole" / "last.safetensors")]
        assert largest_difference(*both) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_command_with_its_status_after_a_checkpoint(
    devices: int, number: int, tmp_path: Path
) -> None:
    spec, out = tmp_path / "small.net", tmp_path / "run"
    spec.write_text(SPEC)
    options = (
        "train",
        str(spec),
        "--device",
        "cpu",
        "--no-report",
        "--devices",
        str(devices),
        "--out",
        str(out),
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "netdsl", *options, "--set", "epochs=100000"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    while not checkpoints(out):
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    if number == signal.SIGINT:  # as a terminal sends it
        os.killpg(child.pid, number)
    else:
        child.send_signal(number)
    printed, complaints = child.communicate(timeout=60)
    assert child.returncode == 128 + number, complaints
    assert complaints == ""
    said = printed.splitlines()[-2]
    step = int(checkpoints(out)[0].name.split("-")[-1])
    assert said == f"interrupted and saved after {step} steps; `--resume` goes on from there"
    more = command("netdsl", *options[:-1], str(out), "--resume", "--epochs", str(step // 23 + 2))
    assert more.returncode == 0, more.stderr
    assert f"from step {step}" in more.stdout


def children(pid: int) -> list[int]:
    """The processes of the run that `pid` has started."""
    found = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [child for child in found if b"--devices" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_run_with_an_error_and_the_run_goes_on(tmp_path: Path) -> None:
    spec, out = tmp_path / "small.net", tmp_path / "run"
    spec.write_text(SPEC)
    options = (
        "netdsl",
        "train",
        str(spec),
        "--device",
        "cpu",
        "--no-report",
        "--devices",
        "2",
        "--out",
        str(out),
    )
    child = subprocess.Popen(
        [sys.executable, "-m", *options, "--set", "epochs=100000"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while not checkpoints(out):
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    (other,) = children(child.pid)
    os.kill(other, signal.SIGKILL)
    _, complaints = child.communicate(timeout=60)
    assert child.returncode == 1
    assert complaints.startswith("error[E0672]")
    assert "Traceback" not in complaints
    step = int(checkpoints(out)[0].name.split("-")[-1])
    more = command(*options, "--resume", "--epochs", str(step // 23 + 2))
    assert more.returncode == 0, more.stderr
    assert f"from step {step}" in more.stdout
