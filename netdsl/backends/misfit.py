"""How the keys and shapes of a file of weights differ from those of a model, why that may be, and the way out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any, TypeAlias

Shape: TypeAlias = tuple[int, ...]
Shapes: TypeAlias = Mapping[str, Shape]

WRAPPERS = {
    "module.": "`nn.DataParallel` and `DistributedDataParallel` put it there",
    "_orig_mod.": "`torch.compile` puts it there",
}
LOOKED_AT = 48  # keys of one shape that a missing one is compared with, those in about its place
ALIKE = 0.6


@dataclass(frozen=True)
class Misfit:
    """Keys that the model has and the file has not, the other way round, and those of another shape: the file's
    and the model's."""

    missing: Shapes
    unexpected: Shapes
    reshaped: Mapping[str, tuple[Shape, Shape]]

    def __len__(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.reshaped)

    def __str__(self) -> str:
        """The counts: `2 keys are missing, 1 is unexpected`."""
        counts = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.reshaped,
        }
        words = [(len(keys), kind) for kind, keys in counts.items() if keys]
        first = " key" if words[0][0] == 1 else " keys"
        return ", ".join(
            f"{count:,}{'' if number else first} {'is' if count == 1 else 'are'} {kind}"
            for number, (count, kind) in enumerate(words)
        )

    def notes(self) -> tuple[str, ...]:
        """A note for each kind of difference, with a line for each key."""
        near = self.renamed
        tables = {
            "missing in the file:": [
                (key, show(shape), f"there is {near[key]}" if key in near else "")
                for key, shape in self.missing.items()
            ],
            "unexpected, which the model has not:": [
                (key, show(s), "") for key, s in self.unexpected.items()
            ],
            "of another shape in the file:": [
                (key, show(have), f"the model's is {show(want)}{_turned(have, want)}")
                for key, (have, want) in self.reshaped.items()
            ],
        }
        return tuple("\n".join([title, *_table(rows)]) for title, rows in tables.items() if rows)

    @cached_property
    def renamed(self) -> Mapping[str, str]:
        """Missing keys, and the unexpected ones that may be theirs under another name."""
        return look_alikes(self.missing, self.unexpected)


def misfit(wanted: Shapes, given: Shapes) -> Misfit | None:
    """The differences between a model's keys and shapes and a file's; None where the file fits.

    >>> str(misfit({"fc.weight": (10, 4), "fc.bias": (10,)}, {"fc.weight": (9, 4), "fc.offset": (10,)}))
    '1 key is missing, 1 is unexpected, 1 is of another shape'
    >>> misfit({"fc.bias": (10,)}, {"fc.bias": (10,)})
    """
    found = Misfit(
        {key: shape for key, shape in wanted.items() if key not in given},
        {key: shape for key, shape in given.items() if key not in wanted},
        {key: (given[key], shape) for key, shape in wanted.items() if given.get(key, shape) != shape},
    )
    return found if len(found) else None


def helps(found: Misfit, wanted: Shapes, given: Shapes, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What would make the file fit. `arguments` are those that the model was made with."""
    prefix = [*_prefix_in_file(found, wanted, given), *_prefix_in_model(found, wanted, given)]
    return (*(prefix or _other_words(found)), *_number(found, arguments), *_switch(found, arguments))


def _prefix_in_file(found: Misfit, wanted: Shapes, given: Shapes) -> Iterator[str]:
    prefix = _common_prefix(found.unexpected, wanted)
    if prefix is None:
        return
    rest = misfit(wanted, {key.removeprefix(prefix): shape for key, shape in given.items()})
    if rest is not None and 2 * len(rest) > len(found):
        return
    who = [reason for name, reason in WRAPPERS.items() if name in prefix]
    because = f" ({', '.join(who)})" if who else ""
    yield (
        f"the file's keys begin with `{prefix}`{because}; without it {_fit(rest)}: save "
        f'`{{key.removeprefix("{prefix}"): value for key, value in state.items()}}`'
    )


def _prefix_in_model(found: Misfit, wanted: Shapes, given: Shapes) -> Iterator[str]:
    prefix = _common_prefix(found.missing, given)
    if prefix is None:
        return
    rest = misfit(wanted, {prefix + key: shape for key, shape in given.items()})
    if rest is not None and 2 * len(rest) > len(found):
        return
    yield (
        f"the model's keys begin with `{prefix}`, and the file's do not; with it {_fit(rest)}: save "
        f'`{{"{prefix}" + key: value for key, value in state.items()}}`'
    )


def _fit(rest: Misfit | None) -> str:
    return "all of them fit" if rest is None else f"all but these fit ({rest})"


def _other_words(found: Misfit) -> Iterator[str]:
    """The parts of keys that the file calls otherwise, where one word for another explains several keys."""
    counts: Counter[tuple[str, str]] = Counter()
    for key, other in found.renamed.items():
        left, right = key.split("."), other.split(".")
        changed = [pair for pair in zip(left, right, strict=False) if pair[0] != pair[1]]
        if len(left) == len(right) and len(changed) == 1:
            counts[changed[0]] += 1
    words = [
        f"`{ours}` is `{theirs}` ({count} keys)"
        for (ours, theirs), count in counts.most_common(4)
        if count > 1
    ]
    if words:
        yield f"the file has other names: {', '.join(words)}; rename the labels, or the keys of the file"


def _common_prefix(keys: Collection[str], others: Shapes) -> str | None:
    """What stands before one of `others` in most of `keys`; it ends with a dot."""
    counts: Counter[str] = Counter()
    for key in keys:
        parts = key.split(".")
        for start in range(1, len(parts)):
            if ".".join(parts[start:]) in others:
                counts[".".join(parts[:start]) + "."] += 1
                break
    prefix, count = counts.most_common(1)[0] if counts else ("", 0)
    return prefix if 2 * count > len(keys) else None


def _number(found: Misfit, arguments: Mapping[str, Any]) -> Iterator[str]:
    """Where one number explains every difference, as that of the classes, the parameter that has it."""
    pairs = {pair for shapes in found.reshaped.values() for pair in _differences(*shapes)}
    if found.missing or found.unexpected or len(pairs) != 1:
        return
    ((have, want),) = pairs
    names = [name for name, value in arguments.items() if value == want and not isinstance(value, bool)]
    name = "classes" if "classes" in names else names[0] if len(names) == 1 else None
    if name is not None:
        yield _made_with(name, have)
    else:
        yield f"the file is of a model with {have} where this one has {want}"


def _switch(found: Misfit, arguments: Mapping[str, Any]) -> Iterator[str]:
    """Where parts are only there or only missing, the parameter with a part of that name: `aux_logits` has `aux1`."""
    keys, there = (found.missing, False) if found.missing else (found.unexpected, True)
    if not keys or len(keys) < len(found):
        return
    for name, value in arguments.items():
        word = name.partition("_")[0]
        if value is (not there) and all(key.casefold().startswith(word) for key in keys):
            yield _made_with(name, there)


def _made_with(name: str, value: Any) -> str:
    return f"the file is of a model with `{name} = {value}`: `--param {name}={value}`, in Python `{name}={value}`"


def _differences(have: Shape, want: Shape) -> list[tuple[int, int]]:
    """The sizes that differ. Shapes with different numbers of axes have nothing in common."""
    if len(have) != len(want):
        return [(0, 0), (0, 1)]
    return [(a, b) for a, b in zip(have, want, strict=True) if a != b]


# Names


def look_alikes(missing: Shapes, unexpected: Shapes) -> dict[str, str]:
    """Missing keys, and the unexpected ones of the same shape that may be theirs under another name; each once.

    >>> look_alikes({"bn1.weight": (64,), "fc.bias": (10,)}, {"norm1.weight": (64,), "fc.offset": (7,)})
    {'bn1.weight': 'norm1.weight'}
    """
    free: dict[Shape, list[str]] = defaultdict(list)
    for key, shape in unexpected.items():
        free[shape].append(key)
    pairs: dict[str, str] = {}
    for key, shape in missing.items():
        scored = [(likeness(key, other), -place) for place, other in enumerate(free[shape][:LOOKED_AT])]
        score, place = max(scored, default=(0.0, 0))
        if score >= ALIKE:
            best = pairs[key] = free[shape][-place]
            free[shape].remove(best)
    return pairs


def likeness(key: str, other: str) -> float:
    """How much two keys have in common, part by part, from 0 to 1; the last part, what a tensor is, weighs most."""
    left, right = key.split("."), other.split(".")
    if left[-1] != right[-1]:
        return SequenceMatcher(None, key, other, autojunk=False).ratio() - 0.1
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    letters = SequenceMatcher(None, key, other, autojunk=False)
    return (matcher.ratio() + letters.ratio()) / 2


# Text


def show(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _turned(have: Shape, want: Shape) -> str:
    return ", its transpose" if len(have) == 2 and have == want[::-1] else ""


def _table(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [f"  {key:<{widths[0]}}  {shape:<{widths[1]}}  {more}".rstrip() for key, shape, more in rows]
