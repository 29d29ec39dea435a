"""The receptive field of a unit, drawn on a photo."""

from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.patches.pictures import FRAME, draw_field
from convlens.analyses.patches.windows import FieldBox, field_box
from convlens.data.images import to_pixels
from convlens.models.model import Model
from convlens.results import Result
from convlens.tracing.selection import Side, check_position, find_channel_sources
from convlens.tracing.trace import trace

_DIMMED = 0.35  # of the contrast that is left outside of the field


@dataclass(frozen=True, eq=False)
class ReceptiveField(Result):
    """What one position of a layer sees of an image.

    Attributes:
        layer: the name that was asked for.
        node_name: name of the node.
        side: side of the layer: `pre`, `post` or `output`.
        position: row and column of the unit in the layer's map.
        maps: height and width of that map.
        box: first and last row, first and last column of the image in pixels; what lies outside
            of it is padding.
        size: height and width of the field, where all positions have the same.
        stride: pixels between the fields of neighbors, likewise.
        beyond: the layer also depends on the whole image, by a global operation.
        image: float32 `(C, H, W)`.
        bounds: of its pixels.
    """

    layer: str
    node_name: str
    side: str
    position: tuple[int, int]
    maps: tuple[int, int]
    box: FieldBox
    size: tuple[int | None, int | None]
    stride: tuple[int | None, int | None]
    beyond: bool
    image: Tensor
    bounds: tuple[float, float]

    def summary(self) -> str:
        """The field in words."""
        top, bottom, left, right = self.box
        height, width = self.image.shape[1:]
        outside = max(-top, bottom - height + 1, -left, right - width + 1, 0)
        words = (
            f"{self.layer} at {self.position[0]},{self.position[1]} of {self.maps[0]} x "
            f"{self.maps[1]} sees rows {top} to {bottom} and columns {left} to {right}"
        )
        if outside:
            words += f", of which up to {outside} lie in the padding"
        if self.beyond:
            words += "; and the whole image besides, through a global operation"
        return words

    def pictures(self) -> dict[str, Tensor]:
        """The photo, dimmed outside of the field, and what lies inside."""
        pixels = to_pixels(self.image, self.bounds).expand(-1, -1, 3).float()
        top, bottom, left, right = self.box
        height, width = pixels.shape[:2]
        rows = slice(max(top, 0), min(bottom, height - 1) + 1)
        columns = slice(max(left, 0), min(right, width - 1) + 1)
        drawn = 255 - (255 - pixels) * _DIMMED
        drawn[rows, columns] = pixels[rows, columns]
        frame = torch.tensor(FRAME, dtype=torch.float32)
        sides = (
            ((top, columns), 0 <= top < height),
            ((bottom, columns), 0 <= bottom < height),
            ((rows, left), 0 <= left < width),
            ((rows, right), 0 <= right < width),
        )
        for side, on_the_photo in sides:
            if on_the_photo:  # the others lie in the padding
                drawn[side] = frame
        return {
            "field": drawn.round().to(torch.uint8),
            "inside": draw_field(self.image, self.box, self.bounds),
        }


def receptive_field(
    model: Model,
    image: Tensor,
    *,
    layer: str,
    side: Side = "post",
    at: tuple[int, int] | None = None,
) -> ReceptiveField:
    """What a unit sees.

    Args:
        model: the model.
        image: `(1, C, H, W)` inside the bounds.
        layer: name of a layer or a node.
        side: of the layer: `post`, `pre` or `output`.
        at: row and column in the layer's map; default: its middle.

    Raises:
        ConvlensError: an unknown layer, one without maps, or a position outside of the map.
    """
    found = trace(model, image)
    (channel_source,) = find_channel_sources(found, [layer], side)
    field = found.field(channel_source.node)
    dims = found.spatial_dims(channel_source.node)
    assert field is not None
    assert dims is not None
    height, width = (found.shape(channel_source.node)[dim] for dim in dims)
    row, column = at if at is not None else (height // 2, width // 2)
    check_position(layer, (row, column), (height, width))
    return ReceptiveField(
        layer=layer,
        node_name=channel_source.node_name,
        side=channel_source.side,
        position=(row, column),
        maps=(height, width),
        box=field_box(field, row, column),
        size=field.size,
        stride=field.stride,
        beyond=field.beyond,
        image=image[0].detach().cpu(),
        bounds=model.bounds,
    )
