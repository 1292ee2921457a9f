"""The examples run, and the README shows what the tool does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import netdsl
from netdsl.diagnostics import Report
from netdsl.source import Source
from netdsl.syntax import parse, print_file

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def run(*arguments: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_walk_through_runs(tmp_path: Path) -> None:
    printed = run("examples/walkthrough.py", str(tmp_path))
    assert "E0402" in printed
    assert "largest difference" in printed
    assert {path.name for path in tmp_path.iterdir()} >= {"lenet.py", "lenet.svg", "lenet.onnx"}


@pytest.mark.slow
def test_a_compiled_model_learns_in_a_loop_of_ones_own() -> None:
    printed = run("examples/own_loop.py")
    accuracy = float(printed.split()[-1])
    assert accuracy > 0.9


def test_the_readme_shows_the_spec_and_its_python() -> None:
    spec = (ROOT / "specs" / "lenet.net").read_text(encoding="utf-8")
    model = spec.split("\ntrain ")[0].strip()
    assert model in README
    assert netdsl.load(ROOT / "specs" / "lenet.net").LeNet.source().strip() in README


def test_the_readme_lists_the_rooms_there_are() -> None:
    rooms = {
        path.name for path in (ROOT / "netdsl").iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    listed = set(re.findall(r"`netdsl/(\w+)/`", README))
    assert rooms == listed


def test_the_examples_of_the_language_in_the_readme_are_formatted() -> None:
    blocks = re.findall(r"```\n(##.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        assert print_file(parse(Source(block), Report())) == block
