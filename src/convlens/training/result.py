"""The result of a training: `Training`, and `read_training`, which reads that of a run folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from convlens.drawing import new_figure, render_figure
from convlens.drawing.palette import ACCENT, LINE, MUTED
from convlens.errors import ConvlensError
from convlens.models.loading.run_folder import read_run_folder
from convlens.models.loading.specs import DESCRIPTION
from convlens.models.networks.build import build
from convlens.passes.proportion import Proportion
from convlens.results import Result, Table
from convlens.text import plot_text
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Checkpoint = Literal["best", "last"]

_MOST_CLASSES = 24  # in the figure
_TRAIN_COLOR, _VALIDATION_COLOR = MUTED, ACCENT


@dataclass(frozen=True, eq=False)
class Training(Result):
    """The result of a training.

    Attributes:
        folder: path of the run folder, which `convlens.load` takes.
        recipe: the fields of `Recipe` by name.
        data: name or path of the data.
        labels: names of the classes by index.
        images: number of training images.
        validated: number of validation images.
        held_out: where the validation images come from, in words.
        validation_share: share of each class that was held out, or None for data with validation
            images of its own.
        size: height and width of the images in pixels.
        skipped: the files that were left out, with the reasons.
        history: a row for each epoch: epoch, step, loss and validation_loss (nats),
            validation_accuracy (share), learning_rate, seconds (since the process started).
        best_step: the step with the highest validation accuracy.
        best_accuracy: the validation accuracy after that step. It is slightly optimistic, because
            the step was selected on the same images.
        accuracy: share of the validation images that the final network predicts correctly.
        parameters: number of parameters of the network.
        class_images: number of validation images of each class.
        class_correct: how many of these the final network predicts correctly.
        best_class_correct: how many of these the network of `best_step` predicts correctly.
    """

    folder: str
    recipe: dict[str, Any]
    data: str
    labels: tuple[str, ...]
    images: int
    validated: int
    held_out: str
    validation_share: float | None
    size: tuple[int, int]
    skipped: tuple[str, ...]
    history: tuple[dict[str, float], ...]
    best_step: int
    best_accuracy: float
    accuracy: float
    parameters: int
    class_images: tuple[int, ...]
    class_correct: tuple[int, ...]
    best_class_correct: tuple[int, ...]

    def correct(self, checkpoint: Checkpoint = "last") -> Proportion:
        """Share of the validation images that are predicted correctly, with its 95 % interval.

        Args:
            checkpoint: the `last` one (default) or the `best` one.
        """
        return Proportion.from_counts(sum(self._class_correct(checkpoint)), self.validated)

    def correct_by_epoch(self) -> tuple[Proportion, ...]:
        """Share of the validation images that are predicted correctly after each epoch."""
        counts = (round(row["validation_accuracy"] * self.validated) for row in self.history)
        return tuple(Proportion.from_counts(count, self.validated) for count in counts)

    def class_accuracies(self, checkpoint: Checkpoint = "last") -> tuple[Proportion, ...]:
        """Share of the validation images of each class that are predicted correctly.

        Args:
            checkpoint: the `last` one (default) or the `best` one.

        Returns:
            A share for each class; NaN, with an interval of 0 to 1, for one without images.
        """
        return tuple(
            Proportion.from_counts(correct, total)
            for correct, total in zip(
                self._class_correct(checkpoint), self.class_images, strict=True
            )
        )

    def weakest_classes(self, checkpoint: Checkpoint = "last") -> list[int]:
        """Indices of the classes with validation images, the lowest accuracy first.

        Of equal ones, that with more images goes first.

        Args:
            checkpoint: the `last` one (default) or the `best` one.
        """
        accuracies, images = self.class_accuracies(checkpoint), self.class_images
        tested = [index for index, count in enumerate(images) if count]
        return sorted(tested, key=lambda index: (accuracies[index].share, -images[index]))

    def summary(self) -> str:
        """The accuracy of the final network in words."""
        correct = self.correct()
        return (
            f"{self.recipe['network']} predicts {percent(correct.share, 1)} of "
            f"{counted(self.validated, 'validation image')} correctly "
            f"(95 % interval {percent(correct.low, 1)} to {percent(correct.high, 1)})"
        )

    def table(self) -> Table:
        """The accuracy of each class with validation images, the lowest first."""
        accuracies = self.class_accuracies()
        return Table.of(
            ["class", "predicted correctly"],
            [[self.labels[index], accuracies[index].summary()] for index in self.weakest_classes()],
        )

    def figure(self) -> "Figure":
        """Loss and accuracy by epoch, and the accuracy of each class (the weakest 24)."""
        weakest = self.weakest_classes("best")[:_MOST_CLASSES]
        height = max(3.2, 1.2 + 0.2 * len(weakest))
        figure = new_figure(figsize=(10, height))
        loss, accuracy, classes = figure.subplots(1, 3)
        figure.suptitle(plot_text(f"{self.data}: {self.summary()}"),
                        fontsize=10)  # fmt: skip
        self._plot_loss(loss)
        self._plot_accuracy(accuracy)
        self._plot_classes(classes, weakest)
        for axes in (loss, accuracy, classes):
            axes.spines[["top", "right"]].set_visible(False)
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"curves": render_figure(self.figure())}

    def _class_correct(self, checkpoint: Checkpoint) -> tuple[int, ...]:
        return self.best_class_correct if checkpoint == "best" else self.class_correct

    def _column(self, name: str) -> list[float]:
        return [row[name] for row in self.history]

    def _plot_loss(self, axes: "Axes") -> None:
        epochs = self._column("epoch")
        axes.plot(epochs, self._column("loss"), color=_TRAIN_COLOR, linestyle="--",
                  label="training", **_marker(epochs))  # fmt: skip
        axes.plot(epochs, self._column("validation_loss"), color=_VALIDATION_COLOR,
                  label="validation", **_marker(epochs))  # fmt: skip
        axes.set(xlabel="epoch", ylabel="cross-entropy in nats", ylim=(0, None))
        axes.set_title("loss", fontsize=10)
        axes.legend(frameon=False, fontsize="small")

    def _plot_accuracy(self, axes: "Axes") -> None:
        epochs = self._column("epoch")
        shares = self.correct_by_epoch()
        axes.plot(epochs, [share.share for share in shares], color=_VALIDATION_COLOR,
                  **_marker(epochs))  # fmt: skip
        low, high = [share.low for share in shares], [share.high for share in shares]
        axes.fill_between(epochs, low, high, color=_VALIDATION_COLOR, alpha=0.15, linewidth=0)
        best = [row["epoch"] for row in self.history if row["step"] == self.best_step]
        axes.axvline(best[0], color=LINE, linewidth=0.8, linestyle=":", label="best epoch")
        axes.legend(frameon=False, fontsize="small", loc="lower right")
        axes.set(xlabel="epoch", ylim=(0, 1.02))
        axes.set_title("validation accuracy, 95 % interval", fontsize=10)

    def _plot_classes(self, axes: "Axes", weakest: Sequence[int]) -> None:
        accuracies = self.class_accuracies("best")
        rows = range(len(weakest))
        axes.hlines(
            rows, [accuracies[index].low for index in weakest],
            [accuracies[index].high for index in weakest], color=_VALIDATION_COLOR, alpha=0.4,
        )  # fmt: skip
        axes.plot(
            [accuracies[index].share for index in weakest], rows, "o", markersize=4,
            color=_VALIDATION_COLOR,
        )  # fmt: skip
        axes.set_yticks(
            rows, [plot_text(self.labels[index])[:24] for index in weakest], fontsize="small"
        )
        axes.invert_yaxis()
        axes.set(xlim=(-0.02, 1.02))
        tested = sum(count > 0 for count in self.class_images)
        some = f"the weakest {len(weakest)} of {tested} classes" * (len(weakest) < tested)
        axes.set_title(f"accuracy by class, best epoch{', ' * bool(some)}{some}", fontsize=10)


def read_training(folder: str | Path) -> Training:
    """Read the result of a training from its run folder.

    Args:
        folder: the folder that `train` wrote; a checkpoint after an @ is not part of it.

    Returns:
        The result, as `train` returned it; of a training that was stopped, that of the epochs that
        it finished.

    Raises:
        ConvlensError: no run folder, a damaged one, or one in which no epoch is finished.

    Example:
        >>> import convlens, numpy
        >>> pixels = numpy.arange(40 * 12 * 12, dtype=numpy.uint8).reshape(40, 12, 12)
        >>> numpy.savez("data.npz", images=pixels, labels=numpy.arange(40) % 2)
        >>> training = convlens.train("data.npz", out="run", network="lenet5", epochs=1)
        >>> convlens.read_training("run") == training
        True
    """
    path = Path(folder).expanduser()
    description = read_run_folder(path).description
    if not description["progress"]["history"]:
        raise ConvlensError(
            f"no epoch of the training in {folder} is finished; run convlens train with --out "
            f"{folder} again, which goes on with it"
        )
    try:
        return summarize_training(str(folder), description)
    except (KeyError, TypeError, ValueError) as error:
        raise ConvlensError(
            f"{path / DESCRIPTION} is damaged ({type(error).__name__}: {error})"
        ) from error


def summarize_training(folder: str, description: dict[str, Any]) -> Training:
    """The result of a training.

    Args:
        folder: path of the run folder.
        description: content of its `convlens.json`, with at least one epoch.
    """
    training, progress = description["training"], description["progress"]
    history = progress["history"]
    best_step = int(description["checkpoints"]["best"].rpartition("-")[2])
    accuracies = {int(row["step"]): row["validation_accuracy"] for row in history}
    with torch.device("meta"):
        parameters = sum(p.numel() for p in build(**description["network"]).parameters())
    return Training(
        folder=folder,
        recipe=dict(training["recipe"]),
        data=training["data"],
        labels=tuple(description["labels"]),
        images=training["images"],
        validated=training["validated"],
        held_out=training["held_out"],
        validation_share=training["validation_share"],
        size=tuple(description["network"]["size"]),
        skipped=tuple(training["skipped"]),
        history=tuple(dict(row) for row in history),
        best_step=best_step,
        best_accuracy=accuracies[best_step],
        accuracy=history[-1]["validation_accuracy"],
        parameters=parameters,
        class_images=tuple(training["class_images"]),
        class_correct=tuple(progress["class_correct"]),
        best_class_correct=tuple(progress["best_class_correct"]),
    )


def _marker(epochs: Sequence[float]) -> dict[str, Any]:
    """A point at each epoch, where they are few."""
    return {"marker": "o", "markersize": 3} if len(epochs) <= 12 else {}
