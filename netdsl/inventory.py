"""What there is in model files: each model with its figures at the input it is usually given, and where it comes from.

Nothing is built, and nothing is kept: a graph is a matter of milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netdsl.compiler import Limits, Program, graph, library, open_program, read_source
from netdsl.diagnostics import Report
from netdsl.ir.dims import Dim, Expr, substitute, symbols
from netdsl.ir.graph import Graph, Input
from netdsl.ir.measure import multiply_adds, parameter_count
from netdsl.ir.types import Tensor
from netdsl.source import Source
from netdsl.syntax import tree

LIBRARY = "std"
IMAGES = (224, 256, 299, 384, 512)  # the first that a model takes, where its documentation names no size
VIDEO = {2: 16, 3: 112, 4: 112}  # frames, height and width of [N, C, T, H, W]
TOKENS = 128


@dataclass(frozen=True)
class Entry:
    """A model. What is counted is None for one that must be given parameters first (`required`).

    `multiply_adds` are those of one example of `inputs`, where `sizes` has what is free.
    """

    model: str
    doc: str
    paper: str
    parameters: tuple[str, ...]
    required: tuple[str, ...]
    parameter_count: int | None = None
    multiply_adds: int | None = None
    inputs: tuple[Input, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.model,
            "doc": self.doc,
            "paper": self.paper or None,
            "arguments": list(self.parameters),
            "required": list(self.required),
            "parameters": self.parameter_count,
            "multiply_adds": self.multiply_adds,
            "inputs": [_input_data(entry, self.sizes) for entry in self.inputs],
            "sizes": dict(self.sizes),
        }


@dataclass(frozen=True)
class Shelf:
    """One file that can be read: its models come one by one, each measured when it is asked for."""

    path: str
    title: str
    program: Program

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.program.models)

    @property
    def blocks(self) -> tuple[str, ...]:
        return tuple(self.program.blocks)

    def entries(self) -> Iterator[Entry]:
        """The models in the order of the file. What is wrong with one goes to the program's report."""
        for name in self.program.models:
            yield entry(self.program, name)


def files(where: str = LIBRARY) -> list[str]:
    """The model files that `where` names: a file, those of a folder, or of the library, `std`.

    >>> "std/lenet.net" in files()
    True
    """
    place = Path(where)
    if where.rstrip("/") == LIBRARY and not place.exists():
        return sorted(f"{LIBRARY}/{path.relative_to(library())}" for path in library().rglob("*.net"))
    return sorted(map(str, place.rglob("*.net"))) if place.is_dir() else [where]


def shelf(path: str, report: Report, limits: Limits | None = None) -> Shelf | None:
    """The file at `path`; None, with diagnostics, where it cannot be read."""
    source = read_source(path, report, limits)
    program = source and open_program(source, report, limits=limits)
    if not source or not program:
        return None
    return Shelf(path, first_sentence(first_doc(source)), program)


def entry(program: Program, name: str) -> Entry:
    """One model. Problems go to the program's report, and its figures are then missing."""
    docs = docs_of(program, name)
    known = Entry(
        name,
        docs[0],
        paper(name, docs),
        tuple(p.name.id for p in program.models[name].parameters),
        tuple(program.required(name)),
    )
    found = None if known.required else graph(program, name)
    return known if found is None else measured(known, found, docs)


def measured(known: Entry, found: Graph, docs: Sequence[str]) -> Entry:
    """`known` with the figures of its graph."""
    sizes = usual_sizes(found, docs)
    work = None
    if sizes is not None:
        total = substitute(multiply_adds(found), dict(sizes))
        work = total if isinstance(total, int) else None
    return Entry(
        known.model,
        known.doc,
        known.paper,
        known.parameters,
        known.required,
        parameter_count(found),
        work,
        found.inputs,
        sizes or {},
    )


# Sizes


def usual_sizes(found: Graph, docs: Sequence[str] = ()) -> dict[str, int] | None:
    """One example at the size that the documentation names (`for images of 299×299`), or else at a common one; None
    where the model takes none of them."""
    named = [int(text) for doc in docs for text in NAMED_SIZE.findall(doc)]
    for image in (*named[:1], *IMAGES):
        sizes = {name: size for entry in found.inputs for name, size in _free(entry, image)}
        if all(constraint.holds_at(sizes) for constraint in found.constraints):
            return sizes
    return None


NAMED_SIZE = re.compile(r"\b([1-9]\d{2,3})×\1\b")  # of three digits at least: 14×14 is a feature map


def _free(entry: Input, image: int) -> Iterator[tuple[str, int]]:
    """The free sizes of an input, by their place: a batch, then what its rank says."""
    if not isinstance(entry.type, Tensor):
        return
    shape = entry.type.shape
    for axis, dim in enumerate(shape):
        if not isinstance(dim, Expr):
            continue
        usual = {4: image}.get(len(shape), VIDEO.get(axis, TOKENS) if len(shape) == 5 else TOKENS)
        for name in symbols(dim):
            yield name, usual if axis else 1


def shown_input(entry: Input, sizes: Mapping[str, int]) -> str:
    """The type of an input with what is free and how large it is taken: `[N, 3, H=224, W=224]`."""
    if not isinstance(entry.type, Tensor):
        return str(entry.type)
    dims = [_shown(dim, sizes, first=not axis) for axis, dim in enumerate(entry.type.shape)]
    dtype = "" if entry.type.dtype == "float32" else entry.type.dtype
    return f"{dtype}[{', '.join(dims)}]"


def _shown(dim: Dim, sizes: Mapping[str, int], *, first: bool) -> str:
    taken = substitute(dim, dict(sizes))
    return str(dim) if isinstance(dim, int) or first or not sizes else f"{dim}={taken}"


def _input_data(entry: Input, sizes: Mapping[str, int]) -> dict[str, Any]:
    if not isinstance(entry.type, Tensor):
        return {"name": entry.name, "type": str(entry.type)}
    shape = [substitute(dim, dict(sizes)) for dim in entry.type.shape]
    return {
        "name": entry.name,
        "type": str(entry.type),
        "dtype": entry.type.dtype,
        "shape": [dim if isinstance(dim, int) else str(dim) for dim in shape],
    }


# Documentation


def first_doc(source: Source) -> str:
    """The first `##` lines of a file, which stand for all of it."""
    found = re.search(r"^##.*(?:\n##.*)*", source.text, re.MULTILINE)
    return "\n".join(line.lstrip("#").strip() for line in found[0].splitlines()) if found else ""


def docs_of(program: Program, name: str) -> tuple[str, ...]:
    """The documentation of a model, of those that it is a variant of, and of its file; the nearest first."""
    docs: list[str] = []
    declaration: tree.GraphDecl | None = program.models[name]
    seen: set[str] = set()
    while declaration is not None and declaration.name.id not in seen:
        seen.add(declaration.name.id)
        docs.append(declaration.doc)
        base = declaration.value
        callee = base.function if isinstance(base, tree.Call) else base
        declaration = program.models.get(callee.id) if isinstance(callee, tree.Name) else None
    return (*docs, first_doc(program.main.source))


def first_sentence(text: str) -> str:
    """The first paragraph as one line, up to its first full stop; that of `et al.` is none.

    >>> first_sentence("GoogLeNet (Szegedy et al., 2015), with\\nbatch normalisation. Images are 224×224.")
    'GoogLeNet (Szegedy et al., 2015), with batch normalisation.'
    """
    line = " ".join(text.partition("\n\n")[0].split())
    end = re.search(r"(?<!\bal)(?<!\b[A-Z])\.(?= |$)", line)
    return line[: end.end()] if end else line


AUTHOR = r"(?:(?:van|von|de|den|der) )*[A-Z][\w'-]+"
CITATION = re.compile(
    rf"(?:(?P<name>[\w()+-]+(?: [\w-]+)?) \()?"
    rf"(?P<authors>{AUTHOR}(?:(?:, {AUTHOR})*,? and {AUTHOR}| et al\.)?),? \(?(?P<year>(?:19|20)\d\d)\b"
)


def paper(model: str, docs: Sequence[str]) -> str:
    """The paper that a model is from, by authors and year: the one that is cited behind the name most like the model's,
    or the first one cited.

    >>> docs = ("", "ResNet (He et al., 2016), ResNeXt (Xie et al., 2017) and others")
    >>> paper("ResNeXt50_32X4D", docs), paper("ResNet50", docs), paper("Mine", docs)
    ('Xie et al., 2017', 'He et al., 2016', 'He et al., 2016')
    """
    letters = _letters(model)
    cited = [match for doc in docs for match in CITATION.finditer(" ".join(doc.split()))]
    fitting = [(len(name), match) for match in cited for name in _names(match["name"]) if name in letters]
    if not cited:
        return ""
    best = max(fitting, key=lambda pair: pair[0])[1] if fitting else cited[0]
    return f"{best['authors']}, {best['year']}"


def _names(text: str | None) -> list[str]:
    """What may be a name before a citation: both words, or the last one."""
    words = (text or "").split()
    return [joined for start in range(len(words)) if len(joined := _letters("".join(words[start:]))) > 2]


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text).casefold()


__all__ = ["Entry", "Shelf", "entry", "files", "paper", "shelf", "shown_input", "usual_sizes"]
