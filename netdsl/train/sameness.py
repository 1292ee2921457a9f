"""What a run must have in common with the one that it goes on with: recipe, model and data. Versions and threads may
differ, which is told, as sums may round otherwise.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from netdsl.backends.module import graph_of
from netdsl.ir.schema import to_json
from netdsl.train.data import Data
from netdsl.train.data.base import Part, Split
from netdsl.train.data.custom import Custom
from netdsl.train.errors import TrainError
from netdsl.train.recipe import KEYS, Recipe

MAY_CHANGE = ("epochs", "steps", "early_stop", "log_every", "checkpoint_every")  # of a run that goes on
LOOKED_AT = 256  # samples in memory; the others are taken to be as these are
READ = 16  # samples that are read for it


def identity(module: nn.Module, data: Data) -> dict[str, Any]:
    """What is trained, on what and by which versions, as plain values; `module` and `data` as the run gets them."""
    from netdsl import __version__

    graph = graph_of(module)
    return {
        "layers": re.sub(
            " at 0x[0-9a-f]+", "", str(module)
        ),  # where a function is differs from process to process
        "operations": "" if graph is None else _digest(json.dumps(_spoken(json.loads(to_json(graph))))),
        "train": described(data.train),
        "valid": described(data.valid),
        "versions": {
            "netdsl": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }


def described(part: Part) -> dict[str, Any]:
    """How many samples there are, what they are like, and a checksum of some of them, from all over."""
    count = len(part)
    most = LOOKED_AT if isinstance(part, Split) else READ
    rows = torch.arange(count) if count <= most else torch.linspace(0, count - 1, most).long()
    if isinstance(part, Split):
        x, y = (values.index_select(0, rows.to(values.device)) for values in (part.x, part.y))
    else:
        read = part.rows(rows).first(len(rows))
        x, y = read.x, read.y
    return {"samples": count, "input": _kind(x), "target": _kind(y), "content": _digest(_bytes(x), _bytes(y))}


def check_same(state: Mapping[str, Any], recipe: Recipe) -> None:
    """Refuse a recipe that is not the one of the run of which `state` is (E0632)."""
    before, now = state["recipe"], recipe.described()
    defaults = {key: field.default for key, field in Recipe.model_fields.items()}
    old = {
        key: before[key] if key in before else _listed(defaults[key]) for key in now
    }  # before there was such a key
    changed = [key for key in ("model", *KEYS) if key not in MAY_CHANGE and old[key] != now[key]]
    if changed:
        notes = [f"`{key}` was {_brief(old[key])} and is {_brief(now[key])}" for key in changed]
        raise _other("recipe", notes, recipe, changed[0])


def check_identity(state: Mapping[str, Any], now: Mapping[str, Any], recipe: Recipe) -> None:
    """Refuse another model, or other data, than those of the run of which `state` is (E0632)."""
    before = state.get("identity")
    if not before:
        return
    if before["layers"] != now["layers"]:
        pairs = zip_longest(before["layers"].splitlines(), now["layers"].splitlines(), fillvalue="nothing")
        was, becomes = next((a.strip(), b.strip()) for a, b in pairs if a != b)
        raise _other("model", [f"where it had `{was}`, it has `{becomes}`"], recipe)
    same_netdsl = before["versions"]["netdsl"] == now["versions"]["netdsl"]
    if same_netdsl and before["operations"] != now["operations"]:
        raise _other("model", ["its layers are the same, and what is done with them is not"], recipe)
    notes = [
        f"the {what} of the {name} part were {before[part][key]} and are {now[part][key]}"
        for part, name in (("train", "training"), ("valid", "validation"))
        for key, what in (("samples", "samples"), ("input", "inputs"), ("target", "targets"))
        if before[part][key] != now[part][key]
    ] or [
        f"the {name} part has other values in as many samples"
        for part, name in (("train", "training"), ("valid", "validation"))
        if before[part]["content"] != now[part]["content"]
        and not isinstance(recipe.data, Custom)  # which may draw
    ]
    if notes:
        raise _other("data", notes, recipe, "data")


def changed_versions(state: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What to say of versions that are not those the run began with."""
    before = state.get("identity", {}).get("versions", {})
    changed = [
        f"{name} was {before[name]} and is {v}"
        for name, v in now["versions"].items()
        if before.get(name, v) != v
    ]
    return [f"{', '.join(changed)}: the run goes on, up to rounding"] if changed else []


def changed_threads(manifest: Mapping[str, Any], threads: int) -> list[str]:
    """What to say of a number of threads that is not the one that the run had."""
    if manifest["threads"] == threads:
        return []
    return [f"from {manifest['threads']} to {threads} threads: sums may round otherwise"]


def _other(what: str, notes: list[str], recipe: Recipe, key: str = "") -> TrainError:
    were, ones = ("are", "those") if what == "data" else ("is", "the one")
    return TrainError(
        "E0632",
        f"the {what} {were} not {ones} that the run began with",
        recipe.places.of(key) if key else recipe.places.block,
        notes=notes,
        helps=["start a new run in another folder, or undo the change"],
    )


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _spoken(value: Any) -> Any:
    """A graph without its documentation."""
    if isinstance(value, dict):
        return {key: _spoken(item) for key, item in value.items() if key != "doc"}
    return [_spoken(item) for item in value] if isinstance(value, list) else value


def _kind(values: Tensor) -> str:
    return f"{str(values.dtype).removeprefix('torch.')}{list(values.shape[1:])}"


def _bytes(values: Tensor) -> bytes:
    return values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _digest(*parts: bytes | str) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else part)
    return found.hexdigest()


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        arguments = ", ".join(f"{k} = {_brief(v)}" for k, v in value.items() if k != "kind" and v is not None)
        return f"{value['kind']}({arguments})"
    return "[" + ", ".join(map(_brief, value)) + "]" if isinstance(value, list) else str(value)
