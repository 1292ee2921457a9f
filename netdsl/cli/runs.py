"""`netdsl runs`: runs beside each other, in a list, or two of them in detail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdsl.cli.console import finish, problem
from netdsl.cli.options import Json
from netdsl.diagnostics import Report
from netdsl.diagnostics.suggest import did_you_mean

if TYPE_CHECKING:
    from netdsl.train.comparison import Comparison
    from netdsl.train.runs import RunFolder

Where = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FOLDER]...", help="Runs, or what holds them, a folder each; by default, `runs`."
    ),
]
By = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="COLUMN",
        help="Sort by `started`, `best`, `seconds`, ..., or by what was measured, as `valid_loss`.",
    ),
]
SHARES = ("accuracy", "f1_score", "auroc")
RIGHT = {"epochs", "best", "at", "seconds"}  # columns of numbers


def runs(folders: Where = None, by: By = "started", as_json: Json = False) -> None:
    """List and compare runs: how far they came, their best epoch, their time, and where their recipes differ.

    Two runs, each named, are compared in detail: what differs, and what they had measured at the same epoch.
    """
    from netdsl.train.comparison import BY, columns, compared, in_order
    from netdsl.train.runs import is_run

    report, given = Report(), folders or [Path("runs")]
    found, unread = _found(given)
    if not found:
        _nothing(given, unread, report)
        finish(report, as_json)
    if len(given) == len(found) == 2 and all(map(is_run, given)) and not unread:
        both = compared(*found)
        finish(report, as_json, contrast(both), "\n".join(beside(both)))
    ordered = in_order(found, by)
    if ordered is None:
        names = ["best", *BY, *columns(found)]
        helps = did_you_mean(by, names) or [f"sort by one of {', '.join(f'`{name}`' for name in names)}"]
        problem(report, "E0002", f"`--by {by}` is no column of these runs", *helps)
        finish(report, as_json)
    different = _different(ordered)
    lines = table(ordered, different)
    if unread:
        lines += ["", *(f"{path}: not read, as {reason}" for path, reason in unread.items())]
    finish(report, as_json, _described(ordered, different, unread), "\n".join(lines))


def _described(
    ordered: Sequence[RunFolder], different: Sequence[dict[str, Any]], unread: dict[Path, str]
) -> list[dict[str, Any]]:
    rows = [described(run, keys) for run, keys in zip(ordered, different, strict=True)]
    lost = ((str(path), reason) for path, reason in unread.items())
    return [*rows, *({"folder": path, "status": "unreadable", "problem": reason} for path, reason in lost)]


def _different(ordered: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """What the recipe of each run has of its own among those of its model."""
    from netdsl.train.comparison import by_models
    from netdsl.train.runs import differing

    found: dict[Path, dict[str, Any]] = {}
    for group in by_models(ordered).values():
        keys = differing(group)
        found |= {run.path: {k: values[i] for k, values in keys.items()} for i, run in enumerate(group)}
    return [found[run.path] for run in ordered]


def _found(folders: Sequence[Path]) -> tuple[list[RunFolder], dict[Path, str]]:
    """The runs in `folders`, each once, and why others cannot be read."""
    from netdsl.train.errors import TrainError
    from netdsl.train.runs import is_run, open_run, survey

    found: dict[Path, RunFolder] = {}
    unread: dict[Path, str] = {}
    for folder in folders:
        if is_run(folder):
            try:
                run = open_run(folder)
                _ = run.epochs  # which are read when they are asked for
                here, broken = [run], {}
            except TrainError as caught:
                here, broken = [], {folder: caught.diagnostic.message}
        else:
            here, broken = survey(folder)
        found |= {run.path.resolve(): run for run in here if run.path.resolve() not in found}
        unread |= broken
    return list(found.values()), unread


def _nothing(folders: Sequence[Path], unread: dict[Path, str], report: Report) -> None:
    for path, reason in unread.items():
        problem(report, "E0639", reason, f"put the file back as it was, or remove `{path}`")
    if not unread:
        names = " and ".join(f"`{folder}`" for folder in folders)
        problem(report, "E0639", f"there are no runs in {names}", "`netdsl train` begins one in `runs`")


# ------------------------------------------------------------------------------------------------ the list


def described(run: RunFolder, different: dict[str, Any]) -> dict[str, Any]:
    """A run as plain data; numbers that JSON has not are null."""
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
        "measured": {name: _number(value) for name, value in best.measured.items()} if best else {},
        "seconds": run.seconds,
        "recipe": different,
    }


def table(found: Sequence[RunFolder], different: Sequence[dict[str, Any]]) -> list[str]:
    """A row a run. What recipes of one model do not have in common has a column each; of several models, as in
    `--set`, one column for all.
    """
    head = ["run", "model", "status", "epochs", "best", "at", "seconds"]
    rows = [
        [
            name,
            run.model or "–",
            run.status,
            f"{len(run.epochs)}/{run.record['epochs']}",
            *(best_of(run)),
            f"{run.seconds:.1f}",
        ]
        for name, run in zip(_names(found), found, strict=True)
    ]
    keys = [{k: shortened(v) for k, v in each.items() if k != "epochs"} for each in different]
    if len({run.model for run in found}) == 1:
        head += keys[0]
        rows = [[*row, *each.values()] for row, each in zip(rows, keys, strict=True)]
    elif any(keys):
        head += ["recipe"]
        said = [" ".join(f"{k}={v}" for k, v in each.items()) for each in keys]
        rows = [[*row, text] for row, text in zip(rows, said, strict=True)]
    return _aligned([head, *rows], {i for i, name in enumerate(head) if name in RIGHT})


def _names(found: Sequence[RunFolder]) -> list[str]:
    """What the runs are called: their folders, and with what holds them where that is not one."""
    one = len({run.path.resolve().parent for run in found}) == 1
    return [run.path.resolve().name if one else str(run.path) for run in found]


def _aligned(rows: Sequence[Sequence[str]], right: set[int]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def best_of(run: RunFolder) -> tuple[str, str]:
    """The best value of what is monitored, and its epoch."""
    best, (column, _) = run.best, run.monitor
    return (f"{column} {_shown(column, best.measured[column])}", str(best.epoch)) if best else ("–", "")


def shortened(value: Any, most: int = 28) -> str:
    """A value of a recipe in a cell."""
    from netdsl.train.described import said

    text = "–" if value is None else " ".join(said(value).split())
    return text if len(text) <= most else text[: most - 1] + "…"


# ------------------------------------------------------------------------------------------------ two runs


def contrast(both: Comparison) -> dict[str, Any]:
    """A comparison as plain data; each difference is the second run's value less the first one's."""
    measured = {
        name: {"values": [_number(a), _number(b)], "difference": _number(b - a)}
        for name, (a, b) in both.measured.items()
    }
    return {
        "runs": [
            described(run, {k: v[i] for k, v in both.recipe.items()}) for i, run in enumerate(both.runs)
        ],
        "recipe": both.recipe,
        "environment": both.environment,
        "same_program": both.program,
        "epoch": both.epoch,
        "measured": measured,
    }


def beside(both: Comparison) -> list[str]:
    """The lines that show a comparison: a column a run, and what the second has more."""
    first, second = both.runs
    facts = [("", *_names(both.runs), "")]
    for name, of in FACTS.items():
        facts.append((name, of(first), of(second), ""))
    facts.append(
        ("seconds", f"{first.seconds:.1f}", f"{second.seconds:.1f}", _more(second.seconds - first.seconds))
    )
    if both.epoch is not None:
        facts += [("", "", "", ""), (f"at epoch {both.epoch}", "", "", "difference")]
        facts += [
            (f"  {n}", _shown(n, a), _shown(n, b), _change(n, b - a)) for n, (a, b) in both.measured.items()
        ]
    for title, different in (("recipe", both.recipe), ("environment", both.environment)):
        if different:
            facts += [("", "", "", ""), (title, "", "", "")]
            facts += [(f"  {key}", shortened(a), shortened(b), "") for key, (a, b) in different.items()]
    lines = _aligned(facts, set())
    if not both.recipe:
        lines += ["", "their recipes are the same" + ("" if both.program else ", and their programs are not")]
    elif not both.program:
        lines += ["", "their programs are not the same"]
    return lines


def _best_in_words(run: RunFolder) -> str:
    value, epoch = best_of(run)
    return f"{value} (epoch {epoch})" if epoch else value


FACTS = {
    "model": lambda run: run.model or "–",
    "status": lambda run: run.status,
    "epochs": lambda run: f"{len(run.epochs)}/{run.record['epochs']}",
    "parameters": lambda run: f"{run.record['parameters']:,}",
    "samples": lambda run: f"{run.record['samples']['train']:,}",
    "best": _best_in_words,
}


def _shown(column: str, value: float) -> str:
    return f"{value:.2%}" if column.partition("_")[2] in SHARES else f"{value:.4g}"


def _change(column: str, difference: float) -> str:
    if column.partition("_")[2] in SHARES:
        return f"{100 * difference:+.2f} points"
    return _more(difference)


def _more(difference: float) -> str:
    return f"{difference:+.4g}"


def _number(value: float) -> float | None:
    return value if value - value == 0 else None
