"""A graph as the PyTorch file a careful person would have written: one class a block, straight-line `forward`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from netdsl.backends.torch_classes import Classes, ModuleClass
from netdsl.backends.torch_expressions import WIDTH, Writer
from netdsl.backends.torch_forward import INDENT, Forward
from netdsl.backends.torch_initial import Rules
from netdsl.backends.torch_modules import Attributes
from netdsl.backends.torch_names import (
    DOC_WIDTH,
    class_name,
    comment,
    docstring,
    identifier,
    reflowed,
    unique,
)
from netdsl.backends.torch_sizes import ShapeText
from netdsl.backends.torch_ties import tie_lines
from netdsl.backends.torch_trees import Code, Slot, makes_in
from netdsl.ir.dims import Expr
from netdsl.ir.graph import Graph
from netdsl.passes import in_place

__all__ = ["PythonFile", "source", "sources", "write"]


class PythonFile(NamedTuple):
    """A Python file, and what the classes of the models are called in it."""

    text: str
    models: tuple[str, ...]


def source(graph: Graph) -> str:
    """The Python file of one model. It imports torch, and nothing of netdsl."""
    return write([graph]).text


def sources(graphs: Sequence[Graph]) -> str:
    """One Python file of several models; blocks that they share are written once."""
    return write(graphs).text


def write(graphs: Sequence[Graph], *, slices: bool = True) -> PythonFile:
    """The Python file of some models, and the names of their classes.

    With `slices`, `forward` may run through a part of a list, as `self.layers[1:]`, which TorchScript does not take.
    """
    graphs = [in_place(graph) for graph in graphs]
    classes = Classes(graphs)
    name_classes(classes, graphs)
    imported = imported_names(classes)
    taken = {*(made.name for made in classes.classes), *imported.values()}
    needed: set[ModuleClass] = {classes.of[id(graph)] for graph in graphs}
    used: set[str] = set()
    sections: list[list[str]] = []
    for made in reversed(classes.classes):  # callers first: a class that none of them makes is not written
        if made in needed:
            written = Class(made, classes, taken, imported, slices)
            sections.append(written.sections())
            needed |= written.writer.classes
            used |= {*written.writer.used, *(["NamedTuple"] if written.outputs else [])}
    models = tuple(classes.of[id(graph)].name for graph in graphs)
    head = docstring([f"{_listed(models)} in PyTorch, compiled by netdsl."], "")
    top = "\n".join([*head, "", *imports(used, imported)])
    text = "\n\n\n".join([top, *(part for parts in reversed(sections) for part in parts)]) + "\n"
    return PythonFile(text, models)


def name_classes(classes: Classes, models: Sequence[Graph]) -> None:
    """Names for all classes: models first, then blocks; variants of a block by the layers they have more."""
    taken = set(imported_names(classes).values())
    roots = [classes.of[id(model)] for model in models]
    by_name: dict[str, list[ModuleClass]] = {}
    for made in (*dict.fromkeys(roots), *(c for c in classes.classes if c not in roots)):
        graph = made.graphs[0]
        name = classes.labels.get(id(graph), graph.name) if graph.kind == "sequential" else graph.name
        by_name.setdefault(name, []).append(made)
    for name, members in by_name.items():
        simple = min(members, key=lambda m: (len(_labels(m)), len(_kinds(m)), -len(m.graphs)))
        plain = members[0] if members[0] in roots else simple
        for made in (plain, *(m for m in members if m is not plain)):
            made.name = class_name(_variant(name, made, plain, taken), taken)
            taken.add(made.name)


def _variant(name: str, made: ModuleClass, plain: ModuleClass, taken: set[str]) -> str:
    """`BasicBlockWithDownsample`: the one label, parameter or kind of layer that only the variant has."""
    if made is plain:
        return name
    if _labels(made) == _labels(plain) and len(_switched_on(made, plain)) == 1:
        return _with(name, _switched_on(made, plain)[0], taken)
    for told in (_labels, _kinds):
        more = [part for part in told(made) if part not in told(plain)]
        fewer = [part for part in told(plain) if part not in told(made)]
        if len(more) == 1 and (not fewer or told is _kinds):
            base, _, suffix = more[0].partition("With")
            return _with(name, suffix if base in fewer else more[0], taken)
        if more or fewer:
            return name
    return name


def _with(name: str, more: str, taken: set[str]) -> str:
    wished = f"{name}With{class_name(more, ())}"
    return wished if wished not in taken else name


def _switched_on(made: ModuleClass, plain: ModuleClass) -> list[str]:
    """The parameters that are 0, False, None or empty wherever the plain block is made, and never in the variant."""
    off, on = ([dict(graph.arguments) for graph in each.graphs] for each in (plain, made))
    names = [name for name, _ in plain.graphs[0].arguments]
    return [
        n for n in names if all(_is_off(a.get(n)) for a in off) and not any(_is_off(a.get(n)) for a in on)
    ]


def _is_off(value: object) -> bool:
    """Whether an argument is 0, False, None or empty; a size that is not known is none of them."""
    return not isinstance(value, Expr) and not value


def _labels(made: ModuleClass) -> list[str]:
    return list(made.graphs[0].layers)


def _kinds(made: ModuleClass) -> list[str]:
    """The kinds of what a class applies; of blocks, what their classes are called, which have their names already."""
    kinds: dict[str, None] = {}
    for applied in made.sketch.nodes:
        op: Any = applied.node.op
        functions = [make.function for make in makes_in(applied.make)]
        named = [function.name for function in functions if isinstance(function, ModuleClass)]
        kinds.update(dict.fromkeys(named or [op.name if isinstance(op, Graph) else op.kind]))
    return list(kinds)


def imported_names(classes: Classes) -> dict[str, str]:
    """What the functions and classes that are not torch's are called in the file: their last names, each once."""
    found: dict[str, str] = {}
    for full in sorted(classes.imports):
        found[full] = identifier(full.rpartition(".")[2], found.values(), "Imported")
    return found


def imports(used: Iterable[str], imported: Mapping[str, str]) -> list[str]:
    """The import lines for the dotted names that the file uses."""
    roots = {name.split(".")[0] for name in used}
    modules: dict[str, list[str]] = {"torch": ["Tensor", "nn"]}
    for full in sorted(imported.keys() & set(used)):
        module, _, last = full.rpartition(".")
        own = imported[full]
        modules.setdefault(module, []).append(last if own == last else f"{last} as {own}")
    standard = ["import math"] if "math" in roots else []
    if "OrderedDict" in roots:
        standard.append("from collections import OrderedDict")
    if "NamedTuple" in roots:
        standard.append("from typing import NamedTuple")
    plain = ["import torch"] if "torch" in roots else []
    plain += ["import torch.nn.functional as F"] if "F" in roots else []
    plain += [f"from {module} import {', '.join(modules[module])}" for module in sorted(modules)]
    return [*standard, "", *plain] if standard else plain


@dataclass
class Class:
    """One class of the file as text."""

    made: ModuleClass
    classes: Classes
    taken: set[str]
    imported: Mapping[str, str]
    slices: bool = True

    def __post_init__(self) -> None:
        self.graph = self.made.graphs[0]
        self.attributes = Attributes(self.made.sketch)
        self.writer = Writer(imported=self.imported)
        known = self.made.shape_names()
        self.shapes = ShapeText(self.made.graphs, known)
        self.outputs = self._name_outputs()

    def sections(self) -> list[str]:
        """The class, after the class of its outputs where there are several."""
        body = self._body()
        lines = [f"class {self.made.name}(nn.Module):", *docstring(self._doc(), "    ")]
        for part in body:
            lines += [*([""] if len(lines) > 1 else []), *part]
        tuple_ = self._output_class()
        return ["\n".join(tuple_), "\n".join(lines)] if tuple_ else ["\n".join(lines)]

    def _body(self) -> list[list[str]]:
        self.writer.slots = self._kept
        forward = self._forward()
        self.writer.slots = self.made.code
        arguments = frozenset(argument.name for argument in self.made.arguments)
        made = self.attributes.lines(self.writer, arguments)
        rules = Rules(self.graph, self.attributes, self.writer)
        initial = rules.lines()
        if initial:
            made.append(f"{INDENT}self.init_weights()")
            told = docstring(["Start values other than torch's own."], INDENT)
            initial = [*signature("init_weights", [], "None"), *told, *initial, *self._inner_rules(rules)]
        made += tie_lines(self.graph, self.attributes)
        if made:
            head = [argument.declaration for argument in self.made.arguments]
            made = [*signature("__init__", head, "None"), f"{INDENT}super().__init__()", *made]
        return [part for part in (made, initial, forward) if part]

    def _inner_rules(self, rules: Rules) -> list[str]:
        """Rules of blocks win over those of the class they stand in, so they are applied once more."""
        inner = list(dict.fromkeys(self.classes.of[id(graph)].name for graph in rules.again))
        if not inner:
            return []
        kinds = inner[0] if len(inner) == 1 else f"({', '.join(inner)})"
        return [
            f"{INDENT}for module in self.modules():  # the rules of a block win over those around it",
            f"{INDENT}    if isinstance(module, {kinds}):",
            f"{INDENT}        module.init_weights()",
        ]

    def _forward(self) -> list[str]:
        forward = Forward(
            self.made.sketch,
            self.writer,
            self.attributes.reach,
            self.attributes.fixed,
            self.shapes,
            self.outputs or ("tuple" if self._is_tuple() else ""),
            loops=self.attributes.loops(slices=self.slices),
        )
        lines = forward.lines()
        count = len(self.graph.outputs)
        plain = f"tuple[{', '.join(['Tensor'] * count)}]" if self._is_tuple() else "Tensor"
        return [*signature("forward", forward.parameters, self.outputs or plain), *lines]

    def _kept(self, slot: Slot) -> Code:
        """A slot in `forward`: the attribute that keeps the number."""
        code = self.made.code(slot)
        if code.base:
            return code.on(f"self.{self.attributes.number(code.base, code.base)}")
        return Code(f"self.{self.attributes.number(code.text, self.made.attribute(slot))}")

    # -- outputs

    def _is_tuple(self) -> bool:
        return len(self.graph.outputs) > 1 and not self.outputs

    def _name_outputs(self) -> str:
        """The name of the class of several outputs; "" for one, and for a block's that have no names."""
        outputs = self.graph.outputs
        training = any(output.when_training for output in outputs)
        named = any(output.name for output in outputs) or self.graph.kind == "model"
        if not training and (len(outputs) == 1 or not named):
            return ""
        name = unique(f"{self.made.name}Outputs", self.taken)
        self.taken.add(name)
        return name

    def _output_names(self) -> list[str]:
        names: list[str] = []
        for number, output in enumerate(self.graph.outputs):
            names.append(identifier((output.name or f"out{number}").lstrip("_"), names, "out"))
        return names

    def _output_class(self) -> list[str]:
        if not self.outputs:
            return []
        lines = [f"class {self.outputs}(NamedTuple):", f'    """What {self.made.name} returns."""', ""]
        for name, output in zip(self._output_names(), self.graph.outputs, strict=True):
            told = [self.shapes.value(output.value), "in training" if output.when_training else ""]
            note = ", ".join(filter(None, told))
            kind = "Tensor | None" if output.when_training else "Tensor"
            lines.append(f"    {name}: {kind}" + (f"  {comment(note)}" if note else ""))
        return lines

    # -- the docstring

    def _doc(self) -> list[str]:
        """The documentation of the source, and the shapes that go in and come out."""
        taken = [f"{entry.name}: {self.shapes.value(n)}" for n, entry in enumerate(self.graph.inputs)]
        given = [self.shapes.value(output.value) for output in self.graph.outputs]
        if self.outputs:
            given = [f"{n}: {t}" for n, t in zip(self._output_names(), given, strict=True)]
        shapes = [f"{', '.join(taken)} -> {', '.join(given)}"]
        if len(shapes[0]) > DOC_WIDTH - 4:
            shapes = [*taken, *(f"-> {text}" for text in given)]
        written = [line.rstrip() for line in self.graph.doc.strip("\n").split("\n")]
        lines = reflowed(written, DOC_WIDTH - 4)
        return [*lines, "", *shapes] if any(lines) else shapes


def signature(name: str, parameters: list[str], returns: str) -> list[str]:
    """`def name(self, ...) -> returns:`, the parameters on a line of their own or one a line where it is too long."""
    listed = ", ".join(["self", *parameters])
    line = f"    def {name}({listed}) -> {returns}:"
    if len(line) <= WIDTH:
        return [line]
    apart = (
        [INDENT + listed]
        if len(INDENT + listed) <= WIDTH
        else [f"{INDENT}{p}," for p in ["self", *parameters]]
    )
    return [f"    def {name}(", *apart, f"    ) -> {returns}:"]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
