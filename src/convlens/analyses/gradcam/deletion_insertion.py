"""Evidence for a Grad-CAM: does covering what the map points at change the answer?

Deletion covers the cells of the map one after the other, the most positive first, and follows the
class's probability; insertion uncovers them on a covered image (Petsiuk et al. 2018). The same is
done in random order and from the center of the image outwards: a map that does not beat both has
shown nothing about this image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from convlens.analyses.gradcam.result import GradCam
from convlens.analyses.gradcam.targets import NONE
from convlens.analyses.predictions.predictions import compute_logits
from convlens.drawing import place_map, render_figure
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.models.output_head import probabilities
from convlens.results import Result
from convlens.tracing.trace import trace

ORDERS = ("map", "random", "center")
MARGIN = 0.01  # of probability: areas that are alike to two digits do not beat one another
_BATCH = 16
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#b2182b", "linewidth": 2},
    {"color": "0.45", "linestyle": "--"},
    {"color": "0.45", "linestyle": ":"},
)  # fmt: skip


def beats(worth: Tensor) -> Tensor:
    """Whether the first of each row `(N, 3)` is greater than both others by `MARGIN`."""
    return (worth[:, :1] >= worth[:, 1:] + MARGIN).all(dim=1)


@dataclass(frozen=True, eq=False)
class DeletionInsertion(Result):
    """Deletion and insertion curves of one class for each image.

    Attributes:
        covered: float32 `(S,)`, share of the map's cells that are covered (deletion) or
            uncovered (insertion), from 0 to 1.
        deletion: float32 `(N, 3, S)`, probability of the class in the orders map, random, center.
        insertion: float32 `(N, 3, S)`.
        deletion_areas: float32 `(N, 3)`, areas under the curves; smaller is better.
        insertion_areas: float32 `(N, 3)`; larger is better.
        classes: int64 `(N,)`.
        names: of the classes, by image; `A - B` for a difference.
        rank: which of the Grad-CAM's classes was taken, from 0.
        passes: forward passes for each image.
    """

    covered: Tensor
    deletion: Tensor
    insertion: Tensor
    deletion_areas: Tensor
    insertion_areas: Tensor
    classes: Tensor
    names: tuple[str, ...]
    rank: int
    passes: int

    @property
    def deletion_beats(self) -> Tensor:
        """Bool `(N,)`: the map's area is smaller than that of both other orders, by `MARGIN`."""
        return beats(-self.deletion_areas)

    @property
    def insertion_beats(self) -> Tensor:
        """Bool `(N,)`: the map's area is larger than that of both other orders, by `MARGIN`."""
        return beats(self.insertion_areas)

    def figure(self) -> Figure:
        """Deletion and insertion of each image, the map's order beside both baselines."""
        figure = Figure(figsize=(7, 2.9 * len(self.classes)), layout="constrained")
        all_axes = figure.subplots(len(self.classes), 2, squeeze=False, sharey=True)
        sides = (
            ("deletion", self.deletion, self.deletion_areas, "covered"),
            ("insertion", self.insertion, self.insertion_areas, "uncovered"),
        )
        for image, row in enumerate(all_axes):
            for axes, (name, curves, areas, done) in zip(row, sides, strict=True):
                for which, (order, style) in enumerate(zip(ORDERS, _STYLES, strict=True)):
                    label = f"{order} {areas[image, which]:.2f}"
                    axes.plot(self.covered, curves[image, which], label=label, **style)
                axes.set(xlabel=f"share of cells {done}", ylim=(-0.03, 1.03), title=name)
                axes.spines[["top", "right"]].set_visible(False)
                axes.legend(title="area", frameon=False, fontsize="small", title_fontsize="small")
            row[0].set_ylabel(f"probability of\n{self.names[image]}")
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """The curves of each image."""
        return {
            f"{image}-{name}": render_figure(self._single(image).figure())
            for image, name in enumerate(self.names)
        }

    def _single(self, image: int) -> "DeletionInsertion":
        at = slice(image, image + 1)
        return replace(
            self, deletion=self.deletion[at], insertion=self.insertion[at],
            deletion_areas=self.deletion_areas[at], insertion_areas=self.insertion_areas[at],
            classes=self.classes[at], names=self.names[at],
        )  # fmt: skip


def deletion_insertion(
    model: Model, cam: GradCam, *, rank: int = 0, steps: int = 8, seed: int = 0
) -> DeletionInsertion:
    """Deletion and insertion for each image of a Grad-CAM, with both baselines.

    A cell covers the pixels that are nearest to the center of its receptive field; covered pixels
    have the image's mean color. Cells are ranked, so that ties never go all at once. It takes
    6 (steps - 1) + 2 forward passes an image, 44 by default. For the difference of two classes
    the probability is that of the first where only these two are possible.

    Args:
        model: the model that the maps are of, left untouched.
        cam: from `gradcam`.
        rank: which of its classes, from 0.
        steps: of each curve.
        seed: of the random order, drawn for each image.

    Raises:
        ConvlensError: a rank or a number of steps that cannot be used; maps that do not explain
            class scores.
    """
    check_model(model)
    known = cam.classes.shape[1]
    if not 0 <= rank < known:
        raise ConvlensError(f"rank {rank} of {known} classes; give 0 to {known - 1}")
    if bool((cam.classes[:, rank] == NONE).any()):
        raise ConvlensError(
            "deletion and insertion follow the probability of a class, and these maps explain a "
            "target of one's own"
        )
    cells = cam.maps[0, 0].numel()
    if not steps >= 1:
        raise ConvlensError(f"{steps} steps; give at least 1")
    generator = torch.Generator().manual_seed(seed)
    owner = _owner(cam)
    counts = [round(cells * number / steps) for number in range(steps + 1)]
    curves = []
    wanted = torch.stack([cam.classes[:, rank], cam.subtracted[:, rank]], dim=1).tolist()
    for image, maps, pair in zip(cam.images, cam.maps, wanted, strict=True):
        orders = [
            maps[rank].flatten().argsort(descending=True, stable=True),
            torch.randperm(cells, generator=generator),
            _outwards(cam),
        ]
        curves.append(_curves(model, image, owner, orders, counts, *pair))
    found = torch.stack(curves)
    covered = torch.tensor(counts, dtype=torch.float32) / cells
    areas = torch.trapezoid(found, covered, dim=3)
    return DeletionInsertion(
        covered=covered,
        deletion=found[:, 0],
        insertion=found[:, 1],
        deletion_areas=areas[:, 0],
        insertion_areas=areas[:, 1],
        classes=cam.classes[:, rank].clone(),
        names=tuple(row[rank] for row in cam.names),
        rank=rank,
        passes=2 * len(ORDERS) * (steps - 1) + 2,
    )


def _curves(
    model: Model,
    image: Tensor,
    owner: Tensor,
    orders: Sequence[Tensor],
    counts: Sequence[int],
    wanted: int,
    subtracted: int,
) -> Tensor:
    """Probabilities `(2, 3, S)` of the class, deletion first."""
    mean = image.mean(dim=(1, 2), keepdim=True)
    ends = torch.stack([image, mean.expand_as(image)])
    inside = [
        torch.where(_first(owner, order, number) == deleting, mean, image)
        for deleting in (True, False)
        for order in orders
        for number in counts[1:-1]
    ]
    batch = torch.cat([ends, torch.stack(inside)]) if inside else ends
    batch = batch.contiguous(memory_format=torch.channels_last).to(model.device)
    found = trace(model, batch)
    scores = torch.cat([compute_logits(model, found, part) for part in batch.split(_BATCH)])
    if subtracted == NONE:
        probability = probabilities(scores, found.output_head)[:, wanted].cpu()
    else:
        probability = (scores[:, wanted] - scores[:, subtracted]).sigmoid().cpu()
    whole, nothing = probability[0], probability[1]
    middle = probability[2:].view(2, len(orders), len(counts) - 2)
    starts = torch.stack([whole, nothing]).view(2, 1, 1).expand(-1, len(orders), -1)
    return torch.cat([starts, middle, starts.flip(0)], dim=2)


def _first(owner: Tensor, order: Tensor, number: int) -> Tensor:
    """Bool `(H, W)`: pixels of the first `number` cells of an order."""
    chosen = torch.zeros(len(order), dtype=torch.bool)
    chosen[order[:number]] = True
    return chosen[owner]


def _owner(cam: GradCam) -> Tensor:
    """int64 `(H, W)`: the cell to whose center each pixel is nearest, rows first."""
    height, width = cam.images.shape[-2:]
    cells = torch.arange(cam.maps[0, 0].numel(), dtype=torch.float64).view(cam.maps.shape[-2:])
    owner = place_map(cells, cam.centers_y, cam.centers_x, (height, width), smooth=False)
    return owner.long()


def _outwards(cam: GradCam) -> Tensor:
    """Cells by the distance of their centers from the middle of the image."""
    height, width = cam.images.shape[-2:]
    y, x = cam.centers_y - (height - 1) / 2, cam.centers_x - (width - 1) / 2
    return (y[:, None] ** 2 + x[None] ** 2).flatten().argsort(stable=True)
