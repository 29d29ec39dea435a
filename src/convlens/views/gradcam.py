"""Grad-CAM: where the network looks, by the chapter's definition.

    alpha_k = (1/M_k) sum_ij d a^c / d a_ij^(k)        L = sum_k alpha_k A^(k)

a^c is the logit of class c, A^(k) channel k of the final convolutional place before its
non-linearity, and M_k the number of its units (Bishop & Bishop, Deep Learning, section 10.3;
Selvaraju et al. 2017, who take the place after the non-linearity: `activation="post"`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from convlens.drawing import overlay, place
from convlens.errors import ConvlensError
from convlens.guard import untouched
from convlens.images import to_pixels
from convlens.labels import class_index, class_name
from convlens.model import Model
from convlens.probe import gradients, observe, recording
from convlens.results import Result
from convlens.tracing import Trace, trace
from convlens.views.answers import as_scores

Activation = Literal["pre", "post"]
Classes = str | int | Sequence[str | int] | Tensor


@dataclass(frozen=True, eq=False)
class Peak(Result):
    """The numbers of one Grad-CAM map, in units of the logit.

    Attributes:
        low: its least value.
        high: its greatest value.
        row: of the cell with the greatest value, from 0.
        column: likewise.
        at_border: that cell is in the first or last row or column.
        positive: how many cells are above zero, of `cells`.
        cells: how many there are.
    """

    low: float
    high: float
    row: int
    column: int
    at_border: bool
    positive: int
    cells: int


@dataclass(frozen=True, eq=False)
class GradCam(Result):
    """Signed maps at the layer's own resolution, raw.

    Attributes:
        maps: float32 `(N, K, h, w)`, L for each image and class, in units of the logit.
        alpha: float32 `(N, K, channels)`.
        classes: int64 `(N, K)`.
        names: of the classes, by image.
        scores: float32 `(N, K)`, the logits a^c.
        probabilities: float32 `(N, K)`, softmax over all classes.
        layer: names of the values whose channels were weighted (several where branches are
            concatenated after their non-linearities).
        activation: "pre" or "post".
        reason: why this layer.
        centres_y: float64 `(h,)`, the image row in the middle of each cell's receptive field.
        centres_x: float64 `(w,)`, likewise the column.
        images: float32 `(N, C, H, W)`, as given.
        bounds: of the images.
    """

    maps: Tensor
    alpha: Tensor
    classes: Tensor
    names: tuple[tuple[str, ...], ...]
    scores: Tensor
    probabilities: Tensor
    layer: tuple[str, ...]
    activation: str
    reason: str
    centres_y: Tensor
    centres_x: Tensor
    images: Tensor
    bounds: tuple[float, float]

    @property
    def scale(self) -> float:
        """Greatest absolute value of all maps, the common scale of their pictures."""
        return float(self.maps.abs().max())

    def peak(self, image: int, rank: int) -> Peak:
        """The numbers of one map."""
        cells = self.maps[image, rank]
        height, width = cells.shape
        row, column = divmod(int(cells.argmax()), width)
        return Peak(
            low=float(cells.min()),
            high=float(cells.max()),
            row=row,
            column=column,
            at_border=row in (0, height - 1) or column in (0, width - 1),
            positive=int((cells > 0).sum()),
            cells=cells.numel(),
        )

    def on_image(self) -> Tensor:
        """The maps `(N, K, H, W)`, cells at the centres of their fields, bilinear between."""
        height, width = self.images.shape[-2:]
        return place(self.maps, self.centres_y, self.centres_x, (height, width))

    def overlays(self, scale: float | None = None) -> Tensor:
        """The maps over the photos in grey: uint8 `(N, K, H, W, 3)`, red speaks for the class.

        Args:
            scale: value with the strongest colour; default: `scale`, common to all maps.
        """
        scale = self.scale if scale is None else scale
        pixels = to_pixels(self.images, self.bounds).expand(-1, -1, -1, 3)
        rows = [
            torch.stack([overlay(photo, one, scale) for one in maps])
            for photo, maps in zip(pixels, self.on_image(), strict=True)
        ]
        return torch.stack(rows)

    def pictures(self) -> dict[str, Tensor]:
        """The overlays, by number of the image and name of the class."""
        return {
            f"{image}-{rank}-{name}": picture
            for image, (names, row) in enumerate(zip(self.names, self.overlays(), strict=True))
            for rank, (name, picture) in enumerate(zip(names, row, strict=True), start=1)
        }


@recording()
def gradcam(
    model: Model,
    images: Tensor,
    *,
    classes: Classes | None = None,
    top: int = 1,
    activation: Activation = "pre",
    layer: str | None = None,
) -> GradCam:
    """Grad-CAM of several classes for each image, from one forward pass.

    The forward pass keeps a graph only from the layer on, and the backward passes of all classes
    run as one, from the logits to the layer.

    Args:
        model: the model, left untouched.
        images: `(N, C, H, W)` inside the bounds.
        classes: names or indices for all images, or an int64 tensor `(N, K)` with those of each;
            default: the `top` highest-scoring of each image.
        top: how many, where no classes are given.
        activation: the layer's side before ("pre") or after ("post") its non-linearity.
        layer: a place to use instead of the final convolutional one; used as it is.

    Raises:
        ConvlensError: an unknown class or layer, a layer without maps, or images that the model
            does not take.
    """
    if activation not in ("pre", "post"):
        raise ConvlensError(f"activation {activation!r}; it is pre or post")
    found = trace(model, images)
    values, reason = _choose(model, found, activation, layer)
    # Guarded to the end: a network may compute parts of itself again in the backward pass.
    with untouched(model.network):
        seen = observe(model, found, images.detach(), [found.logits], start=values)
        logits = as_scores(model, seen[found.logits])
        indices = _indices(model, logits.detach(), classes, top)
        directions = torch.zeros(indices.shape[1], *logits.shape).to(logits)
        directions.scatter_(2, indices.T.unsqueeze(2), 1)
        slopes = gradients(logits, [seen[value] for value in values], directions)
    alphas, features = [], []
    for value, slope in zip(values, slopes, strict=True):
        alphas.append(found.channels_first(value, slope).mean(dim=(-2, -1)))
        features.append(found.channels_first(value, seen[value].detach()))
    alpha, feature_maps = torch.cat(alphas, dim=2), torch.cat(features, dim=1)
    weighted = torch.einsum("knc,nchw->nkhw", alpha, feature_maps)
    if not bool(weighted.isfinite().all()):
        raise ConvlensError(
            f"the maps of {model.name} at {found.name(values[0])} are not finite: NaN or infinity "
            f"in its activations or gradients"
        )
    centres_y, centres_x = _centres(found, values)
    scores = logits.detach().float()
    return GradCam(
        maps=weighted.float().cpu(),
        alpha=alpha.transpose(0, 1).float().cpu(),
        classes=indices.cpu(),
        names=tuple(
            tuple(class_name(model.labels, index) for index in row) for row in indices.tolist()
        ),
        scores=scores.gather(1, indices).cpu(),
        probabilities=scores.softmax(dim=1).gather(1, indices).cpu(),
        layer=tuple(found.name(value) for value in values),
        activation=activation,
        reason=reason,
        centres_y=centres_y,
        centres_x=centres_x,
        images=images.detach().cpu(),
        bounds=model.bounds,
    )


def _choose(
    model: Model, found: Trace, activation: Activation, layer: str | None
) -> tuple[list[int], str]:
    """The values whose channels are weighted, and why these."""
    if layer is not None:
        value = found.find(layer)
        if found.spatial_dims(value) is None:
            raise ConvlensError(
                f"{layer} of {model.name} gives {found.shape(value)} for one image, not maps; "
                f"choose a layer before the spatial positions are lost"
            )
        return [value], "asked for"
    if found.final is None:
        raise ConvlensError(
            f"{model.name} has no final convolutional place: no value with a map lies on every "
            f"path from the image to the output; name a layer"
        )
    values = list(found.final.pre) if activation == "pre" else [found.final.post]
    return values, found.final.reason


def _indices(model: Model, logits: Tensor, classes: Classes | None, top: int) -> Tensor:
    """int64 `(N, K)`."""
    count, known = logits.shape
    if classes is None:
        if not 1 <= top <= known:
            raise ConvlensError(f"top {top} of {known} classes; give 1 to {known}")
        return logits.topk(top, dim=1).indices
    if isinstance(classes, Tensor):
        if classes.ndim != 2 or len(classes) != count:
            raise ConvlensError(
                f"classes of shape {tuple(classes.shape)} for {count} images; give ({count}, K)"
            )
        if bool((classes < 0).any() or (classes >= known).any()):
            raise ConvlensError(f"a class outside 0 to {known - 1}")
        return classes.long().to(logits.device)
    wanted = [classes] if isinstance(classes, (str, int)) else list(classes)
    if not wanted:
        raise ConvlensError("no class to explain; give at least one, or none for the highest")
    row = [class_index(model.labels, one, known) for one in wanted]
    return torch.tensor(row, device=logits.device).expand(count, -1)


def _centres(found: Trace, values: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Middles of the fields; branches see around the same middle, so the first one speaks.

    Where neighbours see the same (windows of attention), cells are spread evenly instead.
    """
    field = found.field(values[0])
    assert field is not None
    y, x = (
        centres if bool((centres.diff() > 0).all()) else _spread(len(centres), side)
        for centres, side in zip(field.centres, found.image_size, strict=True)
    )
    return y, x


def _spread(cells: int, side: int) -> Tensor:
    return (torch.arange(cells, dtype=torch.float64) + 0.5) * side / cells - 0.5
