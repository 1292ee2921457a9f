"""A run for TensorBoard: scalars, histograms of the weights, the graph, sample images, and figures at the end.

torch.utils.tensorboard takes a second to import, so this module is imported only where events are asked for.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from torch.utils.tensorboard import SummaryWriter

from netdsl.train.batches import prepare_on, scaled
from netdsl.train.errors import TrainError
from netdsl.train.files import unwritable
from netdsl.train.findings import Findings
from netdsl.train.records import Epoch, Record, Step, Stopped
from netdsl.train.state import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = 32  # shown of the training part, as they are and as they are trained on
LAYERS = 400  # a model of more is not traced for its graph: that would take long, and nobody could read it
NUMBERS = 20_000_000  # a model of more weights has no histograms
PACE = 1.0  # seconds between the histograms of two epochs, which cost more than many a short epoch


class Events:
    """Writes events into `folder`. Call it with every record; a resumed run goes on in the same curves."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder, self.run = folder, run
        self.drawn: tuple[int, float] = -1, -PACE  # the step of the last histograms, and when they were drawn
        try:
            self.writer = SummaryWriter(str(folder), purge_step=run.step + 1 if run.step else None)
        except OSError as problem:
            raise unwritable(folder, problem) from problem
        if not run.step:
            self._first()

    def __call__(self, record: Record) -> None:
        try:
            if isinstance(record, Step):
                values = {"step/loss": record.loss, "step/learning rate": record.lr}
                norm = {} if record.grad_norm is None else {"step/gradient norm": record.grad_norm}
                self._scalars(values | norm, record.step)
            elif isinstance(record, Epoch):
                self._scalars(_by_name(record.measured) | {"seconds an epoch": record.seconds}, record.step)
                if perf_counter() - self.drawn[1] >= PACE:
                    self._histograms(record.step)
            elif isinstance(record, Stopped):
                self._histograms(record.step)
        except OSError as problem:
            raise unwritable(self.folder, problem) from problem

    def _histograms(self, step: int) -> None:
        """The weights that are learned, as they are at the end of `step`."""
        learned = [(n, p) for n, p in self.run.model.named_parameters() if p.requires_grad]
        if step == self.drawn[0] or sum(p.numel() for _, p in learned) > NUMBERS:
            return
        for name, parameter in learned:
            if bool(parameter.isfinite().all()):
                self.writer.add_histogram(name.replace(".", "/"), parameter.detach(), step)
        self.drawn = step, perf_counter()

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        """All of them as one event: an event costs more than what is in it."""
        found = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        writer: Any = self.writer.file_writer
        writer.add_summary(Summary(value=found), step)

    def _first(self) -> None:
        """What is known before the first step: recipe, sample images and the graph."""
        lines = [
            f"    {key} = {value}" for key, value in self.run.recipe.described().items() if value is not None
        ]
        self.writer.add_text("recipe", "\n".join(lines))
        few = self.run.data.train.first(IMAGES).x.to(self.run.device)
        if few.dtype == torch.uint8 and few.dim() == 4 and few.shape[1] in (1, 3):
            self.writer.add_images("samples", few)
            self._augmented(few)
        self._graph(few[:2])

    def _augmented(self, images: torch.Tensor) -> None:
        """The images as the model is trained on them; where they are random, one drawing of many."""
        if not self.run.recipe.augment:
            return
        random = torch.Generator(self.run.device).manual_seed(self.run.recipe.seed)
        x = scaled(images)
        for augmentation in self.run.recipe.augment:
            x = augmentation.apply(x, random)
        self.writer.add_images("samples augmented", x.clamp(0, 1))

    def _graph(self, few: torch.Tensor) -> None:
        """The graph, traced on two samples; models that torch cannot trace have none."""
        model = self.run.model
        if sum(1 for _ in model.modules()) > LAYERS or getattr(self.run.processes, "sharded", False):
            return
        x = prepare_on(self.run.device, self.run.recipe, self.run.channels_last)(few)
        loggers = logging.getLogger("torch")
        level = loggers.level
        devices = [self.run.device] if self.run.device.type == "cuda" else []
        try:
            loggers.setLevel(logging.ERROR)
            with warnings.catch_warnings(), torch.random.fork_rng(devices=devices), torch.no_grad():
                warnings.simplefilter("ignore")
                self.writer.add_graph(copy.deepcopy(model).eval(), x)
        except (RuntimeError, TypeError, ValueError):
            return  # the diagram in report.html shows it
        finally:
            loggers.setLevel(level)

    def figures(self, findings: Findings | None) -> None:
        """At the end: the confusion matrix, or values and what they were taken for, and the worst samples."""
        if findings is None:
            return
        step = self.run.step
        if findings.confusion:
            self.writer.add_figure("confusion matrix", _matrix(findings), step)
        elif findings.pairs:
            self.writer.add_figure("predicted and true", _points(findings), step)
        images = [worst.image for worst in findings.worst if worst.image is not None]
        if images and all(image.shape == images[0].shape for image in images):
            self.writer.add_images("worst samples", torch.stack(images), step)

    def close(self) -> None:
        try:
            self.writer.close()
        except (OSError, TrainError):
            return  # a disk that is full was told of by then


def _by_name(measured: Mapping[str, float]) -> dict[str, float]:
    """`train_loss` as `loss/train`, so that both parts share a chart."""
    split = {column: column.partition("_") for column in measured}
    return {f"{name}/{part}": measured[column] for column, (part, _, name) in split.items()}


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _matrix(findings: Findings) -> Figure:
    counts = torch.tensor(findings.confusion, dtype=torch.float64)
    side = min(12.0, 2.5 + 0.35 * len(counts))
    figure, axes = _figure(side, side)
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(counts) <= 30:
        axes.set_xticks(range(len(counts)), findings.names, rotation=90)
        axes.set_yticks(range(len(counts)), findings.names)
        for i, row in enumerate(findings.confusion):
            for j, count in enumerate(row):
                if count:
                    dark = count > 0.5 * sum(row)
                    axes.text(
                        j, i, str(count), ha="center", va="center", fontsize=7, color="w" if dark else "k"
                    )
    return figure


def _points(findings: Findings) -> Figure:
    figure, axes = _figure(5, 5)
    true, predicted = zip(*findings.pairs, strict=True)
    axes.scatter(true, predicted, s=8, alpha=0.4)
    axes.axline((true[0], true[0]), slope=1, color="grey", linestyle="--", linewidth=1)
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    return figure
