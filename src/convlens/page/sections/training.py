"""The section on the training of a network that convlens trained: curves, settings, classes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from convlens.html.charts import LineChart, Series, line_chart
from convlens.html.pictures import PictureBudget
from convlens.models.loading.specs import DESCRIPTION, find_run_folder
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding
from convlens.page.section import Section
from convlens.passes.proportion import Proportion, wilson_interval
from convlens.results import Result
from convlens.results.reproduction import Reproduction
from convlens.training.result import Checkpoint, Training, read_training
from convlens.wording import counted, enumerated, interval

_MOST_POINTS = 20  # epochs whose points are marked in the charts
_DEFAULT_MOMENTUM = 0.9  # which no command changes


@dataclass(frozen=True, eq=False)
class TrainingResult(Result):
    """A training, and the accuracy of the checkpoint that the page is about.

    Attributes:
        training: settings, history and validation.
        checkpoint: `best` or `last`; empty for a checkpoint whose accuracy is not recorded.
        accuracy: of that checkpoint on the validation images, or None.
        class_accuracies: the same for each class.
        weakest: indices of the classes with validation images, the lowest accuracy first.
    """

    training: Training
    checkpoint: Literal["best", "last", ""]
    accuracy: Proportion | None
    class_accuracies: tuple[Proportion, ...]
    weakest: tuple[int, ...]


class TrainingSection(Section[TrainingResult]):
    """How the network was trained."""

    name = "training"
    title = "Training"
    budget = Budget(items=1)

    def compute(self, inputs: Inputs) -> TrainingResult | None:
        """What the run folder records, or None for a network that convlens did not train.

        Raises:
            ConvlensError: no epoch of the training is finished.
        """
        run = find_run_folder(inputs.model.spec or "")
        if run is None or not (run[0] / DESCRIPTION).is_file():
            return None
        folder, tags = run
        training = read_training(folder)
        checkpoint = _find_checkpoint(tags)
        if checkpoint is None:
            return TrainingResult(training, "", None, (), ())
        return TrainingResult(
            training,
            checkpoint,
            training.correct(checkpoint),
            training.class_accuracies(checkpoint),
            tuple(training.weakest_classes(checkpoint)),
        )

    def findings(self, inputs: Inputs, result: TrainingResult) -> Iterator[Finding]:
        """The accuracy, and classes that are predicted worse than the others together."""
        if result.accuracy is None:
            return
        overall, held_out = result.accuracy, result.training.held_out
        yield Finding(
            "fine",
            f"The {result.checkpoint} checkpoint of the training predicts {overall.count:,} of "
            f"{counted(overall.total, 'validation image')} correctly "
            f"({interval(overall.low, overall.high)}; {held_out}).",
            "training", rank=6,
        )  # fmt: skip
        weak = _find_weak_classes(result)
        if weak:
            names = [
                f"{result.training.labels[index]} ({share.count} of {share.total})"
                for index, share in weak
            ]
            verb = "is" if len(weak) == 1 else "are"
            yield Finding(
                "look",
                f"{enumerated(names)} {verb} predicted worse than the other classes together: "
                f"{overall.count:,} of {overall.total:,} validation images are right in all.",
                "training", rank=4,
            )  # fmt: skip

    def reproduction(self, inputs: Inputs, result: TrainingResult) -> Reproduction:
        """The same training, into another folder."""
        training = result.training
        recipe = dict(training.recipe)
        momentum = recipe["momentum"]
        height, width = training.size
        words = ["train", training.data, "--size", f"{height}x{width}"]
        arguments = [repr(training.data), "out='training'", f"size={(height, width)}"]
        if training.validation_share is not None:
            words += ["--validation", f"{training.validation_share:g}"]
            arguments.append(f"validation={training.validation_share}")
        for name, value in recipe.items():
            arguments.append(f"{name}={value!r}")
            option = f"--{name.replace('_', '-')}"
            if isinstance(value, bool):
                words.append(option if value else option.replace("--", "--no-", 1))
            elif name != "momentum":
                words += [option, f"{value}"]
        command = inputs.reproducer.command_alone("training", words)
        lines = f"import convlens\nresult = convlens.train({', '.join(arguments)})\nresult"
        return Reproduction(command if momentum == _DEFAULT_MOMENTUM else None, lines)

    def view(
        self, inputs: Inputs, result: TrainingResult, pictures: PictureBudget
    ) -> dict[str, Any]:
        """The charts of loss and accuracy."""
        return {
            "loss": _draw_loss(result.training),
            "accuracy": _draw_accuracy(result.training),
        }


def _find_checkpoint(tags: str) -> Checkpoint | None:
    """The checkpoint that the words after an @ name, or None for one on the way."""
    words = [word for word in tags.split("@") if word and word != "average"]
    if not words:
        return "best"
    return next((name for name in get_args(Checkpoint) if name == words[0]), None)


def _find_weak_classes(result: TrainingResult) -> list[tuple[int, Proportion]]:
    """Classes whose interval lies below that of all other classes together.

    The intervals are as wide as so many comparisons ask for (Bonferroni), so that by chance at most
    one training in twenty has such a class.
    """
    from scipy.stats import norm

    weak = []
    assert result.accuracy is not None
    z = float(norm.isf(0.025 / max(len(result.weakest), 1)))
    for index in result.weakest:
        share = result.class_accuracies[index]
        others = (result.accuracy.count - share.count, result.accuracy.total - share.total)
        if (
            others[1]
            and wilson_interval(share.count, share.total, z)[1] < wilson_interval(*others, z)[0]
        ):
            weak.append((index, share))
    return weak


def _draw_loss(training: Training) -> LineChart:
    lines = [
        Series(name, values, values, values)
        for name, values in (
            ("validation", [row["validation_loss"] for row in training.history]),
            ("training", [row["loss"] for row in training.history]),
        )
    ]
    highest = _round_up(max(max(line.values) for line in lines))
    return line_chart(
        _epochs(training),
        lines,
        highest=highest,
        ticks=[(highest * part, f"{highest * part:.3g}") for part in (0.0, 0.5, 1.0)],
        marked=len(training.history) <= _MOST_POINTS,
    )


def _round_up(value: float) -> float:
    """The next number with one digit, or with two of which the second is a 5."""
    if not 0 < value < math.inf:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value)) / 2
    return math.ceil(value / unit) * unit


def _draw_accuracy(training: Training) -> LineChart:
    shares = training.correct_by_epoch()
    line = Series(
        "validation",
        [share.share for share in shares],
        [share.low for share in shares],
        [share.high for share in shares],
    )
    return line_chart(_epochs(training), [line], marked=len(training.history) <= _MOST_POINTS)


def _epochs(training: Training) -> list[float]:
    return [row["epoch"] for row in training.history]


SECTION = TrainingSection()
