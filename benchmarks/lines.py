"""How long a family of models is here and in Python: `python benchmarks/lines.py [--update]`.

`--update` rewrites the table of `specs/README.md`. A line counts where it has code: comments, docstrings and blank
lines do not. Each side counts its own files; what these import does not count, neither our `parts.net` nor their
`ops/misc.py`.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import io
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netdsl.diagnostics import Report
from netdsl.source import Source
from netdsl.syntax import parse
from netdsl.syntax.tree import GraphDecl

ROOT = Path(__file__).parent.parent
SPECS = ROOT / "specs"
README = SPECS / "README.md"
START, END = "<!-- python benchmarks/lines.py --update -->\n", "<!-- end -->\n"
BAR = 1 / 3  # of torchvision's lines, at most


@dataclass(frozen=True)
class Family:
    """A spec and the Python modules that define the same models; `without` are definitions no such model needs."""

    spec: str
    modules: tuple[str, ...]
    without: tuple[str, ...] = ()
    package: str = "torchvision.models"

    @property
    def has_bar(self) -> bool:
        return self.package.startswith("torchvision")

    @property
    def path(self) -> Path:
        return SPECS / self.spec


FAMILIES = (
    Family("alexnet.net", ("alexnet",)),
    Family("vgg.net", ("vgg",)),
    Family("resnet.net", ("resnet",)),
    Family("squeezenet.net", ("squeezenet",)),
    Family("densenet.net", ("densenet",)),
    Family("googlenet.net", ("googlenet",)),
    Family("inception_v3.net", ("inception",)),
    Family("shufflenet_v2.net", ("shufflenetv2",)),
    Family("mobilenet_v2.net", ("mobilenetv2",)),
    Family("mobilenet_v3.net", ("mobilenetv3",)),
    Family("mnasnet.net", ("mnasnet",)),
    Family("efficientnet.net", ("efficientnet",)),
    Family("regnet.net", ("regnet",)),
    Family("convnext.net", ("convnext",)),
    Family("vit.net", ("vision_transformer",)),
    Family("swin.net", ("swin_transformer",)),
    Family("maxvit.net", ("maxvit",)),
    Family(
        "segmentation.net",
        ("segmentation._utils", "segmentation.fcn", "segmentation.deeplabv3"),
        without=("_deeplabv3_mobilenetv3", "deeplabv3_mobilenet_v3_large"),
    ),
    Family("video_resnet.net", ("video.resnet",), without=("Bottleneck",)),
    Family("gpt2.net", ("gpt2.modeling_gpt2",), package="transformers.models"),
    Family("bert.net", ("bert.modeling_bert",), package="transformers.models"),
    Family("llama.net", ("llama.modeling_llama",), package="transformers.models"),
    Family("t5.net", ("t5.modeling_t5",), package="transformers.models"),
)


@dataclass(frozen=True)
class Count:
    """Code lines of a family: ours, theirs without and with what describes published weights; our models."""

    family: Family
    ours: int
    theirs: int
    with_weights: int
    models: tuple[str, ...]

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def spec_lines(text: str) -> int:
    """The code lines of a `.net` file.

    >>> spec_lines("## A model.\\nmodel M {\\n  # the input\\n  input x: [N, 3]\\n\\n  output x -> ReLU\\n}\\n")
    4
    """
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def code_lines(text: str) -> set[int]:
    """The numbers of the lines of a Python file that have code.

    >>> sorted(code_lines('def f(x):  # twice\\n    \\"\\"\\"Twice x.\\"\\"\\"\\n\\n    return 2 * x\\n'))
    [1, 4]
    """
    quiet = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in quiet:
            found.update(range(token.start[0], token.end[0] + 1))
    return found - {line for node in docstrings(ast.parse(text)) for line in lines_of(node)}


def docstrings(module: ast.Module) -> Iterator[ast.expr]:
    """The strings that stand first in a module, class or function."""
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


def lines_of(node: ast.stmt | ast.expr) -> range:
    decorators = getattr(node, "decorator_list", ())
    return range(
        min([node.lineno, *(part.lineno for part in decorators)]), (node.end_lineno or node.lineno) + 1
    )


def describes_weights(node: ast.stmt) -> bool:
    """Whether a statement is an enum of published weights, or metadata that such enums share."""
    if isinstance(node, ast.ClassDef):
        return any(isinstance(base, ast.Name) and base.id == "WeightsEnum" for base in node.bases)
    targets = node.targets if isinstance(node, ast.Assign) else ()
    return any(isinstance(target, ast.Name) and target.id.endswith("_META") for target in targets)


def python_lines(text: str, without: tuple[str, ...] = ()) -> tuple[int, int]:
    """The code lines of a Python file: without and with what describes weights, less the definitions in `without`."""
    lines = code_lines(text)
    weights: set[int] = set()
    for node in ast.parse(text).body:
        if getattr(node, "name", None) in without:
            lines -= {*lines_of(node)}
        elif describes_weights(node):
            weights |= {*lines_of(node)}
    return len(lines - weights), len(lines)


def module_text(package: str, module: str) -> str:
    """The source of a module, which is not imported. Raises `ModuleNotFoundError` where its package is missing."""
    top, _, rest = package.partition(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {top!r}", name=top)
    place = Path(spec.submodule_search_locations[0], *rest.split("."), *module.split("."))
    return place.with_suffix(".py").read_text(encoding="utf-8")


def models_of(path: Path) -> tuple[str, ...]:
    """The models of a spec that need no arguments."""
    declarations = parse(Source.read(path), Report()).declarations
    models = [part for part in declarations if isinstance(part, GraphDecl) and part.kind == "model"]
    return tuple(model.name.id for model in models if all(p.default is not None for p in model.parameters))


def count(family: Family) -> Count:
    theirs = [python_lines(module_text(family.package, name), family.without) for name in family.modules]
    return Count(
        family,
        spec_lines(family.path.read_text(encoding="utf-8")),
        sum(bare for bare, _ in theirs),
        sum(full for _, full in theirs),
        models_of(family.path),
    )


def counts() -> list[Count]:
    """Of every family that has a spec."""
    return [count(family) for family in FAMILIES if family.path.exists()]


def table(found: list[Count]) -> str:
    """The table in Markdown, with the versions it was counted with."""
    versions = " and ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torchvision", "transformers")
    )
    rows = [
        f"Counted with {versions}.",
        "",
        "| spec | lines | in Python | ratio | with weights' metadata | models |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        *(row(entry) for entry in found),
    ]
    judged = [entry for entry in found if entry.family.has_bar]
    ours, theirs = sum(entry.ours for entry in judged), sum(entry.theirs for entry in judged)
    full = sum(entry.with_weights for entry in judged)
    models = sum(len(entry.models) for entry in judged)
    rows.append(
        f"| all of torchvision's | {ours:,} | {theirs:,} | {ours / theirs:.2f} | {full:,} | {models} |"
    )
    return "\n".join(rows) + "\n"


def row(entry: Count) -> str:
    name = f"[`{entry.family.spec}`]({entry.family.spec})"
    full = f"{entry.with_weights:,}" if entry.family.has_bar else ""
    models = ", ".join(f"`{model}`" for model in entry.models)
    return f"| {name} | {entry.ours} | {entry.theirs:,} | {entry.ratio:.2f} | {full} | {models} |"


def with_table(text: str, written: str) -> str:
    """`text` with the table between its marks replaced."""
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}\n{written}\n{END}{after}"


def main() -> int:
    found = counts()
    written = table(found)
    print(written, end="")
    if "--update" in sys.argv[1:]:
        README.write_text(with_table(README.read_text(encoding="utf-8"), written), encoding="utf-8")
    long = [entry.family.spec for entry in found if entry.family.has_bar and entry.ratio > BAR]
    if long:
        print(f"more than a third of torchvision's lines: {', '.join(long)}", file=sys.stderr)
    return 1 if long else 0


if __name__ == "__main__":
    sys.exit(main())
