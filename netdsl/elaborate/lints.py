"""Warnings: what is allowed and probably not meant. Each lint is one function over finished graphs, or the names."""

from __future__ import annotations

from collections.abc import Iterator

from netdsl.elaborate.session import Session
from netdsl.ir.graph import Graph, Node


def lint_graph(session: Session, graph: Graph) -> None:
    """W0701: a bias that the normalisation after it takes away again."""
    for body in graph.subgraphs():
        for node in body.nodes:
            _bias_before_norm(session, body, node)


def _bias_before_norm(session: Session, body: Graph, node: Node) -> None:
    op = node.op
    if (
        isinstance(op, Graph)
        or not getattr(op, "linear", False)
        or not getattr(op, "bias", False)
        or node.span is None
    ):
        return
    if any(o.value in node.results for o in body.outputs):
        return
    uses = [use for result in node.results for use in body.uses.get(result, ())]
    if len(uses) != 1 or isinstance(uses[0].op, Graph) or not getattr(uses[0].op, "removes_mean", False):
        return
    norm = uses[0].op.kind
    session.error(
        "W0701",
        f"the bias of `{node.label or op.kind}` has no effect: `{norm}` subtracts the mean after it",
        node.span,
        help="write `bias = False`",
    )


def lint_names(session: Session, *, files: set[str]) -> None:
    """Names that are bound and never read, in the files named: inputs (E0517), imports (W0705), others (W0703)."""
    for name, what, span in session.usage.unread():
        if span.source.path not in files:
            continue
        if what == "input":
            session.report.error(
                "E0517", f"the input `{name}` is not used", span, helps=["remove it, or use it"]
            )
        elif what == "import":
            session.report.error("W0705", f"`{name}` is imported and not used", span)
        else:
            session.report.error(
                "W0703", f"the {what} `{name}` is not used", span, helps=[f"remove it, or call it `_{name}`"]
            )


def activations_before(graph: Graph) -> Iterator[tuple[str, Node]]:
    """The kinds of the operations that make the outputs, innermost first: `Softmax` before its loss is one of them."""
    for output in graph.outputs:
        body, value = graph, output.value
        while True:
            node = body.producers.get(value)
            if node is None:
                break
            if not isinstance(node.op, Graph):
                yield node.op.kind, node
                break
            inner = node.op.outputs[node.results.index(value)]
            body, value = node.op, inner.value
