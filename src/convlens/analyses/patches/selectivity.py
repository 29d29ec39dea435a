"""Selectivity: which class a channel prefers, and how well it tells that class from the others.

The chapter's grandmother cell is one end of this scale. A first pass finds the class that a channel
is strongest for on average, a second one bins the channel's activations for that class and for the
others; the area under the ROC curve follows from the bins.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from convlens.analyses.patches.activation_statistics import BIN_COUNT, BIN_EDGES
from convlens.analyses.patches.spatial_max import spatial_max
from convlens.errors import ConvlensError
from convlens.models.labels import PhotoLabels
from convlens.passes.reducer import State
from convlens.tracing.selection import ChannelSource

LEAST = 5  # photos of a class: of fewer, one that happens to excite a channel looks like a rule

_FIXED = 2**16  # activations are summed as whole numbers of this fraction, in any order alike


class ClassMeanActivations:
    """Sums of each channel's greatest activations by class."""

    def __init__(self, channel_sources: Sequence[ChannelSource], answers: PhotoLabels) -> None:
        """Say what is right.

        Args:
            channel_sources: that are watched.
            answers: classes of each image, or None where they are not known.

        Raises:
            ConvlensError: fewer than two classes with enough images.
        """
        self._channel_sources = {one.node: one for one in channel_sources}
        self.classes = classes_of(answers)
        if len(self.classes) < 2:
            raise ConvlensError(
                f"{len(self.classes)} classes have at least {LEAST} labeled photos each; "
                f"selectivity needs two, so give more photos or leave the labels out"
            )
        self._members = Membership(answers, self.classes)

    def initial_state(self, node: int) -> State:
        """Zero sums."""
        shape = (self._channel_sources[node].channels, len(self.classes))
        return {
            "class_sums": torch.zeros(shape, dtype=torch.int64),
            "class_counts": torch.zeros(len(self.classes), dtype=torch.int64),
        }

    def add(self, table: State, peaks: Tensor, ids: Tensor) -> None:
        """Take in the greatest activations `(N, C)` of a batch, in place."""
        members = self._members.of(ids)
        fixed = (peaks.clamp(min=0).double() * _FIXED).round()
        # Whole numbers below 2^53: doubles add them without rounding, and quicker than integers.
        table["class_sums"] += (fixed.T @ members.double()).long()
        table["class_counts"] += members.sum(dim=0)

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """Both together."""
        return {name: one[name] + other[name] for name in ("class_sums", "class_counts")}

    def preferred(self, state: Mapping[str, Tensor], node: int) -> Tensor:
        """int64 `(C,)`: the class with the greatest mean, the first where several have it."""
        sums = state[f"{node}/class_sums"].double()
        means = sums / state[f"{node}/class_counts"].clamp(min=1)
        return torch.tensor(self.classes)[means.argmax(dim=1)]


class SelectivityReducer:
    """The reducer of the second pass: bins of activations, inside and outside of a class."""

    def __init__(
        self,
        channel_sources: Sequence[ChannelSource],
        answers: PhotoLabels,
        preferred: Mapping[int, Tensor],
    ) -> None:
        """Say what is right, and which class each channel of each node prefers."""
        self._channel_sources = {one.node: one for one in channel_sources}
        classes = classes_of(answers)
        self._members = Membership(answers, classes)
        self._column = {
            node: torch.searchsorted(torch.tensor(classes), one) for node, one in preferred.items()
        }

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes, by number in the trace."""
        return tuple(self._channel_sources)

    def initial_state(self) -> State:
        """Empty bins."""
        return {
            f"{node}/{side}": torch.zeros(channel_source.channels, BIN_COUNT, dtype=torch.int64)
            for node, channel_source in self._channel_sources.items()
            for side in ("inside", "outside")
        }

    def update(self, state: State, node: int, maps: Tensor, ids: Tensor) -> None:
        """Take in one place's maps of a batch, in place."""
        greatest, _ = spatial_max(self._channel_sources[node].channels_first(maps))
        bins = torch.bucketize(greatest.float().cpu(), BIN_EDGES).T
        inside = self._members.of(ids).bool()[:, self._column[node]].T
        known = self._members.known[ids].expand_as(inside)
        state[f"{node}/inside"].scatter_add_(1, bins, (inside & known).long())
        state[f"{node}/outside"].scatter_add_(1, bins, (~inside & known).long())

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """Both together."""
        return {name: one[name] + other[name] for name in one}

    def areas(self, state: Mapping[str, Tensor], node: int) -> Tensor:
        """float32 `(C,)`: area under the ROC curve; equal bins count half. NaN without both."""
        return area(state[f"{node}/inside"], state[f"{node}/outside"])


def area(inside: Tensor, outside: Tensor) -> Tensor:
    """Probability that one inside lies above one outside, ties counting half: `(C,)` of bins."""
    below = outside.cumsum(dim=1) - outside
    won = (inside * (2 * below + outside)).sum(dim=1).double() / 2
    return (won / (inside.sum(dim=1) * outside.sum(dim=1))).float()


def classes_of(answers: PhotoLabels) -> list[int]:
    """The classes that enough images have, in order."""
    counts = Counter(one for answer in answers for one in set(answer or ()))
    return sorted(one for one, count in counts.items() if count >= LEAST)


class Membership:
    """Which images are of which classes: a few numbers an image, whatever the classes."""

    def __init__(self, answers: PhotoLabels, classes: Sequence[int]) -> None:
        """Say what is right, and the classes that count."""
        column = {one: number for number, one in enumerate(classes)}
        rows = [[column[one] for one in column.keys() & set(answer or ())] for answer in answers]
        most = max(map(len, rows), default=0)
        # Those of an image that has fewer go to a column that is cut off.
        self._columns = torch.tensor(
            [[*row, *[len(classes)] * (most - len(row))] for row in rows], dtype=torch.int64
        ).view(len(rows), most)
        self._count = len(classes)
        self.known = torch.tensor([answer is not None for answer in answers])

    def of(self, ids: Tensor) -> Tensor:
        """int64 `(N, K)`: 1 where an image is of a class."""
        members = torch.zeros(len(ids), self._count + 1, dtype=torch.int64)
        return members.scatter_(1, self._columns[ids], 1)[:, : self._count]
