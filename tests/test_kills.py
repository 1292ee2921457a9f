"""Runs that are killed at random moments go on as if they had not been; `python -m tests.kills 40` does forty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kills import different, trials, unreadable


@pytest.mark.slow
def test_runs_that_are_killed_end_as_if_they_had_not_been(tmp_path: Path) -> None:
    kills = 0
    for trial in trials(7, tmp_path, seed=1):
        assert trial.faults == []
        assert trial.kills > 0
        kills += trial.kills
    assert kills >= 7
    # What is held against them is able to tell runs apart.
    one, other = tmp_path / "whole-0.0", tmp_path / "whole-0.05"
    assert len(different(one, other)) >= 4
    for path in (one / "best.safetensors", one / "history.csv", one / "run.json"):
        path.write_bytes(path.read_bytes()[:-9])
    found = {fault.split()[0] for fault in unreadable(one)}  # as well what the best weights are a link to
    assert {"best.safetensors", "history.csv", "run.json"} <= found
    assert json.loads((other / "run.json").read_text())["ended"]["reason"] == "finished"
