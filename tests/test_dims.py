"""Symbolic sizes behave like integers, have one normal form, and read as a user writes them."""

from __future__ import annotations

import copy
import doctest
import pickle

import pytest
from hypothesis import assume as given_that
from hypothesis import given
from hypothesis import strategies as st

from netdsl.ir import dims
from netdsl.ir.dims import (
    Dim,
    DimTooLarge,
    Expr,
    evaluate,
    exact_div,
    product,
    substitute,
    symbol,
    symbols,
)
from tests.strategies_dims import NAMES, C, H, N, W, size, sizes, texts, value


def rebuilt(dim: Dim) -> Dim:
    """`dim` put together again from its parts by the public operators."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for powers, factor in dim.terms:
        term: Dim = factor
        for atom, power in powers:
            if isinstance(atom, dims.Symbol):
                base: Dim = symbol(atom.name)
            else:
                base = rebuilt(atom.numerator) // rebuilt(atom.denominator)
            term = base**power * term
        total = term + total
    return total


@given(texts, sizes)
def test_a_size_is_worth_what_python_says(text: str, values: dict[str, int]) -> None:
    assert evaluate(size(text), values) == value(text, values)


@given(texts, texts, sizes)
def test_sizes_divide_like_integers(top: str, bottom: str, values: dict[str, int]) -> None:
    # A quotient of equal factors is simplified, so where the divisor is zero nothing is promised.
    given_that(value(bottom, values) != 0)
    divisor = size(bottom)
    given_that(isinstance(divisor, Expr) or divisor != 0)
    try:
        quotient, remainder = size(top) // divisor, size(top) % divisor
        found = evaluate(quotient, values), evaluate(remainder, values)
    except ZeroDivisionError:
        given_that(False)
        return
    assert found == divmod(value(top, values), value(bottom, values))


@given(texts, st.dictionaries(st.sampled_from(NAMES), texts), sizes)
def test_substituting_first_and_evaluating_first_are_the_same(
    text: str, meanings: dict[str, str], values: dict[str, int]
) -> None:
    replaced = substitute(size(text), {name: size(meaning) for name, meaning in meanings.items()})
    inner = values | {name: value(meaning, values) for name, meaning in meanings.items()}
    assert evaluate(replaced, values) == value(text, inner)


@given(texts, sizes)
def test_the_text_of_a_size_parses_back_to_it(text: str, values: dict[str, int]) -> None:
    shown = str(size(text))
    assert value(shown, values) == value(text, values)
    assert size(shown) == size(text)


@given(texts)
def test_the_normal_form_of_a_normal_form_is_itself(text: str) -> None:
    dim = size(text)
    assert rebuilt(dim) == dim
    assert hash(rebuilt(dim)) == hash(dim)


@given(texts, texts, texts)
def test_sums_and_products_do_not_depend_on_their_order(a: str, b: str, c: str) -> None:
    x, y, z = size(a), size(b), size(c)
    assert x + y == y + x
    assert (x + y) + z == x + (y + z)
    assert x * y == y * x
    assert x * (y + z) == x * y + x * z
    assert x - x == 0


@given(texts)
def test_a_size_without_free_dimensions_is_an_int(text: str) -> None:
    dim = size(text)
    assert isinstance(dim, int) == (not symbols(dim))
    assert isinstance(substitute(dim, {"H": 5, "W": 3}), int)


@given(texts, texts)
def test_an_exact_quotient_times_the_divisor_is_the_dividend(a: str, b: str) -> None:
    x, y = size(a), size(b)
    given_that(y != 0)
    quotient = exact_div(x, y)
    assert quotient is None or quotient * y == x
    assert exact_div(x * y, y) == x


@given(texts)
def test_copies_and_pickles_are_equal(text: str) -> None:
    dim = size(text)
    assert pickle.loads(pickle.dumps(dim)) == dim == copy.deepcopy(dim)


SIMPLIFIED = [
    ((H + 1) - 1, H),
    (2 * H // 2, H),
    ((4 * H + 3) // 4, H),
    ((2 * H + W) // 2, H + W // 2),
    ((H // 2 + 1) // 3, (H + 2) // 6),
    ((W - H // 2) // 3, (2 * W - H + 1) // 6),
    ((2 * H + 1) // 4, H // 2),
    (H * W // W, H),
    ((H * W + 3 * W) // W, H + 3),
    (-(-H // 3), (H + 2) // 3),
    ((7 - H % 7) % 7, -H % 7),
    (H % 6 % 3, H % 3),
    ((N * C * H) // (C * N), H),
    ((H + W) * (H - W), H**2 - W**2),
    ((H**2 - W**2) // (H + W), H - W),
]


@pytest.mark.parametrize(("left", "right"), SIMPLIFIED, ids=str)
def test_equal_sizes_have_the_same_normal_form(left: Dim, right: Dim) -> None:
    assert left == right


def test_nested_layers_of_stride_two_give_one_division() -> None:
    dim: Dim = H
    for _ in range(4):
        dim = (dim + 2 - 2 - 1) // 2 + 1
    assert str(dim) == "(H + 15)//16"


SHOWN = [
    ((H - 3) // 2 + 1, "(H - 3)//2 + 1"),
    ((H - 7) // 2 + 1, "(H - 7)//2 + 1"),
    ((H + 2 - 3) // 2 + 1, "(H + 1)//2"),
    (2 * H, "2*H"),
    (H // 2, "H//2"),
    (H * N * C, "N*C*H"),
    (H % 2, "H % 2"),
    ((H + 1) % 2, "(H + 1) % 2"),
    ((7 - H % 7) % 7, "-H % 7"),
    (7 - H % 7, "7 - H % 7"),
    (3 * (H % 7), "3*(H % 7)"),
    (-(H % 7), "-(H % 7)"),
    (-(H // 2), "-(H//2)"),
    (N * (H % 7), "N*(H % 7)"),
    (2 * (H // 2), "2*(H//2)"),
    (64 * ((H - 3) // 2 + 1) * ((W - 3) // 2 + 1), "64*((H - 3)//2 + 1)*((W - 3)//2 + 1)"),
    (N * H + N, "N*(H + 1)"),
    (2 * H + 4, "2*H + 4"),
    (8 - H, "8 - H"),
    (H // W, "H//W"),
    (3 // W, "3//W"),
    (H // (2 * W), "H//(2*W)"),
    ((H // W) // 2, "(H//W)//2"),
    (H**2 // 2, "H**2//2"),
    ((H // 2) ** 2, "(H//2)**2"),
]


@pytest.mark.parametrize(("dim", "shown"), SHOWN, ids=[shown for _, shown in SHOWN])
def test_sizes_are_shown_as_a_user_writes_them(dim: Dim, shown: str) -> None:
    assert str(dim) == shown


@pytest.mark.parametrize(
    "operation",
    [
        lambda: H + 1.5,
        lambda: 1.5 * H,
        lambda: H // 2.0,
        lambda: 2.0 // H,
        lambda: H / 2,
        lambda: H**0.5,
        lambda: H < 2,
        lambda: bool(H),
        lambda: range(H),
    ],
)
def test_what_sizes_cannot_do_is_a_type_error(operation: object) -> None:
    with pytest.raises(TypeError):
        operation()  # type: ignore[operator]


def test_division_by_zero_is_python_s() -> None:
    for operation in (lambda: H // 0, lambda: H % 0, lambda: evaluate(1 // (H - 1), {"H": 1})):
        with pytest.raises(ZeroDivisionError):
            operation()


def _ballooning() -> list[tuple[str, object]]:
    def power_tower() -> Dim:
        return product([(H + W + i) ** 9 for i in range(60)])

    def doubling() -> Dim:
        dim: Dim = H
        for _ in range(200):
            dim = (dim // 3) * (dim // 5) + dim
        return dim

    def nesting() -> Dim:
        dim: Dim = H
        for _ in range(500):
            dim = (3 * dim + 1) // 2 * 3 // 5
        return dim

    def digits() -> Dim:
        dim: Dim = H
        for _ in range(10_000):
            dim = dim * 2**60
        return dim

    def many_symbols() -> Dim:
        return product([sum((symbol(f"d{i}_{j}") for j in range(9)), 0) for i in range(9)])

    return [(f.__name__, f) for f in (power_tower, doubling, nesting, digits, many_symbols)]


@pytest.mark.parametrize("grow", [grow for _, grow in _ballooning()], ids=[name for name, _ in _ballooning()])
def test_a_size_that_balloons_is_refused(grow: object) -> None:
    with pytest.raises(DimTooLarge):
        grow()  # type: ignore[operator]


def test_a_power_too_high_is_refused_before_it_is_computed() -> None:
    with pytest.raises(DimTooLarge):
        H**1_000_000_000


def test_documented_examples_are_true() -> None:
    assert doctest.testmod(dims).failed == 0
