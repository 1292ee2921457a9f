"""What a block sees of its caller's sizes, and the key under which its instances are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from netdsl.elaborate.values import Declared, Results, TensorValue, has_parts, is_list, with_parts
from netdsl.ir.dims import Dim, Expr, substitute, symbol, symbols
from netdsl.ir.types import Tensor
from netdsl.syntax import tree


class Localised:
    """The sizes of a block's inputs in the block's own symbols.

    A size that is symbolic in the caller becomes one symbol of the block, named as the block's own annotation names it.
    `outer` says what each symbol is in the caller's symbols, `meaning` what it is in the root model's.
    """

    def __init__(self, types: Sequence[Any], declared: Declared, caller: Mapping[str, Dim]) -> None:
        self.outer: dict[str, Dim] = {}
        self.meaning: dict[str, Dim] = {}
        self._names: dict[Dim, str] = {}
        self._caller = caller
        shapes = [s.shape for s in declared.decl.body if isinstance(s, tree.Input)]
        taken = {p.name.id for p in declared.decl.parameters}
        localised: list[Tensor | None] = []
        for index, type in enumerate(types):
            if type is None:  # an input that is left out
                localised.append(None)
                continue
            wished = _wished(shapes[index] if index < len(shapes) else None, len(type.shape), taken)
            dims = tuple(self._local(dim, name) for dim, name in zip(type.shape, wished, strict=True))
            localised.append(Tensor(dims, type.dtype))
        self.types = tuple(localised)

    def _local(self, dim: Dim, wished: str | None) -> Dim:
        if isinstance(dim, int):
            return dim
        if dim not in self._names:
            name = self._fresh(wished or (str(dim) if str(dim).isidentifier() else "d"))
            self._names[dim] = name
            self.outer[name] = dim
            self.meaning[name] = substitute(dim, self._caller) if self._caller else dim
        return symbol(self._names[dim])

    def _fresh(self, stem: str) -> str:
        name, count = stem, 1
        while name in self.outer:
            count += 1
            name = f"{stem}{count}"
        return name

    def static(self, value: Any) -> Any:
        """A value of the caller, its sizes in the block's symbols; those of lists and templates too."""
        if has_parts(value):
            return with_parts(value, self.static)
        if not isinstance(value, Expr):
            return value
        if value in self._names:
            return symbol(self._names[value])
        known: dict[str, Dim] = {
            str(dim): symbol(name) for dim, name in self._names.items() if str(dim).isidentifier()
        }
        missing = symbols(value) - set(known)
        for name in sorted(missing):
            # No input of the block has this size: it stays a symbol of its own, which the caller passes in.
            known[name] = self._local(symbol(name), name)
        return substitute(value, known)


def _wished(shape: tree.Shape | None, rank: int, taken: set[str]) -> list[str | None]:
    """The names a block's annotation gives to the axes of an input."""
    if shape is None or any(isinstance(d, tree.Constant) for d in shape.dims) or len(shape.dims) != rank:
        return [None] * rank
    return [
        d.id if isinstance(d, tree.Name) and d.id not in taken and d.id != "_" else None for d in shape.dims
    ]


def exact(value: Any) -> Any:
    """A key under which `1`, `1.0` and `True` differ, for values and for the templates that hold them."""
    if is_list(value):
        return tuple(map(exact, value))
    if isinstance(value, bool | int | float):
        return type(value).__name__, value
    if is_dataclass(value) and not isinstance(value, type | TensorValue | Results | Declared):
        compared = [exact(getattr(value, f.name)) for f in fields(value) if f.compare]
        return type(value).__name__, tuple(compared)
    return value
