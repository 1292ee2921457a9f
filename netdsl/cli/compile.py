"""`netdsl compile`: a model as something that runs elsewhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netdsl.cli.console import busy, finish, problem
from netdsl.cli.files import replacing, write
from netdsl.cli.options import Extern, Json, MaybeWeights, Out, Params, Sizes, Target
from netdsl.diagnostics import Report

if TYPE_CHECKING:
    from netdsl.cli.program import Request


class Kind(StrEnum):
    """What can be made of a model."""

    python = "python"
    module = "module"
    torchscript = "torchscript"
    pt2 = "pt2"
    onnx = "onnx"
    json = "json"


To = Annotated[Kind, typer.Option("--to", help="What to make.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the weights, where no file has them.")]
TEXTS = (Kind.python, Kind.json)


def compile(
    file: Target,
    to: To,
    out: Out = None,
    param: Params = None,
    weights: MaybeWeights = None,
    sizes: Sizes = None,
    seed: Seed = 0,
    as_json: Json = False,
    allow_extern: Extern = False,
) -> None:
    """Make Python, TorchScript, .pt2 or ONNX of a model.

    python: the source, to stdout without OUT. json: the typed graph. module: a Python package with source and
    weights, for `import`. pt2: a program of torch.export. torchscript: torch calls it deprecated; pt2 is its
    successor. What has weights is run beside the original on the same inputs, and kept where they differ by
    no more than 1e-4.
    """
    from netdsl.cli.program import request

    report = Report()
    if out is None and to not in TEXTS:
        problem(report, "E0002", f"`--to {to.value}` writes a file", "say where: `--out OUT`")
    if weights is not None and to in TEXTS:
        problem(report, "E0002", f"`--to {to.value}` has no weights in it", "leave `--weights` out")
    asked = None if report.has_errors else request(file, report, param, sizes, allow_extern)
    if asked is None:
        finish(report, as_json)
    if out is None or to in TEXTS:
        write_text(asked, to, out, report, as_json)
    else:
        write_weights(asked, to, out, weights, seed, report, as_json)


def write_text(asked: Request, to: Kind, out: Path | None, report: Report, as_json: bool) -> None:
    """Python or JSON, to a file or to stdout."""
    if to is Kind.python:
        from netdsl.backends.torch_source import source

        text = source(asked.graph)
    else:
        from netdsl.ir.schema import to_json

        text = to_json(asked.graph, indent=2) + "\n"
    if out is None:
        finish(report, as_json, {"model": asked.model, "to": to.value, "text": text}, text)
    write(out, text)
    finish(report, as_json, {"model": asked.model, "to": to.value, "out": str(out)}, f"{out}: {asked.model}")


def write_weights(
    asked: Request, to: Kind, out: Path, weights: str | None, seed: int, report: Report, as_json: bool
) -> None:
    """An export, with the largest difference from the original."""
    with busy(f"compiling {asked.model} to {to.value}"):
        from netdsl.cli.exports import EXPORTS, module

        with replacing(out) as made:
            done = EXPORTS[to.value](asked.graph, module(asked, weights, seed), made)
    result = {
        "model": asked.model,
        "to": to.value,
        "out": str(out),
        "largest_difference": done.largest_difference,
        "sizes": [dict(sizes) for sizes in done.sizes],
    }
    tried = " and ".join(
        ", ".join(f"{k} = {v}" for k, v in sizes.items()) or "its sizes" for sizes in done.sizes
    )
    difference = f"largest difference {done.largest_difference:.1e} at {tried}"
    fresh = "" if weights else " with fresh weights"
    finish(report, as_json, result, f"{out}: {asked.model}{fresh}, {difference}")
