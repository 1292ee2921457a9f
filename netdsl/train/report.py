"""A run as one page: `report.html` holds all it shows, without a script and without a file beside it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from netdsl.elaborate.settings import Value, shown
from netdsl.ir.graph import Graph
from netdsl.train.charts import BLUE, GREYED, Line, histogram_chart, line_chart, matrix_chart, scatter_chart
from netdsl.train.files import write_atomically
from netdsl.train.history import read_steps
from netdsl.train.recipe import FAMILIES, Recipe
from netdsl.train.records import Epoch
from netdsl.train.runs import RunFolder, settings_of

if TYPE_CHECKING:
    from netdsl.train.findings import Findings, Worst

REPORT = "report.html"
SHARES = ("accuracy", "f1_score", "auroc", "precision", "recall")  # shown as percentages
COLUMNS = 24  # of a row of a table, in the list of the worst samples


def write_report(
    run: RunFolder, graph: Graph | None = None, findings: Findings | None = None, missing: str = ""
) -> Path:
    """Write the page of `run` into its folder. Without a graph it has no diagram, without findings neither a
    confusion matrix nor samples; `missing` says why.
    """
    parts = [
        _section("Measured", _curves(run)),
        _section(
            "Where it is wrong", _confusion(findings) or (f"<p>{escape(missing)}</p>" if missing else "")
        ),
        _section("Worst samples", _samples(findings)),
        _section("Model", diagram(graph)),
        _section("Recipe", _recipe(run)),
        _section("Time", _timings(run, findings)),
        _section("Epochs", _table_of_epochs(run)),
        _section("Environment", _environment(run)),
    ]
    title = escape(f"{run.model or 'model'} · {run.path.resolve().name}")
    page = PAGE.format(title=title, style=STYLE, head=_head(run), body="\n".join(p for p in parts if p))
    path = run.path / REPORT
    write_atomically(path, page)
    return path


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{content}\n</section>" if content else ""


def _head(run: RunFolder) -> str:
    best, record = run.best, run.record
    column, _ = run.monitor
    facts = [
        (_share(column, best.measured[column]), f"{_words(column)}, epoch {best.epoch}")
        if best
        else ("", ""),
        (f"{record['parameters']:,}", "parameters"),
        (f"{record['samples']['train']:,}", "samples learned from"),
        (f"{record['samples']['valid']:,}", "measured on"),
        (_span(run.seconds), f"in {len(run.epochs)} of {record['epochs']} epochs"),
    ]
    boxes = "".join(f"<div><b>{escape(a)}</b><span>{escape(b)}</span></div>" for a, b in facts if a)
    state = f"{run.status}, begun {record['started'].replace('T', ' ').replace('+00:00', ' UTC')}"
    return (
        f"<h1>{escape(run.model or 'model')} <small>{escape(run.path.resolve().name)}</small></h1>"
        f'<p class="state">{escape(state)}</p><div class="facts">{boxes}</div>'
    )


# ------------------------------------------------------------------------------------------------- curves


def _curves(run: RunFolder) -> str:
    """A chart for each thing that is measured, the learning rate and the norm of the gradient."""
    best = run.best.epoch if run.best and len(run.epochs) > 1 else None
    charts = [
        line_chart(_words(name), _pair(run.epochs, name), mark=best) for name in measured_names(run.epochs)
    ]
    rates = [e.lr for e in run.epochs]
    if len(set(rates)) > 1:
        charts.append(line_chart("learning rate", [Line("", [e.epoch for e in run.epochs], rates)]))
    steps = _thinned(read_steps(run.path / "steps.csv"))
    if len(steps) > len(run.epochs) and len(steps) > 2:
        losses = Line("", [s.step for s in steps], [s.loss for s in steps], GREYED)
        charts.append(line_chart("training loss by steps", [losses], x_label="step"))
    norms = [(s.step, s.grad_norm) for s in steps if s.grad_norm is not None]
    if len(norms) > 2:
        line = Line("", [step for step, _ in norms], [norm for _, norm in norms])
        charts.append(line_chart("norm of the gradient", [line], x_label="step"))
    return _row(charts)


def measured_names(epochs: Sequence[Epoch]) -> list[str]:
    """What is measured, without its part: `loss`, `accuracy`."""
    names = [name.split("_", 1)[1] for name in (epochs[-1].measured if epochs else ())]
    return list(dict.fromkeys(names))


def curves_svg(epochs: Sequence[Epoch], name: str) -> str:
    """The curve of one measure over the epochs, as SVG text."""
    return line_chart(_words(name), _pair(epochs, name))


def _pair(epochs: Sequence[Epoch], name: str) -> list[Line]:
    lines: list[Line] = []
    for part, colour in (("train", GREYED), ("valid", BLUE)):
        column = f"{part}_{name}"
        known = [e for e in epochs if column in e.measured]
        if known:
            x, y = [e.epoch for e in known], [e.measured[column] for e in known]
            lines.append(Line(part, x, y, colour, part == "train"))
    return lines


def _thinned(steps: Sequence[Any], most: int = 600) -> Sequence[Any]:
    return steps[:: max(1, -(-len(steps) // most))]


# ------------------------------------------------------------------------------------------------ findings


def _confusion(findings: Findings | None) -> str:
    """The confusion matrix and its classes, or values and what they were taken for."""
    if findings is None:
        return ""
    if findings.confusion:
        return _row([matrix_chart(findings.confusion, findings.names), _classes(findings)])
    if not findings.pairs:
        return ""
    targets, outputs = zip(*findings.pairs, strict=True)
    off = [output - target for target, output in findings.pairs]
    return _row(
        [
            scatter_chart("predicted and true", targets, outputs, "true", "predicted"),
            histogram_chart("residuals", off, "predicted less true"),
        ]
    )


def _classes(findings: Findings) -> str:
    """Precision and recall of each class, the worst first."""
    rows: list[tuple[float, list[str]]] = []
    for i, (name, row) in enumerate(zip(findings.names, findings.confusion, strict=True)):
        hits, true, predicted = row[i], sum(row), sum(other[i] for other in findings.confusion)
        recall = hits / true if true else math.nan
        precision = hits / predicted if predicted else math.nan
        both = 2 * hits / (true + predicted) if true + predicted else math.nan
        rows.append((both, [name, f"{true:,}", f"{precision:.1%}", f"{recall:.1%}", f"{both:.1%}"]))
    rows.sort(key=lambda entry: -1.0 if math.isnan(entry[0]) else entry[0])
    shown_ = [[cell.replace("nan%", "–") for cell in cells] for _, cells in rows[:20]]
    return _table(["class", "samples", "precision", "recall", "F1"], shown_)


def _samples(findings: Findings | None) -> str:
    """The samples with the largest loss, as images or as rows."""
    worst = findings.worst if findings else ()
    if not worst:
        return ""
    if worst[0].image is not None:
        return _row([_picture(sample) for sample in worst])
    names = [name for name, _ in worst[0].row[:COLUMNS]]
    rows = [
        [str(w.number), _brief(w.loss), w.target, w.output, *(_brief(value) for _, value in w.row[:COLUMNS])]
        for w in worst
    ]
    return _table(["sample", "loss", "true", "predicted", *names], rows)


def _picture(sample: Worst) -> str:
    words = (
        f"{sample.target}<br><i>taken for</i> {escape(sample.output)}<br><i>loss</i> {_brief(sample.loss)}"
    )
    words = words.replace(sample.target, escape(sample.target), 1)
    source = f"data:image/png;base64,{base64.b64encode(png(sample.image)).decode()}"
    return (
        f'<figure><img src="{source}" alt="sample {sample.number}"><figcaption>{words}</figcaption></figure>'
    )


def png(image: Any) -> bytes:
    """An image [C, H, W] in uint8 as a PNG file."""
    from PIL import Image

    pixels = image.cpu().permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


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
    """Key by key; what is as it is by default is grey."""
    settings = settings_of(run.recipe)
    rows: list[str] = []
    for key, value in run.recipe.items():
        if key == "model" or value is None or value == []:
            continue
        text = ", ".join(_said(key, v) for v in value) if isinstance(value, list) else _said(key, value)
        field = Recipe.model_fields.get(key)
        default = field is not None and not field.is_required() and value == field.default
        kind = ' class="default"' if default or key not in settings else ""
        rows.append(f"<tr{kind}><th>{escape(key)}</th><td><code>{escape(text)}</code></td></tr>")
    return f'<table class="keys">{"".join(rows)}</table>'


def _said(key: str, described: Any) -> str:
    """A described value as the language writes it, without arguments that are as by default."""
    value: dict[str, Any] = described if isinstance(described, dict) else {}
    if "kind" not in value:
        return shown(cast("Value", described))
    family = FAMILIES.get(key)
    found = family.members.get(value["kind"]) if family else None
    fields = found.model_fields if found else {}
    given: list[str] = []
    for name, each in value.items():
        if not name.isidentifier():
            continue
        field = fields.get(name)
        default = field.get_default() if field is not None and not field.is_required() else ...
        if name != "kind" and each != (list(default) if isinstance(default, tuple) else default):
            parts = each if isinstance(each, list) else [each]
            text = ", ".join(_said("", part) for part in parts)
            given.append(f"{name} = [{text}]" if isinstance(each, list) else f"{name} = {text}")
    return f"{value['kind']}({', '.join(given)})" if given else value["kind"]


# ------------------------------------------------------------------------------------- times and the rest


def _timings(run: RunFolder, findings: Findings | None) -> str:
    epochs = run.epochs
    if not epochs:
        return ""
    each = sorted(e.seconds for e in epochs)
    samples = run.record["samples"]["train"]
    middle = each[len(each) // 2]
    rows = [
        ["all epochs", _span(sum(each))],
        ["an epoch, median", _span(middle)],
        ["an epoch, from and to", f"{_span(each[0])} – {_span(each[-1])}"],
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
        rows.append(["the last part of the run, with loading and saving", _span(ended["seconds"])])
    charts = [_table(["", ""], rows)]
    if len(epochs) > 2:
        line = Line("", [e.epoch for e in epochs], [e.seconds for e in epochs])
        charts.insert(0, line_chart("seconds an epoch", [line]))
    return _row(charts)


def _table_of_epochs(run: RunFolder) -> str:
    if not run.epochs:
        return ""
    names = list(run.epochs[-1].measured)
    best = run.best.epoch if run.best else 0
    rows = [
        [
            str(e.epoch),
            str(e.step),
            *(_share(n, e.measured.get(n, math.nan)) for n in names),
            f"{e.lr:.4g}",
            _span(e.seconds),
        ]
        for e in run.epochs
    ]
    marked = {i for i, e in enumerate(run.epochs) if e.epoch == best}
    table = _table(["epoch", "step", *map(_words, names), "lr", "time"], rows, marked)
    return table if len(rows) <= 12 else f"<details><summary>{len(rows)} epochs</summary>{table}</details>"


def _environment(run: RunFolder) -> str:
    found = {**run.environment, "seed": run.recipe["seed"]}
    notes = found.pop("notes", [])
    rows = "".join(
        f"<tr><th>{escape(str(k))}</th><td>{escape(_plain(v))}</td></tr>" for k, v in found.items()
    )
    parts = run.record.get("parts", [])
    more = "".join(f"<p>{escape(note)}</p>" for note in notes)
    if len(parts) > 1:
        more += "<p>resumed at " + ", ".join(f"step {p['step']}" for p in parts[1:]) + "</p>"
    return f'<table class="keys">{rows}</table>{more}'


def _plain(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _row(items: Iterable[str]) -> str:
    found = [item for item in items if item]
    return f'<div class="row">{"".join(f"<div>{item}</div>" for item in found)}</div>' if found else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], marked: set[int] | None = None) -> str:
    return "".join(_table_parts(head, rows, marked or set()))


def _table_parts(head: Sequence[str], rows: Sequence[Sequence[str]], marked: set[int]) -> Iterator[str]:
    yield "<table>"
    if any(head):
        yield "<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"
    for i, row in enumerate(rows):
        kind = ' class="best"' if i in marked else ""
        yield f"<tr{kind}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
    yield "</table>"


def _words(column: str) -> str:
    return column.replace("_", " ")


def _share(column: str, value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.2%}" if column.split("_", 1)[-1] in SHARES else _brief(value)


def _brief(value: float) -> str:
    return f"{value:.4g}"


def _span(seconds: float) -> str:
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 32px 28px 64px; background: #fff; color: #1c2733;
  font: 14px/1.5 Helvetica, Arial, sans-serif; }
h1 { font-size: 26px; margin: 0; } h1 small { color: #5b6874; font-weight: normal; font-size: 16px; }
h2 { font-size: 15px; margin: 34px 0 12px; padding-bottom: 5px; border-bottom: 1px solid #e3e8ed; }
.state { color: #5b6874; margin: 2px 0 18px; }
.facts { display: flex; flex-wrap: wrap; gap: 12px; }
.facts div { border: 1px solid #e3e8ed; border-radius: 6px; padding: 9px 16px; min-width: 130px; }
.facts b { display: block; font-size: 19px; } .facts span { color: #5b6874; font-size: 12px; }
.row { display: flex; flex-wrap: wrap; gap: 14px 26px; align-items: flex-start; }
.diagram { overflow-x: auto; } .diagram svg { max-width: 100%; height: auto; max-height: 1100px; }
table { border-collapse: collapse; font-size: 12.5px; }
th { text-align: left; font-weight: bold; } td, th { padding: 3px 14px 3px 0; vertical-align: top; }
tr + tr td, tr + tr th { border-top: 1px solid #eef1f4; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
table.keys th { font-weight: normal; color: #5b6874; white-space: nowrap; }
code { font: 12.5px/1.45 Menlo, Consolas, monospace; }
tr.default code, tr.default th { color: #9aa4ae; } tr.best td { font-weight: bold; background: #f2f6fc; }
figure { margin: 0; width: 118px; font-size: 11.5px; line-height: 1.35; } figcaption i { color: #5b6874; }
figure img { width: 112px; height: 112px; object-fit: contain; image-rendering: pixelated;
  border: 1px solid #e3e8ed; background: #f7f9fb; }
details summary { cursor: pointer; color: #5b6874; }
@media print { body { padding: 0; max-width: none; font-size: 11px; } section { break-inside: avoid; }
  details > * { display: block; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{head}
{body}
</body>
</html>
"""
