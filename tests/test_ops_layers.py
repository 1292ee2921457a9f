"""The laws for every layer, and what is particular to some."""

from __future__ import annotations

from typing import Any

import torch

from tests.laws import REFERENCES, VALUES, Trial, ids_below

VALUES["Embedding"] = ids_below("num_embeddings")
VALUES["EmbeddingBag"] = ids_below("num_embeddings")


def bag(module: Any, ids: torch.Tensor, weights: torch.Tensor | None = None) -> Any:
    return module(ids, per_sample_weights=weights)


REFERENCES["EmbeddingBag"] = bag


def allowed(found: Trial) -> bool:
    return False
