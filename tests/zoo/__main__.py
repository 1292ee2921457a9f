"""`python -m tests.zoo [NAME…]` compares the library with its references and prints a table; names may be parts."""

from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path

from tests.zoo import GROUPS
from tests.zoo.compare import Outcome, compare
from tests.zoo.entry import Entry


def line(entry: Entry, outcome: Outcome) -> str:
    apart = (f"{value:.1e}" if value else "bitwise" for value in (outcome.evaluation, outcome.training))
    evaluation, training = apart
    return (
        f"{entry.name:24} {entry.model:22} {outcome.parameters:12,} {evaluation:>9} {training:>9}"
        f" {outcome.onnx:9.1e} {outcome.seconds:6.1f}"
    )


def attempt(entry: Entry) -> bool:
    """Whether it passes; what is wrong is printed."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            print(line(entry, compare(entry, Path(folder))), flush=True)
    except Exception:
        print(f"{entry.name:24} FAILED\n{traceback.format_exc(limit=-3)}", flush=True)
        return False
    return True


def main(names: list[str]) -> int:
    print(f"{'reference':24} {'model':22} {'parameters':>12} {'eval':>9} {'train':>9} {'ONNX':>9} {'s':>6}")
    whole = True
    for group, entries in GROUPS.items():
        chosen = [e for e in entries if not names or any(name in e.name for name in names)]
        passed = sum([attempt(entry) for entry in chosen])
        whole = whole and passed == len(chosen)
        if chosen:
            print(f"{group}: {passed} of {len(chosen)}", flush=True)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
