"""The recipe of a model: its `train` block, with what the command line says in place of its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from netdsl.cli.console import problem
from netdsl.cli.program import Request, written
from netdsl.compiler import settings
from netdsl.diagnostics import Report
from netdsl.diagnostics.suggest import did_you_mean
from netdsl.elaborate.program import Program
from netdsl.elaborate.recipe import Recipes
from netdsl.elaborate.settings import Setting
from netdsl.elaborate.values import POISON
from netdsl.ir.graph import Graph
from netdsl.source import Span
from netdsl.train.changes import Change, NoPlace, change, elsewhere
from netdsl.train.component import listed
from netdsl.train.criteria import Criteria
from netdsl.train.data import Custom
from netdsl.train.recipe import KEYS, Recipe, read_recipe
from netdsl.train.runs import RunFolder, settings_of


def requested(asked: Request, report: Report, changes: Sequence[tuple[str, str]]) -> Recipe | None:
    """The recipe of the model with changes, each an option and `key=value`; None where it has problems."""
    has_block = any(train.model.id == asked.model for train in asked.program.trains)
    if not has_block and not changes:
        example = f"add one: `train {asked.model} {{ data = Digits ... }}`"
        problem(report, "E0603", f"`{asked.source.path}` has no `train {asked.model}` block", example)
        return None
    found = recipe(asked.program, asked.model, asked.graph, report, changes)
    return found if found and python_allowed(found, asked.program, report) else None


def python_allowed(recipe: Recipe, program: Program, report: Report) -> bool:
    """Whether the recipe's sources may be loaded; E0217 where one is Python code, which was not allowed."""
    for key in ("data", "valid"):
        source = getattr(recipe, key)
        if isinstance(source, Custom) and not program.session.allow_extern:
            message = f"`{source.factory}` is Python code, which is imported only when it is allowed"
            report.error("E0217", message, recipe.places.of(key), helps=["if you trust it: `--allow-extern`"])
            return False
    return True


def changed(data: str | None, texts: Sequence[str] | None) -> list[tuple[str, str]]:
    """What `--data` and `--set` change: the option, and `key=value`."""
    first = [("--data", f"data={data}")] if data else []
    return [*first, *(("--set", text) for text in texts or ())]


def recipe(
    program: Program,
    model: str,
    graph: Graph | None,
    report: Report,
    changes: Sequence[tuple[str, str]] = (),
    kept: RunFolder | None = None,
) -> Recipe | None:
    """The checked recipe of a model, without torch or the data; None after reporting why there is none.

    It is that of the `train` block, or of the run in `kept`.
    """
    program.session.report = report
    train = next((train for train in program.trains if train.model.id == model), None)
    given = settings_of(kept.recipe) if kept else settings(program, model, graph) or {}
    if train is not None and not kept and {entry.key.id for entry in train.entries} - set(given):
        return None  # a value has an error, which is reported
    before = len(report.errors)
    asked = changes_of(program, changes, given, report)
    if len(report.errors) > before:
        return None
    try:
        given = change(given, asked)
    except NoPlace as problem:
        report.error("E0002", str(problem), problem.span, helps=problem.helps)
        return None
    outputs = [o for o in graph.outputs if not o.when_training] if graph else []
    types = [graph.types[o.value] for o in outputs] if graph else []
    return read_recipe(
        given,
        report,
        inputs=[entry.type for entry in graph.inputs] if graph else (),
        outputs=types,
        model=model,
        span=train.model.span if train else None,
        folder=kept.data_folder if kept else Path(program.main.source.path).parent,
        graph=graph,
        criteria=Criteria(program, types, graph),
    )


def changes_of(
    program: Program, texts: Sequence[tuple[str, str]], given: Mapping[str, Setting], report: Report
) -> list[Change]:
    """The changes that options say as `key=value` or `key.argument=value`; a key that there is not is reported."""
    found: list[Change] = []
    for option, text in texts:
        for path, source, expr in written(option, [text], report, "optimizer.lr=0.1"):
            value = Recipes(program.session, program.main.scope.child(), None).setting(expr)
            start = text.index(path)
            key = path.partition(".")[0]
            if key not in KEYS:
                helps = did_you_mean(key, KEYS) or elsewhere(key, given) or [f"the keys are {listed(KEYS)}"]
                place = Span(source, start, start + len(key))
                report.error("E0609", f"a recipe has no key `{key}`", place, helps=helps)
            elif value is not POISON:
                found.append(Change(path, value, expr.span, Span(source, start, start + len(path))))
    return found
