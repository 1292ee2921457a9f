"""Exports of what a run has learned: torch and onnx are imported here."""

from __future__ import annotations

import json
from pathlib import Path

from netdsl.backends.parity import ExportResult
from netdsl.backends.torch_source import source
from netdsl.cli.exports import EXPORTS, module
from netdsl.cli.program import Request
from netdsl.train.checkpoint import preprocessing_beside
from netdsl.train.manual import manual
from netdsl.train.recipe import Recipe
from netdsl.train.runs import RunFolder


def described_inputs(asked: Request, recipe: Recipe, run: RunFolder, weights: Path) -> str:
    """What a run's samples went through, with what was learned for it, and what the outputs are, as JSON text."""
    found = manual(asked.graph, recipe, run.inputs, preprocessing_beside(weights))
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def made_of(asked: Request, to: str, place: Path, weights: Path, inputs: str) -> ExportResult | None:
    """Write the model with its weights to `place`; None for source, which has none to run with."""
    if to == "python":
        place.write_text(source(asked.graph), encoding="utf-8")
        return None
    done = EXPORTS[to](asked.graph, module(asked, str(weights), 0), place)
    if to == "onnx":
        mark(place, inputs)
    return done


def mark(path: Path, inputs: str) -> None:
    """Put what becomes of inputs into the metadata of an ONNX file, as `netdsl.inputs`; tensors stay as they are."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    entry = model.metadata_props.add()
    entry.key, entry.value = "netdsl.inputs", inputs
    path.write_bytes(model.SerializeToString())
