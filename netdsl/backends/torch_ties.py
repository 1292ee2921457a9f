"""Ties as the last lines of `__init__`: `self.lm_head.weight = self.wte.weight`."""

from __future__ import annotations

from netdsl.backends.torch_forward import INDENT
from netdsl.backends.torch_initial import module_access
from netdsl.backends.torch_modules import Attributes
from netdsl.backends.torch_names import is_attribute, literal
from netdsl.ir.graph import Graph
from netdsl.ir.patterns import parameters


def tie_lines(graph: Graph, attributes: Attributes) -> list[str]:
    """A line for each tie, in order."""
    learned = {tensor.key for tensor in parameters(graph)} if graph.ties else set[str]()
    lines: list[str] = []
    for tie in graph.ties:
        above, _, name = tie.name.rpartition(".")
        owner = _module(graph, attributes, above)
        if tie.source in learned:
            path, _, tensor = tie.source.rpartition(".")
            source = f"{_module(graph, attributes, path)}.{tensor}"
            source = source if is_attribute(tensor) else f"self.get_parameter({literal(tie.source)})"
            plain = f"{owner}.{name} = {source}"
            lines.append(
                INDENT + (plain if is_attribute(name) else f"setattr({owner}, {literal(name)}, {source})")
            )
        else:
            source = _module(graph, attributes, tie.source)
            plain = f"{owner}.{name} = {source}"
            lines.append(
                INDENT + (plain if is_attribute(name) else f"{owner}.add_module({literal(name)}, {source})")
            )
    return lines


def _module(graph: Graph, attributes: Attributes, path: str) -> str:
    """A module below this one, as an expression."""
    return (
        module_access(graph, attributes, path.split(".") if path else [])
        or f"self.get_submodule({literal(path)})"
    )
