"""What all tests share: the Hypothesis profile, the `--update` option and the folder of real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("NETDSL_DATA", ROOT.parent / "shared" / "data"))

# The first call into torch takes seconds, which a deadline would fail. In CI the examples are fixed.
settings.register_profile("netdsl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("netdsl"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "netdsl")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite expected text (book, snapshots)")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether expected text is to be rewritten instead of compared."""
    return bool(request.config.getoption("--update"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, in the open, what needs the data folder where there is none."""
    if DATA.is_dir():
        return
    for item in items:
        if item.get_closest_marker("data"):
            item.add_marker(pytest.mark.skip(reason=f"no data folder at {DATA}"))


@pytest.fixture
def data_folder() -> Path:
    """The folder of real data (MNIST and others); a test that uses it is marked `data`."""
    return DATA


def pytest_itemcollected(item: pytest.Item) -> None:
    """A report knows its test by properties, which travel from the processes of xdist, where marks do not."""
    if mark := item.get_closest_marker("zoo"):
        item.user_properties.append(("zoo", mark.args[0]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many models of the zoo agree with their references: `torchvision classifiers: 80 of 80`."""
    counts: dict[str, list[bool]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for key, group in getattr(report, "user_properties", []):
                if key == "zoo" and report.when == "call":
                    counts.setdefault(group, []).append(outcome == "passed")
    for group, passed in counts.items():
        terminalreporter.write_line(f"{group}: {sum(passed)} of {len(passed)}")
