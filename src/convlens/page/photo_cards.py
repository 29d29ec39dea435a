"""The cards of the photos that a report shows in full: maps with their checks, and the flip."""

from dataclasses import dataclass

from torch import Tensor

from convlens.analyses.attacks.fgsm import fgsm
from convlens.analyses.attacks.fgsm_result import Fgsm
from convlens.analyses.attacks.flip import Flip, find_flip
from convlens.analyses.gradcam.boxes import boxes_on_image
from convlens.analyses.gradcam.deletion_insertion import DeletionInsertion, deletion_insertion
from convlens.analyses.gradcam.layers_result import GradCamLayers
from convlens.analyses.gradcam.pointing_game import PointingGame, pointing_game
from convlens.analyses.gradcam.result import ChannelShare, GradCam, MapStatistics
from convlens.analyses.gradcam.sides_and_layers import gradcam_sides_and_layers
from convlens.models.labels import class_name
from convlens.models.model import Model
from convlens.page.budget import CLASSES
from convlens.page.inputs import Inputs
from convlens.results import Result

SHARES = 3  # channels that are named beneath a map
CLASSES_SHOWN = 2  # classes that are explained where none are given


@dataclass(frozen=True, eq=False)
class FlipSummary(Result):
    """The flip of one photo, at the level that the page shows.

    Attributes:
        level: the smallest that changed the prediction, or the highest tested where none did.
        flipped: the prediction changed.
        name: name of the prediction for the PNG at that level.
        confidence: its probability.
        noise_name: name of the prediction under random signs of that size.
        noise_flipped: whether that is another prediction than for the photo.
        largest: greatest change as measured on the file, in gray levels.
        reverted: a higher level gave the first prediction again.
        zero_gradients: share of the pixel values whose gradient is exactly 0.
    """

    level: int
    flipped: bool
    name: str
    confidence: float
    noise_name: str
    noise_flipped: bool
    largest: int
    reverted: bool
    zero_gradients: float


@dataclass(frozen=True, eq=False)
class PhotoCard(Result):
    """One photo in full. What could not be computed is None, or empty.

    Attributes:
        photo: its number among the photos of the report, from 0.
        image: float32 `(1, C, H, W)`.
        gradcam: maps of its classes.
        statistics: statistics of these maps, in the same order.
        other_side: maps of the same classes on the other side of the non-linearity: after it where
            `gradcam` is before it; None where the layer has none.
        other_statistics: statistics of these, in the same order.
        shares: for each map the channels that add most to it.
        layers: maps of the first class at each resolution of the network.
        evidence: deletion and insertion for the first map.
        boxes: left, top, right, bottom of the objects on the image, in its pixels.
        pointing: whether the maps point at these.
        attack: FGSM against the network's own prediction.
        flips: the levels of the attack that change the prediction.
        flip: the level that is shown.
    """

    photo: int
    image: Tensor
    gradcam: GradCam | None = None
    statistics: tuple[MapStatistics, ...] = ()
    other_side: GradCam | None = None
    other_statistics: tuple[MapStatistics, ...] = ()
    shares: tuple[tuple[ChannelShare, ...], ...] = ()
    layers: GradCamLayers | None = None
    evidence: DeletionInsertion | None = None
    boxes: tuple[tuple[float, ...], ...] = ()
    pointing: PointingGame | None = None
    attack: Fgsm | None = None
    flips: Flip | None = None
    flip: FlipSummary | None = None


@dataclass(frozen=True, eq=False)
class PhotoCards(Result):
    """The photos that are shown in full.

    Attributes:
        cards: cards in the order of the photos.
        scale: greatest absolute value of all Grad-CAM maps, their common scale, or None.
        other_scale: that of the maps on the other side, or None where a card lacks them.
    """

    cards: tuple[PhotoCard, ...]
    scale: float | None
    other_scale: float | None = None


def make_card(inputs: Inputs, number: int, image: Tensor) -> PhotoCard:
    """Explain, check and attack one photo.

    What cannot be computed is missing in the card, and its reason is among the failures of the
    report.

    Args:
        inputs: inputs of the report.
        number: number of the photo, from 0.
        image: float32 `(1, C, H, W)`, the photo as the model prepares it.
    """
    model, options, stages = inputs.model, inputs.options, inputs.stages
    image = image.to(model.device)
    boxes = boxes_on_image(model, inputs.photos[number].path, options.boxes or {})
    maps, other_side, layers = None, None, None
    evidence, attack, flipped = None, None, None
    with stages.attempt("photos/gradcam"):
        objects = list(dict.fromkeys(box.classes[0] for box in boxes))[:CLASSES]
        explained = gradcam_sides_and_layers(
            model, image, classes=options.classes or objects or None,
            top=min(CLASSES_SHOWN, inputs.trace.num_outputs), layer=options.layer,
        )  # fmt: skip
        maps, other_side, layers = explained.cam, explained.other_side, explained.layers
    if maps is not None:
        with stages.attempt("photos/evidence"):
            evidence = deletion_insertion(model, maps, seed=options.seed)
    with stages.attempt("photos/flips"):
        attack = fgsm(model, image, score=False, seed=options.seed)
        flipped = find_flip(model, attack, seed=options.seed)
    ranks = range(maps.maps.shape[1]) if maps is not None else range(0)
    others = ranks if other_side is not None else range(0)
    return PhotoCard(
        photo=number,
        image=image.cpu(),
        gradcam=maps,
        statistics=tuple(maps.statistics(0, rank) for rank in ranks) if maps else (),
        other_side=other_side,
        other_statistics=tuple(other_side.statistics(0, rank) for rank in others)
        if other_side
        else (),
        layers=layers,
        shares=tuple(maps.channel_shares(0, rank, top=SHARES) for rank in ranks) if maps else (),
        evidence=evidence,
        boxes=tuple(box.edges for box in boxes),
        pointing=pointing_game(maps, [boxes]) if maps and options.boxes is not None else None,
        attack=attack,
        flips=flipped,
        flip=_summarize_flip(model, attack, flipped) if attack and flipped else None,
    )


def _summarize_flip(model: Model, attack: Fgsm, flipped: Flip) -> FlipSummary:
    first = flipped.flip_levels[0]
    level = flipped.levels[-1] if first is None else first
    at = flipped.levels.index(level)
    return FlipSummary(
        level=level,
        flipped=first is not None,
        name=class_name(model.labels, int(flipped.predictions[at, 0])),
        confidence=float(flipped.confidences[at, 0]),
        noise_name=class_name(model.labels, int(flipped.noise_predictions[at, 0])),
        noise_flipped=bool(flipped.noise_flipped[at, 0]),
        largest=flipped.largest_changes[0],
        reverted=flipped.reverted[0],
        zero_gradients=float(attack.zero_gradients[0]),
    )
