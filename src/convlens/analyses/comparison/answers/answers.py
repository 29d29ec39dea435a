"""`compare_answers`: which answers differ between two networks, in one pass over photos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.analyses.comparison.answers.answer_work import (
    KINDS,
    AnswerWork,
    takes_same_images,
)
from convlens.analyses.comparison.answers.class_pairing import pair_classes
from convlens.analyses.comparison.answers.paired_difference import PairedDifference
from convlens.analyses.predictions.photo_labels import check_photo_labels
from convlens.analyses.predictions.predictions import check_one_vector
from convlens.data.datasets.photo_dataset import as_dataset
from convlens.data.photo_names import shortest_unique_paths
from convlens.drawing import Bars, bar_figure, render_figure
from convlens.models.labels import PhotoLabels, class_name, class_names
from convlens.models.model import Model, check_model
from convlens.passes.options import PassOptions
from convlens.passes.proportion import Proportion
from convlens.passes.run import run_pass
from convlens.passes.source import (
    PhotosOrImages,
    Source,
    check_photos,
    open_source,
)
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.runtime.fingerprints import fingerprint
from convlens.runtime.guard import unwrap_network
from convlens.tracing.model_fingerprint import fingerprint_model
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace as trace_network
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 24  # photos that are named of each kind of change
_SAME = 4  # photos with the same answer that are named
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


@keep_warnings
def compare_answers(
    first: Model,
    second: Model,
    photos: PhotosOrImages,
    *,
    labels: PhotoLabels | None = None,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> AnswerChanges:
    """Count the answers of two networks that differ on the same photos, and the right ones.

    Each photo takes one forward pass of each network. A photo is decoded once if both networks have
    the same preprocessing, and otherwise for each of them.

    Args:
        first: the first model, such as the one before a change; left untouched.
        second: the second model; left untouched.
        photos: files, a data set of them, or images `(N, C, H, W)` inside the bounds of the first
            model, which the second one is given rescaled to its own bounds.
        labels: for each photo the indices of the right classes by the first network, or None;
            default: no labels.
        strict: raise for a photo that cannot be read instead of leaving it out; default: leave it
            out.
        pass_options: how the pass runs; see `PassOptions`. Its stage is `answers`. Default:
            `PassOptions()`.

    Returns:
        Counts, McNemar's exact test with labels, and the photos with the surest changed answers.

    Raises:
        ConvlensError: the networks have no class in common, or do not give one vector of class
            scores; labels that do not fit; no photo can be read.

    References:
        McNemar, Psychometrika 1947; Newcombe, Statistics in Medicine 1998, method 10.

    Example:
        >>> import torch, convlens
        >>> networks = [
        ...     torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        ...     for _ in range(2)
        ... ]
        >>> before, after = (convlens.wrap(network, size=8) for network in networks)
        >>> images = torch.rand(20, 3, 8, 8)
        >>> convlens.compare_answers(before, before, images).identical
        True
        >>> convlens.compare_answers(before, after, images).images
        20
    """
    check_model(first)
    check_model(second)
    photos = check_photos(first, photos)
    source = open_source(first, photos, strict=strict)
    if labels is not None:
        check_photo_labels(first, labels, len(source))
    traces = trace_network(first), trace_network(second)
    for model, trace in zip((first, second), traces, strict=True):
        check_one_vector(model, trace, "diff")
    classes = pair_classes(first, second, *(trace.num_outputs for trace in traces))
    second_fingerprint = fingerprint_model(second)
    work = AnswerWork(
        first=first,
        second=second,
        photos=(
            None
            if isinstance(photos, Tensor) or takes_same_images(first, second)
            else as_dataset(photos)
        ),
        classes=classes,
        labels=labels,
        top=_SHOWN,
        folds=_fold_alike(first, second, traces, second_fingerprint),
    )
    settings = {
        "analysis": "diff", "second": f"{second.name} {second_fingerprint}",
        "labels": fingerprint(labels),
    }  # fmt: skip
    finished = run_pass(
        first, work, source, stage="answers", pass_options=pass_options, settings=settings
    )
    if work.folds and int(finished.state["equal_logits"]) == int(finished.state["photos"]):
        # Folding may round a small change of a weight away, and "equal" means every bit.
        work = replace(work, folds=False)
        finished = run_pass(
            first, work, source, stage="answers", pass_options=pass_options.in_subfolder("exact"),
            settings=settings,
        )  # fmt: skip
    state = finished.state
    total = int(state["photos"])
    labeled = int(state["labeled"])
    right = None
    if labeled:
        counts = (int(state[name]) for name in ("both", "lost", "gained", "neither"))
        right = PairedDifference.from_counts(*counts)
    return AnswerChanges(
        first=first.name,
        second=second.name,
        images=total,
        skipped=tuple(finished.skipped.values()),
        same=Proportion.from_counts(int(state["same"]), total),
        equal_logits=int(state["equal_logits"]),
        largest_change=float(state["largest_change"]) if classes.same else float("nan"),
        right=right,
        class_difference=classes.difference,
        same_index=Proportion.from_counts(int(state["same_index"]), total),
        probability_changes=state["probability_changes"],
        pairs=tuple(_list_pairs(work, source, state)),
    )


def _fold_alike(
    first: Model, second: Model, traces: tuple[Trace, Trace], second_fingerprint: str
) -> bool:
    """Whether folding changes the logits of both networks alike, and they are not the same anyway.

    Of one network in two formats, only one might be folded, and equal logits would differ.
    """
    networks = [unwrap_network(model.network) for model in (first, second)]
    return (
        type(networks[0]) is type(networks[1])
        and traces[0].batch_norm_pairs == traces[1].batch_norm_pairs
        and fingerprint_model(first) != second_fingerprint
    )


def _list_pairs(work: AnswerWork, source: Source, state: Mapping[str, Tensor]) -> list[AnswerPair]:
    """The answers for the photos that the pass has kept, kind by kind."""
    entries = [
        (row, column)
        for row, kind in enumerate(KINDS)
        for column in range(_SAME if kind == "same" else work.top)
        if state["values"][row, column] > -torch.inf
    ]
    pairs = []
    for row, column in entries:
        number = int(state["images"][row, column])
        first_class, second_class = state["classes"][row, column].tolist()
        first_probability, second_probability = state["probabilities"][row, column].tolist()
        pairs.append(
            AnswerPair(
                number=number,
                photo=source.name(number),
                kind=KINDS[row],
                labels=class_names(
                    work.first.labels,
                    (work.labels[number] or ()) if work.labels is not None else (),
                ),
                first=class_name(work.first.labels, first_class),
                second=class_name(work.second.labels, second_class),
                first_class=first_class,
                second_class=second_class,
                first_probability=first_probability,
                second_probability=second_probability,
            )
        )
    return pairs
