"""The evidence about single errors, and the causes that it points to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from convlens.analyses.gradcam.result import ChannelShare
from convlens.analyses.patches.result import ChannelPatches, LayerPatches
from convlens.analyses.preprocessing_check.result import Diagnosis
from convlens.drawing import overlay, place_map
from convlens.passes.proportion import Proportion
from convlens.results import Result, Table
from convlens.wording import counted, percent

UNSTABLE = "unstable at one gray level"
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
        channels: the channels that contribute most to the evidence for the wrong class, at the
            layer of the maps or, where its channels are the classes, at what the last layer reads.
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
        return self.describe(self.causes)

    def describe(self, causes: Sequence[str]) -> str:
        """Some of the causes, and what makes the prediction right, in words."""
        words = [", ".join(causes)]
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
        applies: errors to which it applies; for the background of those with boxes.
        control: right predictions to which the same measurement applies: they get wrong by the
            change that makes errors right, or their evidence against the most probable wrong class
            lies outside the boxes. None where the measurement needs an error.
        supported: whether it applies to errors more often than to right predictions (Fisher's exact
            test, p < 0.05); None if these are too few to tell. A cause that is not supported
            explains none. True without a control.
        measured: how it was measured, in a sentence without full stop.
    """

    name: str
    explained: Proportion
    applies: Proportion
    control: Proportion | None
    supported: bool | None
    measured: str

    def summary(self) -> str:
        """The cause and the share of errors that it explains, in words."""
        return f"{self.name}: {self.explained.summary()}"

    def explanation(self) -> str:
        """How it was measured, or why it explains no error to which it applies, in a sentence.

        Empty for a cause that applies to no error.
        """
        if self.explained.count:
            return f"{self.name}: {self.measured}"
        if not self.applies.count or self.control is None or self.supported:
            return ""
        if self.supported is None:
            return (
                f"{self.name}: explains none, as {self.applies.count} of "
                f"{counted(self.applies.total, 'error')} and {self.control.count} of "
                f"{counted(self.control.total, 'right prediction')} are too few to tell whether it "
                f"applies to errors more often"
            )
        return f"{self.name}: explains none, as it applies to right predictions hardly less often"


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
        layer: the layer of the maps; empty where there are none.
        maps_failure: why there are no maps; empty where there are.
        attack_failure: why FGSM could not be tried; empty where it was.
        diagnosis: the check of the preprocessing.
        searched: number of photos among which similar ones were searched.
        patches: the strongest patches of the channel that contributes most to each wrong
            prediction, among at most 200 photos, evenly spread; None where there is none.
        patches_failure: why there are no patches of these channels; empty where there are.
    """

    examined: int
    causes: tuple[ErrorCause, ...]
    evidence: tuple[ErrorEvidence, ...]
    maps: Tensor
    centers_y: Tensor
    centers_x: Tensor
    layer: str
    maps_failure: str
    attack_failure: str
    diagnosis: Diagnosis
    searched: int
    patches: LayerPatches | None
    patches_failure: str

    def patches_of(self, evidence: ErrorEvidence) -> ChannelPatches | None:
        """The patches of the channel that contributes most to a wrong prediction; None without."""
        if self.patches is None or not evidence.channels:
            return None
        channel = evidence.channels[0].channel
        return next((patches for patches in self.patches.shown if patches.channel == channel), None)

    def describe(self, evidence: ErrorEvidence) -> str:
        """The supported causes of an error, and what makes its prediction right, in words.

        A change by FGSM is left out where it changes right predictions as easily.
        """
        supported = {cause.name for cause in self.causes if cause.supported}
        causes = [name for name in evidence.causes if name in supported]
        if UNSTABLE not in supported:
            evidence = replace(evidence, flip_level=None)
        return evidence.describe(causes or [UNEXPLAINED])

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

    def explanations(self) -> list[str]:
        """How causes were measured, why others explain none, and what could not be tried."""
        words = [cause.explanation() for cause in self.causes]
        if self.attack_failure:
            words.append(f"FGSM was not tried: {self.attack_failure}")
        if self.maps_failure:
            words.append(f"no Grad-CAM: {self.maps_failure}")
        if self.patches_failure:
            words.append(f"no patches of the channels behind errors: {self.patches_failure}")
        return [sentence for sentence in words if sentence]

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
