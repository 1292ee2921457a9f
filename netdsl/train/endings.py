"""How a model ends: which activation makes its output, and whether its loss takes such outputs (E0610, E0642)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdsl.diagnostics import Label, Report
from netdsl.elaborate.lints import activations_before
from netdsl.ir.graph import Graph, Node
from netdsl.train.losses.base import Gives

if TYPE_CHECKING:
    from netdsl.train.recipe import Recipe

PROBABILITIES = frozenset({"sigmoid", "softmax", "softmax2d", "hardsigmoid"})

# Operations whose results are no probabilities: all numbers, or all from 0, or from -1 to 1.
UNBOUNDED = frozenset(
    {
        *(
            "linear",
            "bilinear",
            "conv1d",
            "conv2d",
            "conv3d",
            "convtranspose1d",
            "convtranspose2d",
            "convtranspose3d",
        ),
        *("batchnorm1d", "batchnorm2d", "batchnorm3d", "layernorm", "groupnorm", "rmsnorm"),
        *(
            "relu",
            "relu6",
            "leakyrelu",
            "prelu",
            "elu",
            "selu",
            "celu",
            "gelu",
            "silu",
            "mish",
            "softplus",
            "hardswish",
        ),
        *("tanh", "hardtanh", "softsign", "tanhshrink", "softshrink", "hardshrink"),
    }
)


def ending(graph: Graph | None) -> tuple[str, Node] | None:
    """The kind of the operation that makes the one output, in lower case without underscores, and its node."""
    if graph is None:
        return None
    found = list(activations_before(graph))
    return (_plain(found[0][0]), found[0][1]) if len(found) == 1 else None


def gives(graph: Graph | None) -> Gives:
    """What the output of a model is, as far as its last operation tells."""
    found = ending(graph)
    if found is None:
        return "logits"
    if found[0] == "logsoftmax":
        return "log-probabilities"
    return "probabilities" if found[0] in PROBABILITIES else "logits"


MISSING = {
    "BCELoss": (
        "sigmoid",
        "end the model with `-> Sigmoid`, or use `BCEWithLogitsLoss`, which applies it itself",
    ),
    "NLLLoss": (
        "log-softmax",
        "end the model with `-> LogSoftmax(dim = 1)`, or use `CrossEntropyLoss` on the scores",
    ),
    "KLDivLoss": (
        "log-softmax",
        "end the model with `-> LogSoftmax(dim = 1)`: the loss takes log-probabilities",
    ),
}


def check_ending(recipe: Recipe, graph: Graph | None, report: Report) -> None:
    """Report a model that surely gives no probabilities where its loss takes some (E0642)."""
    if recipe.loss.kind == "GaussianNLLLoss":
        _check_variance(recipe, graph, report)
    found, missing = ending(graph), MISSING.get(recipe.loss.kind)
    if found is None or missing is None:
        return
    kind, node = found
    also_wrong = {"NLLLoss": {"sigmoid"}, "KLDivLoss": PROBABILITIES, "BCELoss": {"logsoftmax"}}
    if kind not in UNBOUNDED and kind not in also_wrong[recipe.loss.kind]:
        return
    name = getattr(node.op, "kind", kind)
    span = recipe.places.of("loss")
    label = "the model ends with it" if node.span else ""
    also = [Label(span, "the loss is chosen here")] if span and node.span else []
    message = f"no {missing[0]} before `{recipe.loss.kind}`, but `{name}`"
    report.error("E0642", message, node.span or span, label, also=also, helps=[missing[1]])


SIGNED = UNBOUNDED - {"relu", "relu6", "softplus"}


def _check_variance(recipe: Recipe, graph: Graph | None, report: Report) -> None:
    """Report a variance, the second output, that may be negative."""
    found = list(activations_before(graph)) if graph is not None else []
    if len(found) != 2 or _plain(found[1][0]) not in SIGNED:
        return
    kind, node = found[1]
    message = f"the variance that `{recipe.loss.kind}` takes is made by `{kind}`, and may be negative"
    helps = ["end the second output with `-> Softplus`"]
    report.error("E0642", message, node.span or recipe.places.of("loss"), helps=helps)


def _plain(kind: str) -> str:
    return kind.lower().replace("_", "")
