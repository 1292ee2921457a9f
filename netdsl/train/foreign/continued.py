"""How a series goes on, and how a text: the model is asked about the end, and then about what it has said itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from netdsl.train.data.encoding import located, numbers
from netdsl.train.data.sequence import Sequence as Series
from netdsl.train.data.table_files import Table as Cells
from netdsl.train.data.tokens import Tokens
from netdsl.train.data.vocabulary import numbers_of, tokens_of
from netdsl.train.errors import TrainError
from netdsl.train.foreign.base import Known, learned, text_of, unreadable, with_helps
from netdsl.train.foreign.rows import cells_of, encoded, features_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ask = Callable[[Tensor], Tensor]  # the outputs of the model for inputs


@dataclass(frozen=True)
class Next:
    """A step after the end: the model's `output` for it, and, of a series of changes, the `levels` they lead to."""

    output: Tensor
    levels: tuple[float, ...] = ()


# ----------------------------------------------------------------------------------------------- series


def series_steps(path: Path, source: Series, known: Known, ask: Ask, steps: int | None) -> Iterator[Next]:
    """The rows that follow the table at `path`: those that the model predicts at once, or `steps`.

    For more, its predictions become rows, which takes a model whose inputs are what it predicts (E0636).
    """
    fitted = learned(known)
    cells = cells_of(path, source.table, fitted)
    ahead = source.horizon
    if steps is not None and steps > ahead:
        _check_closed(path, source, cells, fitted)
    if source.table.classes is not None:
        output = ask(_window(path, source, cells, fitted))[0]
        yield from (Next(output[..., i] if ahead > 1 else output) for i in range(min(steps or ahead, ahead)))
        return
    levels = _levels(source, cells)
    done = 0
    while done < (steps or ahead):
        output = ask(_window(path, source, cells, fitted))[0].reshape(ahead, -1)
        for row in output[: (steps or ahead) - done]:
            if levels is not None:
                levels = _further(levels, row, source.difference)
            yield Next(row, tuple(levels[-1].tolist()) if levels is not None and source.difference else ())
            done += 1
        if done < (steps or ahead):
            assert levels is not None
            cells = _grown(cells, source, levels[-ahead:])


def _window(path: Path, source: Series, cells: Cells, fitted: Mapping[str, Any]) -> Tensor:
    """The last rows as the model has seen rows in training: [1, window, inputs]."""
    import numpy

    x = encoded(source.table, fitted, cells)
    needed = source.window + source.difference
    if len(x) < needed:
        rows = f"{len(x)} row{'s' * (len(x) != 1)}"
        more = f" and {source.difference} before, for changes" if source.difference else ""
        message = f"has {rows}, and the model looks at {source.window}{more}"
        raise unreadable(path, message, f"give it a table of at least {needed} rows")
    if source.difference:
        x = numpy.diff(x[-needed:], source.difference, axis=0)
    window = numpy.ascontiguousarray(x[-source.window :], dtype=numpy.float32)
    return torch.from_numpy(window).unsqueeze(0)


def _levels(source: Series, cells: Cells) -> NDArray[Any] | None:
    """The targets of the rows, [rows, targets], from which changes are counted; None where the file has none."""
    import numpy

    try:
        columns = [numbers(cells, column, "target") for column in source.table.targets()]
    except TrainError as problem:
        if problem.diagnostic.code == "E0652":  # such a column may be left out
            return None
        raise with_helps(problem, ["forecasts go on from the last rows, which need a value"]) from problem
    return numpy.stack(columns, 1)


def _further(levels: NDArray[Any], output: Tensor, difference: int) -> NDArray[Any]:
    """With a row more: the one whose changes, of this order, are the output.

    >>> import numpy
    >>> _further(numpy.array([[1.0], [4.0], [9.0]]), torch.tensor([2.0]), 2)[-1]
    array([16.])
    """
    import numpy

    row = output.double().numpy().copy()
    for back in range(1, difference + 1):
        row -= (-1) ** back * comb(difference, back) * levels[-back]
    return numpy.concatenate([levels, row[None]])


def _check_closed(path: Path, source: Series, cells: Cells, fitted: Mapping[str, Any]) -> None:
    """Refuse to go on where the model looks at what it does not predict."""
    table = source.table
    known = {located(cells, column, "target") for column in table.targets()}
    columns = [column for feature in features_of(table, fitted) for column in feature.columns()]
    other = next((c for c in columns if located(cells, c, "features") not in known), None)
    if other is None and table.classes is None:
        return
    needs = (
        f"it looks at `{other}`, which it does not predict" if other is not None else "it predicts classes"
    )
    most = f"{source.horizon} step{'s' * (source.horizon > 1)}"
    message = f"the model predicts {most} after `{path}` and cannot go on: {needs}"
    raise TrainError("E0636", message, helps=[f"`--steps {source.horizon}` is the most"])


def _grown(cells: Cells, source: Series, rows: NDArray[Any]) -> Cells:
    """The table with rows of what was predicted, as they would stand in a file; in other columns is nothing."""
    from pandas import DataFrame, concat

    before = cells.frame
    names = [located(cells, column, "target") for column in source.table.targets()]
    added: dict[Any, Any] = {
        name: [None] * len(rows) for name in before.columns if before[name].dtype == object
    }
    for name, values in zip(names, rows.T.tolist(), strict=True):
        added[name] = [repr(value) for value in values] if name in added else values
    frame = concat([before, DataFrame(added, columns=before.columns)], ignore_index=True)
    return replace(cells, frame=frame, lines=None, rows=None)


# ------------------------------------------------------------------------------------------------ texts


def text_steps(path: Path, source: Tokens, known: Known, ask: Ask, steps: int | None) -> Iterator[Next]:
    """The tokens that follow the text at `path`, each the most likely one after those before it."""
    ids = _ids(path, source, known)
    if len(ids) < source.length:
        message = f"has {len(ids)} tokens, and the model looks at {source.length}"
        raise unreadable(path, message, "give it a longer text")
    window = ids[-source.length :]
    for _ in range(steps or 1):
        output = ask(torch.tensor([window]))[0][..., -1]
        yield Next(output)
        window = [*window[1:], int(output.argmax())]


def token_names(source: Tokens, known: Known) -> Sequence[str]:
    """What the classes of the output are called."""
    tokens: Sequence[str] | None = known.fitted["tokens"] if known.fitted else None
    return tokens or [str(number) for number in range(source.sample().target.count or 0)]


def _ids(path: Path, source: Tokens, known: Known) -> list[int]:
    tokens = learned(known)["tokens"]
    if path.suffix.lower() == ".npy":
        return _saved_ids(path, len(tokens) if tokens else source.vocabulary)
    numbers = {token: i for i, token in enumerate(tokens)} if tokens else source.vocabulary
    assert isinstance(numbers, (int, dict))
    unit = "ids" if tokens is None else source.tokens
    found = tokens_of(text_of(path).removesuffix("\n") if unit == "characters" else text_of(path), unit)
    try:
        return numbers_of(found, numbers, source.unknown, f"`{path}`").tolist()
    except TrainError as problem:
        raise with_helps(problem, ["the model has learned nothing of it: leave it out"]) from problem


def _saved_ids(path: Path, below: object) -> list[int]:
    from netdsl.train.data.token_reader import WindowReader

    assert isinstance(below, int)
    return [int(number) for number in WindowReader(path, None, 0, 1, below).ids]
