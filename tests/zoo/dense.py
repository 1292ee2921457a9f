"""Segmentation, U-Net and video: models whose outputs are images or that take more than images."""

from __future__ import annotations

from tests.zoo.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
