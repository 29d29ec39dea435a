"""The result of `compare_answers`: which answers differ, and how many right ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from torch import Tensor

from convlens.analyses.comparison.answers.answer_work import KINDS
from convlens.analyses.comparison.answers.paired_difference import PairedDifference
from convlens.data.photo_names import shortest_unique_paths
from convlens.drawing import Bars, bar_figure, render_figure
from convlens.passes.proportion import Proportion
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IN_TABLE = 12  # photos


@dataclass(frozen=True, eq=False)
class AnswerPair(Result):
    """The answers of two networks for one photo.

    Attributes:
        number: number of the photo in the data set.
        photo: its name.
        kind: `lost` (only the first network is right), `gained` (only the second is), `changed`
            (another answer, without a loss or a gain), or `same`.
        labels: names of the right classes; empty without a label.
        first: name of the first network's answer.
        second: name of the second network's answer.
        first_class: index of the first network's answer.
        second_class: index of the second network's answer, by its own classes.
        first_probability: probability that the first network gives its answer.
        second_probability: probability that the second network gives its answer.
    """

    number: int
    photo: str
    kind: str
    labels: tuple[str, ...]
    first: str
    second: str
    first_class: int
    second_class: int
    first_probability: float
    second_probability: float


@dataclass(frozen=True, eq=False)
class AnswerChanges(NetworkResult):
    """The answers of two networks for the same photos.

    Attributes:
        first: name of the first model.
        second: name of the second model.
        images: number of photos that both answered.
        skipped: the photos that could not be read, with the reason.
        same: share of the photos with the same answer.
        equal_logits: number of photos whose logits are equal in every bit.
        largest_change: greatest absolute difference of two logits of a class; NaN where classes
            have different indices.
        right: the right answers of both, if there are labels.
        class_difference: how the lists of classes differ, in words; empty if they are the same.
        same_index: share of the photos whose answers have the same index, whatever the labels are.
        probability_changes: int64 `(40,)`, the number of photos by the change of the probability
            of the first network's answer, in equal bins from -1 to 1.
        pairs: the photos in which both networks are surest of their answers, at most 24 of each
            kind of change: those that were lost first, then gained and changed; and 4 with the same
            answer.
    """

    first: str
    second: str
    images: int
    skipped: tuple[str, ...]
    same: Proportion
    equal_logits: int
    largest_change: float
    right: PairedDifference | None
    class_difference: str
    same_index: Proportion
    probability_changes: Tensor
    pairs: tuple[AnswerPair, ...]

    @property
    def identical(self) -> bool:
        """Whether the logits of all photos are equal in every bit."""
        return self.equal_logits == self.images and not self.class_difference

    def of_kind(self, kind: str) -> tuple[AnswerPair, ...]:
        """The photos of a kind, those with the surest answers first."""
        return tuple(pair for pair in self.pairs if pair.kind == kind)

    def select_changed(self, most: int) -> tuple[AnswerPair, ...]:
        """The surest changed answers, of each kind alike as far as there are so many.

        Args:
            most: number of photos at most.

        Returns:
            Those that were lost first, then gained and changed.
        """
        turns = zip_longest(*(self.of_kind(kind) for kind in KINDS if kind != "same"))
        selected = [pair for turn in turns for pair in turn if pair is not None][:most]
        return tuple(sorted(selected, key=lambda pair: KINDS.index(pair.kind)))

    def summary(self) -> str:
        """How many answers differ, and how many right ones were lost and gained."""
        if self.identical:
            return f"all logits of {counted(self.images, 'photo')} are equal in every bit"
        changed = self.same.total - self.same.count
        lines = [
            f"{changed:,} of {counted(self.images, 'answer')} "
            f"{'differs' if changed == 1 else 'differ'}"
        ]
        if self.right is not None:
            lines.append(self.right.summary())
        if self.class_difference:
            lines.append(
                f"{self.class_difference}; by index {self.same_index.count:,} of "
                f"{self.images:,} answers are the same"
            )
        return "\n".join(lines)

    def table(self) -> Table:
        """Photos whose answers differ, of each kind those with the surest answers first."""
        changed = self.select_changed(_IN_TABLE)
        return Table.of(
            ["photo", "kind", "label", "first network", "second network"],
            [
                [
                    name,
                    pair.kind,
                    ", ".join(pair.labels),
                    f"{pair.first}, {percent(pair.first_probability)}",
                    f"{pair.second}, {percent(pair.second_probability)}",
                ]
                for name, pair in zip(unique_names(changed), changed, strict=True)
            ],
            most=_IN_TABLE,
            total=max(len(changed), self.same.total - self.same.count),
        )

    def figure(self) -> "Figure":
        """The number of photos by which network is right, or by whether the answers differ."""
        total = self.same.total
        if self.right is not None:
            names = ["lost", "gained", "both right", "neither right"]
            counts = [self.right.lost, self.right.gained, self.right.both, self.right.neither]
            total = self.right.first.total
        else:
            names = ["another answer", "the same answer"]
            counts = [self.same.total - self.same.count, self.same.count]
        bars = Bars(
            title=f"answers for {counted(total, 'photo')}",
            names=names,
            values=[count / max(1, total) for count in counts],
            labels=[f"{count:,}" for count in counts],
        )
        return bar_figure([bars], limits=(0, 1.15))

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"answers": render_figure(self.figure(), dpi=160)}


def unique_names(pairs: Sequence[AnswerPair]) -> list[str]:
    """The shortest names of photos by which they are told apart."""
    return shortest_unique_paths([pair.photo for pair in pairs])
