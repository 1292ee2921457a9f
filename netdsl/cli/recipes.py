"""The recipe of a model: its `train` block, with what the command line says in place of its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from netdsl.cli.console import problem
from netdsl.cli.program import Request, written
from netdsl.compiler import settings
from netdsl.diagnostics import Report
from netdsl.elaborate.program import Program
from netdsl.elaborate.recipe import Recipes
from netdsl.elaborate.settings import Choice, Setting
from netdsl.elaborate.values import POISON
from netdsl.ir.graph import Graph
from netdsl.source import Span
from netdsl.train.criteria import Criteria
from netdsl.train.data import Custom
from netdsl.train.recipe import Recipe, read_recipe
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
    for option, text in changes:
        change(program, given, option, text, report)
    if len(report.errors) > before:
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


def change(program: Program, given: dict[str, Setting], option: str, text: str, report: Report) -> None:
    """Put `key=value` in place; `optimizer.lr=0.1` changes one argument of what is there."""
    for name, source, expr in written(option, [text], report):
        value = Recipes(program.session, program.main.scope.child(), None).setting(expr)
        if value is POISON:
            continue
        key, _, argument = name.partition(".")
        key_span = Span(source, text.index(name), text.index(name) + len(name))
        before = given.get(key)
        if not argument:
            given[key] = Setting(value, expr.span, key_span)
        elif before is None or not isinstance(before.value, Choice):
            problem(
                report,
                "E0002",
                f"`{option} {text}`: `{key}` has no arguments",
                f"set it: `{option} {key}=...`",
            )
        else:
            chosen = before.value
            places = {**chosen.argument_spans, argument: expr.span}
            arguments = {**chosen.arguments, argument: value}
            given[key] = replace(before, value=replace(chosen, arguments=arguments, argument_spans=places))
