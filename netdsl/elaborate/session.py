"""What one elaboration shares: the report, the limits, the use of names, and the instances made so far."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final

from netdsl.diagnostics import Fix, Label, Report
from netdsl.elaborate.scope import Usage
from netdsl.ir.decide import Assumptions
from netdsl.source import Span

VALUES_A_STEP: Final = 16


@dataclass(frozen=True)
class Limits:
    """What elaboration may cost. A spec is untrusted: beyond these it stops with an error, never a crash."""

    nodes: int = 1_000_000
    nesting: int = 256
    files: int = 64
    source: int = 1 << 20
    steps: int = 1_000_000  # static statements and calls, so that loops without layers end too


class LimitReached(Exception):
    """Elaboration cannot go on; the diagnostic is already in the report."""


@dataclass
class Session:
    report: Report
    limits: Limits = field(default_factory=Limits)
    usage: Usage = field(default_factory=Usage)
    allow_extern: bool = False
    instances: dict[Any, Any] = field(default_factory=dict[Any, Any])  # block, arguments, types -> Instance
    trail: list[Frame] = field(
        default_factory=list["Frame"]
    )  # the blocks being instantiated, outermost first
    found: list[Assumptions] = field(default_factory=list[Assumptions])  # of each body being elaborated
    lost: set[str] = field(default_factory=set[str])  # what lines with errors would have bound or labelled
    path: list[str] = field(default_factory=list[str])  # the labels around what is being elaborated
    steps: int = 0

    def step(self, span: Span, values: int = 0) -> None:
        """Count a step, which takes longer where it goes through a list of many `values`."""
        self.steps += 1 + values // VALUES_A_STEP
        if self.steps > self.limits.steps:
            self.stop("E0208", f"more than {self.limits.steps:,} steps of static computation", span)

    def stop(self, code: str, message: str, span: Span, help: str | None = None) -> None:
        self.report.error(code, message, span, helps=[help] if help else [])
        raise LimitReached

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        also: tuple[Label, ...] | list[Label] = (),
        help: str | None = None,
        helps: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        fixes: tuple[Fix, ...] = (),
    ) -> None:
        """Report a problem, with the instance it was found in."""
        self.report.error(
            code,
            message,
            span,
            label,
            also=also,
            notes=(*notes, *self.where()),
            helps=(help, *helps) if help else helps,
            fixes=fixes,
        )

    def where(self) -> tuple[str, ...]:
        """`in BasicBlock(planes = 128), used at resnet.net:31:9 as `layer2.0``, for the innermost block.

        Before it, from the inside out, the functions that were called in it.
        """
        notes: list[str] = []
        for frame in reversed(self.trail):
            if frame.used_at is not None:
                notes.append(f"in {frame.title}, used at {frame.used_at}")
            if frame.used_at is None or not frame.is_function:
                break
        if notes and self.path:
            notes[-1] += f" as `{'.'.join(self.path)}`"
        return tuple(notes)

    @contextmanager
    def inside(self, frames: Sequence[Frame]) -> Generator[None]:
        """Messages are about what is in `frames`, too."""
        self.trail += frames
        try:
            yield
        finally:
            del self.trail[len(self.trail) - len(frames) :]

    def calls(self) -> tuple[Frame, ...]:
        """The functions that run now, up to the block or model that called the outermost of them."""
        inside = takewhile(lambda frame: frame.is_function, reversed(self.trail))
        return tuple(reversed(tuple(inside)))


@dataclass(frozen=True)
class Frame:
    """A block under instantiation, or a function that runs: its name with its arguments, and who asked for it."""

    title: str
    used_at: Span | None
    is_function: bool = False
