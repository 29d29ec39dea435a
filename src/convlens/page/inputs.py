"""What all sections of a report share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from torch import Tensor

from convlens.analyses.anatomy.result import Anatomy
from convlens.analyses.gradcam.boxes import ObjectBox
from convlens.data.sampling import spread
from convlens.models.model import Model
from convlens.page.photos import PREDICTIONS
from convlens.page.progress import Stages
from convlens.page.reproduction import Reproducer
from convlens.page.result import ReportPhoto, Subject
from convlens.results import Result
from convlens.tracing.trace import Trace

AnyResult = TypeVar("AnyResult", bound=Result)


@dataclass(frozen=True)
class Options:
    """The options of a report.

    Attributes:
        layer: layer that Grad-CAM explains, or None for its default.
        classes: classes that Grad-CAM explains, as indices or differences of two (`4 - 1`), or
            None.
        boxes: objects on the photos by the end of a photo's path, or None.
        boxes_path: the file with these boxes, or None.
        seed: seed of everything that is random.
        strict: stop at a photo that cannot be read.
    """

    layer: str | None = None
    classes: list[int | str] | None = None
    boxes: Mapping[str, tuple[ObjectBox, ...]] | None = None
    boxes_path: str | None = None
    seed: int = 0
    strict: bool = False


@dataclass
class Inputs:
    """The model, the photos, and the results of the sections that were computed so far.

    Attributes:
        model: model that the report is about. Sections leave it untouched.
        subject: the model in words and numbers.
        options: options of the report.
        trace: trace of the model on its own size.
        anatomy: layers of the model with their multiply-adds.
        photos: those that were read, with the network's predictions.
        images: float32 `(1, C, H, W)` on the CPU, by the number of their photo, for the photos that
            are shown in full.
        stages: times, progress and failures.
        reproducer: writes commands and Python lines.
        results: results of the sections that are computed already, by name.
        addresses: LAYER:K of the channels that have an address on the page, for links to them.
    """

    model: Model
    subject: Subject
    options: Options
    trace: Trace
    anatomy: Anatomy
    photos: tuple[ReportPhoto, ...]
    images: dict[int, Tensor]
    stages: Stages
    reproducer: Reproducer
    results: dict[str, Result] = field(default_factory=dict)
    addresses: set[str] = field(default_factory=set)

    @property
    def shown(self) -> list[int]:
        """Numbers of the photos that are shown in full."""
        return list(self.images)

    @property
    def shown_wrong_first(self) -> list[int]:
        """Numbers of the photos that are shown in full, the wrongly classified ones first."""
        return sorted(self.images, key=lambda number: self.photos[number].right is not False)

    @property
    def multiply_adds(self) -> float:
        """Multiply-adds of one forward pass for one image."""
        return float(self.anatomy.multiply_adds)

    @property
    def predictions_failure(self) -> str | None:
        """Why the network predicts no classes, or None if it does."""
        return self.stages.failures.get(PREDICTIONS)

    def result(self, section: str, kind: type[AnyResult]) -> AnyResult | None:
        """The result of another section, or None where there is none.

        While results are computed, only those of earlier sections exist.
        """
        result = self.results.get(section)
        return result if isinstance(result, kind) else None

    def multiply_adds_until(self, layer: str) -> float:
        """Multiply-adds of one forward pass that stops after the last run of a layer."""
        total = 0.0
        for name, sum_until in self._sums:
            if name == layer or name.startswith((f"{layer}.", f"{layer}/", f"{layer}#")):
                total = sum_until
        return total or self.multiply_adds

    def spread_labeled(self, most: int) -> tuple[int, ...]:
        """Numbers of at most so many photos, evenly spread over all.

        Where some photos have labels, only these count.
        """
        labeled = [number for number, photo in enumerate(self.photos) if photo.expected]
        return tuple(spread(labeled or range(len(self.photos)), most))

    def paths(self, numbers: Sequence[int]) -> list[str]:
        """Paths of the photos with these numbers."""
        return [self.photos[number].path for number in numbers]

    def labels(self, numbers: Sequence[int]) -> list[tuple[int, ...] | None] | None:
        """Right classes of the photos with these numbers, or None where they have no labels."""
        labels = [self.photos[number].expected for number in numbers]
        return labels if any(labels) else None

    @cached_property
    def _sums(self) -> list[tuple[str, float]]:
        """Names of the layers in the order in which they run, with the multiply-adds until each."""
        sums, total = [], 0.0
        for layer in self.anatomy.layers:
            total += layer.multiply_adds
            sums.append((layer.name, total))
        return sums
