"""Train the systems of the field's teaching material on the real data, three seeds each, and print how they compare
with the figures of the notes.

python examples/reproduce.py [--data ../shared/data] [--seeds 3] [--only titanic --only rings] [--jobs 2] [-o table.md]

Ends with 0 where every figure is reached, or its row says why it cannot be; with 1 where one is missed or a run fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class System:
    """A row: which model of `specs/` is trained, what is looked at after the last epoch, and what the notes have there.

    `column` is one of the history, or a parameter of one number by name. `figure` is None where the notes print none.
    `rising` says that more is better, `exact` that neither more nor less is. `near` is what may lie between the figure
    and ours beside the spread of the seeds, `why` what is to be known about the figure, and `unreachable` why it
    cannot be reached. With `batches`, a metric is the mean over batches of so many samples, as some notes have it.
    """

    notes: str
    spec: str
    column: str
    figure: float | None = None
    near: float = 0.0
    rising: bool = False
    exact: bool = False
    why: str = ""
    unreachable: str = ""
    batches: int = 0
    packed: str = ""  # an archive of the data folder, unpacked for the run

    @property
    def what(self) -> str:
        named = self.column.replace("_", " ") if "." not in self.column else f"`{self.column}`"
        return f"{named}, mean over batches of {self.batches}" if self.batches else named

    def misses(self, ours: float) -> float:
        """By how much `ours` is worse than the figure."""
        assert self.figure is not None
        less = self.figure - ours
        return abs(less) if self.exact else less if self.rising else -less


TEN = "of the last ten samples there; ours of all"
FLOOR = "the noise has 4; on the 120 points held out, 4 within 0.5"
PASSENGERS = "of 179 passengers: one is 0.0056"
BATCHES = "a mean over batches there, the row below"
OVERLAP = "the rings overlap: 0.9332 can be told at most, within 0.007 on 1,200 points"
RINGS = "0.9332 can be told at most, within 0.004 on 4,000 points"
RARE = "0.9844 can be told at most, within 0.003 on 1,860 points"
ZERO = "always 0 gives 1, and the day before once more 3.36"
WELL = "0.653 are well; nothing else is learned in so few steps"
NOISE = "the noise has 25"
FLAT = "the noise has 1"
GPUS = "three runs of the notes end at 0.975, 0.967 and 0.960"
SYSTEMS = (
    System("000-1, 001-2", "linear.net:Slope", "linear.weight", 1.9999996, 1e-6, exact=True),
    System("001-3", "linear.net:Outlier", "linear.weight", 16.8369, 1e-4, exact=True, why="least squares have 38.218"),
    System("001-4", "linear.net:LineFromOnes", "linear.weight", why="the line has 2"),
    System("001-5", "linear.net:Points3", "train_loss", why="three points of a line: 0 is reached"),
    System("002-5", "parabola.net:Minimum", "x", 1.0, 1e-4, exact=True),
    System("002-9", "linear.net:PlaneByHalves", "valid_loss", 1.9742190837860107, 0.9, why=f"{TEN}, the noise has 2"),
    System("002-11", "linear.net:PlaneBySGD", "valid_loss", 3.047853469848633, 1.8, why=f"{TEN}, the noise has 4"),
    System("002-13", "linear.net:Plane", "valid_loss", 3.749117374420166, 0.5, why=FLOOR),
    System("002-13", "linear.net:Plane", "valid_mean_absolute_error", 1.5336137612660725, 0.11,
           why="the noise has 1.596"),
    System("002-28, -29", "linear.net:MillionPoints", "valid_loss", 3.9964880943298344, 0.008,
           why="the noise has 4 within 0.006, there and here"),
    System("003-1", "linear.net:LineFromZero", "valid_loss", 0.9014630358776691, 1e-5, why="nothing in it is random"),
    System("003-1", "linear.net:LineFromZero", "linear.weight", 1.8881539583398386, 1e-5, exact=True),
    System("003-1", "linear.net:LineFromZero", "linear.bias", 3.2940507061348856, 1e-5, exact=True),
    System("003-3, -4", "linear.net:Line", "train_loss", why="the noise has 0.01"),
    System("003-13", "linear.net:LineByAdagrad", "linear.weight", 0.18, 0.005, exact=True, why="the line has 2"),
    System("000-2", "logistic.net:Logistic", "train_loss", why="three points"),
    System("000-4", "diabetes.net:DiabeticFullBatch", "train_accuracy", rising=True, why=WELL),
    System("000-5", "diabetes.net:Diabetic", "train_accuracy", rising=True, why=WELL),
    System("002-1", "titanic.net:Titanic", "valid_accuracy", 0.810, 0.0056, rising=True,
           why=f"{PASSENGERS}; {BATCHES}"),
    System("002-1", "titanic.net:Titanic", "valid_accuracy", 0.810, 0.0056, rising=True, why=PASSENGERS, batches=8),
    System("002-1", "titanic.net:Titanic", "valid_loss", 0.415, 0.02),
    System("002-10", "rings.net:RingsBySGD", "train_accuracy", 0.9272499927878379, 0.004, rising=True, why=RINGS),
    System("002-10", "rings.net:RingsBySGD", "train_loss", 0.18695520935580134, 0.01),
    System("002-12", "rings.net:RingsByAdam", "train_accuracy", 0.931499992609024, 0.004, rising=True, why=RINGS),
    System("002-12", "rings.net:RingsByAdam", "train_loss", 0.2936080049697884,
           why="an optimizer made anew each step there"),
    System("002-12", "rings.net:RingsBySigns", "train_loss",
           why="0.2936 there, and rising; what forgets ends anywhere: 0.27, 0.23 and 1.66 here"),
    System("002-14", "rings.net:Rings", "valid_accuracy", 0.9258333394924799, 0.007, rising=True, why=OVERLAP),
    System("002-14", "rings.net:Rings", "valid_loss", 0.17309962399303913, 0.015),
    System("002-21", "rings.net:RareRing", "valid_accuracy", 0.983, 0.003, rising=True, why=RARE),
    System("002-21", "rings.net:RareRing", "valid_loss", 0.017, 0.002, why="with its penalties there"),
    System("003-7", "parabola.net:UnderFit", "valid_loss", why="a line"),
    System("003-8", "parabola.net:Fit", "valid_loss", why=NOISE),
    System("003-9", "parabola.net:OverFit", "valid_loss", why=NOISE),
    System("003-10", "dropout.net:Plain", "valid_loss", why="the noise has 0.09"),
    System("003-11", "dropout.net:Dropped", "valid_loss", why="the noise has 0.09; lower than without"),
    System("003-12", "parabola.net:BatchDescent", "valid_loss", why=FLAT),
    System("003-12", "parabola.net:StochasticDescent", "valid_loss", why=FLAT),
    System("003-12", "parabola.net:MiniBatchDescent", "valid_loss", why=FLAT),
    System("002-4", "covid.net:Covid", "valid_loss", 4.254558563232422, why=ZERO),
    System("003-6", "softmax.net:Softmax", "valid_accuracy", 0.91, 0.005, rising=True, why="two decimals there"),
    System("000-6, 001-6", "mlp.net:MLP", "valid_accuracy", rising=True),
    System("003-2", "mlp.net:OneHotMLP", "valid_accuracy", rising=True),
    System("003-5", "mlp.net:WideMLP", "valid_accuracy", 0.9811, 0.002, rising=True),
    System("000-7, 004-1", "lenet.net:LeNet", "valid_accuracy", 0.9853, 0.002, rising=True,
           why="0.9888 in its best epoch"),
    System("000-8, 004-2", "inception.net:InceptionNet", "valid_accuracy", 0.9873, 0.002, rising=True,
           why="0.9884 in its best epoch"),
    System("004-3", "residual.net:ResidualNet", "valid_accuracy", 0.9899, 0.002, rising=True, why="its best epoch"),
    System("002-25", "mnist_cnn.net:MnistCNN", "valid_accuracy", 0.970, 0.004, rising=True, why=BATCHES),
    System("002-25", "mnist_cnn.net:MnistCNN", "valid_accuracy", 0.970, 0.004, rising=True, batches=128),
    System("002-26", "mnist_cnn.net:MnistCNNBySGD", "valid_accuracy", 0.878, 0.01, rising=True),
    System("002-27, -30, -31", "mnist_cnn.net:FastMnistCNN", "valid_accuracy", 0.967068829113924, 0.008, rising=True,
           why=GPUS),
    System("002-2", "cifar2.net:Cifar2", "valid_auroc", 0.925, 0.005, rising=True, why=BATCHES, packed="cifar2.tar"),
    System("002-2", "cifar2.net:Cifar2", "valid_auroc", 0.925, 0.005, rising=True, batches=50, packed="cifar2.tar"),
    System("002-20", "imdb.net:Imdb", "valid_accuracy", 0.795, 0.02, rising=True,
           why="20,000 reviews there, 4,000 here; words start with a deviation of 0.1; with 1, as there, 0.55 ± 0.01"),
    System("002-3", "imdb.net:LongImdb", "valid_accuracy", 0.7948000040054322, 0.02, rising=True,
           why="20,000 reviews there, 4,000 here; words start as above"),
    System("002-17", "imdb.net:FrozenImdb", "valid_accuracy", rising=True,
           why="10,625 of 40,625 parameters are learned"),
    System("003-15", "unet.net:SmallUNet", "valid_dice_score", rising=True, why="on shapes that are drawn"),
)  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A run that is over, or in `problem` why there is none."""

    folder: Path
    measured: dict[str, float] = field(default_factory=dict[str, float])
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Outcome:
    """What `column` was after the last epoch of each seed, and how long a run took; or the `problem` of one."""

    system: System
    values: tuple[float, ...]
    seconds: float
    problem: str = ""

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def spread(self) -> float:
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def reached(self) -> bool | None:
        """Whether ours is as good as the figure of the notes, within noise; None where they have none."""
        if self.system.figure is None or self.problem:
            return None
        return self.system.misses(self.mean) <= self.spread + self.system.near

    @property
    def failed(self) -> bool:
        """Whether there is no figure, or one that is missed and could be reached."""
        return bool(self.problem) or (self.reached is False and not self.system.unreachable)


def train(spec: str, seed: int, work: Path, threads: int | None = None) -> Trained:
    """`netdsl train` in the folder `work`."""
    out = work / "runs" / f"{spec.replace(':', '-')}-{seed}"
    command = [sys.executable, "-m", "netdsl", "train", str(ROOT / "specs" / spec), "--set", f"seed={seed}"]
    command += ["--json", "--no-report", "-o", str(out), *(["--threads", str(threads)] if threads else [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return Trained(out, problem=f"seed {seed} was not trained: {first_problem(done.stderr)}")
    found = json.loads(done.stdout)
    return Trained(out, found["epochs"][-1], found["seconds"])


def first_problem(said: str) -> str:
    """Of what `netdsl --json` says on stderr; the last line of what is no JSON, as of a process that was killed."""
    try:
        found = json.loads(said)[0]
    except (ValueError, LookupError):
        return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    return f"{found['code']}, {found['message']}"


def value(system: System, trained: Trained) -> float:
    """What a row looks at, of a run."""
    if system.batches:
        return over_batches(system, trained)
    if system.column in trained.measured:
        return trained.measured[system.column]
    from safetensors.torch import load_file

    return float(load_file(trained.folder / "last.safetensors")[system.column])


def over_batches(system: System, trained: Trained) -> float:
    """The mean of a metric over batches of the samples held out, the last of which may be short.

    They are shuffled: where they lie class by class, a batch would be of one class, which has no ranking.
    """
    import torch

    import netdsl
    from netdsl.train import begin
    from netdsl.train.evaluation import measured

    file, name = system.spec.split(":")
    run = begin(getattr(netdsl.load(ROOT / "specs" / file), name))
    netdsl.load_weights(run.model, trained.folder / "last.safetensors")
    samples, metric = run.data.valid, system.column.removeprefix("valid_")
    rows = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    found = [
        measured(run.model, run.recipe, samples.rows(part), run.device) for part in rows.split(system.batches)
    ]
    return statistics.mean(each[metric] for each in found)


def outcome(system: System, runs: Sequence[Trained]) -> Outcome:
    """The row of a system, of its runs with each seed."""
    problem = next((run.problem for run in runs if run.problem), "")
    try:
        values = () if problem else tuple(value(system, run) for run in runs)
    except Exception as trouble:  # of a row: the others go on
        values, problem = (), f"`{system.column}` was not measured: {trouble}"
    return Outcome(system, values, statistics.median(run.seconds for run in runs), problem)


HEAD = (
    "| notes | spec | what | the notes' figure | ours | reached | seconds | remark |",
    "| --- | --- | --- | ---: | ---: | --- | ---: | --- |",
)


def row(outcome: Outcome) -> str:
    """A line of the table, in Markdown."""
    system = outcome.system
    figure = "none" if system.figure is None else f"{system.figure:.5g}"
    ours = "failed" if outcome.problem else f"{outcome.mean:.5g} ± {outcome.spread:.2g}"
    reached = {True: "yes", False: "no", None: ""}[outcome.reached]
    missed = system.unreachable if outcome.reached is False else ""
    remark = "; ".join(text for text in (outcome.problem, missed, system.why) if text).replace("|", "/")
    cells = (
        system.notes,
        f"`{system.spec}`",
        system.what,
        figure,
        ours,
        reached,
        f"{outcome.seconds:.1f}",
        remark,
    )
    return f"| {' | '.join(cells)} |"


def measured_systems(given: argparse.Namespace, chosen: Sequence[System]) -> Iterator[Outcome]:
    """The rows in their order, each as soon as its runs are over. Rows of one spec look at the same runs."""
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(given.jobs) as pool:
        work = Path(name)
        prepare(work, given.data.resolve(), {system.packed for system in chosen if system.packed})
        os.chdir(work)  # where the recipes look for their data
        threads = max(1, (os.cpu_count() or 1) // given.jobs) if given.jobs > 1 else None
        runs: dict[str, list[Future[Trained]]] = {}
        for spec in dict.fromkeys(system.spec for system in chosen):
            runs[spec] = [pool.submit(train, spec, seed, work, threads) for seed in range(given.seeds)]
        try:
            for system in chosen:
                yield outcome(system, [run.result() for run in runs[system.spec]])
        finally:
            pool.shutdown(cancel_futures=True)
            os.chdir(ROOT)  # the folder is removed


def prepare(work: Path, data: Path, packed: set[str]) -> None:
    """A folder `data` in `work` as the recipes have it: what the given one has, and its archives unpacked."""
    (work / "data").mkdir()
    for entry in data.iterdir():
        (work / "data" / entry.name).symlink_to(entry)
    for archive in packed:
        with tarfile.open(data / archive) as opened:
            opened.extractall(work / "data", filter="data")


def machine() -> str:
    from importlib.metadata import version

    said = f"{platform.machine()}, {os.cpu_count()} cores, torch {version('torch')}"
    return said + (f", OMP_NUM_THREADS={threads}" if (threads := os.environ.get("OMP_NUM_THREADS")) else "")


def arguments() -> argparse.Namespace:
    """Of the command line; the folder of data, the rows and the file are looked at before anything is trained."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of real data"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each system, from seed 0")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="rows whose spec or notes have this in them"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE.md", help="where the table is kept as well")
    given = parser.parse_args()
    for name in ("seeds", "jobs"):
        if getattr(given, name) < 1:
            parser.error(f"--{name} is at least 1")
    if not given.data.is_dir():
        parser.error(f"there is no folder {given.data}: say --data FOLDER")
    if given.out and not given.out.absolute().parent.is_dir():
        parser.error(f"there is no folder for {given.out}")
    given.chosen = [
        s for s in SYSTEMS if not given.only or any(o in f"{s.notes} {s.spec}" for o in given.only)
    ]
    if not given.chosen:
        parser.error(f"no row has {' or '.join(given.only)} in its spec or notes")
    return given


def main() -> int:
    given = arguments()
    out = given.out.absolute() if given.out else None
    sys.path.insert(0, str(ROOT))
    start, outcomes = perf_counter(), list[Outcome]()
    lines: list[str] = [*HEAD]
    for found in measured_systems(given, given.chosen):
        outcomes.append(found)
        lines.append(row(found))
        print(lines[-1], file=sys.stderr, flush=True)
        if out:
            out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    failed = [o.system.spec for o in outcomes if o.failed]
    lines += ["", f"{given.seeds} seeds, {perf_counter() - start:.0f} seconds in all; {machine()}."]
    lines += [f"Failed or missed: {', '.join(failed)}."] if failed else []
    if out:
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
