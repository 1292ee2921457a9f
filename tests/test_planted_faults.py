"""Every fault of the page `09-faults.md` is refused before the first step, by code, place and help; and what the help says
mends it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from netdsl.diagnostics import pages
from tests.book import BOOK, HOME, Ending, Section, command_of, ended, lay_out, sections

FAULTS = {section.title: section for section in sections(BOOK / "09-faults.md")}
ENOUGH = 25
CODE = re.compile(r"^error\[(E\d{4})\]: ", re.MULTILINE)
PLACE = re.compile(r"^ +--> (\S+):(\d+):(\d+)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def refused(title: str) -> Ending:
    return ended(FAULTS[title])


def test_there_are_enough_faults_and_each_has_its_name() -> None:
    assert len(FAULTS) >= ENOUGH
    assert len(FAULTS) == len(list(sections(BOOK / "09-faults.md")))


@pytest.mark.parametrize("title", FAULTS)
def test_a_run_is_refused_before_its_first_step_and_leaves_nothing(title: str) -> None:
    ending = refused(title)
    assert ending.status == 1
    assert ending.left == frozenset()
    assert "epoch" not in ending.text.split("error[")[0]
    assert "Traceback" not in ending.text
    assert "fault in netdsl" not in ending.text


@pytest.mark.parametrize("title", FAULTS)
def test_the_message_has_a_code_with_a_page_a_place_and_a_help(title: str) -> None:
    for message in re.split(r"\n(?=error\[)", refused(title).text):
        code = CODE.search(message)
        assert code, message
        assert pages.page(code[1])
        assert PLACE.search(message) or names_a_file(message), message
        assert re.search(r"^ +(\||=) help: \S", message, re.MULTILINE), message


def names_a_file(message: str) -> bool:
    """What stands in no program is in a file, or in a folder of runs."""
    first = message.splitlines()[0]
    return bool(re.search(r"`[\w./-]+\.(safetensors|csv|npz)`|`runs/", first))


@pytest.mark.parametrize("title", FAULTS)
def test_the_place_is_that_of_the_words_it_marks(title: str) -> None:
    """Line and column lead into the program, or into the option of the command line."""
    for name, line, column in PLACE.findall(refused(title).text):
        text = next(
            (view.text for view in FAULTS[title].programs if name == (view.argument or "book.net")), ""
        )
        if not text:
            assert name in command_of(FAULTS[title])
            continue
        marked = text.splitlines()[int(line) - 1]
        assert int(column) <= len(marked)
        assert marked[int(column) - 1].strip()


@pytest.mark.parametrize("title", [t for t in FAULTS if "--resume" not in command_of(FAULTS[t])])
def test_a_dry_run_finds_the_same(title: str) -> None:
    again = ended(FAULTS[title], "--dry-run")
    assert (again.status, again.text, again.left) == (1, refused(title).text, frozenset())


# A fault, and what its help says: a text of the section, and what is written in its place.
MENDED = {
    "A column is missing": ("romms", "rooms"),
    "The file is missing": ('"house.csv"', '"houses.csv"'),
    "A gap in a column of numbers": ('["size",', '[Numeric("size", fill = 0),'),
    "A column of names taken as numbers": ('"price")', '"price", features = ["size", OneHot("city")])'),
    "A target that never changes": ("71,3,1", "71,3,2"),
    "Rows sorted by class, and the last ones held out": ("Split(0.5, shuffle = False)", "Split(0.5)"),
    "A class that is not listed": ('["Bonn", "Ulm"]', '["Bonn", "Kiel"]'),
    "Class numbers that start at 1": ("classes = 3", "classes = [1, 2, 3]"),
    "A category that only the test file has": ('"Kiel"]', '"Kiel"], handle_unknown = "ignore"'),
    "The target among the features": ('"price"])', '"rooms"])'),
    "No header": (
        '"houses.csv", target = "price", features = ["size", "rooms"]',
        '"houses.csv", target = 3, features = [0, 1], header = False',
    ),
    "The wrong delimiter": ('"houses.csv"', '"houses.csv", delimiter = ";"'),
    "A row that is too short": ("64,3,280", "64,3,,280"),
    "Another number of columns than the model has inputs": ("[N, 3]", "[N, 2]"),
    "Images of different sizes": ('"photos"', '"photos", size = 8'),
    "Images in colour for a model of grey ones": ("valid     =", "transform = Grayscale\n  valid     ="),
    "More classes than outputs": ("Linear(2)", "Linear(3)"),
    "A piece that is larger than the images": ("CenterCrop(12)", "Resize([12, 12])"),
    "Images of one size in training and of another where the model is measured": (
        "augment ",
        "transform = CenterCrop(6)\n  augment ",
    ),
    "The input is declared for another size": ("32, 32", "28, 28"),
    "Masks are named otherwise": ('"masks"', '"masks", mask_suffix = "_mask"'),
    "A mask of 0 and 255": ('"masks"', '"masks", values = [0, 255]'),
    "A mask has another size than its image": ('"masks"', '"masks", size = 8'),
    "A window longer than the series": ("window = 8", "window = 5"),
    "Windows are drawn at random": (", shuffle = True", ""),
    "A table of fewer rows than there are tokens": ("Embedding(40", "Embedding(50"),
    "A table of fewer rows than the vocabulary that is found": ("Embedding(5,", "Embedding(15,"),
    "More labels than outputs": ("Linear(2)", "Linear(3)"),
    "Samples of another shape": ("shape = [4]", "shape = [2, 2]"),
    "A share that is a percentage": ("= 25", "= 0.25"),
    "Classes kept in proportion where one has a single sample": (", stratified = True", ""),
    "Ten outputs for three classes": ("Linear(10)", "Linear(3)"),
    "A softmax before CrossEntropyLoss": (" -> Softmax(dim = 1)", ""),
    "No sigmoid before BCELoss": ("BCELoss", "BCEWithLogitsLoss"),
    "Scores for NLLLoss": ("Linear(3)", "Linear(3) -> LogSoftmax(dim = 1)"),
    "MSELoss on class numbers": ("loss ", "target = OneHot\n  loss "),
    "A batch of one and BatchNorm": ("batch     = 1", "batch     = 2"),
    "A last batch of one and BatchNorm": ("batch     = 17", "batch     = 18"),
    "A fixed batch in the model": ("[32, 4]", "[N, 4]"),
    "An argument that the optimizer has not": ("learning_rate", "lr"),
    "A beta of 1": ("1.0]", "0.999]"),
    "`monitor` names what is not measured": ("val_accuracy", "valid_accuracy"),
    "A pattern that no parameter matches": ("bdy.*", "body.*"),
    "Epochs and steps": ("\n  steps     = 500", ""),
    "fp16 on the CPU": ("fp16", "bf16"),
}
OF_ANOTHER_INPUT = {  # where the samples change, the model's declaration does
    "Samples of another shape": ("[N, 4]\n  output x ->", "[N, 2, 2]\n  output x -> Flatten ->"),
    "A window longer than the series": ("[N, 8, 1]", "[N, 5, 1]"),
}


@pytest.mark.parametrize("title", MENDED)
def test_what_the_help_says_mends_it(title: str) -> None:
    section = FAULTS[title]
    for old, new in (MENDED[title], OF_ANOTHER_INPUT.get(title, ("", ""))):
        if old:
            section = mended(section, old, new)
    ending = ended(section, "--dry-run")
    assert ending.status == 0, ending.text
    assert "nothing was written" in ending.text


def mended(section: Section, old: str, new: str) -> Section:
    """The section with a change in one of its texts."""
    changed = [
        replace(view, text=view.text.replace(old, new)) if view.kind != "console" else view
        for view in section.views
    ]
    assert changed != section.views, old
    return replace(section, views=changed)


@pytest.mark.slow
def test_a_process_of_its_own_says_the_same(tmp_path: Path) -> None:
    title = "A broken image"
    lay_out(FAULTS[title], tmp_path)
    before = set(tmp_path.rglob("*"))
    command = [sys.executable, "-m", "netdsl", "train", "book.net"]
    environment = {**os.environ, "PYTHONPATH": str(BOOK.parent.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.replace(str(tmp_path), HOME) == refused(title).text
    assert set(tmp_path.rglob("*")) == before
