"""The theoretical receptive field of a unit, drawn on a photo."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.analyses.patches.pictures import FRAME, draw_field
from convlens.analyses.patches.windows import FieldBox, field_box, pixels_inside
from convlens.data.images import to_pixels
from convlens.drawing import Panel, picture_figure
from convlens.models.model import ImagesLike, Model
from convlens.results import Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.tracing.channel_names import check_position
from convlens.tracing.selection import Side, find_channel_sources
from convlens.tracing.tracer import trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OUTSIDE_CONTRAST = 0.35  # share of the photo's contrast outside the field


@dataclass(frozen=True, eq=False)
class ReceptiveField(NetworkResult):
    """The part of an image that one unit of a layer sees.

    Attributes:
        layer: the layer that was asked for.
        node_name: name of the node.
        side: side of the layer: `pre`, `post` or `output`.
        position: row and column of the unit in the layer's map.
        map_size: height and width of that map.
        box: first and last row, first and last column of the field in pixels. Rows and columns
            outside the image are padding.
        size: height and width of the field in pixels; None along an axis on which they differ
            between positions.
        stride: pixels between the fields of neighboring units; None along an axis on which they
            differ between positions.
        sees_whole_image: whether a global operation makes the layer depend on all of the image.
        image: float32 `(C, H, W)`.
        bounds: least and greatest value of a pixel.
    """

    layer: str
    node_name: str
    side: str
    position: tuple[int, int]
    map_size: tuple[int, int]
    box: FieldBox
    size: tuple[int | None, int | None]
    stride: tuple[int | None, int | None]
    sees_whole_image: bool
    image: Tensor
    bounds: tuple[float, float]

    def summary(self) -> str:
        """The field in words."""
        top, bottom, left, right = self.box
        height, width = self.image.shape[1:]
        outside = max(-top, bottom - height + 1, -left, right - width + 1, 0)
        words = (
            f"{self.layer} at {self.position[0]},{self.position[1]} of {self.map_size[0]} × "
            f"{self.map_size[1]} sees rows {top} to {bottom} and columns {left} to {right}"
        )
        if outside:
            words += f", of which up to {outside} lie in the padding"
        if self.sees_whole_image:
            words += "; it also depends on the whole image, through a global operation"
        return words

    def table(self) -> Table:
        """Position, size and spacing of the field."""
        top, bottom, left, right = self.box

        def pair(values: tuple[int | None, int | None]) -> str:
            return " × ".join("varies" if value is None else str(value) for value in values)

        return Table.of(
            ["rows", "columns", "size", "pixels between neighbors"],
            [[f"{top} to {bottom}", f"{left} to {right}", pair(self.size), pair(self.stride)]],
        )

    def figure(self) -> "Figure":
        """The photo with the field, and what the unit sees."""
        pictures = self.pictures()
        top, bottom, left, right = self.box
        unit = f"{self.layer} at {self.position[0]},{self.position[1]}"
        size = f"{bottom - top + 1} × {right - left + 1} pixels"
        return picture_figure(
            [[Panel(pictures["field"], "image"), Panel(pictures["inside"], size)]],
            title=f"receptive field of {unit}",
        )

    def pictures(self) -> dict[str, Tensor]:
        """The photo, pale outside the field, and the part inside."""
        pixels = to_pixels(self.image, self.bounds).expand(-1, -1, 3).float()
        top, bottom, left, right = self.box
        height, width = pixels.shape[:2]
        rows = pixels_inside(top, bottom, 0, height - 1)
        columns = pixels_inside(left, right, 0, width - 1)
        dimmed = 255 - (255 - pixels) * _OUTSIDE_CONTRAST
        dimmed[rows, columns] = pixels[rows, columns]
        frame = torch.tensor(FRAME, dtype=torch.float32)
        sides = (
            ((top, columns), 0 <= top < height),
            ((bottom, columns), 0 <= bottom < height),
            ((rows, left), 0 <= left < width),
            ((rows, right), 0 <= right < width),
        )
        for side, is_inside_image in sides:
            if is_inside_image:  # other sides lie in the padding
                dimmed[side] = frame
        return {
            "field": dimmed.round().to(torch.uint8),
            "inside": draw_field(self.image, self.box, self.bounds),
        }


@keep_warnings
def receptive_field(
    model: Model,
    photo: ImagesLike,
    *,
    layer: str,
    side: Side = "post",
    at: tuple[int, int] | None = None,
) -> ReceptiveField:
    """The theoretical receptive field of a unit: the pixels on which it can depend.

    The field is followed through every operation that the network executes (Bishop & Bishop,
    section 10.2), so that padding, dilation and branches count.

    Args:
        model: the model.
        photo: a photo as `Model.prepare` takes it, or an image `(1, C, H, W)` inside the bounds.
        layer: name of a layer or a node.
        side: side of the layer: what its non-linearity returns (`post`) or consumes (`pre`), or
            what the layer itself returns (`output`). Default: `post`.
        at: row and column of the unit in the layer's map; default: the middle.

    Returns:
        The field in pixels of the image.

    Raises:
        PhotoError: the photo cannot be read.
        ConvlensError: the layer is unknown or gives no maps, or the position is outside the map.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3))
        >>> model = convlens.wrap(network, size=16)
        >>> convlens.receptive_field(model, torch.rand(1, 3, 16, 16), layer="1", at=(2, 3)).box
        (2, 6, 3, 7)
    """
    image = model.to_images(photo)
    model_trace = trace(model, image)
    (source,) = find_channel_sources(model_trace, [layer], side)
    field = model_trace.field(source.node)
    dims = model_trace.spatial_dims(source.node)
    assert field is not None
    assert dims is not None
    height, width = (model_trace.shape(source.node)[dim] for dim in dims)
    row, column = at if at is not None else (height // 2, width // 2)
    check_position(layer, (row, column), (height, width))
    return ReceptiveField(
        layer=layer,
        node_name=source.node_name,
        side=source.side,
        position=(row, column),
        map_size=(height, width),
        box=field_box(field, row, column),
        size=field.size,
        stride=field.stride,
        sees_whole_image=field.sees_whole_image,
        image=image[0].detach().cpu(),
        bounds=model.bounds,
    )
