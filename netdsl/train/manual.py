"""The manual of an exported model: what a file goes through before the model gets it, and what its outputs are, as
plain data for programs that know nothing of netdsl.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from netdsl.ir.graph import Graph
from netdsl.ir.types import Tensor
from netdsl.train.data import Input, Numeric, OneHot, Source, Table, Text, Tokens
from netdsl.train.data import Sequence as Series
from netdsl.train.data.bundled import Bundled
from netdsl.train.data.encoding import feature_names
from netdsl.train.data.features import Feature
from netdsl.train.data.table_files import ABSENT
from netdsl.train.data.vocabulary import WORD, Unit
from netdsl.train.foreign.rows import features_of
from netdsl.train.losses.base import Loss
from netdsl.train.recipe import Recipe

FORMAT = 2
Plain: TypeAlias = dict[str, Any]
Fitted: TypeAlias = Mapping[str, Any] | None


def manual(graph: Graph, recipe: Recipe, known: Mapping[str, Any], fitted: Fitted) -> Plain:
    """All of it as JSON data. `known` is what a run has written down of its inputs, `fitted` what it learned of them.

    `steps` leads from a file to the first input, in order, and `result` from the output to what it means.
    """
    outputs = [output for output in graph.outputs if not output.when_training]
    plain = "output" if len(outputs) == 1 else None
    return {
        "format": FORMAT,
        "model": graph.name,
        "inputs": [_tensor(entry.name, entry.type) for entry in graph.inputs],
        "outputs": [
            _tensor(each.name or plain or f"out{number}", graph.types[each.value])
            for number, each in enumerate(outputs)
        ],
        "steps": steps(recipe, known, fitted),
        "result": result(recipe, known),
        **{key: value for key, value in known.items() if key != "format"},
        "fitted": fitted,
    }


def _tensor(name: str, type_: Any) -> Plain:
    """A tensor with its sizes; those that are free are texts."""
    if not isinstance(type_, Tensor):
        return {"name": name, "dtype": str(type_), "shape": []}
    return {
        "name": name,
        "dtype": type_.dtype,
        "shape": [dim if isinstance(dim, int) else str(dim) for dim in type_.shape],
    }


# ------------------------------------------------------------------------------------------------ steps


def steps(recipe: Recipe, known: Mapping[str, Any], fitted: Fitted) -> list[Plain]:
    """What is done to a file, each step with its name as `do`."""
    source, shape = recipe.data, list(known.get("shape") or ())
    kind = str(known.get("kind") or "numbers")
    if isinstance(source, Series) and fitted is not None:
        return [*_rows(source.table, fitted), *_window(source), _as("float32")]
    if isinstance(source, Table) and fitted is not None:
        return [*_rows(source, fitted), _as("float32")]
    if isinstance(source, Text):
        return _text(source, fitted)
    if isinstance(source, Tokens):
        tokens = fitted["tokens"] if fitted else None
        cut = {"do": "cut", "length": source.length, "keep": "last"}
        return [*_numbered(source.tokens, tokens, source.vocabulary, source.unknown), cut, _as("int64")]
    if kind == "image":
        return [*_image(source, shape), *map(_transform, recipe.described()["transform"])]
    if isinstance(source, Bundled) and source.standardise and fitted is not None:
        standard = {"do": "standardise", "mean": fitted["mean"], "scale": fitted["scale"]}
        return [{"do": "numbers", "shape": shape}, standard, _as("float32")]
    return [{"do": "numbers", "shape": shape}, _as("int64" if kind == "ids" else "float32")]


def _as(dtype: str) -> Plain:
    return {"do": "as", "dtype": dtype}


def _transform(described: Plain) -> Plain:
    """By its name in `torchvision.transforms.v2`, with its arguments."""
    return {"do": described["kind"], **{key: value for key, value in described.items() if key != "kind"}}


def _image(source: Source | None, shape: Sequence[int | None]) -> list[Plain]:
    """Read by Pillow, in its mode, and resized by it, as it does without further arguments."""
    declared = source.sample().input if source else Input(())
    channels, height, width = shape if len(shape) == 3 else (*declared.shape, None, None, None)[:3]
    resized = {"do": "resize", "height": height, "width": width, "resampling": "bilinear"}
    return [
        {"do": "image", "mode": "L" if channels == 1 else "RGB"},
        *([resized] if height is not None and width is not None else []),
        {"do": "axes", "order": "CHW"},
        {"do": "divide", "by": 255, "dtype": "float32"},
    ]


def _rows(table: Table, fitted: Mapping[str, Any]) -> list[Plain]:
    """A table, and each input that is made of its columns, in order."""
    features = features_of(table, fitted)
    columns = [
        made
        for feature, learned in zip(features, fitted["learned"], strict=True)
        for made in _columns(feature, learned)
    ]
    form = table.form()
    read = {
        "do": "table",
        "header": form.header,
        "delimiter": form.delimiter,
        "encoding": form.encoding,
        "decimal": form.decimal,
        "missing": sorted(ABSENT | set(form.absent)),
    }
    return [read, {"do": "columns", "columns": columns, "names": list(feature_names(features, fitted))}]


def _columns(feature: Feature, learned: Any) -> list[Plain]:
    """The inputs that a feature gives: `number` and `missing` are one each, `one-hot` one a category."""
    if isinstance(feature, Numeric):
        made: list[Plain] = []
        for column, facts in zip(feature.columns(), learned, strict=True):
            made.append({"column": column, "is": "number", **facts})
            made += [{"column": column, "is": "missing"}] if feature.flag else []
        return made
    if isinstance(feature, OneHot):
        unknown = "error" if feature.handle_unknown == "error" else "zeros"
        one_hot = {"is": "one-hot", "categories": learned["categories"], "missing": feature.missing}
        return [{"column": feature.column, **one_hot, "unknown": unknown}]
    return [{"column": column, "is": "missing"} for column in feature.columns()]


def _window(source: Series) -> list[Plain]:
    change = [{"do": "difference", "order": source.difference}] if source.difference else []
    return [*change, {"do": "window", "rows": source.window, "of": "last"}]


def _text(source: Text, fitted: Fitted) -> list[Plain]:
    tokens = fitted["tokens"] if fitted else None
    unknown = 1 if source.learns else source.unknown
    return [
        *_numbered(source.tokens, tokens, source.vocabulary, unknown),
        {"do": "cut", "length": source.length, "keep": source.keep},
        {"do": "pad", "length": source.length, "side": source.padding, "with": source.pad},
        _as("int64"),
    ]


def _numbered(
    unit: Unit, tokens: Sequence[str] | None, vocabulary: object, unknown: int | None
) -> list[Plain]:
    """A text as the numbers of its tokens; ids stand in it as they are, `below` some number."""
    if tokens is None:
        return [
            {"do": "tokens", "of": "blanks"},
            {"do": "ids", "below": vocabulary, "unknown": unknown},
        ]
    parts: Plain = {"do": "tokens", "of": unit}
    if unit == "words":
        parts |= {"lower": True, "pattern": WORD.pattern}
    if unit == "ids":
        parts = {"do": "tokens", "of": "blanks"}
    return [parts, {"do": "vocabulary", "tokens": list(tokens), "unknown": unknown}]


# ----------------------------------------------------------------------------------------------- result


def result(recipe: Recipe, known: Mapping[str, Any]) -> Plain:
    """What the first output is, and what makes probabilities of it: `softmax` over axis 1, `sigmoid`, `exp` or nothing.

    Of one probability, `names` has what 0 and 1 are called.
    """
    loss, classes = recipe.loss, known.get("classes")
    count = classes if isinstance(classes, int) else 0
    names = list(classes) if isinstance(classes, list) else [str(number) for number in range(count)]
    decides = loss.targets == "classes" or loss.binary or recipe.target is not None
    found: Plain = (
        {"gives": loss.gives, "then": _then(loss)} if decides else {"gives": "values", "then": None}
    )
    found["names"] = names
    source = recipe.data
    if isinstance(source, Series):
        found |= {"horizon": source.horizon, "difference": source.difference}
    table = source.table if isinstance(source, Series) else source
    if isinstance(table, Table) and table.classes is None:
        found["names"] = list(table.targets())
    return found


def _then(loss: Loss) -> str | None:
    if loss.gives == "log-probabilities":
        return "exp"
    if loss.gives != "logits":
        return None
    return "sigmoid" if loss.binary else "softmax"
