"""The result of `cka`: the matrix of similarities, and its figure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from convlens.drawing import new_figure, render_figure
from convlens.drawing.colormaps import SEQUENTIAL
from convlens.drawing.figures import without_middle
from convlens.drawing.palette import INK
from convlens.results import Table
from convlens.results.network_result import NetworkResult
from convlens.text import plot_text, printable
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST = 28  # characters of a layer's name in the figure


@dataclass(frozen=True, eq=False)
class Cka(NetworkResult):
    """Linear CKA between the layers of two networks, beside what unrelated photos give.

    Attributes:
        first: name of the first model.
        second: name of the second model.
        first_layers: the layers of the first network, A of them.
        second_layers: the layers of the second network, B of them.
        photos: number of photos.
        positions: number of positions that were sampled in each photo.
        values: float32 `(A, B)`, CKA of each pair of layers, 0 to 1.
        null_mean: float32 `(A, B)`, the mean of CKA between the layer of the first network and that
            of the second one on other photos.
        null_high: float32 `(A, B)`, the greatest of these values in 20 orders of the photos.
        seed: seed of the positions and the orders.
    """

    folder_title: ClassVar[str] = "Similarity of layers (CKA)"

    first: str
    second: str
    first_layers: tuple[str, ...]
    second_layers: tuple[str, ...]
    photos: int
    positions: int
    values: Tensor
    null_mean: Tensor
    null_high: Tensor
    seed: int

    @property
    def counterparts(self) -> Tensor:
        """int64 `(A,)`, the most similar layer of the second network for each of the first."""
        return self.values.argmax(dim=1)

    def summary(self) -> str:
        """The layer with the least similar counterpart, in words."""
        best = self.values.amax(dim=1)
        lowest = int(best.argmin())
        partner = int(self.counterparts[lowest])
        null = float(self.null_high[lowest, partner])
        return (
            f"linear CKA of {len(self.first_layers)} by {len(self.second_layers)} layers on "
            f"{counted(self.photos, 'photo')}: the most similar layer of the second network has "
            f"{float(best.max()):.2f} at best and {float(best.min()):.2f} at least, for "
            f"{printable(self.first_layers[lowest])}; other photos give it up to {null:.2f}"
        )

    def table(self) -> Table:
        """For each layer its most similar counterpart."""
        return Table.of(
            ["layer", "most similar layer", "CKA", "on other photos"],
            [
                [
                    layer,
                    self.second_layers[partner],
                    f"{float(self.values[number, partner]):.2f}",
                    f"{float(self.null_high[number, partner]):.2f}",
                ]
                for number, (layer, partner) in enumerate(
                    zip(self.first_layers, self.counterparts.tolist(), strict=True)
                )
            ],
            most=20,
        )

    def figure(self) -> "Figure":
        """The matrix; cells that do not exceed what other photos give are marked by a cross."""
        rows, columns = self.values.shape
        figure = new_figure(figsize=(min(7.0, 3.2 + 0.3 * columns), 2.0 + 0.22 * rows))
        axes = figure.subplots()
        image = axes.imshow(self.values.numpy(), vmin=0, vmax=1, cmap=SEQUENTIAL, aspect="auto")
        within = (self.values <= self.null_high).nonzero().tolist()
        if within:
            places = list(zip(*within, strict=True))
            axes.scatter(places[1], places[0], marker="x", s=14, color="white", linewidths=0.8)
        axes.set_xticks(
            range(columns), list(map(_shorten, self.second_layers)), rotation=60, ha="right",
            rotation_mode="anchor", fontsize=6.5,
        )  # fmt: skip
        axes.set_yticks(range(rows), list(map(_shorten, self.first_layers)), fontsize=6.5)
        axes.set_xlabel("layer of the second network", fontsize=8)
        axes.set_ylabel("layer of the first network", fontsize=8)
        axes.set_title(
            f"linear CKA on {counted(self.photos, 'photo')}"
            + (", ×: not above other photos" if within else ""),
            fontsize=9, color=INK,
        )  # fmt: skip
        bar = figure.colorbar(image, ax=axes, fraction=0.05)
        bar.ax.tick_params(labelsize=7)
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"CKA": render_figure(self.figure(), dpi=160)}


def _shorten(name: str) -> str:
    return plot_text(without_middle(printable(name), _LONGEST))
