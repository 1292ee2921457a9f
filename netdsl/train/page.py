"""What the page of a run is put together of: sections, tables, numbers for people, and how all of it looks, by day and
in the dark, on a screen, a phone and paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from netdsl.train.charts import DARK

SHARES = ("accuracy", "f1_score", "auroc", "precision", "recall")  # shown as percentages


def document(title: str, head: str, sections: Iterable[str]) -> str:
    """The whole page. `title` is text, the rest is HTML."""
    body = "\n".join(section for section in sections if section)
    return PAGE.format(title=escape(title), style=style(), head=head, body=body)


def section(title: str, content: str, said: str = "") -> str:
    """A part of the page under a heading, with a line of explanation; nothing without content."""
    line = f'\n<p class="said">{escape(said)}</p>' if said else ""
    return f"<section>\n<h2>{escape(title)}</h2>{line}\n{content}\n</section>" if content else ""


def row(items: Iterable[str], kind: str = "row") -> str:
    """Things beside each other, as far as there is room: `row` as wide as they are, `charts` in equal columns."""
    found = [item for item in items if item]
    return f'<div class="{kind}">{"".join(f"<div>{item}</div>" for item in found)}</div>' if found else ""


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    marked: Iterable[int] = (),
    *,
    html: Iterable[int] = (),
    wide: Iterable[int] = (),
) -> str:
    """Cells of text, numbers to the right. Those of the columns `html`, heads and all, are HTML; `wide` columns have
    long texts.
    """
    raw, long, best = set(html), set(wide), set(marked)
    numbers = (
        {i for i in range(len(rows[0])) if i not in raw | long and all(_is_number(r[i]) for r in rows)}
        if rows
        else set()
    )

    def cell(tag: str, i: int, text: str) -> str:
        kinds = [name for name, columns in (("number", numbers), ("long", long)) if i in columns]
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        return f"<{tag}{kind}>{text if i in raw else escape(text)}</{tag}>"

    lines = (
        ["<tr>" + "".join(cell("th", i, text) for i, text in enumerate(head)) + "</tr>"] if any(head) else []
    )
    for number, cells in enumerate(rows):
        kind = ' class="best"' if number in best else ""
        lines.append(f"<tr{kind}>" + "".join(cell("td", i, text) for i, text in enumerate(cells)) + "</tr>")
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def _is_number(text: str) -> bool:
    return not text or text[0].isdigit() or text[0] in "–-+" or text in ("inf", "nan")


def keys(rows: Iterable[tuple[str, str, str]]) -> str:
    """A table of names, values and a class for the row, `default` or none."""
    lines = [
        f"<tr{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}><th>{escape(name)}</th>"
        f"<td><code>{escape(value)}</code></td></tr>"
        for name, value, kind in rows
    ]
    return f'<table class="keys">{"".join(lines)}</table>' if lines else ""


# -------------------------------------------------------------------------------------------- for people


def words(column: str) -> str:
    return column.replace("_", " ")


def is_share(column: str) -> bool:
    """Whether a column, as `valid_accuracy`, or a measure, as `accuracy`, is a share of something."""
    return column in SHARES or column.split("_", 1)[-1] in SHARES


def share(column: str, value: float) -> str:
    """The value of a column, as a percentage where it is a share."""
    if math.isnan(value):
        return "–"
    return f"{value:.2%}" if is_share(column) else brief(value)


def brief(value: float) -> str:
    return f"{value:.4g}"


def span(seconds: float) -> str:
    """
    >>> span(0.25), span(12.34), span(200), span(7300)
    ('250 ms', '12.3 s', '3 min 20 s', '2 h 1 min')
    """
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


# --------------------------------------------------------------------------------------------------- look


def style() -> str:
    """The style of the page; in the dark, charts have other colours than their attributes say."""
    charts = "".join(
        f'  svg.chart [{name}="{light}"] {{ {name}: {dark}; }}\n'
        for light, dark in DARK.items()
        for name in ("fill", "stroke")
    )
    return STYLE + "@media screen and (prefers-color-scheme: dark) {\n" + DARKENED + charts + "}\n"


STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1c2733; --grey: #5b6874; --faint: #7a8692; --rule: #e3e8ed;
  --soft: #f5f8fa; --best: #eaf1fb; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1200px; padding: 32px 28px 64px; background: var(--page); color: var(--ink);
  font: 14px/1.5 Helvetica, Arial, sans-serif; -webkit-text-size-adjust: 100%; }
h1 { font-size: 26px; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h1 small { color: var(--grey); font-weight: normal; font-size: 16px; }
h2 { font-size: 16px; margin: 38px 0 12px; padding-bottom: 5px; border-bottom: 1px solid var(--rule); }
h3 { font-size: 13px; margin: 18px 0 6px; }
.state, .said { color: var(--grey); margin: 2px 0 18px; } .said { font-size: 13px; margin: -4px 0 14px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 12px; }
.facts div { border: 1px solid var(--rule); border-radius: 6px; padding: 9px 14px; background: var(--soft); }
.facts b { display: block; font-size: 19px; } .facts span { color: var(--grey); font-size: 12px; }
.row { display: flex; flex-wrap: wrap; gap: 18px 36px; align-items: flex-start; } .row > div { max-width: 100%; }
.beside { display: flex; flex-wrap: wrap; gap: 0 48px; } .beside section { max-width: 100%; flex: 0 1 auto; }
.beside section:last-child { flex: 1 1 420px; min-width: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); gap: 18px 26px; }
.charts > div { min-width: 0; max-width: 460px; } .charts svg { width: 100%; }
svg.chart { display: block; max-width: 100%; height: auto; }
.diagram { overflow: auto; max-height: 860px; border-radius: 6px; } .diagram svg { display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 12.5px; }
th { text-align: left; font-weight: bold; } td, th { padding: 3px 16px 3px 0; vertical-align: top; }
tr + tr td, tr + tr th { border-top: 1px solid var(--rule); }
td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.number { text-align: right; }
td.long { white-space: normal; min-width: 320px; max-width: 640px; overflow-wrap: anywhere; }
table.keys { width: 100%; } table.keys th { font-weight: normal; color: var(--grey); white-space: nowrap; width: 1%; }
table.keys td, code { white-space: pre-wrap; overflow-wrap: anywhere; }
code, pre { font: 12.5px/1.45 Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { background: var(--soft); border: 1px solid var(--rule); border-radius: 6px; padding: 9px 12px; margin: 6px 0 12px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
tr.default code, tr.default th { color: var(--faint); } tr.best td { font-weight: bold; background: var(--best); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); gap: 16px 14px; }
.gallery.masks { grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); }
figure { margin: 0; font-size: 12px; line-height: 1.4; } figcaption { overflow-wrap: anywhere; }
figure i { color: var(--grey); font-style: normal; } figure b { font-weight: bold; }
figure img { width: 118px; height: 118px; object-fit: contain; image-rendering: pixelated; vertical-align: top;
  border: 1px solid var(--rule); background: var(--soft); }
figure .panels { display: grid; grid-template-columns: repeat(3, 1fr); gap: 6px; margin-bottom: 4px; }
figure .panels span { color: var(--grey); } figure .panels img { width: 100%; height: auto; aspect-ratio: 1; }
.legend { margin: 0 0 12px; font-size: 12.5px; } .legend span { margin-right: 16px; white-space: nowrap; }
.legend i { display: inline-block; width: 11px; height: 11px; margin-right: 6px; border: 1px solid var(--grey); }
details { margin: 10px 0; } details summary { cursor: pointer; color: var(--grey); }
@media (max-width: 640px) { body { padding: 20px 16px 48px; } h1 { font-size: 22px; }
  .facts { grid-template-columns: repeat(2, 1fr); } .row > div { overflow-x: auto; }
  .charts > div { max-width: none; } }
@media print { body { padding: 0; max-width: none; font-size: 11px; } section { break-inside: avoid; }
  .diagram { max-height: none; } .diagram svg { max-width: 100%; height: auto; } details > * { display: block; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""

DARKENED = """  :root { --page: #14181d; --ink: #e4e9ee; --grey: #9aa7b4; --faint: #75818d; --rule: #2c353f;
    --soft: #1a2027; --best: #1d2a3d; }
  .diagram svg { filter: invert(0.92) hue-rotate(180deg); mix-blend-mode: lighten; }
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
