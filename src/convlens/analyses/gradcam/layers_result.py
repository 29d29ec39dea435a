"""The result of Grad-CAM at several layers, from coarse to fine."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from convlens.analyses.gradcam import pictures as draw
from convlens.analyses.gradcam.pictures import Outline
from convlens.analyses.gradcam.result import MOST_ROWS, GradCam
from convlens.drawing import Panel, add_caption, picture_figure
from convlens.errors import ConvlensError
from convlens.results import Table
from convlens.results.network_result import NetworkResult
from convlens.wording import counted, enumerated, with_sign

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class GradCamLayers(NetworkResult):
    """Grad-CAM at several layers, from coarse to fine.

    Attributes:
        layers: names of the layers as the caller gave them.
        gradcams: the maps of the same images and classes at each layer, the one with the fewest
            cells first.
    """

    folder_title: ClassVar[str] = "Grad-CAM at several layers"

    layers: tuple[str, ...]
    gradcams: tuple[GradCam, ...]

    def __getitem__(self, layer: str) -> GradCam:
        """The maps at a layer.

        Args:
            layer: its name as the caller gave it, the name of a node, or the layer that addresses
                the channels.

        Raises:
            ConvlensError: there are no maps at that layer.
        """
        for name, cam in zip(self.layers, self.gradcams, strict=True):
            if layer in (name, *cam.nodes, cam.channel_layer):
                return cam
        raise ConvlensError(f"no maps at {layer!r}; there are: {', '.join(self.layers)}")

    @property
    def scales(self) -> tuple[float, ...]:
        """The common scale of each layer's pictures."""
        return tuple(cam.scale for cam in self.gradcams)

    def select_image(self, image: int, top: int | None = None) -> "GradCamLayers":
        """The maps of one image.

        Args:
            image: number of the image, from 0.
            top: number of its first classes to keep; default: all.
        """
        return replace(self, gradcams=tuple(cam.select_image(image, top) for cam in self.gradcams))

    def pictures(
        self,
        *,
        scales: Sequence[float] | None = None,
        cells: bool = False,
        outlines: Sequence[Sequence[Outline]] | None = None,
    ) -> dict[str, Tensor]:
        """For each image and class the photo and a strip of maps, by the names of `picture_names`.

        Each layer has its own scale, common to all images and classes: α_k is a mean over the
        units, so that maps with more cells have smaller values.

        Args:
            scales: for each layer the value with the strongest color, in logits; default: `scales`.
            cells: draw cells with hard edges instead of values between them; default: False.
            outlines: boxes that are drawn on each image: left, top, right and bottom in pixels;
                default: none.
        """
        scales = self.scales if scales is None else scales
        coarsest = self.gradcams[0]
        photos = coarsest.photos()
        overlays = [
            cam.overlays(scale, cells=cells)
            for cam, scale in zip(self.gradcams, scales, strict=True)
        ]
        strips = []
        for image, names in enumerate(coarsest.names):
            photo = draw.enlarge_photo(photos[image])
            for rank, name in enumerate(names):
                tiles = [
                    add_caption(photo, f"{name}, {with_sign(float(coarsest.scores[image, rank]))}")
                ]
                for layer, cam, scale, pixels in zip(
                    self.layers, self.gradcams, scales, overlays, strict=True
                ):
                    tile = cam.finish_overlay(
                        pixels[image, rank], image, rank, scale, outlines[image] if outlines else ()
                    )
                    rows, columns = cam.maps.shape[-2:]
                    tiles.append(add_caption(tile, f"{layer}: {rows} × {columns}"))
                strips.append(draw.join_strip(tiles))
        return dict(zip(self.picture_names(), strips, strict=True))

    def picture_names(self) -> list[str]:
        """The names of the pictures: the class, after the image where there are several."""
        return self.gradcams[0].picture_names(counted(len(self.layers), "layer"))

    def summary(self) -> str:
        """The layers with the sizes of their maps, in words."""
        layers = [
            f"{layer} ({' × '.join(map(str, cam.maps.shape[-2:]))} cells)"
            for layer, cam in zip(self.layers, self.gradcams, strict=True)
        ]
        count = counted(len(self.gradcams[0].maps), "image")
        return f"Grad-CAM of {count} at {counted(len(layers), 'layer')}: {enumerated(layers)}"

    def table(self) -> Table:
        """The scale of the maps of each layer."""
        return Table.of(
            ["layer", "cells", "scale"],
            [
                [layer, " × ".join(map(str, cam.maps.shape[-2:])), f"±{cam.scale:.3g} {draw.UNIT}"]
                for layer, cam in zip(self.layers, self.gradcams, strict=True)
            ],
        )

    def figure(self) -> "Figure":
        """A row for each image and class: the photo, and the overlay of each layer on its scale.

        At most eight rows are drawn.
        """
        coarsest = self.gradcams[0]
        maps = [
            (image, rank)
            for image, names in enumerate(coarsest.names)
            for rank in range(len(names))
        ]
        rows = []
        for image, rank in maps[:MOST_ROWS]:
            photo = coarsest.select_image(image).photos()[0]
            row = [Panel(photo, coarsest.describe_map(image, rank))]
            for layer, cam in zip(self.layers, self.gradcams, strict=True):
                height, width = cam.maps.shape[-2:]
                overlays = cam.select_image(image).overlays(cam.scale)[0]
                title = f"{layer}\n{height} × {width}, ±{cam.scale:.2g} {draw.UNIT}"
                row.append(Panel(overlays[rank], title))
            rows.append(row)
        some = f"; {len(rows)} of {len(maps)} maps" * (len(rows) < len(maps))
        return picture_figure(rows, title=f"Grad-CAM at several layers{some}")
