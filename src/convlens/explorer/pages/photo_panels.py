"""The parts of the photo page that are computed: Grad-CAM, a feature map, and a pinned unit."""

from dataclasses import dataclass, replace
from math import isnan

import torch
from torch import Tensor

from convlens.analyses.gradcam.result import ChannelShare, GradCam
from convlens.drawing import place_map
from convlens.errors import ConvlensError
from convlens.explorer.network import LayerRow
from convlens.explorer.pages.photo_state import PhotoState
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.session import Session
from convlens.html.pictures import Picture, PictureBudget
from convlens.results.reproduction import Reproduction
from convlens.tracing.channel_names import check_channel, check_position
from convlens.wording import percent, with_sign

_CHANNELS = 8  # that the inspector lists
_LONG_SIDE = 512  # CSS pixels of the photo, at most
_SEEN = 160  # CSS pixels of what a unit sees


@dataclass(frozen=True)
class GradCamPanel:
    """A Grad-CAM map with its numbers.

    Attributes:
        picture: the map over the photo.
        caption: class, logit, probability and layer.
        summary: how much of the map supports the class.
        scale: the value with the strongest color, in units of the logit.
        shares: the channels that contribute most.
        layer: name of the layer under which channels have their pages.
        reproduction: what computes it again.
    """

    picture: Picture | None
    caption: str
    summary: str
    scale: float
    shares: tuple[ChannelShare, ...]
    layer: str
    reproduction: Reproduction


@dataclass(frozen=True)
class MapPanel:
    """The map of one channel over the photo.

    Attributes:
        picture: the map, enlarged to the size of the photo.
        caption: channel, layer and range.
        channel: number of the channel.
        signed: whether the map has values below zero, so that its scale has both signs.
        scale: the value with the strongest color.
        reproduction: what computes it again.
    """

    picture: Picture | None
    caption: str
    channel: int
    signed: bool
    scale: float
    reproduction: Reproduction


@dataclass(frozen=True)
class PinnedActivation:
    """The activation of one channel at the pinned position.

    Attributes:
        channel: number of the channel.
        value: the activation.
        share: share of the positions of this map at which the channel is lower.
    """

    channel: int
    value: float
    share: float


@dataclass(frozen=True)
class UnitPanel:
    """A pinned position of a layer.

    Attributes:
        layer: name of the layer.
        position: row and column.
        summary: its receptive field in words.
        seen: what it sees.
        activations: the channels with the greatest activations there.
        channels: number of channels of the layer.
        is_convolution: whether the layer is a convolution, whose arithmetic has a page.
        reproduction: what computes the field again.
        values: what computes the activations again.
    """

    layer: str
    position: tuple[int, int]
    summary: str
    seen: Picture | None
    activations: list[PinnedActivation]
    channels: int
    is_convolution: bool
    reproduction: Reproduction
    values: Reproduction


def draw_stage(pixels: Tensor, budget: PictureBudget) -> Picture | None:
    """The large picture: exact, and enlarged as many whole times as there is room for.

    Args:
        pixels: uint8 `(H, W, 3)`.
        budget: makes the picture.
    """
    longest = max(pixels.shape[:2])
    picture = budget.photo(pixels, exact=True, side=_LONG_SIDE)
    if picture is None or picture.hard or longest > _LONG_SIDE:
        return picture
    times = _LONG_SIDE // longest
    return replace(picture, width=picture.width * times, height=picture.height * times)


async def make_gradcam_panel(
    session: Session,
    photo: StoredPhoto,
    state: PhotoState,
    target: int | None,
    budget: PictureBudget,
) -> GradCamPanel:
    """The Grad-CAM map that a state names, on its own scale.

    Args:
        session: the session.
        photo: the photo.
        state: the state; an empty layer is the final convolutional layer.
        target: index of the class; None for a network without class scores.
        budget: makes the picture.

    Raises:
        ConvlensError: the network has no class scores, or Grad-CAM does not apply to the layer.
    """
    if target is None:
        raise ConvlensError(
            f"{session.model.name} returns no class scores, which Grad-CAM explains"
        )
    cam, reproduction = await session.gradcam(photo, target, state.layer or None, state.side)
    return GradCamPanel(
        picture=draw_stage(cam.overlays()[0, 0], budget),
        caption=_describe_gradcam(cam),
        summary=cam.summarize_map(0, 0),
        scale=cam.scale,
        shares=cam.channel_shares(0, 0, _CHANNELS),
        layer=cam.channel_layer,
        reproduction=reproduction,
    )


def _describe_gradcam(cam: GradCam) -> str:
    height, width = cam.maps.shape[-2:]
    probability = float(cam.probabilities[0, 0])
    words = f"{cam.names[0][0]}: logit {with_sign(float(cam.scores[0, 0]))}"
    if not isnan(probability):
        words += f", {percent(probability)}"
    return f"{words}. Map of {height} × {width} cells at {cam.channel_layer} ({cam.side})."


async def make_map_panel(
    session: Session,
    photo: StoredPhoto,
    state: PhotoState,
    row: LayerRow,
    budget: PictureBudget,
) -> MapPanel:
    """The map of the channel that a state names, or of the one with the greatest activation.

    Every pixel of the photo has the value of the position whose receptive field has the nearest
    center.

    Raises:
        ConvlensError: the layer lacks the channel.
    """
    result, reproduction = await session.feature_maps(photo, row.name)
    maps = result.maps
    channel = int(state.channel) if state.channel else int(maps.amax((1, 2)).argmax())
    check_channel(row.name, channel, len(maps))
    assert row.field is not None
    size = (result.image.shape[-2], result.image.shape[-1])
    selected = result.select([channel])
    placed = place_map(selected.maps[None], *row.field.centers, size, smooth=False)[0, 0]
    values = selected.maps[0]
    return MapPanel(
        picture=draw_stage(selected.colors(placed), budget),
        caption=(
            f"Channel {channel} of {row.name} on this photo: {float(values.min()):.3g} to "
            f"{float(values.max()):.3g}, {values.shape[0]} × {values.shape[1]} positions."
        ),
        channel=channel,
        signed=selected.signed,
        scale=selected.scale,
        reproduction=reproduction,
    )


async def make_unit_panel(
    session: Session,
    photo: StoredPhoto,
    layer: str,
    position: tuple[int, int],
    budget: PictureBudget,
) -> UnitPanel:
    """What the units at one position of a layer see, and how strongly they respond.

    Raises:
        ConvlensError: the layer has no such position.
    """
    result, values = await session.feature_maps(photo, layer)
    maps = result.maps
    check_position(layer, position, (maps.shape[1], maps.shape[2]))
    field, reproduction = await session.field(photo, layer, position)
    column = maps[:, position[0], position[1]]
    order = column.sort(descending=True, stable=True).indices[:_CHANNELS].tolist()
    lower = (maps < column[:, None, None]).flatten(1).to(torch.float64).mean(1)
    inside = field.pictures()["inside"]
    return UnitPanel(
        layer=layer,
        position=position,
        summary=field.summary(),
        seen=budget.thumbnail(inside, _SEEN) if inside.numel() else None,
        activations=[
            PinnedActivation(channel, float(column[channel]), float(lower[channel]))
            for channel in order
        ],
        channels=len(maps),
        is_convolution=(await session.network()).is_convolution(layer),
        reproduction=reproduction,
        values=values,
    )
