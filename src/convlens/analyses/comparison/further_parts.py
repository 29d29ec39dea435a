"""The parts of `diff` beyond answers, weights and the first layer that differs."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from convlens.analyses.comparison import side_by_side
from convlens.analyses.comparison.answers.class_pairing import pair_classes
from convlens.analyses.comparison.photo_sample import (
    PhotoSample,
    count_forward_multiply_adds,
    count_photos,
    sample_photos,
)
from convlens.analyses.comparison.result import Diff
from convlens.analyses.comparison.similarity.channel_matching import match_channels
from convlens.analyses.comparison.similarity.cka import cka
from convlens.errors import ConvlensError
from convlens.html.numbers import short
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model
from convlens.passes.source import PhotosOrImages
from convlens.tracing.tracer import trace as trace_network
from convlens.wording import counted

PARTS = ("cka", "channels", "filters", "gradcam", "robustness", "shift")

_ATTACKED, _SHIFTED = 8, 16  # photos
_BACKWARD = 3  # passes that a pass forward and back costs
_SHIFT_PASSES = 7  # of a photo: 2 for equivariance, 4 for the views of both protocols, 1 unshifted


@dataclass(frozen=True)
class FurtherParts:
    """Computes the parts one after the other, each with its cost beforehand.

    Attributes:
        first: the first model.
        second: the second model.
        photos: the photos.
        labels: the right classes of each photo by the first network, or None.
        seed: seed of everything that is random.
        notify: called with the cost of a part.
    """

    first: Model
    second: Model
    photos: PhotosOrImages
    labels: PhotoLabels | None
    seed: int
    notify: Callable[[str], None]

    def add(self, result: Diff, parts: Collection[str]) -> Diff:
        """The result with these parts; for those that cannot be computed, with the reason."""
        computations: dict[str, Callable[[Diff], dict[str, Any]]] = {
            "cka": self._compute_cka,
            "channels": self._match_channels,
            "filters": self._read_filters,
            "gradcam": self._explain,
            "robustness": self._attack,
            "shift": self._shift,
        }
        for part in PARTS:
            if part not in parts:
                continue
            try:
                result = replace(result, **computations[part](result))
            except ConvlensError as error:
                result = replace(result, left_out=(*result.left_out, f"{part}: {error}"))
        return result

    def _compute_cka(self, result: Diff) -> dict[str, Any]:
        return {
            "cka": cka(self.first, self.second, self.photos, seed=self.seed, notify=self.notify)
        }

    def _match_channels(self, result: Diff) -> dict[str, Any]:
        return {
            "channels": match_channels(
                self.first, self.second, self.photos, seed=self.seed, notify=self.notify
            )
        }

    def _read_filters(self, result: Diff) -> dict[str, Any]:
        return {"filters": side_by_side.filters_of_both(self.first, self.second)}

    def _explain(self, result: Diff) -> dict[str, Any]:
        pairs = side_by_side.explained_pairs(result.answers)
        cams = side_by_side.gradcam_of_both(self.first, self.second, self.photos, pairs)
        return {"explained": pairs, "gradcams": cams}

    def _attack(self, result: Diff) -> dict[str, Any]:
        steps = len(side_by_side.EPSILONS) * (side_by_side.STEPS * _BACKWARD + 2) + _BACKWARD
        self._state_cost("robustness", _ATTACKED, steps)
        sample = sample_photos(self.first, self.second, self.photos, _ATTACKED)
        labels, second_labels = self._labels_of(sample)
        pair = side_by_side.robustness_of_both(
            self.first, self.second, sample, labels, second_labels, self.seed
        )
        return {"robustness": pair}

    def _shift(self, result: Diff) -> dict[str, Any]:
        self._state_cost("shift", _SHIFTED, _SHIFT_PASSES)
        sample = sample_photos(self.first, self.second, self.photos, _SHIFTED)
        pair = side_by_side.shift_of_both(self.first, self.second, self.photos, sample, self.seed)
        return {"shift": pair}

    def _state_cost(self, part: str, most: int, passes: int) -> None:
        count = count_photos(self.first, self.photos, most)
        multiply_adds = sum(
            count_forward_multiply_adds(trace_network(model)) for model in (self.first, self.second)
        )
        self.notify(
            f"{part}: at most {count * passes:,} forward passes of each network for "
            f"{counted(count, 'photo')} ({short(count * passes * multiply_adds)} multiply-adds "
            f"together)"
        )

    def _labels_of(self, sample: PhotoSample) -> tuple[PhotoLabels | None, PhotoLabels | None]:
        """The right classes of the sample by both networks; None where some have none."""
        if self.labels is None:
            return None, None
        labels = [self.labels[number] for number in sample.numbers]
        counts = [trace_network(model).num_outputs for model in (self.first, self.second)]
        pairing = pair_classes(self.first, self.second, *counts)
        of_second = {first: second for second, first in enumerate(pairing.to_first)}
        translated = [
            [of_second.get(index, index) for index in classes if index in of_second or index < 0]
            if classes
            else None
            for classes in labels
        ]
        if not any(labels) or not any(translated):
            return None, None
        return labels, translated
