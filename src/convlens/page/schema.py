"""What a report holds: its findings, and for each photo and the network what the views gave."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from convlens.analyses.anatomy.anatomy import Anatomy
from convlens.analyses.attacks.fgsm import Fgsm
from convlens.analyses.attacks.flip import Flip
from convlens.analyses.attacks.internal_changes import InternalChanges
from convlens.analyses.attacks.robustness import Robustness
from convlens.analyses.deepdream.deepdream import Dream
from convlens.analyses.filters.filters import Filters
from convlens.analyses.gabor.noise_test import GaborFit
from convlens.analyses.gradcam.deletion_insertion import DeletionInsertion
from convlens.analyses.gradcam.pointing_game import PointingGame
from convlens.analyses.gradcam.randomization import Randomization
from convlens.analyses.gradcam.result import ChannelShare, GradCam, MapStatistics
from convlens.analyses.maximize.result import MaximizedImages
from convlens.analyses.patches.result import Patches
from convlens.analyses.predictions.predictions import Predictions
from convlens.analyses.preprocessing_check.preprocessing_check import Diagnosis
from convlens.analyses.shift.shift import Shift
from convlens.results import Result

Mark = Literal["fine", "look", "broken"]


@dataclass(frozen=True, eq=False)
class Finding(Result):
    """A sentence for the first screen.

    Attributes:
        mark: "fine", "look" (worth a look) or "broken".
        sentence: what was measured, with its number and on how many.
        evidence: address on the page of what it rests on.
    """

    mark: Mark
    sentence: str
    evidence: str


@dataclass(frozen=True, eq=False)
class Turn(Result):
    """The flip of one photo, at the level that the page shows.

    Attributes:
        level: the least that changed the answer, or the highest tried where none did.
        flipped: the answer changed.
        name: of the answer to the PNG at that level.
        confidence: its probability.
        noise_name: of the answer to random signs at that level.
        noise_flipped: that is another answer than to the photo.
        largest: greatest change as measured on the file, in gray levels.
        reverted: a higher level gave the first answer again.
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
class PhotoReport(Result):
    """One photo. What a view could not give is None, or empty.

    Attributes:
        name: of its file.
        path: as it was given.
        notes: what was done to its pixels while it was read.
        predictions: what the network says.
        names: of the five highest classes.
        probabilities: of these.
        expected: indices of the classes that are right, or None without a label.
        expected_names: their names.
        right: the answer is one of them, or None.
        shown: in full, with maps and flip.
        image: float32 `(1, C, H, W)`, for a photo that is shown.
        gradcam: maps of the classes.
        peaks: their numbers, in the same order.
        shares: for each map the channels that add most to it.
        evidence: deletion and insertion for the first of them.
        boxes: left, top, right, bottom of the objects on the image, in its pixels.
        pointing: whether the maps point at these.
        fgsm: the attack.
        flip: what it takes to change the answer.
        turn: the flip that is shown.
    """

    name: str
    path: str
    notes: tuple[str, ...] = ()
    predictions: Predictions | None = None
    names: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    expected: tuple[int, ...] | None = None
    expected_names: tuple[str, ...] = ()
    right: bool | None = None
    shown: bool = False
    image: Tensor | None = None
    gradcam: GradCam | None = None
    peaks: tuple[MapStatistics, ...] = ()
    shares: tuple[tuple[ChannelShare, ...], ...] = ()
    evidence: DeletionInsertion | None = None
    boxes: tuple[tuple[float, ...], ...] = ()
    pointing: PointingGame | None = None
    fgsm: Fgsm | None = None
    flip: Flip | None = None
    turn: Turn | None = None


@dataclass(frozen=True, eq=False)
class LeftOut(Result):
    """A photo that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Subject(Result):
    """The model as it was used.

    Attributes:
        name: of the model.
        spec: what `load` was given, or None.
        origin: where weights and preprocessing come from.
        preprocessing: how a photo becomes an image, in words.
        size: height and width of the image.
        channels: of the image.
        mean: subtracted, if `center` does not say otherwise.
        center: `data`, or `image` where each image's own mean is subtracted.
        std: divided by.
        bounds: of a pixel.
        device: on which the network ran.
        output: shape of the logits for one image.
        final_activation: of the network: "softmax", "sigmoid", or empty where neither is known.
        output_head: by which logits become probabilities.
        prediction_rule: that in words, where it is not a softmax.
    """

    name: str
    spec: str | None
    origin: str
    preprocessing: str
    size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    center: str
    std: tuple[float, ...]
    bounds: tuple[float, float]
    device: str
    output: tuple[int, ...]
    final_activation: str
    output_head: str
    prediction_rule: str

    @property
    def per_pixel(self) -> bool:
        """It answers for each pixel and not for the image (segmentation)."""
        return any(side != 1 for side in self.output[1:])


@dataclass(frozen=True, eq=False)
class Cells(Result):
    """How many channels of a layer follow the bars of a grating, mind only them, or neither.

    Attributes:
        layer: its name.
        simple: channels whose F1/F0 is above 1.
        complex: at most 1.
        silent: that no grating makes fire.
    """

    layer: str
    simple: int
    complex: int
    silent: int


@dataclass(frozen=True, eq=False)
class LayerMaps(Result):
    """Feature maps of one layer on the first photo that is shown.

    Attributes:
        layer: its name.
        node_name: name of the node.
        final: it is the final convolutional layer.
        size: height and width of a map.
        total: channels of the layer.
        channels: those that are shown: the maps that vary most over the photo.
        scale: greatest absolute value of the maps shown, which all of them are drawn on.
        signed: some values of them are below zero.
        photo: path of the photo.
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
    photo: str
    tiles: Tensor


@dataclass(frozen=True, eq=False)
class Slide(Result):
    """One photo at several epsilons.

    Attributes:
        photo: its number among those read, from 0.
        epsilons: in gray levels of 255, growing from 0.
        names: of the answers to x'.
        probabilities: of these.
        noise_names: of the answers to random signs of the same size.
        against: name of the class that the photo is moved away from.
        attack: the images.
        internal_changes: what the largest epsilon changes in the network, or None for one
            without maps.
        channels: names of the channels that it changes most, as LAYER:K.
        changes: of these, in units of their own and their layer's size, as `internal_changes`
            gives them.
        noise_changes: of these, under random signs of the same size.
    """

    photo: int
    epsilons: tuple[int, ...]
    names: tuple[str, ...]
    probabilities: tuple[float, ...]
    noise_names: tuple[str, ...]
    against: str
    attack: Fgsm
    internal_changes: InternalChanges | None
    channels: tuple[str, ...]
    changes: tuple[float, ...]
    noise_changes: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Report(Result):
    """A page, and all that it shows.

    Attributes:
        folder: where `index.html` and `report.json` lie.
        model: as it was used.
        findings: of the first screen.
        photos: those that were read, in the order given.
        skipped: those that could not be read.
        given: how many photos were given.
        scale: greatest absolute value of all Grad-CAM maps, their common scale, or None.
        randomization: the sanity check of the maps, or None.
        diagnosis: of the preprocessing.
        anatomy: of the network.
        filters: of its first convolution.
        gabor_fit: the Gabor functions nearest to these filters.
        r2: of the Gabor fit of each filter, share of the squared weights that it explains.
        patches: what excites channels of some layers most.
        norms: of each filter, the root of its summed squared weights.
        silent: numbers of the filters whose norm is next to nothing.
        maximized: images that excite the same channels, layer by layer of `patches`; None for a
            layer where there could be none.
        classes: images that excite the classes that the photos are taken for.
        cells: of a few layers that see little enough for gratings to be shown to them.
        maps: feature maps of the first photo shown, through the layers.
        dream: of that photo, small and with few steps.
        robustness: answers that stay right as epsilon grows.
        attacked: numbers of the photos that it is over.
        slides: a few photos at several epsilons.
        shift: what shifts do to layers and answers.
        shifted: numbers of the photos that were.
        failures: sections that could not be made, and why.
        left_out: what the page's budget left out, in sentences.
        options: with which the report was made.
        command: that made it, or None from Python.
        versions: of the libraries.
        made: when, in ISO 8601.
        seconds: by stage.
    """

    folder: str
    model: Subject
    findings: tuple[Finding, ...]
    photos: tuple[PhotoReport, ...]
    skipped: tuple[LeftOut, ...]
    given: int
    scale: float | None
    randomization: Randomization | None
    diagnosis: Diagnosis | None
    anatomy: Anatomy | None
    filters: Filters | None
    gabor_fit: GaborFit | None
    r2: tuple[float, ...]
    patches: Patches | None
    maximized: tuple[MaximizedImages | None, ...]
    classes: MaximizedImages | None
    cells: tuple[Cells, ...]
    robustness: Robustness | None
    attacked: tuple[int, ...]
    slides: tuple[Slide, ...]
    shift: Shift | None
    shifted: tuple[int, ...]
    norms: tuple[float, ...]
    silent: tuple[int, ...]
    maps: tuple[LayerMaps, ...]
    dream: Dream | None
    failures: dict[str, str]
    left_out: tuple[str, ...]
    options: dict[str, str | int | bool | None]
    command: str | None
    versions: dict[str, str]
    made: str
    seconds: dict[str, float]

    @property
    def page(self) -> Path:
        """The page itself."""
        return Path(self.folder) / "index.html"

    @property
    def data(self) -> Path:
        """The file with every number of the page."""
        return Path(self.folder) / "report.json"
