"""Random sizes as Python expressions, so that Python itself says what they are worth."""

from __future__ import annotations

from hypothesis import strategies as st

from netdsl.ir.dims import Dim, symbol

N, C, H, W, M = map(symbol, "NCHWM")
NAMES = ("H", "W")
FREE: dict[str, Dim] = {name: symbol(name) for name in NAMES}
LARGE = (10**6, 10**6 + 7, 3 * 10**9 + 1)

_numbers = st.integers(-9, 9).map(lambda n: f"({n})")


def texts_in(
    names: tuple[str, ...], leaves: int, divisors: tuple[int, ...] = (-3, -2, 1, 2, 3, 4, 5, 7)
) -> st.SearchStrategy[str]:
    by = st.sampled_from(divisors).map(lambda n: f"({n})")
    return st.recursive(
        st.sampled_from(names) | _numbers,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
            st.tuples(inner, st.sampled_from(["//", "%"]), by).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
            inner.map(lambda text: f"(-{text})"),
        ),
        max_leaves=leaves,
    )


texts = texts_in(NAMES, 7)
in_one = texts_in(("H",), 5)
sizes = st.fixed_dictionaries({name: st.integers(1, 60) | st.sampled_from(LARGE) for name in NAMES})


def value(text: str, values: dict[str, int]) -> int:
    return eval(text, {"__builtins__": {}}, values)


def size(text: str) -> Dim:
    return eval(text, {"__builtins__": {}}, FREE)
