"""Parameters by name pattern: `rules` with arguments of the optimizer of their own, `freeze`, and `penalty` terms.

Names are those of the `state_dict`; in a pattern `*` stands for any text, dots included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from netdsl.diagnostics import Report
from netdsl.diagnostics.suggest import nearest
from netdsl.elaborate.settings import Choice, Setting, Value, shown
from netdsl.train.component import Component, Family, as_tuple, construct, listed, report_arguments
from netdsl.train.optimizers import NOT_OF_A_GROUP, Optimizer

if TYPE_CHECKING:
    from netdsl.train.recipe import Recipe

Pattern = Annotated[str, Field(min_length=1)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(as_tuple)]


class Rule(Component):
    """`rule("*.bias", weight_decay = 0, lr = 0.1)`: parameters with arguments of their own. Of several rules that match
    a parameter, the later one decides.
    """

    kind = "rule"

    pattern: Pattern
    changes: dict[str, Any]

    def described(self) -> dict[str, Any]:
        return {"kind": "rule", "pattern": self.pattern, **self.changes}


class Penalty(Component):
    """A term that is added to what the optimizer makes small, and not to the loss that is shown."""

    factor: float = Field(gt=0)
    pattern: Pattern = "*"


class L1(Penalty):
    """`factor` times the sum of the absolute values of the parameters that match."""


class L2(Penalty):
    """`factor` times the sum of the squares of the parameters that match."""


PENALTIES: Family[Penalty] = Family.of("penalty", (L1, L2))


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """
    >>> matching(["fc.weight", "fc.bias", "norm.bias"], "*.bias")
    ['fc.bias', 'norm.bias']
    """
    return [name for name in names if fnmatchcase(name, pattern)]


def grouped(names: Sequence[str], rules: Sequence[Rule]) -> list[tuple[dict[str, Any], list[str]]]:
    """The parameters that have the same changes, with those, in an order that follows from names and rules alone: first
    those without, then as their first parameters come.

    >>> grouped(["a.weight", "a.bias"], [Rule(pattern="*.bias", changes={"lr": 0.1})])
    [({}, ['a.weight']), ({'lr': 0.1}, ['a.bias'])]
    """
    groups: dict[tuple[tuple[str, Any], ...], list[str]] = {(): []}
    for name in names:
        changes: dict[str, Any] = {}
        for rule in rules:
            if fnmatchcase(name, rule.pattern):
                changes |= rule.changes
        groups.setdefault(tuple(sorted(changes.items())), []).append(name)
    return [(dict(changes), members) for changes, members in groups.items() if members]


def read_rules(setting: Setting, optimizer: Optimizer | None, report: Report) -> tuple[Rule, ...]:
    """The rules of a recipe; what is wrong with them is reported (E0604 to E0607)."""
    items = setting.value if isinstance(setting.value, (list, tuple)) else [setting.value]
    rules: list[Rule] = []
    for item in items:
        if not isinstance(item, Choice) or item.name != "rule":
            help = 'write `rules = [rule("*.bias", weight_decay = 0)]`'
            report.error(
                "E0604", f"`rules` has {shown(item)}, which is no rule", _span(item, setting), helps=[help]
            )
            continue
        rule = _rule(item, setting, optimizer, report)
        rules += [rule] if rule else []
    return tuple(rules)


def _rule(choice: Choice, setting: Setting, optimizer: Optimizer | None, report: Report) -> Rule | None:
    span = _span(choice, setting)
    given = {"pattern": choice.positional[0]} if choice.positional else {}
    arguments = {**given, **choice.arguments}
    pattern = arguments.pop("pattern", None)
    if not isinstance(pattern, str) or not pattern or len(choice.positional) > 1:
        help = 'for example `rule("*.bias", weight_decay = 0)`'
        report.error(
            "E0607", "a rule begins with a pattern of names, and its arguments have names", span, helps=[help]
        )
        return None
    if optimizer is None:  # which is reported as missing or wrong
        return None
    found = type(optimizer)
    known = [name for name in found.model_fields if name not in NOT_OF_A_GROUP]
    for name in arguments:
        if name not in known:
            near = [f"did you mean `{close}`?" for close in nearest(name, known)[:1]]
            message = f"`rule` has no argument `{name}` for `{optimizer.kind}`"
            helps = [*near, f"a rule may change {listed(known)}"]
            report.error("E0606", message, choice.argument_spans.get(name) or span, helps=helps)
            return None
    if not arguments:
        report.error(
            "E0607", f"the rule for `{pattern}` changes nothing", span, helps=[f"may change {listed(known)}"]
        )
        return None
    try:
        changed = found(**{**optimizer.arguments(), **arguments})
    except ValidationError as problem:
        report_arguments(problem, Choice("rule", arguments, (), span, choice.argument_spans), found, report)
        return None
    return Rule(pattern=pattern, changes={name: getattr(changed, name) for name in arguments})


def read_penalties(setting: Setting, report: Report) -> tuple[Penalty, ...]:
    """The penalty terms of a recipe; what is wrong with them is reported (E0604 to E0607)."""
    items = setting.value if isinstance(setting.value, (list, tuple)) else [setting.value]
    found: list[Penalty] = []
    for item in items:
        if not isinstance(item, Choice):
            help = 'write `penalty = [L1(0.001, "*.weight")]`'
            report.error(
                "E0604", f"`penalty` has {shown(item)}, which is no term", setting.span, helps=[help]
            )
            continue
        placed = item if item.span else Choice(item.name, item.arguments, item.positional, setting.span)
        term = construct(placed, PENALTIES, report)
        found += [term] if term else []
    return tuple(found)


def check_patterns(recipe: Recipe, names: Sequence[str], report: Report) -> None:
    """Report patterns that match no parameter of `names` (E0640)."""
    for key, pattern in patterns_of(recipe):
        if not matching(names, pattern):
            report.error(
                "E0640",
                f"`{pattern}` in `{key}` matches no parameter of `{recipe.model or 'the model'}`",
                recipe.places.of(key),
                helps=near_patterns(pattern, names),
            )


def patterns_of(recipe: Recipe) -> list[tuple[str, str]]:
    """Every pattern of a recipe, with its key."""
    return [
        *(("rules", rule.pattern) for rule in recipe.rules),
        *(("freeze", pattern) for pattern in recipe.freeze),
        *(("penalty", term.pattern) for term in recipe.penalty),
    ]


def near_patterns(pattern: str, names: Sequence[str]) -> list[str]:
    """What may have been meant: the names, their first and their last parts that are near."""
    parts = [
        part for name in names for part in (name, f"{name.split('.')[0]}.*", f"*.{name.rsplit('.', 1)[-1]}")
    ]
    near = nearest(pattern, list(dict.fromkeys(parts)))[:2]
    known = listed(list(names)[:6]) + (", ..." if len(names) > 6 else "")
    return [
        *([f"did you mean {' or '.join(f'`{n}`' for n in near)}?"] if near else []),
        f"its parameters: {known}",
    ]


def learned(names: Mapping[str, tuple[int, ...]], recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters that the recipe does not freeze."""
    return {n: s for n, s in names.items() if not any(fnmatchcase(n, pattern) for pattern in recipe.freeze)}


def _span(value: Value, setting: Setting) -> Any:
    return (value.span if isinstance(value, Choice) else None) or setting.span
