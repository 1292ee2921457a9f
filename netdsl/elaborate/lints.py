"""Warnings: what is allowed and probably not meant. Each lint is one function over finished graphs, or the names."""

from __future__ import annotations

from collections.abc import Iterator

from netdsl.elaborate.session import Session
from netdsl.ir.graph import Graph, Node


def lint_graph(session: Session, graph: Graph) -> None:
    """W0701: a bias that the normalisation after it takes away again, unless it was asked for by name."""
    for body in graph.subgraphs():
        for node in body.nodes:
            _bias_before_norm(session, body, node)


def _bias_before_norm(session: Session, body: Graph, node: Node) -> None:
    op = node.op
    if (
        isinstance(op, Graph)
        or not getattr(op, "linear", False)
        or not getattr(op, "bias", False)
        or "bias" in getattr(op, "model_fields_set", ())
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
        help="write `bias = False`, or `bias = True` where weights that exist have it",
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
    """The kinds of the operations that make the outputs: `Softmax` before its loss is one of them. What only gives
    numbers another shape is looked through.
    """
    for output in graph.outputs:
        found = _maker(graph, output.value)
        if isinstance(found, Node) and not isinstance(found.op, Graph):
            yield found.op.kind, found


# Each number of their result is one of their operand.
RESHAPING = frozenset(
    {
        "Flatten",
        "flatten",
        "Unflatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "reshape",
        "view",
        "Identity",
        "transpose",
        "permute",
        "rearrange",
        "contiguous",
    }
)


def _maker(body: Graph, value: int) -> Node | int | None:
    """The node that makes a value, in whichever body; the number of the input where it is one of `body`'s own."""
    node = body.producers.get(value)
    if node is None:
        return value if value < len(body.inputs) else None
    if isinstance(node.op, Graph):
        inner = _maker(node.op, node.op.outputs[node.results.index(value)].value)
        if not isinstance(inner, int):
            return inner
        operand = node.operands[inner]
        return _maker(body, operand) if isinstance(operand, int) else None
    if node.op.kind in RESHAPING and node.operands and isinstance(node.operands[0], int):
        return _maker(body, node.operands[0])
    return node
