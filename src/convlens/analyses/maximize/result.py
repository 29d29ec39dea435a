"""The result of `maximize`: images that maximize objectives, and what they reach."""

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

from torch import Tensor

from convlens.data.images import to_pixels
from convlens.drawing import Panel, add_title, enlarge, grid_figure, make_sheet
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE = 160  # pixels, about: small images are enlarged to this side in pictures
_MOST_DRAWN, _FIGURE_COLUMNS = 24, 6  # images and columns of a figure
_COLUMNS = 8  # objectives side by side in the picture, at most


@dataclass(frozen=True, eq=False)
class ObjectiveMaximum(Result):
    """The images that maximize one objective, and the response of the network to them.

    The activations that they reach are measured again without transforms.

    Attributes:
        objective: what the images are optimized for, as text.
        layer: name of the layer; empty for a class.
        node_name: name of the node at which `reached` is measured: behind the layer's
            non-linearity, where there is one.
        optimized_node_name: name of the node that was maximized: before the non-linearity.
        images: float32 `(S, C, H, W)`, one for each seed.
        curve: float32 `(S, steps)`, the objective at each step, with that step's transforms. For an
            objective with a minus, its negative. NaN for steps that were not made.
        reached: float32 `(S,)`: for a channel its greatest activation, for a direction the greatest
            weighted sum (for an objective with a minus the least), for a unit its activation, for a
            class its logit, for a difference of classes the difference of the logits.
        mean: float32 `(S,)`, mean over the map at the optimized node, away from the edges; the same
            as `reached` for units and classes.
        probability: float32 `(S,)`, of a class, by softmax or sigmoid; NaN for anything else.
        rank: int64 `(S,)`, of a class, 1 for the highest logit; 0 for anything else, and if there
            is only one class.
        agreement: mean cosine similarity between seeds of the change in the layer's activations
            from those of plain gray; NaN for one seed.
        other_agreement: mean cosine similarity of that change between these images and those of
            other objectives at the same node; NaN if there are none.
        dataset_best: greatest activation of the channel in a data set; NaN without a data set.
        percentile: share of the data set's photos in which the channel's greatest activation is
            below `reached` of the first seed, from histograms with bins 19 % wide; NaN without a
            data set.
        dataset_photos: number of photos in that data set.
        had_gradient: for each image whether any step had a gradient other than zero. An image that
            had none shows nothing.
        window: for a unit, top, left, height and width of the images in the whole image, in pixels;
            None for anything else.
    """

    objective: str
    layer: str
    node_name: str
    optimized_node_name: str
    images: Tensor
    curve: Tensor
    reached: Tensor
    mean: Tensor
    probability: Tensor
    rank: Tensor
    agreement: float
    other_agreement: float
    dataset_best: float
    percentile: float
    dataset_photos: int
    had_gradient: tuple[bool, ...]
    window: tuple[int, int, int, int] | None

    def summary(self) -> str:
        """What the first image reaches, in words."""
        if not self.had_gradient[0]:
            return "no step had a gradient, so this image shows nothing"
        if not self.layer:
            rank = int(self.rank[0])
            words = f"logit {self.reached[0]:.1f}"
            if not bool(self.probability[0].isnan()):
                words += f", probability {self.probability[0]:.3f}"
            if rank:
                words += f", rank {rank}"
        elif self.objective.startswith("-"):
            words = (
                f"down to {self.reached[0]:.3g}, on average {self.mean[0]:.3g} at "
                f"{self.optimized_node_name}"
            )
        else:
            words = f"reaches {self.reached[0]:.3g}"
            photos = counted(self.dataset_photos, "photo")
            if self.dataset_photos and self.dataset_best > 0:
                ratio = self.reached[0] / self.dataset_best
                words += f", {ratio:.1f} times the greatest of {photos}"
            elif self.dataset_photos:
                words += f"; never above 0 on {photos}"
        if len(self.images) > 1:
            words += f"; {len(self.images)} starts agree to a cosine of {self.agreement:.2f}"
            if self.other_agreement == self.other_agreement:
                words += f" (other objectives {self.other_agreement:.2f})"
        return words

    def describe(self, image: int) -> str:
        """What one image reaches, in a few words.

        Args:
            image: number of the image, from 0.
        """
        if not self.had_gradient[image]:
            return "no gradient"
        if self.layer:
            return f"reaches {float(self.reached[image]):.3g}"
        probability = float(self.probability[image])
        words = f"logit {float(self.reached[image]):.1f}"
        return words if isnan(probability) else f"{words}, {percent(probability)}"


@dataclass(frozen=True, eq=False)
class MaximizedImages(NetworkResult):
    """Images that maximize objectives.

    Attributes:
        model: name of the model.
        maxima: one for each objective.
        steps: number of steps that were asked for.
        seed: seed of the first image of each objective.
        parameterization: "fourier" or "pixels".
        class_score: what was maximized of classes: "logit" or "probability".
        bounds: least and greatest value of a pixel.
        stopped: why the ascent ended early, in words; empty if it did not.
        interrupted: whether an interrupt ended it.
    """

    model: str
    maxima: tuple[ObjectiveMaximum, ...]
    steps: int
    seed: int
    parameterization: str
    class_score: str
    bounds: tuple[float, float]
    stopped: str
    interrupted: bool

    def summary(self) -> str:
        """The first objective and what its image reaches, in words."""
        count = counted(len(self.maxima), "objective")
        first = self.maxima[0]
        words = f"{self.model}, {count}, {counted(self.steps, 'step')}; {first.objective}: "
        return words + first.summary() + (f"; {self.stopped}" if self.stopped else "")

    def table(self) -> Table:
        """What the first image of each objective reaches."""
        return Table.of(
            ["objective", "node", "reached", "greatest in the data set"],
            [
                [
                    maximum.objective,
                    maximum.node_name,
                    f"{float(maximum.reached[0]):.3g}",
                    f"{maximum.dataset_best:.3g}" if maximum.dataset_photos else "",
                ]
                for maximum in self.maxima
            ],
        )

    def figure(self) -> "Figure":
        """The images with their objectives and what they reach; at most 24 are drawn."""
        panels = [
            Panel(tile, f"{maximum.objective}\n{maximum.describe(seed)}")
            for maximum, row in zip(self.maxima, self.tiles(), strict=True)
            for seed, tile in enumerate(row)
        ]
        some = f"; {_MOST_DRAWN} of {len(panels)}" * (len(panels) > _MOST_DRAWN)
        return grid_figure(
            panels[:_MOST_DRAWN],
            _FIGURE_COLUMNS,
            title=f"{self.model}: images that maximize, {counted(self.steps, 'step')}{some}",
        )

    def count_above_dataset(self) -> int:
        """Number of objectives whose first image reaches at least the best photo's activation."""
        return sum(
            bool(maximum.dataset_photos) and float(maximum.reached[0]) >= maximum.dataset_best
            for maximum in self.maxima
        )

    def tiles(self) -> list[list[Tensor]]:
        """For each objective its images as uint8 `(H, W, 3)`, small ones enlarged by pixels."""
        rows = []
        for maximum in self.maxima:
            pixels = to_pixels(_as_picture(maximum.images), self.bounds).expand(-1, -1, -1, 3)
            factor = max(1, _SIDE // max(pixels.shape[1:3]))
            rows.append([enlarge(tile, factor) for tile in pixels])
        return rows

    def pictures(self) -> dict[str, Tensor]:
        """A sheet of all images with their summaries, and each image by itself.

        The sheet has a row for each objective. With one seed the objectives lie side by side.
        """
        rows = self.tiles()
        seeds = max(map(len, rows))
        tiles: list[Tensor | None] = []
        captions = []
        for maximum, row in zip(self.maxima, rows, strict=True):
            names = [f"seed {self.seed + number}" for number in range(len(row))]
            first = [maximum.objective, names[0] if seeds > 1 else "", maximum.summary()]
            tiles += [*row, *[None] * (seeds - len(row))]
            captions += ["\n".join(filter(None, first)), *names[1:], *[""] * (seeds - len(row))]
        sheet = add_title(
            make_sheet(
                tiles, seeds if seeds > 1 else min(_COLUMNS, len(tiles)), captions=captions,
                gap=12, least=_SIDE,
            ),
            f"{self.model}: images that maximize, {counted(self.steps, 'step')}",
        )  # fmt: skip
        single = {
            f"{maximum.objective}, seed {self.seed + number}": tile
            for maximum, row in zip(self.maxima, rows, strict=True)
            for number, tile in enumerate(row)
        }
        return {"maximized": sheet, **single}


def _as_picture(images: Tensor) -> Tensor:
    """Images with 1 or 3 channels as they are; of others the mean over the channels."""
    return images if images.shape[1] in (1, 3) else images.mean(dim=1, keepdim=True)
