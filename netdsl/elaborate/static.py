"""Arithmetic, comparison and the built-in functions on static values: Python's meaning, with the language's limits.

A mistake raises `StaticError`, which the evaluator, who knows the place, turns into a diagnostic.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from netdsl.elaborate.values import POISON, extent, in_words, is_list, is_unknown
from netdsl.ir.decide import holds, minimum_value
from netdsl.ir.dims import DimTooLarge, Expr, symbols
from netdsl.ir.formulas import FUNCTIONS, Formula
from netdsl.ir.residues import Relation

MAX_INTEGER: Final = 2**63
MAX_ITEMS: Final = 1_000_000
MAX_STRING: Final = 100_000
MAX_NESTING: Final = 1_000  # of lists and templates in each other


class StaticError(Exception):
    """A static value that cannot be computed: the code, what is wrong, and perhaps the way out."""

    def __init__(self, code: str, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help


def checked(value: Any) -> Any:
    """`value`, if it keeps to the limits of the language; those of lists are `measured`."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise StaticError("E0308", "an integer beyond 2**63", "integers of the language have 64 bits")
    if isinstance(value, float) and math.isnan(value):
        raise StaticError("E0308", "the result is not a number")
    if isinstance(value, str) and len(value) > MAX_STRING:
        raise StaticError("E0308", f"a string of {len(value)} characters: the limit is {MAX_STRING:,}")
    if isinstance(value, complex):
        raise StaticError("E0307", "the result is not a real number")
    return value


def measured(value: Any) -> int:
    """How many values a list or template is made of, if they keep to the limits: a list of lists counts theirs."""
    count, depth = extent(value, MAX_ITEMS)
    if count > MAX_ITEMS:
        what = "a list of more than {} items" if is_list(value) else "a stage made of more than {} values"
        raise StaticError("E0308", what.format(f"{MAX_ITEMS:,}") + ", counting those inside")
    if depth > MAX_NESTING:
        raise StaticError("E0308", f"values nested more than {MAX_NESTING:,} deep")
    return count


def binary(op: str, left: Any, right: Any) -> Any:
    """`left op right`, with `op` one of `+ - * / // % **`."""
    if isinstance(left, Formula) or isinstance(right, Formula):
        return _formula(op, left, right)
    _refuse_stages(op, left, right)
    if isinstance(left, Expr) or isinstance(right, Expr):
        try:
            return _symbolic(op, left, right)
        except DimTooLarge as problem:
            raise StaticError("E0308", f"the size is too large to work with: {problem}") from None
    try:
        return checked(_OPERATORS[op](left, right))
    except ZeroDivisionError:
        raise StaticError("E0307", f"division by zero in `{left} {op} {right}`") from None
    except (TypeError, ValueError, OverflowError):
        raise StaticError(
            "E0307", f"`{op}` does not work between {in_words(left)} and {in_words(right)}"
        ) from None


def _formula(op: str, *parts: Any) -> Formula:
    """What `op` makes of numbers of which one depends on the parameter that is filled."""
    if any(isinstance(part, bool) or not isinstance(part, Formula | int | float) for part in parts):
        words = [in_words(part) for part in parts if not isinstance(part, Formula)]
        raise StaticError("E0307", f"`{op}` does not work between `fan_in` or `fan_out` and {words[0]}")
    try:
        return Formula(op, parts)
    except ValueError as problem:
        raise StaticError("E0307", str(problem)) from None


def _refuse_formulas(*values: Any) -> None:
    for value in values:
        if isinstance(value, Formula):
            raise StaticError(
                "E0409", f"a condition on `{value}`, which differs among the parameters of a rule"
            )


def _refuse_stages(op: str, *operands: Any) -> None:
    for value in operands:
        if value is not None and not isinstance(value, bool | int | float | str | tuple | Expr):
            raise StaticError(
                "E0307",
                f"`{op}` does not work on {in_words(value)}",
                "place it on a tensor first, as in `(x -> layer) + y`" if op == "+" else None,
            )


def _symbolic(op: str, left: Any, right: Any) -> Any:
    for value in (left, right):
        if isinstance(value, bool) or not isinstance(value, int | Expr):
            free = left if isinstance(left, Expr) else right
            raise StaticError(
                "E0307", f"`{op}` between the size `{free}`, known only at run time, and {in_words(value)}"
            )
    if op == "/":
        size = left if isinstance(left, Expr) else right
        raise StaticError(
            "E0307",
            f"`/` on the size `{size}`, which is known only at run time",
            "divide with `//`: sizes are integers",
        )
    if op == "**" and (isinstance(right, Expr) or right < 0 or right > 64):
        raise StaticError("E0307", f"`{left} ** {right}` is not a size")
    if op in ("//", "%") and (right == 0 or (isinstance(right, int) and right < 0)):
        raise StaticError("E0307", f"`{op}` by {right} on the size `{left}`", "divide by a positive number")
    if op in ("//", "%") and isinstance(right, Expr) and (minimum_value(right) or 0) < 1:
        raise StaticError("E0307", f"`{op}` by `{right}`, which may be zero")
    return _OPERATORS[op](left, right)


def _power(left: Any, right: Any) -> Any:
    # An integer of a million digits is the limit's business before it is computed, not after.
    integers = isinstance(left, int) and isinstance(right, int) and right > 0 and abs(left) > 1
    if integers and right * math.log2(abs(left)) > 64:
        raise StaticError("E0308", "an integer beyond 2**63", "integers of the language have 64 bits")
    return left**right


def _times(left: Any, right: Any) -> Any:
    for sequence, count in ((left, right), (right, left)):
        if isinstance(count, int) and (isinstance(sequence, str) or is_list(sequence)):
            limit = MAX_STRING if isinstance(sequence, str) else MAX_ITEMS
            if len(sequence) * count > limit:
                raise StaticError("E0308", f"{len(sequence) * count} items: the limit is {limit:,}")
    return left * right


def _divide(left: Any, right: Any) -> Any:
    return left / right


def _divide_down(left: Any, right: Any) -> Any:
    return left // right


def _modulo(left: Any, right: Any) -> Any:
    if isinstance(left, str):
        raise TypeError  # Python would format the string
    return left % right


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": _times,
    "/": _divide,
    "//": _divide_down,
    "%": _modulo,
    "**": _power,
}


def compare(op: str, left: Any, right: Any) -> bool:
    """`left op right`; a size known only at run time must give the same answer for all its values."""
    _refuse_formulas(left, right)
    if isinstance(left, Expr) or isinstance(right, Expr):
        return _compare_sizes(op, left, right)
    if op in ("==", "!="):
        return (left == right) is (op == "==")
    if op in ("in", "not in"):
        if not (is_list(right) or (isinstance(right, str) and isinstance(left, str))):
            raise StaticError("E0307", f"`{op}` needs a list on its right, found {in_words(right)}")
        return (left in right) is (op == "in")
    _refuse_symbols(op, left, right)
    try:
        return bool(_COMPARISONS[op](left, right))
    except TypeError:
        raise StaticError(
            "E0307", f"`{op}` does not compare {in_words(left)} with {in_words(right)}"
        ) from None


def _refuse_symbols(op: str, left: Any, right: Any) -> None:
    for value in (left, right):
        if is_list(value) and any(isinstance(item, Expr) for item in value):
            raise StaticError("E0409", f"`{op}` between lists with sizes that are known only at run time")


def _compare_sizes(op: str, left: Any, right: Any) -> bool:
    if op in ("in", "not in"):
        if not is_list(right):
            raise StaticError("E0307", f"`{op}` needs a list on its right, found {in_words(right)}")
        found = any(compare("==", left, item) for item in right if isinstance(item, int | Expr))
        return found is (op == "in")
    for value in (left, right):
        if isinstance(value, bool) or not isinstance(value, int | Expr):
            if op in ("==", "!="):
                return op == "!="
            raise StaticError("E0307", f"`{op}` does not compare a size with {in_words(value)}")
    answer = holds(left, _RELATIONS[op], right)
    if answer is None:
        free = sorted(symbols(left) | symbols(right))
        names = " and ".join(f"`{name}`" for name in free)
        raise StaticError(
            "E0409",
            f"`{left} {op} {right}` depends on {names}, known only at run time",
            f"fix it with `--set {free[0]}=...`, or make the condition one about static parameters",
        )
    return answer


_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_RELATIONS: Final[Mapping[str, Relation]] = {
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    "==": "==",
    "!=": "!=",
}


def truth(value: Any) -> bool:
    """The truth of a static value, Python's; a size is true when it is never zero."""
    if isinstance(value, Expr):
        return _compare_sizes("!=", value, 0)
    _refuse_formulas(value)
    if value is None or isinstance(value, bool | int | float | str) or is_list(value):
        return bool(value)
    raise StaticError("E0307", f"a condition must be static, found {in_words(value)}")


def negative(value: Any) -> Any:
    if isinstance(value, Formula):
        return _formula("-", value)
    if isinstance(value, bool) or not isinstance(value, int | float | Expr):
        raise StaticError("E0307", f"`-` does not work on {in_words(value)}")
    return checked(-value)


# ------------------------------------------------------------------------------------------ built-in functions


def _int(value: Any) -> Any:
    if isinstance(value, Expr):
        return value
    if isinstance(value, str | float | int):
        return int(value)
    raise TypeError


def _range(*bounds: Any) -> tuple[int, ...]:
    if any(isinstance(b, Expr) for b in bounds):
        free = next(b for b in bounds if isinstance(b, Expr))
        raise StaticError("E0409", f"`range` over the size `{free}`, which is known only at run time")
    if not all(isinstance(b, int) for b in bounds):
        raise TypeError
    numbers = range(*bounds)
    if len(numbers) > MAX_ITEMS:
        raise StaticError("E0308", f"a range of {len(numbers):,} numbers: the limit is {MAX_ITEMS:,}")
    return tuple(numbers)


def _extreme(pick: Callable[..., Any], op: str) -> Callable[..., Any]:
    def extreme(*values: Any) -> Any:
        first: Any = values[0] if len(values) == 1 else None
        items = first if is_list(first) else values
        if not any(isinstance(item, Expr) for item in items):
            return pick(items)
        best: Any = items[0]
        for item in items[1:]:
            best = item if compare(op, item, best) else best
        return best

    return extreme


def _total(items: Any, start: Any = 0) -> Any:
    if is_list(start) and all(map(is_list, items)):
        # Joined at once: adding a million short lists one by one would copy them a million times.
        return (*start, *(part for item in items for part in item))
    if all(isinstance(item, int | float) for item in (start, *items)):
        return sum(items, start)
    total = start
    for item in items:
        total = binary("+", total, item)
    return total


def _linspace(start: Any, stop: Any, steps: Any) -> tuple[float, ...]:
    if not isinstance(steps, int) or steps < 0 or steps > MAX_ITEMS:
        raise ValueError
    if steps == 1:
        return (float(start),)
    return tuple(start + (stop - start) * i / (steps - 1) for i in range(steps))


def _round(value: Any, digits: int | None = None) -> Any:
    return round(value) if digits is None else round(value, digits)


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool | int | float | Expr):
        return str(value)
    raise TypeError


def _float(value: Any) -> float:
    return float(value)


def _listed(items: Any) -> tuple[Any, ...]:
    if not is_list(items):
        raise TypeError
    return items


def _enumerate(items: Any, start: int = 0) -> tuple[tuple[int, Any], ...]:
    return tuple(enumerate(_listed(items), start))


def _zip(*lists: Any) -> tuple[tuple[Any, ...], ...]:
    return tuple(zip(*map(_listed, lists), strict=False))


def _reversed(items: Any) -> tuple[Any, ...]:
    return tuple(reversed(_listed(items)))


def _sorted(items: Any) -> tuple[Any, ...]:
    return tuple(sorted(_listed(items)))


BUILTINS: Final[Mapping[str, Callable[..., Any]]] = {
    "int": _int,
    "float": _float,
    "bool": truth,
    "str": _string,
    "round": _round,
    "abs": abs,
    "min": _extreme(min, "<"),
    "max": _extreme(max, ">"),
    "sum": _total,
    "len": len,
    "range": _range,
    "enumerate": _enumerate,
    "zip": _zip,
    "reversed": _reversed,
    "sorted": _sorted,
    "ceil": math.ceil,
    "floor": math.floor,
    "sqrt": math.sqrt,
    "log": math.log,
    "log2": math.log2,
    "exp": math.exp,
    "linspace": _linspace,
}


# What these give does not depend on the values in the lists, which may be tensors.
STRUCTURAL: Final = frozenset({"len", "enumerate", "zip", "reversed"})


def call_builtin(
    name: str, function: Callable[..., Any], positional: list[Any], named: dict[str, Any]
) -> Any:
    """The value of the static function called `name`; Python's errors become the language's."""
    given = (*positional, *named.values())
    if any(value is POISON or (name not in STRUCTURAL and is_unknown(value)) for value in given):
        return POISON
    if name in FUNCTIONS and any(isinstance(value, Formula) for value in positional):
        return _formula(name, *positional)
    try:
        return checked(function(*positional, **named))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError, AttributeError, IndexError):
        words = [*map(in_words, positional), *(f"{key} = {in_words(v)}" for key, v in named.items())]
        raise StaticError("E0307", f"`{name}` does not work on {', '.join(words) or 'nothing'}") from None
