"""`netdsl ops`: the reference of the operations, read off their classes."""

from __future__ import annotations

from inspect import cleandoc
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdsl.cli.console import finish, problem
from netdsl.cli.options import Json
from netdsl.diagnostics import Report
from netdsl.diagnostics.suggest import did_you_mean

if TYPE_CHECKING:
    from netdsl.ops import Op


def ops(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A layer or function, as `Conv2d`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Describe an operation; without a name, list them all."""
    from netdsl.ops import registry

    report = Report()
    if name is None:
        firsts = {
            kind: _doc(registry[kind]).partition("\n")[0] for kind in sorted(registry, key=_layers_first)
        }
        width = max(map(len, firsts))
        finish(report, as_json, firsts, "\n".join(f"{k:<{width}}  {first}" for k, first in firsts.items()))
    if name not in registry:
        helps = did_you_mean(name, registry) or ("`netdsl ops` lists all operations",)
        problem(report, "E0003", f"no operation is called `{name}`", *helps)
        finish(report, as_json)
    entry = _entry(registry[name])
    lines = [entry["signature"], "", entry["doc"]]
    finish(report, as_json, entry, "\n".join(lines))


def _layers_first(kind: str) -> tuple[bool, str]:
    return kind[0].islower(), kind.lower()


def _doc(op: type[Op]) -> str:
    return cleandoc(op.__doc__ or "")


def _entry(op: type[Op]) -> dict[str, Any]:
    """The facts of an operation as plain data."""
    from netdsl.ops import operands_of
    from netdsl.ops.base import show

    operands = operands_of(op)
    names = [*operands.names, *(["*more"] if operands.rest else [])]
    arguments = [
        {
            "name": field,
            "required": info.is_required(),
            "default": None if info.is_required() else show(info.default),
            "positional": field in op.positional,
            "inferred": field in op.inferred,
        }
        for field, info in op.model_fields.items()
    ]
    inside = ", ".join(
        str(a["name"]) if a["required"] else f"{a['name']} = {a['default']}"
        for a in arguments
        if not a["inferred"]
    )
    signature = f"({', '.join(names)}) -> {op.kind}({inside})"
    return {
        "name": op.kind,
        "signature": signature,
        "operands": names,
        "arguments": arguments,
        "doc": _doc(op),
    }
