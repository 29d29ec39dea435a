"""Selectivity: which class a channel prefers, and how well it tells that class from the others.

The chapter's grandmother cell is one end of this scale. A first pass finds the class for which a
channel is strongest on average. A second pass bins the channel's activations for that class and
for the others; the area under the ROC curve follows from the bins.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from convlens.analyses.patches.activation_statistics import BIN_COUNT, BIN_EDGES
from convlens.analyses.patches.spatial_max import spatial_max
from convlens.analyses.patches.tile_maxima import TileMaxima
from convlens.errors import ConvlensError
from convlens.models.labels import PhotoLabels
from convlens.passes.reducer import State
from convlens.tracing.selection import ChannelSource
from convlens.wording import counted

# Least number of photos of a class. With fewer, one photo that happens to activate a channel would
# look like selectivity.
MIN_PHOTOS = 5

_FIXED_POINT = 2**16  # activations are summed as integers, so that the order does not matter


class ClassMeanActivations:
    """Extra columns of `TopPatchesReducer`: sums of each channel's greatest activations by class.

    Attributes:
        classes: the classes with enough photos, in order.
    """

    def __init__(self, channel_sources: Sequence[ChannelSource], labels: PhotoLabels) -> None:
        """Take the labels of a data set.

        Args:
            channel_sources: the nodes whose channels are read.
            labels: right classes of each image, or None where they are not known.

        Raises:
            ConvlensError: fewer than two classes with enough images.
        """
        self._channel_sources = {source.node: source for source in channel_sources}
        self.classes = frequent_classes(labels)
        if len(self.classes) < 2:
            have = "has" if len(self.classes) == 1 else "have"
            raise ConvlensError(
                f"{counted(len(self.classes), 'class')} {have} at least {MIN_PHOTOS} labeled "
                f"photos; selectivity needs two, so give more photos or leave the labels out"
            )
        self._members = ClassMembership(labels, self.classes)

    def initial_state(self, node: int) -> State:
        """Zero sums."""
        shape = (self._channel_sources[node].channels, len(self.classes))
        return {
            "class_sums": torch.zeros(shape, dtype=torch.int64),
            "class_counts": torch.zeros(len(self.classes), dtype=torch.int64),
        }

    def add(self, table: State, maxima: Tensor, ids: Tensor) -> None:
        """Add the greatest activations `(N, C)` of a batch, in place."""
        members = self._members.of(ids)
        fixed = (maxima.clamp(min=0).double() * _FIXED_POINT).round()
        # Integers below 2^53: doubles add them without rounding, and faster than int64.
        table["class_sums"] += (fixed.T @ members.double()).long()
        table["class_counts"] += members.sum(dim=0)

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The sums of both data sets together."""
        return {name: state_a[name] + state_b[name] for name in ("class_sums", "class_counts")}

    def preferred_class(self, state: Mapping[str, Tensor], node: int) -> Tensor:
        """The class with the greatest mean, int64 `(C,)`; of several the first."""
        sums = state[f"{node}/class_sums"].double()
        means = sums / state[f"{node}/class_counts"].clamp(min=1)
        return torch.tensor(self.classes, dtype=torch.int64)[means.argmax(dim=1)]


class SelectivityReducer:
    """The reducer of the second pass: histograms of activations inside and outside of a class."""

    def __init__(
        self,
        channel_sources: Sequence[ChannelSource],
        labels: PhotoLabels,
        preferred_class: Mapping[int, Tensor],
    ) -> None:
        """Take the labels and the preferred classes of the first pass.

        Args:
            channel_sources: the nodes whose channels are read.
            labels: right classes of each image, or None where they are not known.
            preferred_class: int64 `(C,)` for each node.
        """
        self._channel_sources = {source.node: source for source in channel_sources}
        classes = frequent_classes(labels)
        self._members = ClassMembership(labels, classes)
        self._column = {
            node: torch.searchsorted(torch.tensor(classes, dtype=torch.int64), preferred)
            for node, preferred in preferred_class.items()
        }

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes, by number in the trace."""
        return tuple(self._channel_sources)

    def initial_state(self) -> State:
        """Empty histograms."""
        return {
            f"{node}/{side}": torch.zeros(source.channels, BIN_COUNT, dtype=torch.int64)
            for node, source in self._channel_sources.items()
            for side in ("inside", "outside")
        }

    def update(self, state: State, node: int, maps: Tensor, ids: Tensor) -> None:
        """Add a batch of one node's maps, in place."""
        maxima, _ = spatial_max(self._channel_sources[node].channels_first(maps))
        self._add_maxima(state, node, maxima.float().cpu(), ids)

    def begin_image(self, node: int, map_size: tuple[int, int]) -> TileMaxima:
        """Begin an image that is shown in tiles."""
        return TileMaxima(self._channel_sources[node].channels, width=map_size[1])

    def update_from_tiles(self, state: State, node: int, image: TileMaxima, ids: Tensor) -> None:
        """Add an image that was shown in tiles, in place."""
        self._add_maxima(state, node, image.values, ids)

    def _add_maxima(self, state: State, node: int, maxima: Tensor, ids: Tensor) -> None:
        bins = torch.bucketize(maxima, BIN_EDGES).T
        inside = self._members.of(ids).bool()[:, self._column[node]].T
        labeled = self._members.labeled[ids].expand_as(inside)
        state[f"{node}/inside"].scatter_add_(1, bins, (inside & labeled).long())
        state[f"{node}/outside"].scatter_add_(1, bins, (~inside & labeled).long())

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The histograms of both data sets together."""
        return {name: state_a[name] + state_b[name] for name in state_a}

    def areas(self, state: Mapping[str, Tensor], node: int) -> Tensor:
        """Areas under the ROC curve, float32 `(C,)`; NaN for a channel without both sides."""
        return roc_area(state[f"{node}/inside"], state[f"{node}/outside"])


def roc_area(inside: Tensor, outside: Tensor) -> Tensor:
    """Area under the ROC curve from histograms over the same bins.

    This is the probability that a random activation inside lies above a random one outside, where
    equal bins count half (Mann and Whitney 1947).

    Args:
        inside: int64 `(C, bins)`.
        outside: int64 `(C, bins)`.

    Returns:
        float32 `(C,)`.
    """
    below = outside.cumsum(dim=1) - outside
    above_outside = (inside * (2 * below + outside)).sum(dim=1).double() / 2
    return (above_outside / (inside.sum(dim=1) * outside.sum(dim=1))).float()


def frequent_classes(labels: PhotoLabels) -> list[int]:
    """The classes that at least `MIN_PHOTOS` images have, in order."""
    counts = Counter(index for classes in labels for index in set(classes or ()))
    return sorted(index for index, count in counts.items() if count >= MIN_PHOTOS)


class ClassMembership:
    """Which images belong to which classes, in a few numbers per image.

    Attributes:
        labeled: bool `(images,)`, whether the classes of an image are known.
    """

    def __init__(self, labels: PhotoLabels, classes: Sequence[int]) -> None:
        """Take the labels of a data set, and the classes that count."""
        columns = {index: column for column, index in enumerate(classes)}
        rows = [
            [columns[index] for index in columns.keys() & set(image_classes or ())]
            for image_classes in labels
        ]
        most = max(map(len, rows), default=0)
        # Rows of images with fewer classes are filled with a column that is cut off.
        self._columns = torch.tensor(
            [[*row, *[len(classes)] * (most - len(row))] for row in rows], dtype=torch.int64
        ).view(len(rows), most)
        self._class_count = len(classes)
        self.labeled = torch.tensor(
            [image_classes is not None for image_classes in labels], dtype=torch.bool
        )

    def of(self, ids: Tensor) -> Tensor:
        """int64 `(N, K)`: 1 where an image belongs to a class."""
        members = torch.zeros(len(ids), self._class_count + 1, dtype=torch.int64)
        return members.scatter_(1, self._columns[ids], 1)[:, : self._class_count]
