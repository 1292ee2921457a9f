"""Transformers of language, beside their Hugging Face implementations."""

from __future__ import annotations

from tests.zoo.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
