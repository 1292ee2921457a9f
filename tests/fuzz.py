"""Random mutations of the specs through `check`: `python -m tests.fuzz 200000`. No exception, no hang, and every failure is
a diagnostic with a place. Mutation number `n` of a seed is always the same, so a finding can be repeated.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from netdsl.compiler import Limits, check
from netdsl.source import Source

SPECS = sorted((Path(__file__).parent.parent / "specs").glob("*.net"))
TOKEN = re.compile(r"##?[^\n]*|\"[^\"\n]*\"|[A-Za-z_]\w*|\d[\d_.eE+-]*|->|[*/=!<>]{1,2}|\s+|.")
SPICE = (
    *"()[]{},:=-+*/%@.\"\\#\n\t ;'\0",
    *(
        "->",
        "**",
        "//",
        "==",
        "...",
        "None",
        "True",
        "not",
        "in",
        "if",
        "for",
        "else",
        "output",
        "input",
        "model",
        "block",
    ),
    *(
        "param",
        "buffer",
        "init",
        "train",
        "fork",
        "identity",
        "concat",
        "Conv2d",
        "LSTM",
        "x",
        "N",
        "H",
        "C",
        "_",
        "lambda",
    ),
    *(
        "0",
        "-1",
        "1e400",
        "9" * 30,
        "2**63",
        "0.5",
        "é",
        "\ud800",
        "\u202e",
        "import",
        "extern",
        "const",
        "fn",
        "assert",
        "when",
    ),
)
SLOW = 4.0  # seconds of the processor; a family of the zoo takes up to one as it is
LIMITS = Limits(nodes=8_000, steps=100_000)


def mutated(text: str, rng: random.Random) -> str:
    """`text` with one to four small accidents: tokens and characters dropped, doubled, swapped, replaced, inserted."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        pieces = TOKEN.findall(text) if rng.random() < 0.7 else list(text)
        if not pieces:
            return rng.choice(SPICE)
        at = rng.randrange(len(pieces))
        match rng.randrange(7):
            case 0:
                del pieces[at]
            case 1:
                pieces.insert(at, pieces[at])
            case 2:
                other = rng.randrange(len(pieces))
                pieces[at], pieces[other] = pieces[other], pieces[at]
            case 3:
                pieces[at] = rng.choice(SPICE)
            case 4:
                pieces.insert(at, rng.choice(SPICE))
            case 5:
                pieces[at] = rng.choice(pieces)
            case _:
                end = min(len(pieces), at + rng.randrange(1, 30))
                pieces[at:end] = [] if rng.random() < 0.5 else pieces[at:end] * 2
        text = "".join(pieces)
    return text


@dataclass
class Findings:
    """What a run found: outcomes counted, and the faults, each with the number of its mutation."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, other: Findings) -> None:
        self.counts += other.counts
        self.faults += other.faults
        self.slowest = max(self.slowest, other.slowest)


def mutation(seed: int, number: int) -> tuple[Path, str]:
    """The mutation `number` of `seed`: the spec it comes from, and its text."""
    rng = random.Random(f"{seed}/{number}")
    path = SPECS[rng.randrange(len(SPECS))]
    return path, mutated(path.read_text(encoding="utf-8"), rng)


def run(seed: int, start: int, stop: int) -> Findings:
    """Check the mutations from `start` up to `stop`."""
    findings = Findings()
    for number in range(start, stop):
        path, text = mutation(seed, number)
        began = time.process_time()
        try:
            report = check(Source(text, str(path)), limits=LIMITS).report
        except Exception as problem:  # any exception is what this looks for
            findings.counts["exception"] += 1
            findings.faults.append(f"{seed}/{number} {path.name}: {type(problem).__name__}: {problem}")
            continue
        seconds = time.process_time() - began
        findings.slowest = max(findings.slowest, seconds)
        if seconds > SLOW:
            findings.counts["slow"] += 1
            findings.faults.append(f"{seed}/{number} {path.name}: {seconds:.1f} s")
        findings.counts["refused" if report.has_errors else "accepted"] += 1
        for diagnostic in report:
            if diagnostic.span is None or not 0 <= diagnostic.span.start <= diagnostic.span.end:
                findings.faults.append(f"{seed}/{number} {path.name}: {diagnostic.code} has no place")
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    step = 500
    starts = range(0, options.count, step)
    total = Findings()
    with ProcessPoolExecutor(options.jobs) as pool:
        parts = pool.map(
            run, *zip(*((options.seed, s, min(options.count, s + step)) for s in starts), strict=True)
        )
        for part in parts:
            total.add(part)
    print(f"{options.count:,} mutations: {dict(total.counts)}, slowest {total.slowest:.2f} s")
    print("\n".join(total.faults[:40]) or "no faults")
    return 1 if total.faults else 0


if __name__ == "__main__":
    sys.exit(main())
