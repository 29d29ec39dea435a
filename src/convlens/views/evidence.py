"""Evidence for a Grad-CAM: does covering what the map points at change the answer?

Deletion covers the cells of the map one after the other, the most positive first, and follows the
class's probability; insertion uncovers them on a covered image (Petsiuk et al. 2018). The same is
done in random order and from the centre of the image outwards: a map that does not beat both has
shown nothing about this image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.model import Model
from convlens.results import Result
from convlens.tracing import trace
from convlens.views.answers import class_scores
from convlens.views.gradcam import GradCam

ORDERS = ("map", "random", "centre")
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Evidence(Result):
    """Deletion and insertion curves of one class for each image.

    Attributes:
        covered: float32 `(S,)`, share of the map's cells that are covered (deletion) or
            uncovered (insertion), from 0 to 1.
        deletion: float32 `(N, 3, S)`, probability of the class in the orders map, random, centre.
        insertion: float32 `(N, 3, S)`.
        deletion_areas: float32 `(N, 3)`, areas under the curves; smaller is better.
        insertion_areas: float32 `(N, 3)`; larger is better.
        classes: int64 `(N,)`.
        rank: which of the Grad-CAM's classes was taken, from 0.
        passes: forward passes for each image.
    """

    covered: Tensor
    deletion: Tensor
    insertion: Tensor
    deletion_areas: Tensor
    insertion_areas: Tensor
    classes: Tensor
    rank: int
    passes: int

    @property
    def deletion_beats(self) -> Tensor:
        """Bool `(N,)`: the map's area is smaller than that of both other orders."""
        areas = self.deletion_areas
        return (areas[:, :1] < areas[:, 1:]).all(dim=1)

    @property
    def insertion_beats(self) -> Tensor:
        """Bool `(N,)`: the map's area is larger than that of both other orders."""
        areas = self.insertion_areas
        return (areas[:, :1] > areas[:, 1:]).all(dim=1)


def evidence(
    model: Model, cam: GradCam, *, rank: int = 0, steps: int = 8, seed: int = 0
) -> Evidence:
    """Deletion and insertion for each image of a Grad-CAM, with both baselines.

    A cell covers the pixels that are nearest to the centre of its receptive field; covered pixels
    have the image's mean colour. Cells are ranked, so that ties never go all at once. It takes
    6 (steps - 1) + 2 forward passes an image, 44 by default.

    Args:
        model: the model that the maps are of, left untouched.
        cam: from `gradcam`.
        rank: which of its classes, from 0.
        steps: of each curve.
        seed: of the random order, drawn for each image.

    Raises:
        ConvlensError: a rank or a number of steps that cannot be used.
    """
    known = cam.classes.shape[1]
    if not 0 <= rank < known:
        raise ConvlensError(f"rank {rank} of {known} classes; give 0 to {known - 1}")
    cells = cam.maps[0, 0].numel()
    if not steps >= 1:
        raise ConvlensError(f"{steps} steps; give at least 1")
    generator = torch.Generator().manual_seed(seed)
    owner = _owner(cam)
    counts = [round(cells * number / steps) for number in range(steps + 1)]
    curves = []
    for image, maps, classes in zip(cam.images, cam.maps, cam.classes, strict=True):
        orders = [
            maps[rank].flatten().argsort(descending=True, stable=True),
            torch.randperm(cells, generator=generator),
            _outwards(cam),
        ]
        curves.append(_curves(model, image, owner, orders, counts, int(classes[rank])))
    found = torch.stack(curves)
    covered = torch.tensor(counts, dtype=torch.float32) / cells
    areas = torch.trapezoid(found, covered, dim=3)
    return Evidence(
        covered=covered,
        deletion=found[:, 0],
        insertion=found[:, 1],
        deletion_areas=areas[:, 0],
        insertion_areas=areas[:, 1],
        classes=cam.classes[:, rank].clone(),
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
    scores = torch.cat([class_scores(model, found, part) for part in batch.split(_BATCH)])
    probability = scores.softmax(dim=1)[:, wanted].cpu()
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
    """int64 `(H, W)`: the cell to whose centre each pixel is nearest, rows first."""
    height, width = cam.images.shape[-2:]
    rows, columns = (
        (torch.arange(length).double()[:, None] - centres[None]).abs().argmin(dim=1)
        for length, centres in ((height, cam.centres_y), (width, cam.centres_x))
    )
    return rows[:, None] * len(cam.centres_x) + columns[None]


def _outwards(cam: GradCam) -> Tensor:
    """Cells by the distance of their centres from the middle of the image."""
    height, width = cam.images.shape[-2:]
    y, x = cam.centres_y - (height - 1) / 2, cam.centres_x - (width - 1) / 2
    return (y[:, None] ** 2 + x[None] ** 2).flatten().argsort(stable=True)
