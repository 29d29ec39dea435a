"""The parts of the channel page: histogram, effect on the classes, and tuning to gratings."""

from dataclasses import dataclass
from itertools import pairwise

import torch

from convlens.analyses.orientation_tuning.result import OrientationTuning
from convlens.analyses.patches.activation_statistics import BIN_EDGES
from convlens.analyses.patches.result import LayerPatches
from convlens.drawing import enlarge, sequential_colors
from convlens.errors import ConvlensError
from convlens.explorer.network import LayerRow
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.session import Session
from convlens.html.pictures import Picture, PictureBudget
from convlens.models.labels import class_name
from convlens.results.reproduction import Reproduction

_SHARES = (0.5, 0.9, 0.99)  # of the photos, for the quantiles
_CELL = 14  # CSS pixels of the response to one grating


@dataclass(frozen=True)
class HistogramBar:
    """The photos whose greatest activation lies between two values.

    Attributes:
        text: the two values.
        photos: number of photos.
        share: number of photos, as a share of the highest bar.
    """

    text: str
    photos: int
    share: float


@dataclass(frozen=True)
class ClassWeight:
    """How a channel acts on the logit of a class.

    Attributes:
        index: index of the class.
        name: its name.
        alpha: mean gradient of the logit over the positions of the channel.
        contribution: what the channel adds to the positive cells of the Grad-CAM map.
    """

    index: int
    name: str
    alpha: float
    contribution: float


@dataclass(frozen=True)
class TuningPanel:
    """The responses of a channel to drifting gratings.

    Attributes:
        picture: a row for each orientation, a column for each frequency; None for a silent channel.
        summary: the preferred grating and the kind of response.
        rows: the first and the last orientation, in degrees.
        columns: the lowest and the highest frequency, in cycles per pixel.
        greatest: the response with the strongest color.
    """

    picture: Picture | None
    summary: str
    rows: tuple[float, float]
    columns: tuple[float, float]
    greatest: float


def list_quantiles(layer: LayerPatches, channel: int) -> list[tuple[float, float]]:
    """Shares of the photos, and the activations that they stay below.

    A share is listed where at least one photo lies above it.
    """
    photos = int(layer.histogram[channel].sum())
    shares = [share for share in _SHARES if (1 - share) * photos >= 1]
    if not shares:
        return []
    values = layer.quantiles(torch.tensor(shares, dtype=torch.float32))[channel].tolist()
    return list(zip(shares, values, strict=True))


def list_bars(layer: LayerPatches, channel: int) -> list[HistogramBar]:
    """The photos by their greatest activation, from the first bin with photos to the last one."""
    counts = layer.histogram[channel].tolist()
    filled = [number for number, count in enumerate(counts) if count]
    if not filled:
        return []
    edges = [f"{edge:.3g}" for edge in BIN_EDGES.tolist()]
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    texts = [f"at most {edges[0]}", *between, f"more than {edges[-1]}"]
    return [
        HistogramBar(texts[number], counts[number], counts[number] / max(counts))
        for number in range(filled[0], filled[-1] + 1)
    ]


def describe_selectivity(session: Session, layer: LayerPatches, channel: int) -> str:
    """For which class the channel is most selective; empty without labels."""
    if not len(layer.selectivity) or layer.selectivity[channel].isnan():
        return ""
    name = class_name(session.model.labels, int(layer.preferred_class[channel]))
    return (
        f"Most selective for {name}: its greatest activation tells these photos from the others "
        f"with an area under the ROC curve of {float(layer.selectivity[channel]):.2f} (0.5 is "
        f"chance). The class was chosen on these photos, so that the area is too large where there "
        f"are few."
    )


async def list_class_weights(
    session: Session, photo: StoredPhoto, row: LayerRow, channel: int
) -> tuple[list[ClassWeight], Reproduction]:
    """How the channel acts on the logits of the classes that are predicted for a photo.

    Raises:
        ConvlensError: Grad-CAM does not apply to the network or the layer.
    """
    cam, reproduction = await session.class_weights(photo, row.name)
    if row.source is None or cam.nodes != (row.source.node_name,):
        raise ConvlensError(f"Grad-CAM reads {row.name} at {', '.join(cam.nodes)}")
    weights = [
        ClassWeight(
            index=int(cam.classes[0, rank]),
            name=name,
            alpha=float(cam.alpha[0, rank, channel]),
            contribution=float(cam.contributions[0, rank, channel]),
        )
        for rank, name in enumerate(cam.names[0])
    ]
    return weights, reproduction


def draw_tuning(tuning: OrientationTuning, channel: int) -> TuningPanel:
    """The responses of one channel to gratings, and its preferred one."""
    strength = tuning.strength[channel]
    greatest = max(float(strength.max()), 0.0)
    picture = None
    summary = f"Channel {channel} responds to none of the gratings"
    if not tuning.silent[channel]:
        ratio = float(tuning.modulation[channel])
        kind = "a simple" if ratio > 1 else "a complex"
        colors = enlarge(sequential_colors(strength, 0.0, greatest), 1)
        picture = PictureBudget(100_000).pixelated(colors, _CELL)
        summary = (
            f"Channel {channel} prefers bars at "
            f"{float(tuning.preferred_orientation[channel]):.0f}° and "
            f"{float(tuning.preferred_frequency[channel]):.2g} cycles per pixel, and responds like "
            f"{kind} cell (F1/F0 {ratio:.2g}); orientation selectivity "
            f"{float(tuning.selectivity[channel]):.2f}"
        )
    degrees, frequencies = tuning.orientations, tuning.frequencies
    return TuningPanel(
        picture=picture,
        summary=summary,
        rows=(float(degrees[0]), float(degrees[-1])),
        columns=(float(frequencies[0]), float(frequencies[-1])),
        greatest=greatest,
    )
