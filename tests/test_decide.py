"""What is decided about symbolic sizes is true of every size that is tried."""

from __future__ import annotations

import doctest
import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netdsl.ir import decide
from netdsl.ir.decide import (
    Assumptions,
    Constraint,
    DimMismatch,
    assume,
    compare,
    holds,
    join,
    maximum_value,
    minimum_value,
    never_positive,
    same,
)
from netdsl.ir.dims import Dim, product, symbol, symbols
from tests.strategies_dims import LARGE, NAMES, C, H, M, N, W, in_one, size, texts, texts_in, value

# Random pairs seldom agree anywhere; a size and a multiple of its quotient do where nothing is left over.
_matched = st.tuples(in_one, st.integers(2, 6), st.integers(-3, 3), st.integers(-1, 1)).map(
    lambda p: (p[0], f"({p[1]} * (({p[0]} + {p[2]}) // {p[1]}) + {p[3]})")
)
pairs_in_one = st.tuples(in_one, in_one) | _matched


def tried(names: frozenset[str]) -> list[dict[str, int]]:
    """Every size from 1 to 200 of one free dimension, or a grid of two, and a stretch of large ones."""
    if len(names) == 1:
        (name,) = names
        return [{name: n} for n in [*range(1, 201), *range(10**6, 10**6 + 200)]]
    grid = [*range(1, 20), *LARGE]
    return [dict(zip(NAMES, pair, strict=True)) for pair in itertools.product(grid, grid)]


@settings(max_examples=60)
@given(pairs_in_one)
def test_a_comparison_in_one_dimension_is_true_of_every_size(pair: tuple[str, str]) -> None:
    a, b = pair
    comparison = compare(size(a), size(b))
    agree = {
        n: value(a, {"H": n}) == value(b, {"H": n}) for n in [*range(1, 201), *range(10**6, 10**6 + 840)]
    }
    far = {n: agrees for n, agrees in agree.items() if n >= 10**6}
    if comparison.kind == "equal":
        assert all(agree.values())
    elif comparison.kind == "different":
        assert not any(far.values())
        assert comparison.counterexample is not None
        values = {"H": 1} | comparison.counterexample
        found = value(a, values), value(b, values)
        assert found == (comparison.left, comparison.right)
        assert found[0] != found[1]
    else:
        constraint = comparison.constraint
        assert constraint is not None
        assert all(agree[n] for n in agree if constraint.holds_at({"H": n}))
        assert all(constraint.holds_at({"H": n}) for n, agrees in far.items() if agrees)
        assert any(far.values())


@settings(max_examples=60)
@given(texts, texts, st.booleans())
def test_a_comparison_in_two_dimensions_is_true_of_every_size(a: str, b: str, apart: bool) -> None:
    if apart:
        a, b = f"({a} + H)", f"({b} + W)"
    comparison = compare(size(a), size(b))
    for values in tried(frozenset(NAMES)):
        agrees = value(a, values) == value(b, values)
        if comparison.kind == "equal":
            assert agrees
        elif comparison.kind == "different":
            assert not (agrees and min(values.values()) >= 10**6)
        elif comparison.constraint is not None:
            assert agrees or not comparison.constraint.holds_at(values)


@settings(max_examples=60)
@given(texts, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), texts)
def test_a_decided_relation_holds_at_every_size(a: str, op: str, b: str) -> None:
    answer = holds(size(a), op, size(b))  # type: ignore[arg-type]
    if answer is None:
        return
    for values in tried(symbols(size(a)) | symbols(size(b))) or [{}]:
        values = {"H": 1, "W": 1} | values
        assert value(f"{a} {op} {b}", values) is answer


@settings(max_examples=60)
@given(texts)
def test_every_value_lies_within_the_bounds(text: str) -> None:
    low, high = minimum_value(size(text)), maximum_value(size(text))
    for values in tried(frozenset(NAMES)):
        found = value(text, values)
        assert low is None or low <= found
        assert high is None or found <= high


@settings(max_examples=40)
@given(in_one)
def test_bounds_in_one_dimension_are_reached(text: str) -> None:
    values = [value(text, {"H": n}) for n in range(1, 2000)]
    low, high = minimum_value(size(text)), maximum_value(size(text))
    assert low is None or low == min(values)
    assert high is None or high == max(values)


@settings(max_examples=40)
@given(in_one, st.integers(1, 12))
def test_a_given_minimum_is_the_smallest_size(text: str, least: int) -> None:
    values = [value(text, {"H": n}) for n in range(least, 2000)]
    with Assumptions(minimum={"H": least}):
        low, high = minimum_value(size(text)), maximum_value(size(text))
    assert low is None or low == min(values)
    assert high is None or high == max(values)


# left, right, kind, and the constraint or the counterexample with its two values
COMPARED: list[tuple[Dim, Dim, str, object]] = [
    ((H + 1) - 1, H, "equal", None),
    (H // 2 + (H + 1) // 2, H, "equal", None),
    (-(-H // 2), (H + 1) // 2, "equal", None),
    (H * (H + 1) // 2 * 2, H * (H + 1), "equal", None),
    (H, 2 * (H // 2), "sometimes", "H % 2 == 0"),
    (H + 1, 2 * ((H + 1) // 2), "sometimes", "H % 2 == 1"),
    (H, 32 * (H // 32), "sometimes", "H % 32 == 0"),
    (H, (H - 1) // 2 + 1, "different", ({"H": 29}, 29, 15)),
    ((H - 3) // 2 + 1, (H - 3) // 2 + 2, "different", ({"H": 29}, 14, 15)),
    (H, 7, "different", ({"H": 29}, 29, 7)),
    (H, 29, "different", ({"H": 28}, 28, 29)),
    (N, M, "sometimes", "N == M"),
    (M, N, "sometimes", "N == M"),
    (N * C * H, N * C * W, "sometimes", "H == W"),
    (2 * N, 3 * M, "sometimes", "2*N == 3*M"),
    (H // 2, W // 2 + 1, "sometimes", "H//2 == W//2 + 1"),
    (N, 2 * (M // 2), "sometimes", "N == 2*(M//2)"),
    (2 * H, 2 * W + 1, "different", ({"H": 29, "W": 28}, 58, 57)),
    (N * (H // 2), M * (H // 2), "sometimes", "N*(H//2) == M*(H//2)"),
    (H // W, 0, "sometimes", "H//W == 0"),
    (H + W, 2**22, "different", ({"H": 29, "W": 28}, 57, 2**22)),
    (N + N // 2, M // 3, "sometimes", "N + N//2 == M//3"),
    (H * W, 7 * H, "different", ({"H": 29, "W": 28}, 812, 203)),
    (H * W, H + W, "different", ({"H": 29, "W": 28}, 812, 57)),
    (H + W, 1, "different", ({"H": 29, "W": 28}, 57, 1)),
    (H // 4, (H + 1) // 4, "sometimes", "H % 4 <= 2"),
    (H // 4, (H + 3) // 4, "sometimes", "H % 4 == 0"),
    (H % 3, 0, "sometimes", "H % 3 == 0"),
    (2 * (3 * (H // 2) // 2), 3 * (H // 2), "sometimes", "H % 4 <= 1"),
    ((2 * (H // 5) + H) % 5, 0, "sometimes", "H + 2*(H//5) == 5*((H + 2*(H//5))//5)"),
    (5, 6, "different", ({}, 5, 6)),
]


@pytest.mark.parametrize(("left", "right", "kind", "fact"), COMPARED, ids=str)
def test_comparisons_say_where_sizes_agree(left: Dim, right: Dim, kind: str, fact: object) -> None:
    comparison = compare(left, right)
    assert comparison.kind == kind
    if kind == "sometimes":
        assert str(comparison.constraint) == fact
    elif kind == "different":
        assert (comparison.counterexample, comparison.left, comparison.right) == fact
    assert same(left, right) == (kind == "equal")


HELD: list[tuple[Dim, str, Dim, bool | None]] = [
    (H, ">=", 1, True),
    (H, ">", 7, None),
    (2 * H % 2, "==", 0, True),
    (H * (H + 1) % 2, "==", 0, True),
    ((7 - H % 7) % 7, "<=", 6, True),
    (H * W, ">=", 1, True),
    (H - 1, ">=", 1, None),
    (H, "==", 0, False),
    (H, "!=", 0, True),
    (2 * H + 1, "==", 2 * W, False),
    (H * W, ">=", H, True),
    ((H + 223) // 224 * 224, ">=", H, True),
    (H % 1_000_003, "<", 1_000_003, True),
    (H % 1_000_003, ">=", 5, None),
    (H % 1_000_003, "<=", 5, None),
    (-3 // W, "<", 0, True),
    (H // W, "<", 0, False),
    (H // (W - 1), ">=", 0, None),
    (H, "<", W, None),
]


@pytest.mark.parametrize(("left", "op", "right", "answer"), HELD, ids=str)
def test_relations_hold_for_all_sizes_for_none_or_depend(
    left: Dim, op: decide.Relation, right: Dim, answer: bool | None
) -> None:
    assert holds(left, op, right) is answer


def test_the_smallest_value_may_lie_before_a_dip() -> None:
    assert minimum_value((H - 1) * ((H - 4) ** 2 + 1)) == 0
    assert minimum_value(H * H - 6 * H) == -9
    assert maximum_value(6 * H - H * H) == 9


@settings(max_examples=40)
@given(texts_in(("H",), 5, divisors=(-10007, 4999, 3, 8191)))
def test_bounds_that_cannot_be_exact_are_still_bounds(text: str) -> None:
    low, high = minimum_value(size(text)), maximum_value(size(text))
    for n in [
        *range(1, 50),
        *(m * k + r for m in (4999, 8191, 10007) for k in (1, 2, 7) for r in (-1, 0, 1)),
    ]:
        found = value(text, {"H": n})
        assert low is None or low <= found
        assert high is None or found <= high


def test_a_size_below_one_everywhere_is_found() -> None:
    assert never_positive(1 - H)
    assert never_positive(-3)
    assert not never_positive(2 - H)
    assert not never_positive((H - 5) // 2 + 1)


# Conditions


def chain(levels: int, shift: int) -> list[str]:
    """The conditions of a U-shaped net: each level halves the size and comes back to meet the one above."""
    with Assumptions() as found:
        path: list[Dim] = [H]
        for _ in range(levels):
            path.append((path[-1] - shift) // 2)
        size = path.pop()
        while path:
            size = join(path.pop(), 2 * size + shift)
        assert size == H
    return [str(constraint) for constraint in found.constraints]


@pytest.mark.parametrize(
    ("levels", "shift", "conditions"),
    [
        (1, 0, ["H % 2 == 0"]),
        (4, 0, ["H % 16 == 0"]),
        (5, 0, ["H % 32 == 0"]),
        (5, 2, ["H % 32 == 30"]),
        (2, 1, ["H % 4 == 3"]),
    ],
)
def test_the_joins_of_a_unet_give_one_condition(levels: int, shift: int, conditions: list[str]) -> None:
    assert chain(levels, shift) == conditions


def test_conditions_of_different_dimensions_stay_apart_and_repeat_once() -> None:
    with Assumptions() as found:
        for _ in range(2):
            join(H, 2 * (H // 2))
            join(3 * (W // 3), W)
            join(N, M)
    assert list(map(str, found.constraints)) == ["H % 2 == 0", "W % 3 == 0", "N == M"]


def test_joins_of_one_dimension_combine_moduli() -> None:
    with Assumptions() as found:
        join(H, 2 * (H // 2))
        join(H, 3 * (H // 3))
        join(H, 4 * (H // 4))
    assert list(map(str, found.constraints)) == ["H % 12 == 0"]


def test_a_join_is_the_simpler_size() -> None:
    assert join(2 * (H // 2), H) == H
    assert join(H % 2, 0) == 0
    assert join(H // 16, 2 * (H // 32)) == H // 16


def test_a_join_against_what_was_assumed_before_is_refused() -> None:
    with Assumptions() as found:
        join(H, 2 * (H // 2))
        with pytest.raises(DimMismatch) as raised:
            join(H, 2 * ((H - 1) // 2) + 1)
    comparison = raised.value.comparison
    assert (comparison.kind, comparison.counterexample) == ("different", {"H": 28})
    assert (comparison.left, comparison.right) == (28, 27)
    assert list(map(str, found.constraints)) == ["H % 2 == 0"]


def test_a_counterexample_is_in_the_sizes_of_the_body_that_compares() -> None:
    h = symbol("h")
    with Assumptions({"h": H // 2}), pytest.raises(DimMismatch) as raised:
        join(h, h - 2)
    comparison = raised.value.comparison
    assert comparison.counterexample == {"h": comparison.left}
    assert comparison.right == comparison.left - 2


def test_sizes_that_agree_at_isolated_sizes_only_do_not_join() -> None:
    with Assumptions() as found, pytest.raises(DimMismatch) as raised:
        join(H, (H - 1) // 2 + 1)
    assert raised.value.comparison.counterexample == {"H": 29}
    assert found.constraints == []


def test_symbols_of_a_block_are_decided_by_their_meaning() -> None:
    h, w = symbol("h"), symbol("w")
    with Assumptions({"h": 2 * H, "w": H + 2}) as found:
        assert same(h, 2 * (h // 2))
        assert holds(h, ">=", 2) is True
        assert minimum_value(w) == 3
        assert join(w, 2 * (w // 2)) == w
    assert list(map(str, found.constraints)) == ["H % 2 == 0"]


def test_the_innermost_assumptions_are_current() -> None:
    with Assumptions({"h": H}) as outer:
        with Assumptions({"h": 2 * W}) as inner:
            join(symbol("h"), 4 * (symbol("h") // 4))
        join(symbol("h"), 3 * (symbol("h") // 3))
    assert list(map(str, inner.constraints)) == ["W % 2 == 0"]
    assert list(map(str, outer.constraints)) == ["H % 3 == 0"]


def test_assumed_bounds_are_solved_and_the_strongest_is_kept() -> None:
    with Assumptions({"h": H - 4}) as found:
        assume(Constraint((symbol("h") - 3) // 2 + 1, ">=", 1))
        assume(Constraint(symbol("h"), ">=", 9))
        assume(Constraint(symbol("h"), ">", 2))
        assume(Constraint(H, ">=", 1))
    assert list(map(str, found.constraints)) == ["H >= 13"]


@settings(max_examples=60)
@given(in_one, st.integers(-5, 20))
@example("(H % 7)", 3)
@example("(3 - H)", 2)
def test_a_solved_bound_says_the_same(text: str, least: int) -> None:
    with Assumptions() as found:
        assume(Constraint(size(text), ">=", least))
    for n in [*range(1, 300), *LARGE]:
        assert all(c.holds_at({"H": n}) for c in found.constraints) == (value(text, {"H": n}) >= least)


def test_conditions_are_dropped_where_nobody_asks() -> None:
    assume(Constraint(H, ">=", 5))
    assert join(H, 2 * (H // 2)) == H
    with Assumptions() as found:
        pass
    assert found.constraints == []


ADVERSARIAL: list[tuple[Dim, Dim]] = [
    (H, 1_000_003 * (H // 1_000_003)),
    (product([symbol(f"d{i}") // (i + 2) for i in range(12)]), product([symbol(f"d{i}") for i in range(12)])),
    (sum((H // p for p in (2, 3, 5, 7, 11, 13, 17, 19)), 0), H),
    (H * (H // 97) * (W // 89), W**3 + H // 83),
    ((H + W + N + C) ** 8, (H + W) ** 8 + (N + C) ** 7),
    ((H // W) // (W // N + 1), C // (H + W)),
]


@pytest.mark.parametrize(("left", "right"), ADVERSARIAL, ids=range(len(ADVERSARIAL)))
def test_a_decision_that_would_take_too_long_is_the_tolerant_one(left: Dim, right: Dim) -> None:
    comparison = compare(left, right)
    assert comparison.kind != "equal"
    assert holds(left, "==", right) is not True
    if comparison.kind == "sometimes":
        assert str(comparison.constraint)


def test_documented_examples_are_true() -> None:
    assert doctest.testmod(decide).failed == 0
