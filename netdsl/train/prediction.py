"""Using a trained model: its worth on a data set, and what it makes of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from netdsl.backends.weights import load_weights
from netdsl.train.batches import at_once
from netdsl.train.checkpoint import preprocessing_beside
from netdsl.train.data import Data, Tokens
from netdsl.train.data.sequence import Sequence as Series
from netdsl.train.evaluation import measured
from netdsl.train.findings import Findings, looked_at
from netdsl.train.foreign import Known, Samples, found_files, is_continued, known_of, read_samples
from netdsl.train.foreign.continued import Ask, series_steps, text_steps, token_names
from netdsl.train.loading import (
    Model,
    find_device,
    load_data,
    load_whole,
    make_model,
    try_model,
)
from netdsl.train.outcome import Prediction, names_of, said
from netdsl.train.recipe import Recipe
from netdsl.train.residence import placed
from netdsl.train.runner import Runner, laid_out, threads_of
from netdsl.train.samples import check_data
from netdsl.train.targets import compared

__all__ = ["ANYHOW", "Evaluation", "Manner", "Prediction", "evaluate", "examine", "predict"]


@dataclass(frozen=True)
class Manner:
    """How a run computed, which decides the last bits: its threads and memory layout; `device` where it was."""

    threads: int | None = None
    channels_last: bool = False
    device: str | None = None

    @classmethod
    def of_run(cls, environment: Mapping[str, object]) -> Manner:
        """That of a run, by the environment that it has written down; of a device that is not here, the best one."""
        threads, device = environment.get("threads"), str(environment.get("device") or "")
        here = device == "cpu" or (device.startswith("cuda") and torch.cuda.is_available())
        return cls(
            threads if isinstance(threads, int) else None,
            bool(environment.get("channels_last")),
            device if here else None,
        )


ANYHOW = Manner()


@dataclass(frozen=True)
class Evaluation:
    """`measured` has the loss and each metric by name, over `samples` samples."""

    samples: int
    measured: dict[str, float]
    seconds: float


def evaluate(
    model: Model,
    recipe: Recipe,
    *,
    weights: str | Path | None = None,
    data: Data | None = None,
    device: str | None = None,
    download: bool = False,
    manner: Manner = ANYHOW,
    whole: bool = False,
    known_by: str | Path | None = None,
) -> Evaluation:
    """The loss and metrics of `recipe` on its validation part; `weights` as `netdsl.load_weights` takes them.

    What preprocessing has learned lies beside `weights`, or beside `known_by` where the model has them already.

    With `whole`, on the test part of its data, or on all of it where there is none: it is none that was learned from.
    In the `manner` of a run, the numbers are those that its history has. Raises `TrainError` for the recipe and its
    data, `WeightsError` for weights that do not fit.
    """
    place = find_device(device or manner.device)
    beside = known_by or weights
    fitted = preprocessing_beside(beside) if beside is not None and data is None else None
    load = load_whole if whole else load_data
    data, _ = placed(data or load(recipe, download=download, fitted=fitted), place)
    check_data(data, recipe)
    module = make_model(model, recipe)
    if weights is not None:
        load_weights(module, weights)
    with threads_of(manner.threads):
        data = compared(data, recipe, try_model(module, recipe, data, place))
        module = laid_out(module.to(place), manner.channels_last)
        start = perf_counter()
        found = measured(module, recipe, data.valid, place, manner.channels_last)
        return Evaluation(len(data.valid), found, perf_counter() - start)


def examine(
    model: Model, recipe: Recipe, weights: str | Path, *, device: str | None = None, download: bool = False
) -> Findings:
    """Where a trained model is wrong on the validation part of `recipe`."""
    place = find_device(device)
    data, _ = placed(load_data(recipe, download=download, fitted=preprocessing_beside(weights)), place)
    check_data(data, recipe)
    module = make_model(model, recipe)
    load_weights(module, weights)
    data = compared(data, recipe, try_model(module, recipe, data, place))
    return looked_at(module, recipe, data, place)


def predict(
    model: Model,
    recipe: Recipe,
    files: Sequence[str | Path],
    *,
    weights: str | Path | None = None,
    device: str | None = None,
    steps: int | None = None,
    manner: Manner = ANYHOW,
    known_by: str | Path | None = None,
) -> list[Prediction]:
    """What the model makes of each file: an image, the rows of a table, the lines of a text, or how a series goes on.

    A folder stands for the images in it. Samples go through what the recipe's data went through, as it is written down
    beside `weights`, or `known_by` where the model has them already; the data itself need not be there. `steps` is how
    far a series or a text goes on. E0636 where a file does not hold such samples; then nothing is predicted.
    """
    known = known_of(recipe, known_by or weights)
    found = found_files(files, known)
    folders = [folder for folder in (recipe.folder, Path.cwd()) if folder is not None]
    continued = {path for path in found if is_continued(known, path)}
    given = [read_samples(path, known, recipe, folders) for path in found if path not in continued]
    with _asking(model, recipe, weights, device, manner) as ask:
        done = list(_made_of(given, recipe, known, ask))
        for path in found:
            if path in continued:
                done += _continued(path, recipe, known, ask, steps)
    places = {path: number for number, path in enumerate(found)}
    return sorted(done, key=lambda each: places[each.path])


@contextmanager
def _asking(
    model: Model, recipe: Recipe, weights: str | Path | None, device: str | None, manner: Manner
) -> Iterator[Ask]:
    """A function from samples to outputs, for a while."""
    place = find_device(device or manner.device)
    module = make_model(model, recipe)
    if weights is not None:
        load_weights(module, weights)
    with threads_of(manner.threads), torch.inference_mode():
        yield Runner(module, recipe, place, manner.channels_last)


def _made_of(given: Sequence[Samples], recipe: Recipe, known: Known, ask: Ask) -> Iterator[Prediction]:
    """Predictions in the order of the samples, which are asked about in batches as where a model is measured."""
    names = names_of(recipe, known)
    for batch, x in _batches(given):
        for (samples, row), output in zip(batch, ask(x), strict=True):
            place = row + 1 if samples.rows else None
            yield replace(said(samples.path, output, recipe, names), row=place, size=samples.size)


def _batches(given: Sequence[Samples]) -> Iterator[tuple[list[tuple[Samples, int]], Tensor]]:
    """All samples, with those of one shape that follow each other together, of whatever files they are."""
    waiting: list[Tensor] = []
    whose: list[tuple[Samples, int]] = []
    for samples in given:
        x, start = samples.read(), 0
        if waiting and waiting[0].shape[1:] != x.shape[1:]:
            yield whose, torch.cat(waiting)
            waiting, whose = [], []
        while start < len(x):
            part = x[start : start + at_once(x) - len(whose)]
            waiting.append(part)
            whose += [(samples, start + number) for number in range(len(part))]
            start += len(part)
            if len(whose) == at_once(x):
                yield whose, torch.cat(waiting)
                waiting, whose = [], []
    if waiting:
        yield whose, torch.cat(waiting)


def _continued(path: Path, recipe: Recipe, known: Known, ask: Ask, steps: int | None) -> Iterator[Prediction]:
    """The steps after the end of a series or a text."""
    source = known.source
    if isinstance(source, Tokens):
        names = token_names(source, known)
        for step, each in enumerate(text_steps(path, source, known, ask, steps), 1):
            yield replace(said(path, each.output, recipe, names), step=step)
        return
    assert isinstance(source, Series)
    names = names_of(recipe, known)
    for step, each in enumerate(series_steps(path, source, known, ask, steps), 1):
        made = said(path, each.output, recipe, names)
        if each.levels:
            changes = {f"change of {name}": value for name, value in made.values.items()}
            made = replace(made, values=dict(zip(made.values, each.levels, strict=True)) | changes)
        yield replace(made, step=step)
