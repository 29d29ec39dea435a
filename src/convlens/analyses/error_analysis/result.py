"""The result of an error analysis: how often, where and how surely a network is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from convlens.analyses.calibration.result import Calibration
from convlens.analyses.error_analysis.evidence import ErrorCauses, ErrorEvidence
from convlens.analyses.error_analysis.explanations import HOW_TO_READ
from convlens.analyses.error_analysis.sheets import (
    EvidenceRow,
    error_sheet,
    evidence_sheet,
    pair_sheet,
)
from convlens.passes.proportion import Proportion
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.text import printable
from convlens.wording import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAIRS = 10  # in a table


@dataclass(frozen=True, eq=False)
class WrongPrediction(Result):
    """A photo that is not predicted as its label says.

    Attributes:
        number: number of the photo in the data set, from 0.
        photo: name of the photo.
        label: index of its right class, the first one of several.
        label_name: name of this class.
        prediction: index of the predicted class.
        prediction_name: name of this class.
        confidence: probability of the prediction.
        label_probability: probability of the right classes together.
        label_rank: number of classes with a higher score than the right one.
        label_suspicious: whether the label may be wrong: the prediction is more probable than all
            other classes together, and at least as probable as this class is on average for photos
            that have it as label (Northcutt et al. 2021).
    """

    number: int
    photo: str
    label: int
    label_name: str
    prediction: int
    prediction_name: str
    confidence: float
    label_probability: float
    label_rank: int
    label_suspicious: bool

    def summary(self) -> str:
        """Label, prediction and confidence, in words."""
        return (
            f"{self.photo}: {self.label_name}, predicted as {self.prediction_name} "
            f"({percent(self.confidence)})"
        )


@dataclass(frozen=True, eq=False)
class ConfusedPair(Result):
    """Photos of one class that are predicted as another one.

    Attributes:
        label: index of the right class.
        label_name: name of this class.
        prediction: index of the predicted class.
        prediction_name: name of this class.
        share: photos of the right class that are predicted so.
        numbers: numbers of some of these photos, the surest first.
    """

    label: int
    label_name: str
    prediction: int
    prediction_name: str
    share: Proportion
    numbers: tuple[int, ...]

    def summary(self) -> str:
        """The pair and how often it occurs, in words."""
        return f"{self.label_name} predicted as {self.prediction_name}: {self.share.summary()}"


@dataclass(frozen=True, eq=False)
class ErrorAnalysis(NetworkResult):
    """How often, where and how surely a network is wrong on labeled photos.

    Attributes:
        model: name of the model.
        images: number of photos with a label.
        unlabeled: number of photos without one, which are left out.
        skipped: the photos that could not be read, with the reason.
        accuracy: photos that are predicted correctly.
        top5: photos whose right class is among the five with the highest scores; None for five
            classes or fewer.
        classes: indices of all classes; -1 is "not class 0" of a network with one output.
        class_names: their names.
        class_counts: int64 `(K,)`, photos of each class.
        class_right: int64 `(K,)`, those of them that are predicted correctly.
        class_top5: int64 `(K,)`, those whose right class is among the first five.
        confusion: int32 `(K, K)`, for each label (rows) how many photos are predicted as each class
            (columns), among wrong predictions; None for more than 2,048 classes.
        pairs: the most frequent pairs of a label and a wrong prediction.
        calibration: whether predictions are right as often as their confidence says.
        wrong: the errors that are kept, the surest first: all, or of more than 4,096 a random
            sample and the surest 256.
        shown: number of errors with a picture, the first of `wrong`.
        causes: why some of them are wrong, with the evidence; None if none was examined.
        pictured: numbers of the photos in `pixels`.
        pixels: uint8 `(P, H, W, 3)`, images of some photos.
        seed: seed of the random sample and of the intervals.
    """

    folder_title: ClassVar[str] = "Errors"
    how_to_read: ClassVar[Mapping[str, str]] = HOW_TO_READ
    numbers_fields: ClassVar[dict[str, tuple[Any, str] | None]] = {
        "class_names": None, "classes": None,
        "wrong": (tuple[WrongPrediction, ...], "The errors with a picture, the surest first."),
    }  # fmt: skip

    model: str
    images: int
    unlabeled: int
    skipped: tuple[str, ...]
    accuracy: Proportion
    top5: Proportion | None
    classes: tuple[int, ...]
    class_names: tuple[str, ...]
    class_counts: Tensor
    class_right: Tensor
    class_top5: Tensor
    confusion: Tensor | None
    pairs: tuple[ConfusedPair, ...]
    calibration: Calibration
    wrong: tuple[WrongPrediction, ...]
    shown: int
    causes: ErrorCauses | None
    pictured: tuple[int, ...]
    pixels: Tensor
    seed: int

    @property
    def errors(self) -> int:
        """Number of photos that are predicted wrongly."""
        return self.accuracy.total - self.accuracy.count

    @property
    def suspicious(self) -> tuple[WrongPrediction, ...]:
        """The errors whose label may be wrong, the surest first."""
        return tuple(error for error in self.wrong if error.label_suspicious)

    def pixels_of(self, number: int) -> Tensor | None:
        """The image of a photo, uint8 `(H, W, 3)`; None where it is not kept."""
        return self.pixels[self.pictured.index(number)] if number in self.pictured else None

    def summary(self) -> str:
        """Accuracy, the most confused pair and the calibration, in words."""
        first = (
            f"{printable(self.model)}: correct for {self.accuracy.summary()} of the labeled photos"
        )
        if self.top5 is not None:
            first += f", among the first five for {self.top5.summary()}"
        lines = [first]
        if self.pairs:
            lines.append(f"most frequent confusion: {self.pairs[0].summary()}")
        if self.causes is not None:
            lines.append(self.causes.summary())
        return "\n".join([*lines, self.calibration.summary()])

    def table(self) -> Table:
        """The pairs of classes that are confused most."""
        rows = [
            [
                pair.label_name, pair.prediction_name, f"{pair.share.count:,}",
                f"{pair.share.total:,}", percent(pair.share.share),
            ]
            for pair in self.pairs
        ]  # fmt: skip
        return Table.of(["label", "prediction", "errors", "photos", "share"], rows, most=_PAIRS)

    def csv_tables(self) -> dict[str, Table]:
        """`classes.csv` with a row for each class, and `errors.csv` with one for each error."""
        classes = [
            (str(index), name, *(str(int(column[row])) for column in self._columns))
            for row, (index, name) in enumerate(zip(self.classes, self.class_names, strict=True))
        ]
        errors = [
            (
                error.photo, error.label_name, error.prediction_name, f"{error.confidence:.6f}",
                f"{error.label_probability:.6f}", str(error.label_rank),
                "yes" if error.label_suspicious else "",
            )
            for error in self.wrong
        ]  # fmt: skip
        return {
            "classes.csv": _whole_table(
                ("index", "class", "photos", "right", "among the first five"), classes
            ),
            "errors.csv": _whole_table(
                ("file", "class", "prediction", "confidence", "probability of the class",
                 "classes before it", "label may be wrong"), errors
            ),
        }  # fmt: skip

    def numbers_json(self) -> dict[str, Any]:
        """The fields, with the errors that have a picture."""
        numbers = super().numbers_json()
        return numbers | {"wrong": numbers["wrong"][: self.shown]}

    def pictures(self) -> dict[str, Tensor]:
        """Reliability diagrams, the confused pairs and the surest errors with their photos."""
        pictures = self.calibration.pictures()
        if sheet := self._pair_sheet():
            pictures["most frequent confusions"] = sheet[0]
        if sheet := self._evidence_sheet() or self._error_sheet(self.wrong[: self.shown]):
            pictures["surest errors"] = sheet[0]
        if sheet := self._error_sheet(self.suspicious[: self.shown]):
            pictures["labels that may be wrong"] = sheet[0]
        return pictures

    def figure(self) -> "Figure":
        """The reliability diagrams."""
        return self.calibration.figure()

    @property
    def _columns(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.class_counts, self.class_right, self.class_top5

    def _pair_sheet(self) -> list[Tensor]:
        rows = []
        for pair in self.pairs:
            photos = [self.pixels_of(number) for number in pair.numbers]
            tiles = [pixels for pixels in photos if pixels is not None]
            if tiles:
                rows.append((f"{pair.label_name}\n{pair.share.count} of {pair.share.total} as\n"
                             f"{pair.prediction_name}", tiles))  # fmt: skip
        return [pair_sheet(rows)] if rows else []

    def evidence_of(self, number: int) -> ErrorEvidence | None:
        """The evidence about the error of a photo; None where it was not examined."""
        every = self.causes.evidence if self.causes is not None else ()
        return next((evidence for evidence in every if evidence.number == number), None)

    def _evidence_sheet(self) -> list[Tensor]:
        if self.causes is None:
            return []
        rows = []
        for error in self.wrong[: self.shown]:
            evidence, photo = self.evidence_of(error.number), self.pixels_of(error.number)
            if evidence is None or photo is None:
                continue
            row = self.causes.evidence.index(evidence)
            patches = self.causes.patches_of(evidence)
            channel = "" if patches is None else f"\nchannel {patches.channel}"
            rows.append(
                EvidenceRow(
                    f"{error.label_name}\npredicted ({percent(error.confidence)})\n"
                    f"{error.prediction_name}{channel}",
                    photo,
                    self.causes.overlay(row, photo),
                    [self.pixels_of(number) for number in evidence.similar_right],
                    [self.pixels_of(number) for number in evidence.similar_wrong],
                    None if patches is None else patches.tiles,
                )
            )
        return [evidence_sheet(rows)] if rows else []

    def _error_sheet(self, errors: Sequence[WrongPrediction]) -> list[Tensor]:
        tiles = [
            (pixels, f"{error.label_name}, predicted as {error.prediction_name} "
                     f"({percent(error.confidence)})")
            for error in errors
            if (pixels := self.pixels_of(error.number)) is not None
        ]  # fmt: skip
        return [error_sheet(tiles)] if tiles else []


def _whole_table(heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    return Table(tuple(heads), tuple(rows), len(rows))
