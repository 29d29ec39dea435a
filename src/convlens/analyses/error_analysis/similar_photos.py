"""For each error the photos of its right and of its predicted class that are nearest to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from convlens.analyses.error_analysis.neighbors import (
    Neighbors,
    Queries,
    compute_features,
    find_feature_node,
    find_neighbors,
)
from convlens.analyses.error_analysis.photo_selection import select_photos
from convlens.data.sampling import spread
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model
from convlens.passes.options import PassOptions
from convlens.passes.source import PhotosOrImages, open_source
from convlens.tracing.tracer import trace as trace_network

_NEIGHBORS = 3
_PHOTOS_OF_CLASS = 100  # that are searched, evenly spread


@dataclass(frozen=True)
class SimilarPhotos:
    """The nearest photos of errors in the last layer, the nearest first.

    Attributes:
        right: for each error numbers of photos of its right class.
        wrong: for each error numbers of photos of the predicted class.
        right_similarities: how near those of the right class are: the cosine of the angle.
        wrong_similarities: the same of those of the predicted class.
        searched: number of photos among which they were searched.
    """

    right: Sequence[tuple[int, ...]]
    wrong: Sequence[tuple[int, ...]]
    right_similarities: Sequence[tuple[float, ...]]
    wrong_similarities: Sequence[tuple[float, ...]]
    searched: int

    def favor_prediction(self, error: int) -> bool:
        """Whether every photo found of the predicted class is nearer than all of the right class.

        False where either class has no other photo.
        """
        right, wrong = self.right_similarities[error], self.wrong_similarities[error]
        return bool(right) and bool(wrong) and min(wrong) > max(right)


def find_similar_photos(
    model: Model,
    photos: PhotosOrImages,
    labels: PhotoLabels,
    images: Tensor,
    numbers: Sequence[int],
    pairs: Sequence[tuple[int, int]],
    skipped: Mapping[int, str],
    pass_options: PassOptions,
) -> SimilarPhotos:
    """Search the photos of the classes of some errors, in one pass.

    Args:
        model: the model; left untouched.
        photos: all photos.
        labels: the right classes of each.
        images: the images of the errors, `(E, C, H, W)`.
        numbers: their numbers among the photos.
        pairs: right and predicted class of each.
        skipped: photos that cannot be read, by number.
        pass_options: how the pass runs.
    """
    involved = dict.fromkeys(index for pair in pairs for index in pair)
    members: dict[int, list[int]] = {index: [] for index in involved}
    for number, right in enumerate(labels):
        if right and right[0] in members and number not in skipped:
            members[right[0]].append(number)
    searched = sorted(
        number
        for numbers_of_class in members.values()
        for number in spread(numbers_of_class, _PHOTOS_OF_CLASS)
    )
    if not searched:
        nothing: list[tuple[int, ...]] = [()] * len(numbers)
        return SimilarPhotos(nothing, nothing, [()] * len(numbers), [()] * len(numbers), 0)
    trace = trace_network(model)
    node = find_feature_node(trace)
    features = compute_features(model, trace, node, images)
    position = {number: row for row, number in enumerate(searched)}
    queries = Queries(
        features.repeat(2, 1),
        [position.get(number, -1) for number in numbers] * 2,
        [right for right, _ in pairs] + [wrong for _, wrong in pairs],
    )
    neighbors = find_neighbors(
        model, trace, node, open_source(model, select_photos(model, photos, searched)),
        [(labels[number] or (0,))[0] for number in searched], queries,
        count=_NEIGHBORS, pass_options=pass_options,
    )  # fmt: skip
    nearest = [_numbers(neighbors, row, searched) for row in range(2 * len(numbers))]
    similarities = [_similarities(neighbors, row) for row in range(2 * len(numbers))]
    half = len(numbers)
    return SimilarPhotos(
        nearest[:half], nearest[half:], similarities[:half], similarities[half:], len(searched)
    )


def _numbers(neighbors: Neighbors, row: int, searched: Sequence[int]) -> tuple[int, ...]:
    return tuple(searched[at] for at in neighbors.photos[row].tolist() if at >= 0)


def _similarities(neighbors: Neighbors, row: int) -> tuple[float, ...]:
    is_filled = neighbors.photos[row] >= 0
    return tuple(neighbors.similarities[row][is_filled].tolist())
