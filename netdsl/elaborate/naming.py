"""What is wrong with the names of a finished graph: rules and ties that name nothing, layers that reach no output."""

from __future__ import annotations

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.elaborate.session import Session
from netdsl.elaborate.ties import check_ties
from netdsl.ir.graph import Graph, InitRule
from netdsl.ir.measure import live_values
from netdsl.ir.patterns import Learned, meant, parameters
from netdsl.ops.base import ShapeProblem


def check_state(session: Session, graph: Graph) -> None:
    """Report rules and ties that fit nothing, and layers whose result is not used, in all bodies of `graph`."""
    for body in graph.subgraphs():
        for rule, tensors in meant(body):
            if rule.span is not None:
                _check_rule(session, body, rule, tensors)
        check_ties(session, body)
        _check_training(session, body)
        _check_dead(session, body)


def _check_rule(session: Session, body: Graph, rule: InitRule, tensors: list[Learned]) -> None:
    assert rule.span is not None
    pattern = ".".join(rule.pattern)
    if not tensors and not session.lost:  # a line with a syntax error may have made them
        help = "the last part is a parameter (`weight`, `bias`, `*`), before it stand labels or kinds"
        session.error(
            "E0511",
            f"no parameter of `{body.name}` matches `{pattern}`",
            rule.span,
            helps=(*_nearest(body, rule), help),
        )
    for tensor in tensors:
        try:
            rule.init.check(tensor.shape)
        except ShapeProblem as problem:
            shape = ", ".join(map(str, tensor.shape))
            session.error(problem.code, problem.message, rule.span, f"`{tensor.key}` is [{shape}]")
            return


def _nearest(body: Graph, rule: InitRule) -> tuple[str, ...]:
    """Suggestions for the first part of a pattern that stands nowhere in the body."""
    known = {"*": None}
    for tensor in parameters(body):
        known |= dict.fromkeys(
            [tensor.name, *(name for level in tensor.path for name in (level.label, level.kind))]
        )
    unknown = (part for part in rule.pattern if part not in known)
    return next((did_you_mean(part, [*filter(None, known)]) for part in unknown), ())


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
    blocks = [
        (node.op, node.span, node.results)
        for node in body.nodes
        if isinstance(node.op, Graph) and node.span is not None
    ]
    if not any(output.when_training for block, _, _ in blocks for output in block.outputs):
        return
    live = live_values(body)
    for block, span, results in blocks:
        for output, result in zip(block.outputs, results, strict=True):
            if output.when_training and result in live:
                session.error(
                    "E0509",
                    f"an output of `{block.name}` exists in training only, but it is used in evaluation too",
                    span,
                    help="give what uses it `when training` as well",
                )
