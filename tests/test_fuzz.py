"""A few of the mutations that `python -m tests.fuzz 200000` runs in number."""

from __future__ import annotations

import pytest

from tests import fuzz


@pytest.mark.parametrize("count", [20, pytest.param(5_000, marks=pytest.mark.slow)])
def test_damaged_specs_are_refused_with_a_place_and_never_crash(count: int) -> None:
    findings = fuzz.run(seed=1, start=0, stop=count)
    assert findings.faults == []
    assert findings.counts["refused"] > count / 2


def test_a_mutation_can_be_repeated() -> None:
    assert fuzz.mutation(3, 17) == fuzz.mutation(3, 17)
