"""Runs as they lie on the disk: what a folder says of its run, and the runs of a folder beside each other."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from netdsl.elaborate.settings import Choice, Setting, Value
from netdsl.train.errors import TrainError
from netdsl.train.history import read_history
from netdsl.train.records import Epoch

RECORD = "run.json"
INPUTS = "inputs.json"
FORMAT = 1
CONTENT = {
    "started": str,
    "recipe": dict,
    "environment": dict,
    "monitor": list,
    "samples": dict,
    "parameters": int,
    "epochs": int,
}  # what `run.json` holds, and is read of it


@dataclass(frozen=True)
class RunFolder:
    """A run that was begun in `path`; `record` is its `run.json`."""

    path: Path
    record: Mapping[str, Any]

    @property
    def model(self) -> str:
        return self.recipe["model"]

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Every key with its value, as `Recipe.described` has them."""
        return self.record["recipe"]

    @property
    def environment(self) -> Mapping[str, Any]:
        return self.record["environment"]

    @property
    def origin(self) -> Mapping[str, Any] | None:
        """Of `Origin.described`; None where the model is no model of a program."""
        return self.record.get("origin")

    @property
    def parameters(self) -> dict[str, str]:
        """What the model was made with beside its defaults, as `param.name`."""
        given = self.origin["parameters"] if self.origin else ()
        return {f"param.{name.strip()}": value for name, _, value in (text.partition("=") for text in given)}

    @property
    def data_folder(self) -> Path:
        """Where a relative path of data is looked for first: where the `.net` file lay when the run began."""
        return Path(self.origin["folder"]) if self.origin else Path.cwd()

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        """What becomes of a sample before the model gets it; nothing where that was not written down."""
        path = self.path / INPUTS
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @cached_property
    def epochs(self) -> list[Epoch]:
        return read_history(self.path / "history.csv")

    @property
    def monitor(self) -> tuple[str, bool]:
        """The column that decides which epoch is best, and whether more of it is better."""
        column, rising = self.record["monitor"]
        return column, rising

    @property
    def best(self) -> Epoch | None:
        """The best epoch by the monitored column, the first where there are several."""
        column, rising = self.monitor
        sign = 1 if rising else -1
        known = [e for e in self.epochs if math.isfinite(e.measured.get(column, math.nan))]
        best = max(known, key=lambda e: sign * e.measured[column], default=None)
        return replace(best, best=True) if best else None

    @property
    def status(self) -> str:
        """`finished`, `early stop`, `interrupted`, `not finite`; `unfinished` where it was not told to stop."""
        ended = self.record.get("ended")
        return ended["reason"] if ended else "unfinished"

    @property
    def seconds(self) -> float:
        """Spent in epochs, over all its parts."""
        return sum(epoch.seconds for epoch in self.epochs)

    def weights(self, name: str = "best") -> Path:
        """Its `best` or `last` weights; E0631 where it has none yet."""
        path = self.path / f"{name}.safetensors"
        if not path.is_file() and name == "best":
            path = self.path / "last.safetensors"
        if not path.is_file():
            helps = ["they are written with its first checkpoint: let it run, or go on with it by `--resume`"]
            raise TrainError("E0631", f"the run in `{self.path}` has no weights yet", helps=helps)
        return path


def is_run(path: str | Path) -> bool:
    """Whether a run was begun in the folder `path`."""
    return (Path(path) / RECORD).is_file()


def open_run(path: str | Path) -> RunFolder:
    """The run in the folder `path`; E0639 where there is none, or its `run.json` cannot be read."""
    folder = Path(path)
    if not is_run(folder):
        found = runs_in(folder)
        helps = [f"it holds runs: for example `{found[0].path}`"] if found else ["`netdsl runs` lists runs"]
        raise TrainError("E0639", f"there is no run in `{folder}`", helps=helps)
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        _check_record(record)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise TrainError("E0639", f"`{folder / RECORD}` cannot be read: {reason}") from problem
    return RunFolder(folder, record)


def _check_record(record: Any) -> None:
    """`ValueError` where `record` is not what `run.json` holds."""
    version = record.get("format") if isinstance(record, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise ValueError(
            f"it has format {version}, and this netdsl reads up to {FORMAT}: a newer one wrote it"
        )
    for key, kind in CONTENT.items():
        value = record.get(key) if isinstance(record, dict) else None
        if not isinstance(value, kind):
            raise ValueError(f"it is no record of a run: it has no `{key}`")
    monitor, samples, recipe = record["monitor"], record["samples"], record["recipe"]
    if len(monitor) != 2 or not isinstance(monitor[0], str):
        raise ValueError("it is no record of a run: `monitor` is no column and its direction")
    if not isinstance(recipe.get("model"), str) or not {"train", "valid"} <= samples.keys():
        raise ValueError("it is no record of a run: the model or the number of samples is missing")
    origin = record.get("origin")
    if origin is not None and not (
        isinstance(origin, dict) and {"file", "parameters", "folder"} <= origin.keys()
    ):
        raise ValueError("it is no record of a run: `origin` does not say where the model comes from")


def runs_in(folder: str | Path) -> list[RunFolder]:
    """The runs in the folders of `folder`, the oldest first; what cannot be read is no run."""
    return survey(folder)[0]


def survey(folder: str | Path) -> tuple[list[RunFolder], dict[Path, str]]:
    """The runs in the folders of `folder`, the oldest first, and of those that cannot be read why not."""
    found: list[RunFolder] = []
    unread: dict[Path, str] = {}
    for record in sorted(Path(folder).glob(f"*/{RECORD}")):
        try:
            run = open_run(record.parent)
            _ = run.epochs  # which are read when they are asked for
            found.append(run)
        except TrainError as problem:
            unread[record.parent] = problem.diagnostic.message
    found.sort(key=lambda run: (run.record["started"], run.path.name))
    return found, unread


def differing(runs: Sequence[RunFolder]) -> dict[str, list[Any]]:
    """The keys of the recipes that are not the same in all `runs`, with the value of each run: arguments by
    `key.argument`, where all have the same component, and those of the model by `param.name`.
    """
    from netdsl.train.recipe import Recipe

    # A key that came up after a run was begun is as it is by default there.
    fields = Recipe.model_fields.items()
    usual = {key: field.default for key, field in fields if not field.is_required() and key != "places"}
    usual = {key: [] if value == () else value for key, value in usual.items()}
    return _differing(
        [{**usual, **run.recipe, **run.parameters, "model": None, "folder": None} for run in runs]
    )


def _differing(values: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for key in dict.fromkeys(key for one in values for key in one if key.replace(".", "").isidentifier()):
        column = [one.get(key) for one in values]
        if all(value == column[0] for value in column):
            continue
        components = [value for value in column if isinstance(value, dict) and "kind" in value]
        if len(components) == len(column) and len({each["kind"] for each in components}) == 1:
            found |= {f"{key}.{name}": each for name, each in _differing(components).items()}
        else:
            found[key] = column
    return found


def settings_of(recipe: Mapping[str, Any]) -> dict[str, Setting]:
    """A described recipe as the settings of a `train` block, which say the same."""
    given = {key: value for key, value in recipe.items() if key != "model" and value is not None}
    if "steps" in given:
        given.pop("epochs", None)
    return {key: Setting(_value(value)) for key, value in given.items()}


def _value(described: Any) -> Value:
    if isinstance(described, list):
        return [_value(item) for item in described]
    if isinstance(described, dict):
        given = {k: _value(v) for k, v in described.items() if k != "kind" and k.isidentifier()}
        return Choice(described["kind"], given)  # what is called otherwise is no argument
    return described


def new_folder(model: str, runs: Path = Path("runs")) -> Path:
    """A folder for a new run of `model`, numbered after those that are there."""
    number = 1
    while (runs / f"{model}-{number}").exists():
        number += 1
    return runs / f"{model}-{number}"


def now() -> str:
    """The time, in UTC to the second, as run folders write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
