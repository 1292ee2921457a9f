"""`einsum`: sums of products of elements, named by letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from netdsl.ir.decide import DimMismatch
from netdsl.ir.dims import Dim, product
from netdsl.ir.types import Tensor
from netdsl.ops.base import Case, Function, ShapeProblem, op
from netdsl.ops.cases import pick
from netdsl.ops.onnx_parts import cast, finish, tensor_of, width
from netdsl.ops.promotion import broadcast_dim, mismatch_note
from netdsl.ops.target import AllArgs, OnnxTarget, OnnxValue, call

DOTS = "…"  # stands for `...` in a parsed term: the axes that have no letter


@dataclass(frozen=True, slots=True)
class Equation:
    """`bij,bjk->bik` taken apart: the letters of each operand and of the result."""

    operands: tuple[str, ...]
    result: str


def parse_equation(text: str) -> Equation:
    """The parts of an equation; without `->`, the result has the letters that occur once, in alphabetical order.

    Raises ShapeProblem E0413.

    >>> parse_equation("ij, jk")
    Equation(operands=('ij', 'jk'), result='ik')
    """
    plain = text.replace(" ", "").replace("...", DOTS)
    left, arrow, result = plain.partition("->")
    for part in (*left.split(","), result):
        wrong = [c for c in part if not (c.isascii() and c.isalpha()) and c != DOTS]
        if wrong or part.count(DOTS) > 1:
            found = f'"{wrong[0]}"' if wrong else "`...` twice in one term"
            raise _bad(text, f"a term is made of letters and perhaps one `...`, found {found}")
    operands = tuple(left.split(","))
    letters = "".join(operands)
    if not arrow:
        once = sorted(c for c in set(letters) - {DOTS} if letters.count(c) == 1)
        return Equation(operands, (DOTS if DOTS in letters else "") + "".join(once))
    for letter in result:
        if letter not in letters:
            name = "..." if letter == DOTS else letter
            raise _bad(text, f"`{name}` of the result is in no operand")
        if result.count(letter) > 1:
            raise _bad(text, f"`{letter}` is twice in the result")
    return Equation(operands, result)


def _bad(text: str, why: str) -> ShapeProblem:
    return ShapeProblem("E0413", f'the equation "{text}" is not one: {why}', argument="equation")


EQUATIONS = (
    *("ij,jk->ik", "bij,bjk->bik", "bhid,bhjd->bhij", "i,j->ij", "ij->ji", "ij->i", "ij,ij->"),
    *(
        "bi,ij,bj->b",
        "...ij,jk->...ik",
        "ij , jk",
        "b...d,d->b...",
        "nchw,kc->nkhw",
        "ijk->k",
        "abc,cd,de->abe",
    ),
)


@op
class Einsum(Function):
    """Sums of products: axes with the same letter go together, and those that are not in the result are summed over.

    einsum("bij,bjk->bik") : [N, 4, 8], [N, 8, 5] -> [N, 4, 5]
    einsum("n...c,c->n...") : [N, H, W, 8], [8] -> [N, H, W]
    """

    kind = "einsum"
    positional = ("equation",)
    equation: str

    def infer(self, *operands: Tensor) -> Tensor:
        equation = parse_equation(self.equation)
        self._check(equation, operands)
        sizes, dots = self._sizes(equation, operands)
        shape: list[Dim] = []
        for letter in equation.result:
            shape += dots if letter == DOTS else [sizes[letter]]
        return Tensor(tuple(shape), operands[0].dtype)

    def _check(self, equation: Equation, operands: Sequence[Tensor]) -> None:
        if len(equation.operands) != len(operands):
            raise ShapeProblem(
                "E0412",
                f'the equation "{self.equation}" has {len(equation.operands)} operands, found {len(operands)}',
                argument="equation",
            )
        for number, (term, x) in enumerate(zip(equation.operands, operands, strict=True)):
            named = len(term.replace(DOTS, ""))
            if x.rank != named if DOTS not in term else x.rank < named:
                raise ShapeProblem(
                    "E0401",
                    f"`{term.replace(DOTS, '...')}` names {named} {'axis' if named == 1 else 'axes'}, "
                    f"but the tensor has {x.rank}",
                    operand=number,
                    label=f"this is {x}",
                )
            if x.dtype != operands[0].dtype or x.dtype == "bool":
                raise ShapeProblem(
                    "E0405",
                    f"`einsum` needs numbers of one dtype, found {operands[0].dtype}"
                    + (f" and {x.dtype}" if number else ""),
                    operand=number,
                    label=f"this is {x}",
                )

    def _sizes(self, equation: Equation, operands: Sequence[Tensor]) -> tuple[dict[str, Dim], list[Dim]]:
        """The size of each letter, and the sizes that `...` stands for."""
        sizes: dict[str, Dim] = {}
        dots: list[Dim] = []
        for term, x in zip(equation.operands, operands, strict=True):
            before, _, after = term.partition(DOTS)
            middle = list(x.shape[len(before) : x.rank - len(after)])
            dots = self._join_dots(dots, middle)
            named = (*x.shape[: len(before)], *x.shape[x.rank - len(after) :]) if DOTS in term else x.shape
            for letter, size in zip(term.replace(DOTS, ""), named, strict=True):
                sizes[letter] = self._join(f"`{letter}`", sizes.get(letter, size), size)
        return sizes, dots

    def _join_dots(self, dots: list[Dim], middle: list[Dim]) -> list[Dim]:
        longer, shorter = (dots, middle) if len(dots) >= len(middle) else (middle, dots)
        front = len(longer) - len(shorter)
        return longer[:front] + [
            self._join("`...`", a, b) for a, b in zip(longer[front:], shorter, strict=True)
        ]

    def _join(self, name: str, left: Dim, right: Dim) -> Dim:
        try:
            return broadcast_dim(left, right)
        except DimMismatch as mismatch:
            raise ShapeProblem(
                "E0402", "shapes do not match in `einsum`", note=mismatch_note(name, left, right, mismatch)
            ) from None

    def torch(self, *operands: Tensor) -> Any:
        return call("torch.einsum", self.equation, AllArgs(star=True))

    def onnx(self, g: OnnxTarget, *operands: OnnxValue) -> OnnxValue:
        equation = parse_equation(self.equation)
        text = f"{','.join(equation.operands)}->{equation.result}".replace(DOTS, "...")
        dtype = tensor_of(operands[0]).dtype
        computed = width(dtype)
        return finish(
            g, g.op("Einsum", *(cast(g, x, computed) for x in operands), equation=text), computed, dtype
        )

    def cost(self, *operands: Tensor) -> Dim:
        """Operand after operand: each step visits every combination of the letters that are still there."""
        equation = parse_equation(self.equation)
        sizes, dots = self._sizes(equation, operands)
        sizes[DOTS] = product(dots)
        total: Dim = 0
        present = set(equation.operands[0])
        for number, term in enumerate(equation.operands[1:], 1):
            total = total + product(sizes[letter] for letter in sorted(present | set(term)))
            later = set(equation.result).union(*map(set, equation.operands[number + 1 :]))
            present = (present | set(term)) & later
        return total

    @classmethod
    def sample(cls, random: Random) -> Case:
        equation = pick(random, EQUATIONS)
        sizes = {letter: random.randint(1, 4) for letter in equation}
        dots = [random.randint(1, 3) for _ in range(random.randint(0, 2))]
        shapes: list[tuple[int, ...]] = []
        for term in parse_equation(equation).operands:
            shapes.append(tuple(s for c in term for s in (dots if c == DOTS else [sizes[c]])))
        return Case({"equation": equation}, tuple(map(Tensor, shapes)))
