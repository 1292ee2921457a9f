"""`netdsl runs`: the runs of a folder beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdsl.cli.console import finish, problem
from netdsl.cli.options import Json
from netdsl.diagnostics import Report

if TYPE_CHECKING:
    from netdsl.train.runs import RunFolder

Where = Annotated[Path, typer.Argument(metavar="[FOLDER]", help="What holds the runs, a folder each.")]
SHARES = ("accuracy", "f1_score", "auroc")


def runs(folder: Where = Path("runs"), as_json: Json = False) -> None:
    """List and compare runs: how far they came, their best epoch, their time, and where their recipes differ."""
    from netdsl.train.runs import differing, is_run, open_run, runs_in

    report = Report()
    found = [open_run(folder)] if is_run(folder) else runs_in(folder)
    if not found:
        problem(report, "E0639", f"there are no runs in `{folder}`", "`netdsl train` begins one in `runs`")
        finish(report, as_json)
    keys = differing(found)
    result = [
        described(run, {key: values[number] for key, values in keys.items()})
        for number, run in enumerate(found)
    ]
    finish(report, as_json, result, "\n".join(table(found, keys)))


def described(run: RunFolder, different: dict[str, Any]) -> dict[str, Any]:
    """A run as plain data."""
    best, (column, _) = run.best, run.monitor
    return {
        "folder": str(run.path),
        "model": run.model,
        "status": run.status,
        "started": run.record["started"],
        "epochs": len(run.epochs),
        "of": run.record["epochs"],
        "monitor": column,
        "best": best and best.measured[column],
        "best_epoch": best and best.epoch,
        "measured": dict(best.measured) if best else {},
        "seconds": run.seconds,
        "recipe": different,
    }


def table(found: Sequence[RunFolder], keys: dict[str, list[Any]]) -> list[str]:
    """A row a run; what their recipes do not have in common has a column each."""
    head = ["run", "model", "status", "epochs", "best", "at", "seconds", *keys]
    rows = [
        [
            run.path.name,
            run.model,
            run.status,
            f"{len(run.epochs)}/{run.record['epochs']}",
            *(best_of(run)),
            f"{run.seconds:.1f}",
            *(shortened(values[number]) for values in keys.values()),
        ]
        for number, run in enumerate(found)
    ]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    right = {3, 5, 6}
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [head, *rows]
    ]


def best_of(run: RunFolder) -> tuple[str, str]:
    """The best value of what is monitored, and its epoch."""
    best, (column, _) = run.best, run.monitor
    if best is None:
        return "–", ""
    value, name = best.measured[column], column.split("_", 1)[-1]
    return f"{column} {value:.2%}" if name in SHARES else f"{column} {value:.4g}", str(best.epoch)


def shortened(value: Any, most: int = 28) -> str:
    """A value of a recipe in a cell."""
    if isinstance(value, list):
        text = "[" + ", ".join(item["kind"] if isinstance(item, dict) else str(item) for item in value) + "]"
    else:
        text = "–" if value is None else str(value)
    return text if len(text) <= most else text[: most - 1] + "…"
