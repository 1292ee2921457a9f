"""Training from Python: `fit` does what `netdsl train` does, `begin` gives the run to a loop of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from netdsl.compiler import NetError, settings
from netdsl.diagnostics import Report
from netdsl.elaborate.recipe import Recipes
from netdsl.elaborate.settings import Choice, Setting, Value
from netdsl.elaborate.values import POISON
from netdsl.ir.graph import Graph
from netdsl.nets import Model as NetModel
from netdsl.source import Source as SourceText
from netdsl.syntax.machine import parse_interpolation
from netdsl.train.component import Component
from netdsl.train.criteria import Criteria
from netdsl.train.data import Data, Source
from netdsl.train.loading import find_device
from netdsl.train.origin import origin_of
from netdsl.train.preparation import prepared
from netdsl.train.recipe import Recipe, read_recipe
from netdsl.train.runs import RunFolder, new_folder, settings_of
from netdsl.train.session import RunResult, Watcher, run
from netdsl.train.state import Run
from netdsl.train.writer import Keep

Trainable = NetModel | nn.Module | Callable[[], nn.Module]


def fit(
    model: Trainable,
    recipe: Recipe | None = None,
    *,
    arguments: Mapping[str, Any] | None = None,
    data: Data | Source | str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str | None = None,
    threads: int | None = None,
    download: bool = False,
    init_from: str | Path | None = None,
    devices: int | None = None,
    nodes: int = 1,
    strategy: str | None = None,
    keep: Keep | None = None,
    on_record: Watcher | None = None,
    **changes: Any,
) -> RunResult:
    """Train a model and keep the run in the folder `out`, by default a new one in `runs`.

    `model` is one of `netdsl.load`, made with `arguments`, or a module, or a function that makes one. Without a
    `recipe` it is that of the model's `train` block. `changes` are its keys, as `epochs=3`, `optimizer=SGD(lr=0.1)`
    or `optimizer="SGD(lr = 0.1)"`. `data` stands in for the recipe's own: a source, or tensors, as `Data`. The rest is
    as the command's options are.

    >>> import netdsl, tempfile
    >>> nets = netdsl.loads('''
    ... model Digit { input x: [N, 1, 8, 8]
    ...   output x -> Flatten -> Linear(32) -> ReLU -> Linear(10) }
    ... train Digit { data = Digits(size = 8)
    ...   loss = CrossEntropyLoss
    ...   optimizer = Adam(lr = 0.01)
    ...   metrics = [accuracy] }''')
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = netdsl.fit(nets.Digit, epochs=5, out=f"{folder}/digits", threads=1)
    >>> result.best.measured["valid_accuracy"] > 0.9
    True

    Raises `NetError` for the recipe, `TrainError` for its data and for what stops the run.
    """
    tensors, changes = _data_of(data, changes)
    made, given, graph = _asked(model, recipe, arguments or {}, changes)
    origin = (
        origin_of(model.program, model.name, arguments or {}, graph) if isinstance(model, NetModel) else None
    )
    return run(
        made,
        given,
        out=out or new_folder(given.model or "model"),
        data=tensors,
        resume=resume,
        device=device,
        threads=threads,
        download=download,
        init_from=init_from,
        devices=devices,
        nodes=nodes,
        strategy=strategy,
        origin=origin,
        keep=keep or Keep(),
        on_record=on_record,
    )


def begin(
    model: Trainable,
    recipe: Recipe | None = None,
    *,
    arguments: Mapping[str, Any] | None = None,
    data: Data | Source | str | None = None,
    device: str | None = None,
    download: bool = False,
    **changes: Any,
) -> Run:
    """A run at its first step, everything checked, for `netdsl.train.fit` to go through; nothing is written.

    >>> import netdsl
    >>> from netdsl.train import Epoch, begin, fit
    >>> nets = netdsl.loads('''
    ... model Digit { input x: [N, 1, 8, 8]
    ...   output x -> Flatten -> Linear(10) }
    ... train Digit { data = Digits(size = 8)
    ...   epochs = 2
    ...   loss = CrossEntropyLoss
    ...   optimizer = Adam(lr = 0.01) }''')
    >>> run = begin(nets.Digit, batch=128)
    >>> for record in fit(run):
    ...     if isinstance(record, Epoch):
    ...         print(record.epoch, record.step, sorted(record.measured))
    1 12 ['train_loss', 'valid_loss']
    2 24 ['train_loss', 'valid_loss']
    """
    tensors, changes = _data_of(data, changes)
    made, given, _ = _asked(model, recipe, arguments or {}, changes)
    place = find_device(device)
    ready = prepared(made, given, place, data=tensors, download=download)
    return Run(ready.module, given, ready.data, place, bool(given.channels_last))


def recipe_of_run(model: NetModel, graph: Graph, run: RunFolder) -> Recipe:
    """The recipe that a run of `model` was trained by."""
    found = _read(model, graph, settings_of(run.recipe), Report())
    return found.model_copy(update={"folder": run.data_folder})


def _data_of(
    data: Data | Source | str | None, changes: Mapping[str, Any]
) -> tuple[Data | None, dict[str, Any]]:
    """Tensors, where there are any; else a change of the recipe."""
    if data is None or isinstance(data, Data):
        return data, dict(changes)
    return None, {"data": data, **changes}


def recipe_of(model: NetModel, *, arguments: Mapping[str, Any] | None = None, **changes: Any) -> Recipe:
    """The recipe of a model's `train` block, with changes as `fit` takes them; `NetError` where it has problems.

    >>> import netdsl
    >>> nets = netdsl.loads('''model M { input x: [N, 2]
    ...   output x -> Linear(1) }
    ... train M { loss = MSELoss
    ...   optimizer = SGD(lr = 0.1) }''')
    >>> recipe_of(nets.M, batch=8).batch
    8
    """
    graph = model.graph(**(arguments or {}))
    report = Report()
    model.program.session.report = report
    given = settings(model.program, model.name, graph) or {}
    return _read(model, graph, _merged(given, _settings(changes, model, report)), report)


def _asked(
    model: Trainable, recipe: Recipe | None, arguments: Mapping[str, Any], changes: Mapping[str, Any]
) -> tuple[nn.Module | Callable[[], nn.Module], Recipe, Graph | None]:
    """What to train, how, and its graph where it has one."""
    if isinstance(model, NetModel):
        graph = model.graph(**arguments)
        given = (
            _changed(recipe, changes, model, graph)
            if recipe
            else recipe_of(model, arguments=arguments, **changes)
        )
        return lambda: model(**arguments), given, graph
    return model, _changed(recipe, changes, None, None), None


def _changed(
    recipe: Recipe | None, changes: Mapping[str, Any], model: NetModel | None, graph: Graph | None
) -> Recipe:
    if recipe is not None and not changes:
        return recipe if recipe.model or model is None else recipe.model_copy(update={"model": model.name})
    report = Report()
    given = settings_of(recipe.described()) if recipe else {}
    found = _read(model, graph, _merged(given, _settings(changes, model, report)), report)
    return found.model_copy(update={"folder": recipe.folder}) if recipe else found


def _merged(given: Mapping[str, Setting], changes: Mapping[str, Setting]) -> dict[str, Setting]:
    """Changes in place of what was given; a run is as long as the changes say, in epochs or in steps."""
    instead = {"epochs": "steps", "steps": "epochs"}
    dropped = {instead[key] for key in changes if key in instead} - set(changes)
    return {**{key: value for key, value in given.items() if key not in dropped}, **changes}


def _read(
    model: NetModel | None, graph: Graph | None, given: Mapping[str, Setting], report: Report
) -> Recipe:
    """The recipe that the settings say, checked against the model; `NetError` with all that is wrong."""
    types = [graph.types[o.value] for o in graph.outputs if not o.when_training] if graph else []
    path = model.program.main.source.path if model else "<text>"
    found = read_recipe(
        given,
        report,
        inputs=[entry.type for entry in graph.inputs] if graph else (),
        outputs=types,
        model=model.name if model else "",
        folder=None if path.startswith("<") else Path(path).parent,
        graph=graph,
        criteria=Criteria(model.program, types, graph) if model else None,
    )
    if found is None or report.has_errors:
        raise NetError(report)
    return found


def _settings(changes: Mapping[str, Any], model: NetModel | None, report: Report) -> dict[str, Setting]:
    """Python's values as settings: components by name, and texts as the language writes them."""
    found: dict[str, Setting] = {}
    for key, value in changes.items():
        if isinstance(value, str) and model is not None:
            source = SourceText(value, key)
            expr = parse_interpolation(source, 0, len(value), report)
            read: Any = POISON
            if expr is not None:
                model.program.session.report = report
                read = Recipes(model.program.session, model.program.main.scope.child(), None).setting(expr)
            if read is not POISON:
                found[key] = Setting(read, expr.span if expr else None)
        else:
            found[key] = Setting(_value(value))
    return found


def _value(value: Any) -> Value:
    if isinstance(value, Component):
        given = {name: _value(getattr(value, name)) for name in value.model_fields_set}
        return Choice(value.kind, given)
    if isinstance(value, str):
        return Choice(value) if value.isidentifier() else value
    return [_value(item) for item in value] if isinstance(value, list | tuple) else value
