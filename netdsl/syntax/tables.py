"""The LALR(1) tables of `net.lark` as plain data: made by Lark once, then read from a cache as JSON.

With a cache at hand neither Lark nor a pickle is loaded, so a parse costs milliseconds from a cold start.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark
    from lark.grammar import Rule as LarkRule

_GRAMMAR = Path(__file__).with_name("net.lark")
_FORMAT = 1  # goes up when the layout of the cached data changes


@dataclass(frozen=True, slots=True)
class Rule:
    """One production, and how the value of its left side is made."""

    number: int
    origin: str
    size: int
    action: str | None  # the method of the builder; None where the parts are passed on as a list
    is_unit: bool  # one symbol that passes its value on unchanged
    collapses: bool  # a single part stands for itself
    pick: Callable[[list[Any]], Sequence[Any]]  # from the values of the right side to the parts of the result


@dataclass(frozen=True, slots=True)
class Tables:
    """`actions[state]` maps a terminal to `s + 1` (shift to state s) or `-(r + 1)` (reduce by rule r)."""

    actions: tuple[dict[str, int], ...]
    gotos: tuple[dict[str, int], ...]
    rules: tuple[Rule, ...]
    starts: dict[str, tuple[int, int]]  # start rule -> its first and its last state
    patterns: tuple[tuple[str, str], ...]  # terminals that are no words, longest match first: (name, pattern)
    words: dict[str, str]  # text -> terminal, for the terminals that look like names
    climbs: dict[tuple[int, int, str], int] = field(default_factory=dict[tuple[int, int, str], int])


@cache
def tables() -> Tables:
    """The tables of the language, from the cache where there is one."""
    grammar = _GRAMMAR.read_text(encoding="utf-8")
    cached = _cache_path(grammar)
    data = _read_cache(cached, grammar) if cached else None
    if data is None:
        data = _generate(grammar)
        if cached:
            _write_cache(cached, data)
    return _from_data(data)


def _from_data(data: dict[str, Any]) -> Tables:
    rules: list[Rule] = []
    for number, (origin, size, action, is_unit, collapses, parts) in enumerate(data["rules"]):
        pick = _picker([None if part is None else (part[0], part[1]) for part in parts], action is None)
        rules.append(Rule(number, origin, size, action, is_unit, collapses, pick))
    return Tables(
        actions=tuple(data["actions"]),
        gotos=tuple(data["gotos"]),
        rules=tuple(rules),
        starts={name: (first, last) for name, (first, last) in data["starts"].items()},
        patterns=tuple((name, pattern) for name, pattern in data["patterns"]),
        words=data["words"],
    )


def _picker(parts: list[tuple[int, bool] | None], makes_list: bool) -> Callable[[list[Any]], Sequence[Any]]:
    """Chooses the parts of a result: (index, whether to take a list apart), or None for what is missing."""
    indices = [part[0] for part in parts if part is not None and not part[1]]
    if len(indices) == len(parts) and not makes_list:
        if len(indices) > 1:
            return itemgetter(*indices)
        return itemgetter(slice(indices[0], indices[0] + 1)) if indices else lambda _: ()

    def pick(values: list[Any]) -> list[Any]:
        picked: list[Any] = []
        for part in parts:
            if part is None:
                picked.append(None)
            elif not part[1]:
                picked.append(values[part[0]])
            elif picked:
                picked += values[part[0]]
            else:  # a list that nobody else holds: adding to it keeps long lists linear
                picked = values[part[0]]
        return picked

    return pick


# ------------------------------------------------------------------------------------------------------ cache


def _cache_path(grammar: str) -> Path | None:
    name = f"grammar-{zlib.crc32(grammar.encode()):08x}.json"
    if base := os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA"):
        return Path(base, "netdsl", name)
    with suppress(RuntimeError):
        caches = "Library/Caches" if sys.platform == "darwin" else ".cache"
        return Path.home() / caches / "netdsl" / name
    return None


def _read_cache(path: Path, grammar: str) -> dict[str, Any] | None:
    """What is cached, if it is whole and belongs to this grammar."""
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        belongs = (data["format"], data["grammar"]) == (_FORMAT, grammar)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return data if belongs else None


def _write_cache(path: Path, data: dict[str, Any]) -> None:
    """Best effort: without a place to write, the next process makes the tables again."""
    import tempfile  # costs 5 ms, and is needed once

    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(data, file, separators=(",", ":"))
            Path(partial).replace(path)
        except OSError:
            Path(partial).unlink(missing_ok=True)


# --------------------------------------------------------------------------------------------- making them


def _generate(grammar: str) -> dict[str, Any]:
    from lark import Lark

    lark: Any = Lark(grammar, parser="lalr", lexer="basic", start=["file", "interpolation"])
    starts: dict[str, tuple[int, int]] = {}
    states: dict[int, dict[str, tuple[Any, Any]]] = {}
    for start in ("file", "interpolation"):
        configuration = lark.parse_interactive("", start=start).parser_state.parse_conf
        starts[start] = (configuration.start_state, configuration.end_state)
        states = configuration.states
    numbers = {rule: number for number, rule in enumerate(lark.rules)}
    terminals = {terminal.name for terminal in lark.terminals} | {"$END"}
    actions: list[dict[str, int]] = [{} for _ in states]
    gotos: list[dict[str, int]] = [{} for _ in states]
    for state, row in states.items():
        for symbol, (_, target) in row.items():
            if symbol not in terminals:
                gotos[state][symbol] = target
            else:
                actions[state][symbol] = -numbers[target] - 1 if target in numbers else target + 1
    patterns, words = _split_terminals(lark)
    return {
        "format": _FORMAT,
        "grammar": grammar,
        "actions": actions,
        "gotos": gotos,
        "rules": [_rule_data(rule) for rule in lark.rules],
        "starts": starts,
        "patterns": patterns,
        "words": words,
    }


def _split_terminals(lark: Lark) -> tuple[list[tuple[str, str]], dict[str, str]]:
    strings = [terminal for terminal in lark.terminals if terminal.pattern.type == "str"]
    words = {one.pattern.value: one.name for one in strings if one.pattern.value.isalpha()}
    others = [terminal for terminal in lark.terminals if terminal.pattern.value not in words]
    others.sort(key=lambda t: (-t.priority, t.pattern.type == "str", -len(t.pattern.value), t.name))
    return [(terminal.name, terminal.pattern.to_regexp()) for terminal in others], words


def _rule_data(rule: LarkRule) -> tuple[Any, ...]:
    """What `Rule` needs, with Lark's own reading of `?`, `_`, `[ ]` and of terminals written as strings."""
    origin = str(rule.origin.name)
    parts = list(_parts(rule))
    collapses = bool(rule.options.expand1) and not rule.alias
    is_unit = collapses and parts == [(0, False)] and len(rule.expansion) == 1
    action = None if is_unit or origin.startswith("_") else rule.alias or origin
    return origin, len(rule.expansion), action, is_unit, collapses, parts


def _parts(rule: LarkRule) -> Iterable[tuple[int, bool] | None]:
    symbols = iter(enumerate(rule.expansion))
    for is_missing in rule.options.empty_indices or [False] * len(rule.expansion):
        if is_missing:
            yield None
            continue
        index, symbol = next(symbols)
        if not symbol.is_term:
            yield index, symbol.name.startswith("_")
        elif not getattr(symbol, "filter_out", False):
            yield index, False
