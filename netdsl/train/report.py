"""A run as one page: `report.html` holds all it shows, without a script and without a file beside it."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from netdsl.ir.graph import Graph
from netdsl.train.charts import BLUE, GREYED, Line, histogram_chart, line_chart, matrix_chart, scatter_chart
from netdsl.train.described import laid_out
from netdsl.train.files import write_atomically
from netdsl.train.history import read_steps
from netdsl.train.page import brief, document, is_share, keys, row, section, share, span, table, words
from netdsl.train.recipe import Recipe
from netdsl.train.records import Epoch
from netdsl.train.runs import RunFolder, settings_of

if TYPE_CHECKING:
    from netdsl.train.findings import Findings

REPORT = "report.html"
EPOCHS = 200  # rows of the table of epochs


def write_report(
    run: RunFolder, graph: Graph | None = None, findings: Findings | None = None, missing: str = ""
) -> Path:
    """Write the page of `run` into its folder. Without a graph it has no diagram, without findings neither a
    confusion matrix nor samples; `missing` says why.
    """
    from netdsl.train.gallery import gallery

    kinds = findings.worst if findings else ()
    wrong = _confusion(findings) or (f"<p>{escape(missing)}</p>" if missing else "")
    sections = [
        section("Measured", _curves(run)),
        section("Where it is wrong", wrong),
        section("Worst samples", gallery(kinds, findings.names if findings else ()), WORST),
        '<div class="beside">',
        section("Model", diagram(graph)),
        section("Recipe", _recipe(run), "What is as it is by default is grey."),
        "</div>",
        section("Time", _timings(run, findings)),
        section("Epochs", _table_of_epochs(run)),
        section("Environment", _environment(run)),
        section("How to go on", _commands(run)),
    ]
    title = f"{run.model or 'model'} · {run.path.resolve().name}"
    path = run.path / REPORT
    write_atomically(path, document(title, _head(run), sections))
    return path


WORST = (
    "Those with the largest loss of the samples that are measured on, counted from 0, by the best weights."
)


def _head(run: RunFolder) -> str:
    best, record = run.best, run.record
    column, _ = run.monitor
    facts = [(share(column, best.measured[column]), f"{words(column)}, epoch {best.epoch}")] if best else []
    facts += [
        (f"{record['parameters']:,}", "parameters"),
        (f"{record['samples']['train']:,}", "samples learned from"),
        (f"{record['samples']['valid']:,}", "measured on"),
        (span(run.seconds), f"in {len(run.epochs):,} of {record['epochs']:,} epochs"),
    ]
    boxes = "".join(f"<div><b>{escape(a)}</b><span>{escape(b)}</span></div>" for a, b in facts)
    state = f"{run.status}, begun {record['started'].replace('T', ' ').replace('+00:00', ' UTC')}"
    message = (record.get("ended") or {}).get("message")
    return (
        f"<h1>{escape(run.model or 'model')} <small>{escape(run.path.resolve().name)}</small></h1>"
        f'<p class="state">{escape(state + (f": {message}" if message else ""))}</p>'
        f'<div class="facts">{boxes}</div>'
    )


# ------------------------------------------------------------------------------------------------- curves


def _curves(run: RunFolder) -> str:
    """A chart for each thing that is measured, the learning rate and the norm of the gradient."""
    epochs = run.epochs
    best = run.best.epoch if run.best and len(epochs) > 1 else None
    names = dict.fromkeys(name.split("_", 1)[1] for name in (epochs[-1].measured if epochs else ()))
    charts = [line_chart(words(n), _pair(epochs, n), mark=best, share=is_share(n)) for n in names]
    rates = [e.lr for e in epochs]
    steps = read_steps(run.path / "steps.csv")
    if len(steps) > len(epochs) and len({step.lr for step in steps}) > 1:
        line = Line("", [s.step for s in steps], [s.lr for s in steps])
        charts.append(line_chart("learning rate", [line], x_label="step"))
    elif len(set(rates)) > 1:
        charts.append(line_chart("learning rate", [Line("", [e.epoch for e in epochs], rates)]))
    if len(steps) > len(epochs) and len(steps) > 2:
        losses = Line("", [s.step for s in steps], [s.loss for s in steps], GREYED)
        charts.append(line_chart("training loss by steps", [losses], x_label="step"))
    norms = [(s.step, s.grad_norm) for s in steps if s.grad_norm is not None]
    if len(norms) > 2:
        line = Line("", [step for step, _ in norms], [norm for _, norm in norms])
        charts.append(line_chart("norm of the gradient", [line], x_label="step"))
    return row(charts, "charts")


def _pair(epochs: Sequence[Epoch], name: str) -> list[Line]:
    """What is measured of both parts, that of the part to measure on last and above."""
    lines: list[Line] = []
    for part, colour in (("train", GREYED), ("valid", BLUE)):
        column = f"{part}_{name}"
        known = [e for e in epochs if column in e.measured]
        if known:
            x, y = [e.epoch for e in known], [e.measured[column] for e in known]
            lines.append(Line(part, x, y, colour, part == "train"))
    return lines


# ------------------------------------------------------------------------------------------------ findings


def _confusion(findings: Findings | None) -> str:
    """The confusion matrix and its classes, or values and what they were taken for."""
    if findings is None:
        return ""
    if findings.confusion:
        return row([matrix_chart(findings.confusion, findings.names), _classes(findings)])
    if not findings.pairs:
        return ""
    targets, outputs = zip(*findings.pairs, strict=True)
    off = [output - target for target, output in findings.pairs]
    charts = [
        scatter_chart("predicted and true", targets, outputs, "true", "predicted"),
        histogram_chart("residuals", off, "predicted less true"),
        _errors(targets, off),
    ]
    return row(charts, "charts")


def _errors(targets: Sequence[float], off: Sequence[float]) -> str:
    """How far the values are off, in numbers."""
    known = [(target, error) for target, error in zip(targets, off, strict=True) if math.isfinite(error)]
    if not known:
        return ""
    count = len(known)
    mean, middle = sum(t for t, _ in known) / count, sorted(abs(e) for _, e in known)[count // 2]
    square, spread = sum(e * e for _, e in known) / count, sum((t - mean) ** 2 for t, _ in known) / count
    rows = [
        ["values", f"{count:,}"],
        ["mean of the residuals", brief(sum(e for _, e in known) / count)],
        ["mean absolute error", brief(sum(abs(e) for _, e in known) / count)],
        ["median absolute error", brief(middle)],
        ["root of the mean square", brief(math.sqrt(square))],
        ["largest error", brief(max(abs(e) for _, e in known))],
        ["variance explained (R²)", f"{1 - square / spread:.4f}" if spread else "–"],
    ]
    return table(["", ""], rows)


def _classes(findings: Findings) -> str:
    """Precision and recall of each class, the worst first and those that there are no samples of last."""
    rows: list[tuple[float, list[str]]] = []
    for i, (name, found) in enumerate(zip(findings.names, findings.confusion, strict=True)):
        hits, true, predicted = found[i], sum(found), sum(other[i] for other in findings.confusion)
        recall = hits / true if true else math.nan
        precision = hits / predicted if predicted else math.nan
        both = 2 * hits / (true + predicted) if true + predicted else math.nan
        rows.append((both, [name, f"{true:,}", f"{precision:.1%}", f"{recall:.1%}", f"{both:.1%}"]))
    rows.sort(key=lambda entry: math.inf if math.isnan(entry[0]) else entry[0])
    cells = [[cell.replace("nan%", "–") for cell in cells] for _, cells in rows]
    alone = sum(map(sum, findings.confusion)) <= findings.samples
    head = ["class", "samples" if alone else "places", "precision", "recall", "F1"]
    shown = table(head, cells[:20])
    rest = table(head, cells[20:]) if len(cells) > 20 else ""
    return shown + (
        f"<details><summary>{len(cells) - 20} more classes</summary>{rest}</details>" if rest else ""
    )


# -------------------------------------------------------------------------------------- model and recipe


def diagram(graph: Graph | None) -> str:
    """The diagram of a model as SVG for a page; a line that says so where there is no Graphviz."""
    if graph is None:
        return ""
    from netdsl.backends.dot import render
    from netdsl.backends.graphviz import DrawingError

    with TemporaryDirectory() as folder:
        try:
            text = render(graph, Path(folder) / "model.svg").read_text(encoding="utf-8")
        except DrawingError as problem:
            return f"<p>{escape(str(problem))}</p>"
    return f'<div class="diagram">{text[text.index("<svg") :]}</div>'


def _recipe(run: RunFolder) -> str:
    """Key by key, as the language writes it; what is as it is by default is grey."""
    settings = settings_of(run.recipe)
    rows = [(f"--param {name.removeprefix('param.')}", value, "") for name, value in run.parameters.items()]
    for key, value in run.recipe.items():
        if key == "model" or value is None or value == []:
            continue
        field = Recipe.model_fields.get(key)
        default = field is not None and not field.is_required() and value == field.default
        kind = "default" if default or key not in settings else ""
        rows.append((key, laid_out(key, value), kind))
    return keys(rows)


# ------------------------------------------------------------------------------------- times and the rest


def _timings(run: RunFolder, findings: Findings | None) -> str:
    epochs = run.epochs
    if not epochs:
        return ""
    each = sorted(e.seconds for e in epochs)
    samples = run.record["samples"]["train"]
    middle = each[len(each) // 2]
    rows: list[list[str]] = [
        ["all epochs", span(sum(each))],
        ["an epoch, median", span(middle)],
        ["an epoch, from and to", f"{span(each[0])} – {span(each[-1])}"],
        ["samples learned from in a second", f"{samples / middle:,.0f}" if middle else "–"],
    ]
    steps = epochs[-1].step / max(len(epochs), 1)
    if middle and steps:
        rows.append(["a step, with its share of measuring", f"{1e3 * middle / steps:.3g} ms"])
    if findings and findings.seconds:
        rows.append(
            ["samples looked at in a second, best weights", f"{findings.samples / findings.seconds:,.0f}"]
        )
    if ended := run.record.get("ended"):
        rows.append(["the last part of the run, with loading and saving", span(ended["seconds"])])
    charts = [table(["", ""], rows)]
    if len(epochs) > 2:
        line = Line("", [e.epoch for e in epochs], [e.seconds for e in epochs])
        charts.insert(0, line_chart("seconds an epoch", [line]))
    return row(charts)


def _table_of_epochs(run: RunFolder) -> str:
    """A row an epoch; of very many, some, with the best and the last."""
    epochs, best = run.epochs, run.best.epoch if run.best else 0
    if not epochs:
        return ""
    every = -(-len(epochs) // EPOCHS)
    some = [e for i, e in enumerate(epochs, 1) if i % every == 0 or i in (1, len(epochs)) or e.epoch == best]
    names = list(epochs[-1].measured)
    rows = [
        [
            str(e.epoch),
            str(e.step),
            *(share(n, e.measured.get(n, math.nan)) for n in names),
            f"{e.lr:.4g}",
            span(e.seconds),
        ]
        for e in some
    ]
    marked = [i for i, e in enumerate(some) if e.epoch == best]
    found = table(["epoch", "step", *map(words, names), "lr", "time"], rows, marked)
    if len(epochs) <= 12:
        return found
    how = f", of which one in {every} is here; all are in history.csv" if every > 1 else ""
    return f"<details><summary>{len(epochs):,} epochs{how}</summary>{found}</details>"


def _environment(run: RunFolder) -> str:
    found = {**run.environment, "seed": run.recipe.get("seed")}
    notes = found.pop("notes", [])
    rows = [(str(k), ("yes" if v else "no") if isinstance(v, bool) else str(v), "") for k, v in found.items()]
    parts = run.record.get("parts", [])
    more = "".join(f"<p>{escape(str(note))}</p>" for note in notes)
    if len(parts) > 1:
        more += "<p>resumed at " + escape(", ".join(f"step {p['step']}" for p in parts[1:])) + "</p>"
    return keys(rows) + more


def _commands(run: RunFolder) -> str:
    """What can be done with the run now, on the command line and from Python."""
    folder, python = shlex.quote(str(run.path)), repr(str(run.path))
    wanted = {
        "Measure it again": f"netdsl eval {folder}",
        "Predict what is in files": f"netdsl predict {folder} FILE...",
        "Export the best weights": f"netdsl export {folder} --to onnx",
        "From Python": f"run = netdsl.train.load_run({python})\nrun.predict([...])",
    }
    if run.origin is None:
        wanted = {"The weights": f"netdsl.load_weights(model, {str(run.path / 'best.safetensors')!r})"}
    elif run.status in ("unfinished", "interrupted", "finished"):
        more = " --epochs MORE" if run.status == "finished" else ""
        wanted = {"Go on": f"netdsl train {_program(run)}{more} --resume --out {folder}", **wanted}
    return "".join(f"<h3>{escape(k)}</h3>\n<pre>{escape(v)}</pre>" for k, v in wanted.items())


def _program(run: RunFolder) -> str:
    """The program, its parameters and the changed settings that the run began with, as the command takes them."""
    origin = run.origin or {}
    name = Path(*Path(origin["file"]).parts[1:])
    file = Path(os.path.relpath(Path(origin["folder"]) / name.name))
    if not file.is_file():
        file = run.path / origin["file"]
    params = "".join(f" --param {shlex.quote(text)}" for text in origin["parameters"])
    changes = "".join(f" {shlex.quote(text)}" for text in origin.get("changes", []))
    return f"{shlex.quote(f'{file}:{run.model}')}{params}{changes}"
