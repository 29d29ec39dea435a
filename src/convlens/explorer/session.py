"""Session: what one server shows, and the library calls that compute it.

Each method makes one public call in the worker's thread. The same call is also what the pages show
as a command and as Python lines.
"""

from collections.abc import Callable, Hashable
from typing import TypeVar

from torch import Tensor

from convlens.analyses.attacks.fgsm import fgsm
from convlens.analyses.attacks.fgsm_result import Fgsm
from convlens.analyses.deepdream.deepdream import dream
from convlens.analyses.deepdream.result import Dream
from convlens.analyses.feature_maps.detector_result import FeatureDetector
from convlens.analyses.feature_maps.feature_detector import feature_detector
from convlens.analyses.feature_maps.feature_maps import FeatureMaps, feature_maps
from convlens.analyses.gradcam.gradcam import gradcam
from convlens.analyses.gradcam.repeated import RepeatedGradCam
from convlens.analyses.gradcam.result import GradCam
from convlens.analyses.maximize.maximize import maximize
from convlens.analyses.maximize.result import ObjectiveMaximum
from convlens.analyses.orientation_tuning.orientation_tuning import orientation_tuning
from convlens.analyses.orientation_tuning.result import OrientationTuning
from convlens.analyses.patches.result import Patches
from convlens.analyses.predictions.predictions import Predictions, predict
from convlens.analyses.receptive_field.field import ReceptiveField, receptive_field
from convlens.data.photos import read_header_size
from convlens.explorer.addresses import Addresses
from convlens.explorer.model_changes import ModelChanges
from convlens.explorer.network import SIDE, Network, describe_network
from convlens.explorer.photo_store import PhotoStore, StoredPhoto
from convlens.explorer.reproduction import ExplorerReproducer
from convlens.explorer.worker import Job, Worker
from convlens.models.labels import class_name, write_class
from convlens.models.model import Model
from convlens.results.reproduction import Reproduction
from convlens.tracing.selection import Side

Computed = TypeVar("Computed")

MOST_SEARCHED = 64  # photos among which the patches of channels are searched
LEVELS = (1, 2, 3, 4, 6, 8, 12, 16)  # gray levels of FGSM
_TOP = 5  # predictions of a photo


class Session:
    """A model, photos, and the worker that computes what the pages show.

    Args:
        model: the model.
        photos: the photos.
        seed: seed of everything that is random.
        name: name of a model that is compared, in the addresses of its pages; empty for the model
            that the explorer was started for.
        title: name of the model for people; default: that of the model.
        index: patches of all photos, from a pass that has run. Default: patches are searched among
            the first photos.
        index_name: what the Python lines name it: a folder, or a variable.
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
        index: Patches | None = None,
        index_name: str = "",
        first: "Session | None" = None,
    ) -> None:
        self.model = model
        self.photos = photos
        self.seed = seed
        self.name = name
        self.title = title or model.name
        self.addresses = Addresses(f"/with/{name}" if name else "")
        self.index = index
        self.index_name = index_name
        self.first = first
        self.worker: Worker = first.worker if first is not None else Worker()
        self.reproducer = ExplorerReproducer(model, seed)
        self._latest_explainer: tuple[Hashable, RepeatedGradCam] | None = None
        self._changes = ModelChanges(model)

    async def network(self) -> Network:
        """The layers of the network."""
        return await self.compute(("network",), lambda _: describe_network(self.model))

    async def image(self, photo: StoredPhoto) -> Tensor:
        """A photo as the network sees it, float32 `(1, C, H, W)`."""
        return await self.compute(("image", photo.key), lambda _: self._prepare(photo))

    async def predictions(self, photo: StoredPhoto) -> Predictions:
        """The classes that the network predicts for a photo."""
        image = await self.image(photo)
        return await self.compute(
            ("predict", photo.key), lambda _: predict(self.model, image, top=_TOP)
        )

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
        cam = await self.compute(
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
        return cam, self.reproducer.reproduction(words, f"convlens.gradcam(model, {arguments})")

    async def class_weights(self, photo: StoredPhoto, layer: str) -> tuple[GradCam, Reproduction]:
        """Grad-CAM of the predicted classes of a photo at a layer, with a weight of each channel.

        Args:
            photo: the photo.
            layer: name of the layer.
        """
        image = await self.image(photo)
        predictions = await self.predictions(photo)
        # A network with one output may predict its negative class; the logit is that of class 0.
        classes = [index for index in predictions.classes[0].tolist() if index >= 0] or [0]
        cam = await self.compute(
            ("weights", photo.key, layer),
            lambda _: gradcam(self.model, image, classes=classes, layer=layer, side=SIDE),
        )
        words = ["gradcam", photo.file_name, "--layer", layer, "--side", SIDE]
        count = (await self.network()).num_classes
        for index in classes:
            words += ["--class", write_class(self.model.labels, index, count)]
        return cam, self.reproducer.reproduction(
            words,
            f"convlens.gradcam(model, {photo.file_name!r}, classes={classes}, layer={layer!r}, "
            f"side={SIDE!r})",
        )

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
        field = await self.compute(
            ("field", photo.key, layer, at),
            lambda _: receptive_field(self.model, image, layer=layer, side=SIDE, at=at),
        )
        return field, self.reproducer.reproduction(
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
        maps = await self.compute(
            ("maps", photo.key, layer),
            lambda _: feature_maps(self.model, image, layer=layer, side=SIDE),
        )
        return maps, self.reproducer.reproduction(
            ["maps", photo.file_name, "--layer", layer],
            f"convlens.feature_maps(model, {photo.file_name!r}, layer={layer!r})",
        )

    def maximized_key(self, objective: str) -> Hashable:
        """The key of the computation of `maximized` in the worker, which has its progress."""
        return self.job_key(self._maximized_name(objective))

    def _maximized_name(self, objective: str) -> Hashable:
        return ("maximize", objective)

    async def maximized(self, objective: str) -> tuple[ObjectiveMaximum, Reproduction]:
        """The image that maximizes a channel `LAYER:K`, or a class by its index."""
        result = await self.compute(
            self._maximized_name(objective),
            lambda job: maximize(
                self.model,
                [objective],
                side=SIDE,
                seed=self.seed,
                progress=job.report,
                preview=job.show,
            ),
        )
        option = "--class" if objective.removeprefix("+").isdecimal() else "--channel"
        return result.maxima[0], self.reproducer.reproduction(
            ["maximize", option, objective],
            f"convlens.maximize(model, [{objective!r}]{self.seed_argument})",
        )

    def tuning_key(self, layer: str) -> Hashable:
        """The key of the computation of `tuning` in the worker, which has its progress."""
        return self.job_key(("tuning", layer))

    async def tuning(self, layer: str) -> tuple[OrientationTuning, Reproduction]:
        """The responses of all channels of a layer to drifting gratings."""
        tuning = await self.compute(
            ("tuning", layer),
            lambda job: orientation_tuning(self.model, layer=layer, side=SIDE, progress=job.report),
        )
        return tuning, self.reproducer.reproduction(
            ["tuning", "--layer", layer], f"convlens.orientation_tuning(model, layer={layer!r})"
        )

    def dream_key(self, photo: StoredPhoto, layer: str | None) -> Hashable:
        """The key of the computation of `dream` in the worker, which has its progress."""
        return self.job_key(("dream", photo.key, layer))

    async def dream(self, photo: StoredPhoto, layer: str | None) -> tuple[Dream, Reproduction]:
        """A photo that is changed so that a layer responds more strongly to it.

        Its longer side is at most twice that of the model's images.

        Args:
            photo: the photo.
            layer: name of the layer; None for the default of `dream`.
        """
        encoded = photo.read()
        side = min(max(read_header_size(encoded)), 2 * max(self.model.size))
        computed = await self.compute(
            ("dream", photo.key, layer),
            lambda job: dream(
                self.model, encoded, layer=layer, image_size=side, seed=self.seed,
                progress=job.report, preview=job.show,
            ),
        )  # fmt: skip
        words = ["dream", photo.file_name, "--image-size", str(side)]
        arguments = f"{photo.file_name!r}, image_size={side}{self.seed_argument}"
        if layer is not None:
            words += ["--layer", layer]
            arguments += f", layer={layer!r}"
        return computed, self.reproducer.reproduction(words, f"convlens.dream(model, {arguments})")

    async def attack(self, photo: StoredPhoto) -> tuple[Fgsm, Reproduction]:
        """FGSM against the prediction for a photo, at the gray levels of `LEVELS`."""
        image = await self.image(photo)
        epsilons = [f"{level}/255" for level in LEVELS]
        attack = await self.compute(
            ("fgsm", photo.key), lambda _: fgsm(self.model, image, epsilons, seed=self.seed)
        )
        return attack, self.reproducer.reproduction(
            ["fgsm", photo.file_name, "--epsilons", ",".join(epsilons)],
            f"convlens.fgsm(model, {photo.file_name!r}, {epsilons}{self.seed_argument})",
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
        predictions = await self.compute(
            ("shifted", photo.key, offset), lambda _: predict(self.model, shifted, top=_TOP)
        )
        image = f"model.prepare({photo.file_name!r}).roll({offset}, dims=(2, 3))"
        return (
            shifted,
            predictions,
            self.reproducer.reproduction([], f"convlens.predict(model, {image})"),
        )

    async def detector(
        self, photo: StoredPhoto, channel: str
    ) -> tuple[FeatureDetector, Reproduction]:
        """Patch, kernel, products and sum of one unit of a convolution on a photo.

        Args:
            photo: the photo.
            channel: `LAYER:K`, or `LAYER:K@Y,X`.
        """
        image = await self.image(photo)
        unit = await self.compute(
            ("detector", photo.key, channel),
            lambda _: feature_detector(self.model, image, channel),
        )
        return unit, self.reproducer.reproduction(
            ["detector", photo.file_name, "--channel", channel],
            f"convlens.feature_detector(model, {photo.file_name!r}, {channel!r})",
        )

    def _explainer(
        self, photo: StoredPhoto, image: Tensor, layer: str | None, side: Side
    ) -> RepeatedGradCam:
        """Computes what `gradcam` returns for classes; the latest forward pass is kept.

        Called in the worker's thread.
        """
        key = (self.name, photo.key, layer, side, self.state())
        owner = self.first or self  # so that one graph is kept for all models together
        if owner._latest_explainer is None or owner._latest_explainer[0] != key:
            owner._latest_explainer = None  # its memory is free before the next pass runs
            explainer = RepeatedGradCam(self.model, image, layer=layer, side=side)
            owner._latest_explainer = key, explainer
        return owner._latest_explainer[1]

    def class_name(self, index: int) -> str:
        """The name of a class, by its first synonym."""
        return class_name(self.model.labels, index)

    @property
    def seed_argument(self) -> str:
        """The seed as the last argument of a call in Python; empty for the default."""
        return f", seed={self.seed}" if self.seed else ""

    async def compute(self, key: Hashable, work: Callable[[Job], Computed]) -> Computed:
        """The result of a computation of this model, by its present weights; see `Worker`."""
        return await self.worker.compute(self.job_key(key), work)

    def job_key(self, key: Hashable) -> Hashable:
        """The key of a computation in the worker: it also holds the model and its state."""
        return (self.name, key, self.state())

    def state(self) -> Hashable:
        """A number that differs for each state of the network that `notice_changes` has seen."""
        return self._changes.number

    def notice_changes(self) -> None:
        """Look for changes of the network; called at each request.

        While the worker runs the network, its hooks and modes are others. Changes are then noticed
        at a later request, when nothing is computed.
        """
        if self.worker.is_idle:
            self._changes.notice()

    def _prepare(self, photo: StoredPhoto) -> Tensor:
        return self.model.prepare(photo.read())
