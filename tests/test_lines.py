"""The table of `specs/README.md` is what `benchmarks/lines.py` counts, and no family is longer than it may be."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import netdsl
from benchmarks import lines
from benchmarks.lines import Count, Family
from netdsl.diagnostics import Report
from netdsl.source import Source
from netdsl.syntax import parse, print_file

needs_references = pytest.mark.skipif(
    not (find_spec("torchvision") and find_spec("transformers")),
    reason="torchvision and transformers are counted",
)
# Specs that no file of Python is beside: to learn by, and parts that others use.
ALONE = {
    "blocks.net",
    "cifar2.net",
    "covid.net",
    "diabetes.net",
    "dropout.net",
    "imdb.net",
    "inception.net",
    "lenet.net",
    "linear.net",
    "logistic.net",
    "mlp.net",
    "mnist_cnn.net",
    "parabola.net",
    "parts.net",
    "residual.net",
    "rings.net",
    "softmax.net",
    "titanic.net",
    "unet.net",
}

PYTHON = '''"""A module.

Its second line.
"""

from torch import nn  # a comment

_META = {
    "size": 1,
}


class M_Weights(WeightsEnum):
    """Weights."""

    V1 = 2


@decorated(
    weights=1
)
def build():
    # a comment

    return """a
string"""


def other():
    return 1
'''


@needs_references
def test_the_table_in_the_readme_is_the_one_that_is_counted_now() -> None:
    text = lines.README.read_text(encoding="utf-8")
    assert lines.with_table(text, lines.table(lines.counts())) == text, (
        "run `python benchmarks/lines.py --update`"
    )


@pytest.mark.skipif(not find_spec("torchvision"), reason="torchvision is counted")
@pytest.mark.parametrize(
    "family", [f for f in lines.FAMILIES if f.has_bar and f.path.exists()], ids=lambda family: family.spec
)
def test_a_family_is_at_most_a_third_as_long_as_in_torchvision(family: Family) -> None:
    found = lines.count(family)
    assert found.ours <= found.theirs / 3
    assert found.models, "a family has models that need no arguments"


@pytest.mark.skipif(not find_spec("torchvision"), reason="torchvision is counted")
def test_what_is_left_out_of_the_count_is_there_to_be_left_out() -> None:
    for family in lines.FAMILIES:
        if family.has_bar:
            texts = [lines.module_text(family.package, module) for module in family.modules]
            names = {getattr(node, "name", None) for text in texts for node in ast.parse(text).body}
            assert names >= {*family.without}


def test_every_spec_is_counted_or_has_nothing_beside_it() -> None:
    assert {path.name for path in lines.SPECS.glob("*.net")} <= {f.spec for f in lines.FAMILIES} | ALONE


def test_comments_docstrings_and_blank_lines_do_not_count() -> None:
    assert lines.python_lines(PYTHON) == (9, 14)
    assert lines.python_lines(PYTHON, without=("other",)) == (7, 12)
    assert lines.spec_lines("# one\n\n## two\nmodel M {  # three\n  input x: [N]\n}\n") == 3


def test_only_the_table_is_rewritten() -> None:
    text = f"before\n{lines.START}old\n{lines.END}after\n"
    assert lines.with_table(text, "new\n") == f"before\n{lines.START}\nnew\n\n{lines.END}after\n"
    assert lines.with_table(lines.with_table(text, "new\n"), "new\n") == lines.with_table(text, "new\n")


@pytest.mark.parametrize(("ours", "theirs", "long"), [(33, 100, False), (34, 100, True), (1, 3, False)])
def test_a_family_that_is_too_long_fails_the_script(
    ours: int, theirs: int, long: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    family = lines.FAMILIES[0]
    monkeypatch.setattr(lines, "counts", lambda: [Count(family, ours, theirs, theirs, ("M",))])
    monkeypatch.setattr(lines.sys, "argv", ["lines.py"])
    assert lines.main() == int(long)
    assert (family.spec in capsys.readouterr().err) == long


def test_the_program_in_the_readme_is_clean_and_formatted(tmp_path: Path) -> None:
    (program,) = re.findall(r"```\n(import.*?)```", lines.README.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "small.net"
    path.write_text(program, encoding="utf-8")
    assert [problem.message for problem in netdsl.check(path)] == []
    assert print_file(parse(Source(program), Report())) == program
