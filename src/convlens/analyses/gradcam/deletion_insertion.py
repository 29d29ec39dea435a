"""Deletion and insertion curves: does covering what a Grad-CAM map points at change the prediction?

Deletion covers the cells of the map one after the other, those with the largest values first, and
follows the probability of the class. Insertion uncovers them in the same order on a covered image
(Petsiuk, Das and Saenko, "RISE", 2018). Both are repeated in random order and from the center of
the image outward. A map that does not beat both of these orders has shown nothing about the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convlens.analyses.gradcam.result import GradCam
from convlens.analyses.gradcam.targets import NO_CLASS
from convlens.analyses.predictions.predictions import compute_logits
from convlens.capture.folded_networks import fold_batch_norms
from convlens.drawing import new_figure, place_map, render_figure
from convlens.drawing.palette import ACCENT, MUTED
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.models.output_head import probabilities
from convlens.results import Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.text import plot_text
from convlens.tracing.image_parts import even_parts
from convlens.tracing.tracer import trace
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDERS = ("map", "random", "center")
MARGIN = 0.01  # of probability: areas that agree to two digits do not beat one another
_BATCH_SIZE = 16
_CURVES = ("deletion", "insertion")
_MOST_IMAGES = 4  # in a figure
_LINE_STYLES: tuple[dict[str, Any], ...] = (
    {"color": ACCENT, "linewidth": 2},
    {"color": MUTED, "linestyle": "--"},
    {"color": MUTED, "linestyle": ":"},
)  # fmt: skip


def beats_controls(scores: Tensor) -> Tensor:
    """Whether the first score of each row `(N, 3)` exceeds both others by `MARGIN`, `(N,)`."""
    return (scores[:, :1] >= scores[:, 1:] + MARGIN).all(dim=1)


@dataclass(frozen=True, eq=False)
class DeletionInsertion(NetworkResult):
    """Deletion and insertion curves of one class for each image.

    Attributes:
        covered: float32 `(S,)`, share of the map's cells that are covered (deletion) or
            uncovered (insertion) at each step, from 0 to 1.
        deletion: float32 `(N, 3, S)`, probability of the class in the orders map, random, center.
        insertion: float32 `(N, 3, S)`, the same for insertion.
        deletion_areas: float32 `(N, 3)`, areas under the deletion curves; smaller is better.
        insertion_areas: float32 `(N, 3)`, areas under the insertion curves; larger is better.
        classes: int64 `(N,)`, the class whose probability is followed.
        names: names of these classes, one per image; `A - B` for a difference.
        rank: which of the Grad-CAM's classes this is, from 0.
        passes: number of forward passes per image.
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
        return beats_controls(-self.deletion_areas)

    @property
    def insertion_beats(self) -> Tensor:
        """Bool `(N,)`: the map's area is larger than that of both other orders, by `MARGIN`."""
        return beats_controls(self.insertion_areas)

    def summary(self) -> str:
        """For how many images the map beats both controls, in words."""
        count = counted(len(self.classes), "map")
        return (
            f"{int(self.deletion_beats.sum())} of {count} mark cells whose removal lowers the "
            f"probability more than that of random or central cells (deletion); "
            f"{int(self.insertion_beats.sum())} mark cells that raise it more (insertion)"
        )

    def table(self) -> Table:
        """The areas under the curves."""
        return Table.of(
            ["image", "class", *(f"{name}, {order}" for name in _CURVES for order in ORDERS)],
            [
                [
                    str(image),
                    name,
                    *(
                        f"{area:.2f}"
                        for areas in (self.deletion_areas, self.insertion_areas)
                        for area in areas[image].tolist()
                    ),
                ]
                for image, name in enumerate(self.names)
            ],
        )

    def figure(self) -> "Figure":
        """Plot both curves of each image, in the map's order and in both control orders.

        At most four images are drawn.
        """
        count = min(len(self.classes), _MOST_IMAGES)
        figure = new_figure(figsize=(7, 2.4 * count))
        all_axes = figure.subplots(count, 2, squeeze=False, sharey=True)
        panels = (
            ("deletion", self.deletion, self.deletion_areas, "covered"),
            ("insertion", self.insertion, self.insertion_areas, "uncovered"),
        )
        for image, row in enumerate(all_axes):
            for axes, (name, curves, areas, action) in zip(row, panels, strict=True):
                for index, (order, style) in enumerate(zip(ORDERS, _LINE_STYLES, strict=True)):
                    axes.plot(self.covered, curves[image, index], label=order, **style)
                sizes = zip(ORDERS, areas[image].tolist(), strict=True)
                words = ", ".join(f"{order} {area:.2f}" for order, area in sizes)
                axes.set_title(f"{name}, area: {words}", fontsize="small")
                axes.set(xlabel=f"share of cells {action}", ylim=(-0.03, 1.03))
                axes.spines[["top", "right"]].set_visible(False)
            row[0].set_ylabel(plot_text(f"probability of\n{self.names[image]}"))
        handles = all_axes[0, 0].get_lines()
        figure.legend(
            handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize="small"
        )
        if count < len(self.classes):
            figure.suptitle(f"{count} of {len(self.classes)} images", fontsize=9)
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure of each image, by the image's number and the name of the class."""
        return {
            f"{image}-{name}": render_figure(self._select_image(image).figure())
            for image, name in enumerate(self.names)
        }

    def _select_image(self, image: int) -> "DeletionInsertion":
        at = slice(image, image + 1)
        return replace(
            self, deletion=self.deletion[at], insertion=self.insertion[at],
            deletion_areas=self.deletion_areas[at], insertion_areas=self.insertion_areas[at],
            classes=self.classes[at], names=self.names[at],
        )  # fmt: skip


@keep_warnings
@fold_batch_norms()
def deletion_insertion(
    model: Model, cam: GradCam, *, rank: int = 0, steps: int = 8, seed: int = 0
) -> DeletionInsertion:
    """Compute deletion and insertion curves for each image of a Grad-CAM, with both controls.

    A cell covers the pixels that are nearest to the center of its receptive field. Covered pixels
    have the image's mean color. Cells with equal values are covered one after the other. For the
    difference of two classes the curves show the probability of the first class among these two.

    The cost is 6 (steps - 1) + 2 forward passes per image, 44 by default.

    Args:
        model: the model that the maps are of. It is left untouched.
        cam: maps from `gradcam`.
        rank: which of its classes to follow, from 0; default 0.
        steps: number of steps of each curve; default 8.
        seed: seed of the random order, which is drawn for each image; default 0.

    Returns:
        The curves and the areas under them.

    Raises:
        ConvlensError: a rank that the maps do not have, fewer than one step, or maps that explain
            a function of the output instead of a class.

    References:
        Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box
        Models", BMVC 2018, section 4.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(), torch.nn.Linear(4, 2),
        ... )
        >>> model = convlens.wrap(network, size=8)
        >>> cam = convlens.gradcam(model, torch.rand(1, 3, 8, 8), classes=1)
        >>> curves = convlens.deletion_insertion(model, cam, steps=4)
        >>> curves.deletion.shape, curves.passes
        (torch.Size([1, 3, 5]), 20)
    """
    check_model(model)
    class_count = cam.classes.shape[1]
    if not 0 <= rank < class_count:
        raise ConvlensError(f"rank {rank} of {class_count} classes; give 0 to {class_count - 1}")
    if bool((cam.classes[:, rank] == NO_CLASS).any()):
        raise ConvlensError(
            "deletion and insertion follow the probability of a class, and these maps explain a "
            "function of the output; compute the maps of a class"
        )
    if steps < 1:
        raise ConvlensError(f"{steps} steps; give at least 1")
    cell_count = cam.maps[0, 0].numel()
    generator = torch.Generator().manual_seed(seed)
    nearest_cell = _nearest_cell(cam)
    counts = [round(cell_count * step / steps) for step in range(steps + 1)]
    curves = []
    pairs = torch.stack([cam.classes[:, rank], cam.subtracted[:, rank]], dim=1).tolist()
    for image, maps, (target_class, subtracted) in zip(cam.images, cam.maps, pairs, strict=True):
        orders = [
            maps[rank].flatten().argsort(descending=True, stable=True),
            torch.randperm(cell_count, generator=generator),
            _order_from_center(cam),
        ]
        curves.append(
            _probability_curves(
                model, image, nearest_cell, orders, counts, target_class, subtracted
            )
        )
    stacked = torch.stack(curves)
    covered = torch.tensor(counts, dtype=torch.float32) / cell_count
    areas = torch.trapezoid(stacked, covered, dim=3)
    return DeletionInsertion(
        covered=covered,
        deletion=stacked[:, 0],
        insertion=stacked[:, 1],
        deletion_areas=areas[:, 0],
        insertion_areas=areas[:, 1],
        classes=cam.classes[:, rank].clone(),
        names=tuple(row[rank] for row in cam.names),
        rank=rank,
        passes=2 * len(ORDERS) * (steps - 1) + 2,
    )


def _probability_curves(
    model: Model,
    image: Tensor,
    nearest_cell: Tensor,
    orders: Sequence[Tensor],
    counts: Sequence[int],
    target_class: int,
    subtracted: int,
) -> Tensor:
    """Probabilities `(2, 3, S)` of the class: deletion, insertion by order and step.

    The first and the last step are the whole image and the covered one, in every order; they are
    computed once.
    """
    mean = image.mean(dim=(1, 2), keepdim=True)
    ranks = torch.stack([order.argsort()[nearest_cell] for order in orders])
    # The pixels of the first cells of each order, by the number of cells.
    between = torch.tensor(counts[1:-1], dtype=torch.int64)
    first_cells = ranks[:, None] < between[:, None, None]
    covered_pixels = torch.stack([first_cells, ~first_cells]).flatten(end_dim=2)
    batch = torch.empty(
        2 + len(covered_pixels), *image.shape, dtype=image.dtype, memory_format=torch.channels_last
    )
    batch[0], batch[1] = image, mean
    torch.where(covered_pixels[:, None], mean, image, out=batch[2:])
    batch = batch.to(model.device)
    model_trace = trace(model, batch)
    scores = torch.cat(
        [
            compute_logits(model, model_trace, batch[part])
            for part in even_parts(len(batch), _BATCH_SIZE)
        ]
    )
    if subtracted == NO_CLASS:
        probability = probabilities(scores, model_trace.output_head)[:, target_class].cpu()
    else:
        probability = (scores[:, target_class] - scores[:, subtracted]).sigmoid().cpu()
    of_whole_image, covered = probability[0], probability[1]
    middle = probability[2:].view(2, len(orders), len(counts) - 2)
    starts = torch.stack([of_whole_image, covered]).view(2, 1, 1).expand(-1, len(orders), -1)
    return torch.cat([starts, middle, starts.flip(0)], dim=2)


def _nearest_cell(cam: GradCam) -> Tensor:
    """int64 `(H, W)`: the cell to whose center each pixel is nearest, numbered row by row."""
    height, width = cam.images.shape[-2:]
    cells = torch.arange(cam.maps[0, 0].numel(), dtype=torch.float64).view(cam.maps.shape[-2:])
    return place_map(cells, cam.centers_y, cam.centers_x, (height, width), smooth=False).long()


def _order_from_center(cam: GradCam) -> Tensor:
    """Cells by the distance of their centers from the middle of the image."""
    height, width = cam.images.shape[-2:]
    y, x = cam.centers_y - (height - 1) / 2, cam.centers_x - (width - 1) / 2
    return (y[:, None] ** 2 + x[None] ** 2).flatten().argsort(stable=True)
