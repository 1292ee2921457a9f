"""What is wrong with the ties of a finished body: names of nothing, tensors of two shapes, a name that is taken."""

from __future__ import annotations

from collections.abc import Iterator

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.elaborate.session import Session
from netdsl.ir.graph import Graph, Tie
from netdsl.ir.patterns import parameters


def check_ties(session: Session, body: Graph) -> None:
    """Report ties that cannot be made (E0518)."""
    if body.ties:
        tensors = {tensor.key: tensor.shape for tensor in parameters(body)}
        layers = dict(_layers(body))
        for tie in body.ties:
            _check(session, body, tie, tensors, layers)
            layers.setdefault(tie.name, False)


def _check(
    session: Session,
    body: Graph,
    tie: Tie,
    tensors: dict[str, tuple[int, ...]],
    layers: dict[str, bool],
) -> None:
    if tie.span is None or tie.source_span is None:
        return
    if tie.source in tensors:
        if tie.name not in tensors:
            known = [name for name, shape in tensors.items() if shape == tensors[tie.source]]
            message = f"`{body.name}` has no parameter `{tie.name}`"
            session.error("E0518", message, tie.span, helps=did_you_mean(tie.name, known))
        elif tie.name == tie.source:
            session.error("E0518", f"`{tie.name}` is tied to itself", tie.source_span)
        elif tensors[tie.name] != tensors[tie.source]:
            here, there = ([*tensors[key]] for key in (tie.name, tie.source))
            message = f"`{tie.name}` is {here}, but `{tie.source}` is {there}"
            session.error("E0518", message, tie.span, help="one tensor has one shape")
    elif tie.source in layers:
        above, _, last = tie.name.rpartition(".")
        if tie.name in tensors:
            message = f"`{tie.source}` is a layer, but `{tie.name}` is a parameter"
            session.error(
                "E0518", message, tie.source_span, help=f"name its parameter: `{tie.source}.{last}`"
            )
        elif tie.name in layers:
            session.error(
                "E0518", f"`{tie.name}` is there already", tie.span, help="a tied layer takes a new name"
            )
        elif above and not layers.get(above, False):
            session.error("E0518", f"`{body.name}` has no block `{above}`", tie.span)
    else:
        message = f"`{body.name}` has no layer and no parameter `{tie.source}`"
        session.error("E0518", message, tie.source_span, helps=did_you_mean(tie.source, [*tensors, *layers]))


def _layers(body: Graph, above: str = "") -> Iterator[tuple[str, bool]]:
    """The paths of the layers below `body`, and whether they are blocks, which can hold a layer more."""
    for label, node in body.layers.items():
        parts = label.split(".")
        for count in range(1, len(parts)):
            yield above + ".".join(parts[:count]), False
        inner = node.op if isinstance(node.op, Graph) else None
        yield above + label, inner is not None and inner.kind != "sequential"
        if inner is not None:
            yield from _layers(inner, f"{above}{label}.")
