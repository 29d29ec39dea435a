"""Session: what one server shows, and the library calls that compute it.

Each method makes one public call in the worker's thread. Its name and arguments are also what the
inspector shows as the command and the Python line.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from torch import Tensor

from convlens.analyses.anatomy.anatomy import Anatomy, anatomy
from convlens.analyses.attacks.fgsm import Fgsm, fgsm
from convlens.analyses.comparison.answers import AnswerChanges, compare_answers
from convlens.analyses.comparison.class_pairing import ClassPairing, pair_classes
from convlens.analyses.feature_maps.detector_result import FeatureDetector
from convlens.analyses.feature_maps.feature_detector import feature_detector
from convlens.analyses.feature_maps.feature_maps import FeatureMaps, feature_maps
from convlens.analyses.gradcam.repeated import RepeatedGradCam
from convlens.analyses.gradcam.result import GradCam
from convlens.analyses.maximize.maximize import maximize
from convlens.analyses.maximize.result import MaximizedImages, ObjectiveMaximum
from convlens.analyses.missing_settings.missing_settings import missing_settings
from convlens.analyses.patches.dataset_pass import patches
from convlens.analyses.patches.result import LayerPatches
from convlens.analyses.predictions.predictions import Predictions, predict
from convlens.analyses.receptive_field.field import ReceptiveField, receptive_field
from convlens.errors import ConvlensError
from convlens.explorer.addresses import Addresses
from convlens.explorer.network import SIDE, LayerRow, Skip, list_layers, make_row
from convlens.explorer.photo_store import PhotoStore, StoredPhoto
from convlens.explorer.reproduction import Reproducer, Reproduction
from convlens.explorer.worker import Job, Worker
from convlens.models.labels import class_name, write_class
from convlens.models.model import Model
from convlens.passes.options import PassOptions
from convlens.tracing.selection import Side
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace

Computed = TypeVar("Computed")

MOST_SEARCHED = 64  # photos among which the patches of channels are searched
LEVELS = (1, 2, 3, 4, 6, 8, 12, 16)  # gray levels of FGSM
_TOP = 5  # predictions of a photo


@dataclass(frozen=True, eq=False)
class Network:
    """What is known of a network before any photo.

    Attributes:
        trace: its trace.
        anatomy: its layers.
        rows: the layers that the explorer lists.
        skips: connections that pass over rows.
        num_classes: number of classes; 0 for a network without class scores.
        findings: what the model was not given, such as trained weights or a normalization, and
            why its results have to be read with care; one sentence each.
    """

    trace: Trace
    anatomy: Anatomy
    rows: list[LayerRow]
    skips: list[Skip]
    num_classes: int
    findings: tuple[str, ...]

    @cached_property
    def with_maps(self) -> list[LayerRow]:
        """The rows whose layers have maps."""
        return [row for row in self.rows if row.source is not None]

    def is_convolution(self, name: str) -> bool:
        """Whether a layer is a convolution, whose arithmetic has a page."""
        return any(convolution.layer == name for convolution in self.trace.convolutions)

    @property
    def final_row(self) -> LayerRow | None:
        """The row of the final convolutional layer; None for a network that has none."""
        final = self.trace.final_layer
        if final is None:
            return None
        for row in self.with_maps:
            if row.source is not None and row.source.node == final.post:
                return row
        return make_row(self.trace, self.trace.name(final.post))

    def find_row(self, name: str) -> LayerRow:
        """The row of a layer or a node with a map, also of one that the explorer does not list.

        Raises:
            ConvlensError: there is none of that name, with the nearest names; or it has no map.
        """
        for row in self.with_maps:
            if row.name == name:
                return row
        return make_row(self.trace, name)


class Session:
    """A model, photos, and the worker that computes what the pages show.

    Args:
        model: the model.
        photos: the photos.
        seed: seed of everything that is random.
        name: name of a model that is compared, in the addresses of its pages; empty for the model
            that the explorer was started for.
        title: name of the model for people; default: that of the model.
        first: for a model that is compared, the session of the model that the explorer was started
            for. They share a worker. Default: none.
    """

    def __init__(
        self,
        model: Model,
        photos: PhotoStore,
        seed: int = 0,
        *,
        name: str = "",
        title: str = "",
        first: "Session | None" = None,
    ) -> None:
        self.model = model
        self.photos = photos
        self.seed = seed
        self.name = name
        self.title = title or model.name
        self.addresses = Addresses(f"/with/{name}" if name else "")
        self.first = first
        self.worker = first.worker if first is not None else Worker()
        self.reproduction = Reproducer(model, seed)
        self._latest_explainer: tuple[Hashable, RepeatedGradCam] | None = None

    async def network(self) -> Network:
        """The layers of the network."""
        return await self._compute(("network",), lambda _: _describe_network(self.model))

    async def image(self, photo: StoredPhoto) -> Tensor:
        """A photo as the network sees it, float32 `(1, C, H, W)`."""
        return await self._compute(("image", photo.key), lambda _: self._prepare(photo))

    async def predictions(self, photo: StoredPhoto) -> Predictions:
        """The classes that the network predicts for a photo."""
        image = await self.image(photo)
        return await self._compute(
            ("predict", photo.key), lambda _: predict(self.model, image, top=_TOP)
        )

    async def class_pairing(self) -> ClassPairing:
        """Which class of the first model each class of this one is.

        Raises:
            ConvlensError: they have no class in common.
        """
        first = self.first or self
        counts = [(await session.network()).num_classes for session in (first, self)]
        return await self._compute(
            ("classes",), lambda _: pair_classes(first.model, self.model, *counts)
        )

    async def right_classes(self, photo: StoredPhoto) -> tuple[int, ...] | None:
        """Indices of the right classes of a photo by this model; None where they are not known."""
        if self.first is None or photo.classes is None:
            return photo.classes
        try:
            to_first = (await self.class_pairing()).to_first
        except ConvlensError:
            return None
        own = tuple(index for index, first in enumerate(to_first) if first in photo.classes)
        return own or None

    async def gradcam(
        self, photo: StoredPhoto, target: int, layer: str | None, side: Side
    ) -> tuple[GradCam, Reproduction]:
        """The Grad-CAM map of a class on a photo.

        Args:
            photo: the photo.
            target: index of the class.
            layer: name of the layer; None for the final convolutional layer.
            side: side of the layer.
        """
        image = await self.image(photo)
        cam = await self._compute(
            ("gradcam", photo.key, target, layer, side),
            lambda _: self._explainer(photo, image, layer, side)([target]),
        )
        classes = (await self.network()).num_classes
        name = write_class(self.model.labels, target, classes)
        words = ["gradcam", photo.file_name, "--class", name]
        arguments = f"{photo.file_name!r}, classes=[{target}]"
        if layer is not None:
            words += ["--layer", layer]
            arguments += f", layer={layer!r}"
        if side != "pre":
            words += ["--side", side]
            arguments += f", side={side!r}"
        return cam, self.reproduction(words, f"convlens.gradcam(model, {arguments})")

    async def field(
        self, photo: StoredPhoto, layer: str, at: tuple[int, int]
    ) -> tuple[ReceptiveField, Reproduction]:
        """The receptive field of a unit on a photo.

        Args:
            photo: the photo.
            layer: name of the layer.
            at: row and column of the unit.
        """
        image = await self.image(photo)
        field = await self._compute(
            ("field", photo.key, layer, at),
            lambda _: receptive_field(self.model, image, layer=layer, side=SIDE, at=at),
        )
        return field, self.reproduction(
            ["field", photo.file_name, "--layer", layer, "--at", f"{at[0]},{at[1]}"],
            f"convlens.receptive_field(model, {photo.file_name!r}, layer={layer!r}, at={at})",
        )

    async def feature_maps(
        self, photo: StoredPhoto, layer: str
    ) -> tuple[FeatureMaps, Reproduction]:
        """The maps of all channels of a layer on a photo.

        Args:
            photo: the photo.
            layer: name of the layer.
        """
        image = await self.image(photo)
        maps = await self._compute(
            ("maps", photo.key, layer),
            lambda _: feature_maps(self.model, image, layer=layer, side=SIDE),
        )
        return maps, self.reproduction(
            ["maps", photo.file_name, "--layer", layer],
            f"convlens.feature_maps(model, {photo.file_name!r}, layer={layer!r})",
        )

    async def patches(
        self, layer: str, channels: Sequence[int] = (), top: int = 9
    ) -> tuple[LayerPatches, Reproduction]:
        """The strongest patches of channels of a layer, among the photos that are files.

        Args:
            layer: name of the layer.
            channels: channels whose patches are cut out.
            top: number of patches of each channel.

        Raises:
            ConvlensError: no photo is a file.
        """
        photos = self.photos.files(MOST_SEARCHED)
        if not photos:
            raise ConvlensError("no photo is a file; start convlens explore with some PHOTOS")
        paths = [photo.file_name for photo in photos]
        shown = tuple(channels)
        result = await self._compute(
            ("patches", layer, shown, top, tuple(photo.key for photo in photos)),
            lambda job: patches(
                self.model,
                paths,
                layers=[layer],
                side=SIDE,
                top=top,
                show={layer: list(shown)} if shown else 0,
                seed=self.seed,
                pass_options=PassOptions(progress=lambda *_: job.check()),
            ),
        )
        words = ["patches", *paths]
        for channel in shown:
            words += ["--channel", f"{layer}:{channel}"]
        words += [] if shown else ["--layer", layer, "--show", "0"]
        if top != 9:
            words += ["--top", str(top)]
        show = f"{{{layer!r}: {list(shown)}}}" if shown else "0"
        arguments = f"layers=[{layer!r}], top={top}, show={show}{self._seed_argument}"
        return result[layer], self.reproduction(
            words, f"convlens.patches(model, {paths}, {arguments})"
        )

    def maximized_key(self, objective: str) -> Hashable:
        """What tells the computation of `maximized` apart, for its progress."""
        return (self.name, self._maximized_name(objective), self._state())

    def _maximized_name(self, objective: str) -> Hashable:
        return ("maximize", objective)

    async def maximized(self, objective: str) -> tuple[ObjectiveMaximum, Reproduction]:
        """The image that maximizes a channel `LAYER:K`, or a class by its index."""

        def work(job: Job) -> MaximizedImages:
            def report(done: int, total: int) -> None:
                job.check()
                job.progress = (done, total)

            return maximize(self.model, [objective], side=SIDE, seed=self.seed, progress=report)

        result = await self._compute(self._maximized_name(objective), work)
        option = "--class" if objective.removeprefix("+").isdecimal() else "--channel"
        return result.maxima[0], self.reproduction(
            ["maximize", option, objective],
            f"convlens.maximize(model, [{objective!r}]{self._seed_argument})",
        )

    async def attack(self, photo: StoredPhoto) -> tuple[Fgsm, Reproduction]:
        """FGSM against the prediction for a photo, at the gray levels of `LEVELS`."""
        image = await self.image(photo)
        epsilons = [f"{level}/255" for level in LEVELS]
        attack = await self._compute(
            ("fgsm", photo.key), lambda _: fgsm(self.model, image, epsilons, seed=self.seed)
        )
        return attack, self.reproduction(
            ["fgsm", photo.file_name, "--epsilons", ",".join(epsilons)],
            f"convlens.fgsm(model, {photo.file_name!r}, {epsilons}{self._seed_argument})",
        )

    async def shifted(
        self, photo: StoredPhoto, offset: tuple[int, int]
    ) -> tuple[Tensor, Predictions, Reproduction]:
        """A photo shifted around its edges, and the predictions for it.

        Args:
            photo: the photo.
            offset: rows downward and columns to the right.
        """
        shifted = (await self.image(photo)).roll(offset, dims=(2, 3))
        predictions = await self._compute(
            ("shifted", photo.key, offset), lambda _: predict(self.model, shifted, top=_TOP)
        )
        image = f"model.prepare({photo.file_name!r}).roll({offset}, dims=(2, 3))"
        return shifted, predictions, self.reproduction([], f"convlens.predict(model, {image})")

    async def detector(
        self, photo: StoredPhoto, channel: str
    ) -> tuple[FeatureDetector, Reproduction]:
        """Patch, kernel, products and sum of one unit of a convolution on a photo.

        Args:
            photo: the photo.
            channel: `LAYER:K`, or `LAYER:K@Y,X`.
        """
        image = await self.image(photo)
        unit = await self._compute(
            ("detector", photo.key, channel),
            lambda _: feature_detector(self.model, image, channel),
        )
        return unit, self.reproduction(
            ["detector", photo.file_name, "--channel", channel],
            f"convlens.feature_detector(model, {photo.file_name!r}, {channel!r})",
        )

    async def compare_answers(self, other: "Session") -> tuple[AnswerChanges, Reproduction]:
        """The answers of this and another model for the photos that are files.

        Args:
            other: the session of the other model.

        Raises:
            ConvlensError: no photo is a file, or the models have no class in common.
        """
        photos = self.photos.files(MOST_SEARCHED)
        if not photos:
            raise ConvlensError("no photo is a file; start convlens explore with some PHOTOS")
        paths, labels = [photo.file_name for photo in photos], [photo.classes for photo in photos]
        known = labels if any(labels) else None
        changes = await self._compute(
            ("answers", other.name, other._state(), tuple(photo.key for photo in photos)),
            lambda job: compare_answers(
                self.model, other.model, paths, labels=known,
                pass_options=PassOptions(progress=lambda *_: job.check()),
            ),
        )  # fmt: skip
        argument = f", labels={known}" if known is not None else ""
        lines = [
            "import convlens", self.reproduction.load_line("first"),
            other.reproduction.load_line("second"),
            f"result = convlens.compare_answers(first, second, {paths}{argument})",
        ]  # fmt: skip
        return changes, Reproduction(None, "\n".join(lines))

    def _explainer(
        self, photo: StoredPhoto, image: Tensor, layer: str | None, side: Side
    ) -> RepeatedGradCam:
        """Computes what `gradcam` returns for classes; the latest forward pass is kept.

        Called in the worker's thread.
        """
        key = (photo.key, layer, side, self._state())
        if self._latest_explainer is None or self._latest_explainer[0] != key:
            self._latest_explainer = None  # its memory is free before the next pass runs
            explainer = RepeatedGradCam(self.model, image, layer=layer, side=side)
            self._latest_explainer = key, explainer
        return self._latest_explainer[1]

    def class_name(self, index: int) -> str:
        """The name of a class, by its first synonym."""
        return class_name(self.model.labels, index)

    @property
    def _seed_argument(self) -> str:
        """The seed as the last argument of a call in Python; empty for the default."""
        return f", seed={self.seed}" if self.seed else ""

    async def _compute(self, key: Hashable, work: Callable[[Job], Computed]) -> Computed:
        return await self.worker.compute((self.name, key, self._state()), work)

    def _state(self) -> Hashable:
        """What changes when a tensor of the network is replaced or written to."""
        return tuple(
            (id(tensor), 0 if tensor.is_inference() else tensor._version)
            for module in self.model.network.modules()
            for tensors in (module._parameters, module._buffers)
            for tensor in tensors.values()
            if tensor is not None
        )

    def _prepare(self, photo: StoredPhoto) -> Tensor:
        return self.model.prepare(photo.read())


def _describe_network(model: Model) -> Network:
    model_trace, layers = trace(model), anatomy(model)
    rows, skips = list_layers(model_trace, layers)
    classes = model_trace.num_outputs if layers.logits else 0
    findings = (*missing_settings(model), *model_trace.warnings)
    return Network(model_trace, layers, rows, skips, classes, findings)
