"""What is wrong with the names of a finished graph: rules that name nothing, layers that reach no output."""

from __future__ import annotations

from netdsl.elaborate.session import Session
from netdsl.ir.graph import Graph
from netdsl.ir.measure import live_values
from netdsl.ir.patterns import unmatched


def check_state(session: Session, graph: Graph) -> None:
    """Report `init` rules without a parameter, and layers whose result is not used, in all bodies of `graph`."""
    for body in graph.subgraphs():
        for rule in unmatched(body):
            pattern = ".".join(rule.pattern)
            if rule.span is not None:
                session.error(
                    "E0511",
                    f"no parameter of `{body.name}` matches `{pattern}`",
                    rule.span,
                    help="the last part is a parameter (`weight`, `bias`, `*`), before it stand labels or kinds",
                )
        _check_training(session, body)
        _check_dead(session, body)


def _check_dead(session: Session, body: Graph) -> None:
    live = live_values(body, training=True)
    for node in body.nodes:
        if node.label is not None and node.span is not None and not live.intersection(node.results):
            session.error(
                "W0704",
                f"the result of `{node.label}` is not used",
                node.span,
                "its parameters are never trained",
            )


def _check_training(session: Session, body: Graph) -> None:
    """A value that exists in training only cannot be part of an output that always exists."""
    live = live_values(body)
    for node in body.nodes:
        if not isinstance(node.op, Graph) or node.span is None:
            continue
        for output, result in zip(node.op.outputs, node.results, strict=True):
            if output.when_training and result in live:
                session.error(
                    "E0509",
                    f"an output of `{node.op.name}` exists in training only, but it is used in evaluation too",
                    node.span,
                    help="give what uses it `when training` as well",
                )
