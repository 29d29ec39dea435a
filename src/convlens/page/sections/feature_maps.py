"""The part on feature maps: those of one photo, from the first layer to the final one."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from convlens.analyses.feature_maps.feature_maps import feature_maps
from convlens.data.sampling import spread
from convlens.drawing import enlarge
from convlens.html import scales
from convlens.html.pictures import Picture, PictureBudget, row_of
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.section import Section
from convlens.results import Result
from convlens.results.reproduction import Reproduction
from convlens.tracing.selection import find_channel_sources

CHANNELS = 8  # of each layer
_HEIGHT = 64  # CSS pixels of a map


@dataclass(frozen=True, eq=False)
class LayerMaps(Result):
    """Feature maps of one layer.

    Attributes:
        layer: its name.
        node_name: name of the node whose maps these are.
        final: it is the final convolutional layer.
        size: height and width of a map.
        total: channels of the layer.
        channels: those that are shown: the maps that vary most over the photo.
        scale: greatest absolute value of the maps shown, which all of them are drawn on.
        signed: some values of them are below zero.
        tiles: uint8 `(K, h, w, 3)`, the maps as colors.
    """

    layer: str
    node_name: str
    final: bool
    size: tuple[int, int]
    total: int
    channels: tuple[int, ...]
    scale: float
    signed: bool
    tiles: Tensor


@dataclass(frozen=True, eq=False)
class PhotoMaps(Result):
    """Feature maps of a few layers on one photo.

    Attributes:
        photo: its number among the photos of the report, from 0.
        layers: from the first to the final one.
    """

    photo: int
    layers: tuple[LayerMaps, ...]


@dataclass(frozen=True)
class _Row:
    """One layer, with its picture, the path of its numbers and its reproduction."""

    layer: LayerMaps
    at: str
    picture: Picture | None
    scale: str
    reproduction: Reproduction


class FeatureMapsSection(Section[PhotoMaps]):
    """The feature maps that vary most, layer by layer."""

    name = "feature_maps"
    title = "Feature maps"
    parent = "channels"
    budget = Budget(items=6, bytes=700_000)

    def compute(self, inputs: Inputs) -> PhotoMaps | None:
        """The maps of the first photo that is shown.

        Raises:
            ConvlensError: the network has no feature maps.
        """
        if not inputs.shown:
            return None
        photo = inputs.shown[0]
        image = inputs.images[photo].to(inputs.model.device)
        names, has_final = self._choose_layers(inputs)
        layers = []
        for name in names:
            whole = feature_maps(inputs.model, image, layer=name)
            channels = whole.most_varying(CHANNELS)
            few = whole.select(channels)
            layers.append(
                LayerMaps(
                    layer=name,
                    node_name=few.node_name,
                    final=has_final and name == names[-1],
                    size=(few.maps.shape[1], few.maps.shape[2]),
                    total=len(whole.maps),
                    channels=channels,
                    scale=few.scale,
                    signed=few.signed,
                    tiles=few.colors(few.maps),
                )
            )
        return PhotoMaps(photo, tuple(layers))

    def _choose_layers(self, inputs: Inputs) -> tuple[list[str], bool]:
        """Names of layers, and whether the last is the final convolutional one.

        Of the layers with maps of one size the last is taken, and of those sizes a few, evenly
        spread; the first convolution and the final convolutional layer are always among them.
        """
        trace = inputs.trace
        sources = find_channel_sources(trace, None)
        end = trace.final_layer.post if trace.final_layer else None
        by_size = {trace.shape(source.node): source for source in sources if source.node != end}
        last = list(dict.fromkeys([sources[0], *by_size.values()]))
        names = [source.layer for source in spread(last, self.budget.items - 1)]
        if end is not None and trace.spatial_dims(end) is not None:
            here = (source.layer for source in sources if source.node == end)
            names.append(next(here, trace.name(end)))
        return names, end is not None

    def reproduction(self, inputs: Inputs, result: PhotoMaps) -> Reproduction:
        """The maps of the first layer."""
        return _reproduce(inputs, result, result.layers[0])

    def view(self, inputs: Inputs, result: PhotoMaps, pictures: PictureBudget) -> dict[str, Any]:
        """One strip for each layer; all strips have one height."""
        rows = []
        for number, layer in enumerate(result.layers):
            longest = max(layer.tiles.shape[1:3])
            times = max(1, _HEIGHT // longest)
            pixels = row_of([enlarge(tile, times) for tile in layer.tiles])
            # Hard edges where the height is a whole multiple of the map's.
            scale = min(1.0, _HEIGHT / longest) if times == 1 else 1.0
            rows.append(
                _Row(
                    layer=layer,
                    at=f"layers.{number}",
                    picture=pictures.scaled(pixels, scale, hard=times > 1),
                    scale=scales.signed() if layer.signed else scales.unsigned(),
                    reproduction=_reproduce(inputs, result, layer),
                )
            )
        return {"rows": rows}


def _reproduce(inputs: Inputs, result: PhotoMaps, maps: LayerMaps) -> Reproduction:
    path, layer, channels = inputs.photos[result.photo].path, maps.layer, list(maps.channels)
    words = [word for channel in channels for word in ("--channel", f"{layer}:{channel}")]
    return inputs.reproducer.reproduction(
        f"maps-{layer}",
        ["maps", path, *words],
        f"convlens.feature_maps(model, model.prepare({path!r}), layer={layer!r}, "
        f"channels={channels})",
    )


SECTION = FeatureMapsSection()
