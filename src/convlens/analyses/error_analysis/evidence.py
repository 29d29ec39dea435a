"""The evidence about single errors, and the causes that it points to."""

from dataclasses import dataclass

from torch import Tensor

from convlens.analyses.gradcam.result import ChannelShare
from convlens.analyses.preprocessing_check.result import Diagnosis
from convlens.drawing import overlay, place_map
from convlens.passes.proportion import Proportion
from convlens.results import Result, Table
from convlens.wording import counted, percent

UNEXPLAINED = "unexplained"


@dataclass(frozen=True, eq=False)
class ErrorEvidence(Result):
    """What was measured about one error.

    Attributes:
        number: number of the photo in the data set.
        drawn: whether the error is one of the random sample over which causes are counted.
        causes: the names of the causes that apply, the most specific first; "unexplained" alone if
            none does.
        right_views: the other views of the photo that are predicted correctly.
        right_preprocessings: the other preprocessings with which it is predicted correctly.
        flip_level: the least of the tested changes, in gray levels, by which FGSM towards the right
            class makes the prediction right; None if none does.
        evidence_outside: share of the evidence for the wrong class that lies outside the boxes of
            objects; None without boxes.
        channels: the channels that contribute most to the evidence for the wrong class.
        similar_right: numbers of the photos of the right class that are nearest in the last layer.
        similar_wrong: numbers of the photos of the predicted class that are nearest in it.
        right_similarities: how near those of the right class are: the cosine of the angle.
        wrong_similarities: the same of those of the predicted class.
    """

    number: int
    drawn: bool
    causes: tuple[str, ...]
    right_views: tuple[str, ...]
    right_preprocessings: tuple[str, ...]
    flip_level: int | None
    evidence_outside: float | None
    channels: tuple[ChannelShare, ...]
    similar_right: tuple[int, ...]
    similar_wrong: tuple[int, ...]
    right_similarities: tuple[float, ...]
    wrong_similarities: tuple[float, ...]

    def summary(self) -> str:
        """The causes, and what makes the prediction right, in words."""
        words = [", ".join(self.causes)]
        if self.right_views:
            words.append(f"right when {self.right_views[0]}")
        if self.flip_level is not None:
            words.append(f"right after a change by {counted(self.flip_level, 'gray level')}")
        return "; ".join(words)


@dataclass(frozen=True, eq=False)
class ErrorCause(Result):
    """A cause of errors, and how many it explains.

    Attributes:
        name: the cause.
        explained: errors of which it is the first supported cause.
        applies: errors to which it applies.
        control: right predictions to which the same measurement applies: they get wrong by the
            change that makes errors right. None where the measurement needs an error.
        supported: whether it applies to errors more often than to right predictions (Fisher's exact
            test, p < 0.05). Otherwise it explains none. True without a control.
        measured: how it was measured, in a sentence without full stop.
    """

    name: str
    explained: Proportion
    applies: Proportion
    control: Proportion | None
    supported: bool
    measured: str

    def summary(self) -> str:
        """The cause and the share of errors that it explains, in words."""
        return f"{self.name}: {self.explained.summary()}"


@dataclass(frozen=True, eq=False)
class ErrorCauses(Result):
    """Why photos are predicted wrongly, as far as it can be measured.

    Attributes:
        examined: number of errors drawn at random, over which the causes are counted.
        causes: the causes, "unexplained" last.
        evidence: what was measured about each error, the surest errors first.
        maps: float32 `(E, h, w)`, Grad-CAM of the right minus the predicted class for each of them,
            in units of the logit.
        centers_y: float64 `(h,)`, the image row at the center of each cell's receptive field.
        centers_x: float64 `(w,)`, the image column at the center of each cell's receptive field.
        layer: the layer of the maps and channels; empty where there are none.
        maps_failure: why there are no maps; empty where there are.
        diagnosis: the check of the preprocessing.
        searched: number of photos among which similar ones were searched.
    """

    examined: int
    causes: tuple[ErrorCause, ...]
    evidence: tuple[ErrorEvidence, ...]
    maps: Tensor
    centers_y: Tensor
    centers_x: Tensor
    layer: str
    maps_failure: str
    diagnosis: Diagnosis
    searched: int

    def overlay(self, row: int, photo: Tensor) -> Tensor | None:
        """The map of an error over its photo, uint8 `(H, W, 3)`; None without a map.

        Red supports the right class, blue the predicted one. The strongest color is the map's own
        greatest magnitude.

        Args:
            row: row of the error in `evidence`.
            photo: uint8 `(H, W, 3)`.
        """
        values = self.maps[row]
        if not values.numel():
            return None
        height, width = photo.shape[:2]
        placed = place_map(values, self.centers_y, self.centers_x, (height, width))
        return overlay(photo, placed, float(values.abs().max()))

    def summary(self) -> str:
        """The causes with the errors that they explain, in words."""
        words = [
            f"{cause.name} {cause.explained.count}"
            for cause in self.causes
            if cause.explained.count
        ]
        return f"causes of {counted(self.examined, 'error')}: {', '.join(words)}"

    def table(self) -> Table:
        """The causes with the errors that they explain and the control."""
        rows = [
            [
                cause.name, f"{cause.explained.count}", f"{cause.applies.count}",
                "" if cause.control is None or not cause.control.total
                else f"{cause.control.count} of {cause.control.total} "
                f"({percent(cause.control.share)})",
            ]
            for cause in self.causes
        ]  # fmt: skip
        return Table.of(["cause", "explains", "applies to", "right predictions, too"], rows)
