"""How long checking takes: `python benchmarks/frontend.py`. Whole processes and calls, medians, in one interleaved run.

The machine's noise is in all rows alike, so read the ratios.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from netdsl.compiler import check, graph, open_program
from netdsl.diagnostics import Report
from netdsl.source import Source

ROOT = Path(__file__).parent.parent
SPECS = sorted((ROOT / "specs").glob("*.net"))
RESNET = (ROOT / "specs" / "resnet.net").read_text()
ROUNDS = 9


def chain(length: int) -> str:
    """A model of `length` convolutions in a row."""
    layers = "\n".join(f"  x = x -> conv{i}: Conv2d(8, 3, padding = 1)" for i in range(length))
    return f"model Chain {{\n  input x: [N, 8, H, 28]\n{layers}\n  output x\n}}\n"


def process(*arguments: str) -> Callable[[], None]:
    def run() -> None:
        subprocess.run([sys.executable, *arguments], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)

    return run


def checking(text: str) -> Callable[[], None]:
    def run() -> None:
        report = check(Source(text)).report
        assert not report.has_errors

    return run


def one_graph(text: str, model: str) -> Callable[[], None]:
    """From the text of a file to the checked graph of one of its models."""

    def run() -> None:
        report = Report()
        program = open_program(Source(text), report)
        assert program is not None
        assert graph(program, model) is not None
        assert not len(report)

    return run


def seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def medians(
    processes: dict[str, Callable[[], None]], calls: dict[str, Callable[[], None]]
) -> dict[str, float]:
    """The median time of each piece of work, all of them taking turns; calls are warm, each made once before."""
    times: dict[str, list[float]] = {name: [] for name in (*processes, *calls)}
    for _ in range(ROUNDS):
        for name, run in processes.items():
            times[name].append(seconds(run))
        for name, run in calls.items():
            run()
            times[name].append(seconds(run))
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for length in (200, 5000):
            (Path(folder) / f"{length}.net").write_text(chain(length))
        for path in (ROOT / "specs" / "lenet.net", Path(folder) / "200.net"):
            process("-m", "netdsl", "check", str(path))()  # once, to fill the caches
        found = medians(
            {
                "python, nothing": process("-c", "pass"),
                "import netdsl": process("-c", "import netdsl"),
                "check lenet.net": process("-m", "netdsl", "check", "specs/lenet.net"),
                "check residual.net": process("-m", "netdsl", "check", "specs/residual.net"),
                "check resnet.net": process("-m", "netdsl", "check", "specs/resnet.net"),
                "check specs/*.net": process("-m", "netdsl", "check", *map(str, SPECS)),
                "check 200 layers": process("-m", "netdsl", "check", f"{folder}/200.net"),
                "check 5,000 layers": process("-m", "netdsl", "check", f"{folder}/5000.net"),
            },
            {
                "in process: 200 layers": checking(chain(200)),
                "in process: 5,000 layers": checking(chain(5000)),
                "in process: lenet.net": checking((ROOT / "specs" / "lenet.net").read_text()),
                "in process: resnet.net": checking(RESNET),
                "text to graph of ResNet50": one_graph(RESNET, "ResNet50"),
            },
        )
    for name, median in found.items():
        print(f"{name:26} {1000 * median:9.1f} ms")
    whole = found["check 5,000 layers"] / found["check 200 layers"]
    inside = found["in process: 5,000 layers"] / found["in process: 200 layers"]
    print(f"5,000 layers to 200: {whole:.1f} times as a process, {inside:.1f} times in one")


if __name__ == "__main__":
    main()
