"""Graphs from the text of a model file, for the tests of what comes after elaboration."""

from __future__ import annotations

from netdsl.compiler import check
from netdsl.diagnostics.render import render_all
from netdsl.ir.graph import Graph
from netdsl.source import Source


def graphs_of(text: str) -> dict[str, Graph]:
    """The models of a file by name. A file with errors fails the test with its diagnostics.

    >>> graphs_of("model M { input x: [N, 3]\\n output x -> fc: Linear(2) }")["M"].nodes[0].label
    'fc'
    """
    checked = check(Source(text))
    assert not checked.report.has_errors, render_all(checked.report)
    return dict(checked.graphs)


def graph_of(text: str) -> Graph:
    """The last model of a file."""
    return [*graphs_of(text).values()][-1]
