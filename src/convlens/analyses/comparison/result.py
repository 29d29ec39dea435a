"""The result of `diff`: everything that was compared between two networks."""

from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure
from torch import Tensor

from convlens.analyses.comparison.answers import AnswerChanges
from convlens.analyses.comparison.layer_differences import LayerDifferences
from convlens.analyses.comparison.weights import WeightChanges
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.text import printable


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
    """

    folder_title: ClassVar[str] = "Difference of two networks"

    first: str
    second: str
    input_differences: tuple[str, ...]
    weights: WeightChanges
    layers: LayerDifferences
    answers: AnswerChanges

    @property
    def parts(self) -> dict[str, Result]:
        """What was compared, by name, in the order in which it is shown."""
        return {"answers": self.answers, "weights": self.weights, "layers": self.layers}

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
        if self.identical:
            return (
                f"{printable(self.first)} and {printable(self.second)} are equal in every bit: "
                f"{self.weights.compared:,} tensors of weights, {len(self.layers.layers):,} nodes "
                f"and the logits of {self.answers.images:,} photos"
            )
        inputs = [f"the preprocessing differs: {words}" for words in self.input_differences]
        return "\n".join([*inputs, *(part.summary() for part in self.parts.values())])

    def table(self) -> Table | None:
        """The photos whose answers differ, those with the surest answers first."""
        return self.answers.table()

    def figure(self) -> Figure:
        """The right answers that were lost and gained."""
        return self.answers.figure()

    def pictures(self) -> dict[str, Tensor]:
        """The pictures of every part, by the name of the part and of the picture."""
        return {
            name if len(own) == 1 else f"{part}: {name}": picture
            for part, result in self.parts.items()
            for own in [result.pictures()]
            for name, picture in own.items()
        }
