"""The result of `diff`: everything that was compared between two networks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from convlens.analyses.attacks.robustness import Robustness
from convlens.analyses.comparison import pair_pictures
from convlens.analyses.comparison.answers.result import AnswerChanges, AnswerPair
from convlens.analyses.comparison.explanations import HOW_TO_READ
from convlens.analyses.comparison.layers.layer_differences import LayerDifferences
from convlens.analyses.comparison.similarity.channel_matching_result import ChannelMatching
from convlens.analyses.comparison.similarity.cka_result import Cka
from convlens.analyses.comparison.weights.weights import WeightChanges
from convlens.analyses.filters.filters import Filters
from convlens.analyses.gradcam.result import GradCam
from convlens.analyses.shift.shift import Shift
from convlens.results import Table
from convlens.results.network_result import NetworkResult
from convlens.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Diff(NetworkResult):
    """What differs between two networks.

    Attributes:
        first: name of the first model.
        second: name of the second model.
        input_differences: how the preprocessing of the models differs, in words, one each.
        weights: the weights that differ.
        layers: the first layer that differs by more than rounding errors, on a few photos.
        answers: the answers that differ, on all photos.
        cka: the similarity of their layers; None if it was left out.
        channels: the channels of the last convolutions, matched one to one; None if left out.
        filters: the filters of the first convolution of both networks; empty if left out.
        explained: the answers that Grad-CAM explains.
        gradcams: Grad-CAM of each network's own answer for these photos; empty if left out.
        robustness: accuracy against epsilon of both networks; empty if left out.
        shift: equivariance and consistency of both networks; empty if left out.
        left_out: the parts that were asked for and could not be computed, with the reason.
    """

    folder_title: ClassVar[str] = "Difference of two networks"
    how_to_read: ClassVar[Mapping[str, str]] = HOW_TO_READ

    first: str
    second: str
    input_differences: tuple[str, ...]
    weights: WeightChanges
    layers: LayerDifferences
    answers: AnswerChanges
    cka: Cka | None = None
    channels: ChannelMatching | None = None
    filters: tuple[Filters, ...] = ()
    explained: tuple[AnswerPair, ...] = ()
    gradcams: tuple[GradCam, ...] = ()
    robustness: tuple[Robustness, ...] = ()
    shift: tuple[Shift, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether preprocessing, weights, all compared nodes and all answers are equal."""
        return (
            not self.input_differences
            and self.weights.identical
            and self.layers.identical
            and self.answers.identical
        )

    def summary(self) -> str:
        """What every part found, a line each."""
        return "\n".join(self._sentences())

    def _sentences(self) -> Iterator[str]:
        if self.identical:
            yield (
                f"{printable(self.first)} and {printable(self.second)} are equal in every bit: "
                f"{self.weights.compared:,} tensors of weights, {len(self.layers.layers):,} nodes "
                f"and the logits of {self.answers.images:,} photos"
            )
            return
        yield f"first network: {printable(self.first)}; second network: {printable(self.second)}"
        yield from (f"the preprocessing differs: {words}" for words in self.input_differences)
        for part in (self.answers, self.weights, self.layers, self.cka, self.channels):
            if part is not None:
                yield part.summary()
        for pair in (self.robustness, self.shift):
            for ordinal, part_result in zip(("first", "second"), pair, strict=False):
                yield f"{ordinal} network, {printable(part_result.summary())}"
        yield from (f"left out: {words}" for words in self.left_out)

    def table(self) -> Table | None:
        """The photos whose answers differ, those with the surest answers first."""
        return self.answers.table()

    def figure(self) -> "Figure":
        """The right answers that were lost and gained."""
        return self.answers.figure()

    def pictures(self) -> dict[str, Tensor]:
        """The pictures of every part, by name."""
        pictures = self.answers.pictures()
        if self.gradcams:
            pictures["Grad-CAM"] = pair_pictures.draw_gradcams(self.gradcams, self.explained)
        for part in (self.layers, self.weights, self.cka, self.channels):
            if part is not None:
                pictures |= part.pictures()
        if self.filters:
            names = printable(self.first), printable(self.second)
            pictures["filters"] = pair_pictures.draw_filters(self.filters, names)
        if self.robustness:
            pictures["robustness"] = pair_pictures.draw_robustness(self.robustness)
        if self.shift and (shift_picture := pair_pictures.draw_shift(self.shift)) is not None:
            pictures["shift"] = shift_picture
        return pictures
