"""How to make a picture again: the command line, and the same in Python."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from convlens.analyses.deepdream.deepdream import Dream
from convlens.analyses.maximize.result import MaximizedImages
from convlens.errors import ConvlensError
from convlens.models.labels import class_name, find_class
from convlens.models.model import Model
from convlens.page.schema import PhotoReport, Report, Slide


@dataclass(frozen=True)
class Again:
    """A command, or None for a network that no command line can name, and Python lines."""

    command: str | None
    python: str


class Recipes:
    """Commands and Python lines for one report."""

    def __init__(self, model: Model, made: Report) -> None:
        self._model = model
        self._made = made
        self._photos = made.photos
        self._seed = made.options["seed"]
        self._layer = made.options["layer"]
        self._boxes = made.options["boxes"]
        self._options, arguments = _options(model, self._seed)
        if model.spec is None:
            self._load = "# model: your own network, in convlens.wrap(...)"
        else:
            self._load = f"model = convlens.load({', '.join(arguments)})"

    def gradcam(self, photo: PhotoReport) -> Again:
        """The maps of one photo."""
        assert photo.gradcam is not None
        cam = photo.gradcam
        pairs = list(zip(cam.classes[0].tolist(), cam.subtracted[0].tolist(), strict=True))
        # In Python the indices; a difference is text.
        classes = [one if other < 0 else f"{one} - {other}" for one, other in pairs]
        layer = ["--layer", str(self._layer)] if self._layer else []
        layer += ["--boxes", str(self._boxes)] if self._boxes else []
        words = []
        for one, other in pairs:
            name = self._class(one)
            words += ["--class", name if other < 0 else f"{name} - {self._class(other)}"]
        named = f", layer={self._layer!r}" if self._layer else ""
        return self._make(
            ["gradcam", photo.path, *words, *layer],
            f"convlens.gradcam(model, model.prepare({photo.path!r}), classes={classes}{named})",
        )

    def randomization(self) -> Again:
        """The sanity check of the maps, on the first photos and with more draws than here."""
        paths = [one.path for one in self._photos if one.gradcam is not None][:4]
        layer = ["--layer", str(self._layer)] if self._layer else []
        named = f", layer={self._layer!r}" if self._layer else ""
        return self._make(
            ["gradcam", *paths, "--randomize", *layer],
            f"convlens.randomization(model, model.prepare({paths}){named}, seed={self._seed})",
        )

    def flip(self, photo: PhotoReport) -> Again:
        """The adversarial PNG of one photo."""
        assert photo.turn is not None
        epsilon = f"{photo.turn.level}/255"
        return self._make(
            ["fgsm", photo.path, "--epsilon", epsilon],
            f"attack = convlens.fgsm(model, model.prepare({photo.path!r}), [{epsilon!r}])\n"
            f"convlens.find_flip(model, attack, seed={self._seed})",
        )

    def robustness(self) -> Again:
        """The accuracy-epsilon curve; labels can stand in Python only."""
        found = self._made.robustness
        assert found is not None
        epsilons = [f"{fraction * 255:.6g}/255" for fraction in found.fractions[1:]]
        photos = [self._photos[number] for number in self._made.attacked]
        words = ["--epsilon", ",".join(epsilons), "--pgd", str(found.steps)]
        return self._over(
            photos,
            ["fgsm", *(one.path for one in photos), *words],
            "robustness",
            f"{epsilons}",
            f"steps={found.steps}",
            labeled=found.reference == "label",
        )

    def slide(self, slide: Slide) -> Again:
        """The adversarial images of one photo."""
        path = self._photos[slide.photo].path
        epsilons = [f"{level}/255" for level in slide.epsilons]
        return self._make(
            ["fgsm", path, "--epsilon", ",".join(epsilons), "--internal-changes"],
            f"attack = convlens.fgsm(model, model.prepare({path!r}), {epsilons})\n"
            f"convlens.internal_changes(model, attack, seed={self._seed})",
        )

    def shift(self, every: int) -> Again:
        """Equivariance, consistency and the map; labels can stand in Python only."""
        photos = [self._photos[number] for number in self._made.shifted]
        return self._over(
            photos,
            ["shift", *(one.path for one in photos), "--every", str(every)],
            "shift",
            f"every={every}",
            labeled=self._made.shift is not None and self._made.shift.right is not None,
        )

    def _over(
        self,
        photos: Sequence[PhotoReport],
        words: Sequence[str],
        function: str,
        *arguments: str,
        labeled: bool,
    ) -> Again:
        """A function over several photos; a command takes labels from a file."""
        labels = [f"labels={[one.expected for one in photos]}"] if labeled else []
        given = ", ".join(
            [f"{[one.path for one in photos]}", *arguments, *labels, f"seed={self._seed}"]
        )
        again = self._make(words, f"convlens.{function}(model, {given})")
        return Again(None, again.python) if labeled else again

    def filters(self) -> Again:
        """The first layer's filters."""
        return self._make(["filters"], "convlens.filters(model)")

    def fits(self) -> Again:
        """The Gabor functions nearest to the first layer's filters, with more noise than here."""
        return self._make(["filters", "--fit"], f"convlens.fit_gabor(model, seed={self._seed})")

    def dream(self, photo: str, dreamt: Dream) -> Again:
        """The dream of a photo; its size is not that of the model's images."""
        side, octaves, steps = max(dreamt.image.shape), len(dreamt.sizes), dreamt.objective.shape[1]
        again = self._make(
            ["dream", photo, "--layer", dreamt.layer, "--octaves", f"{octaves}",
             "--steps", f"{steps - 1}"],
            f"convlens.dream(model, {photo!r}, layer={dreamt.layer!r}, octaves={octaves}, "
            f"steps={steps - 1}, size={side}, seed={dreamt.seed})",
        )  # fmt: skip
        if again.command is None:
            return again
        words = shlex.split(again.command)
        if "--size" in words:
            words[words.index("--size") + 1] = f"{side}"
        else:
            words += ["--size", f"{side}"]
        return Again(shlex.join(words), again.python)

    def maps(self, photo: str, layer: str) -> Again:
        """The feature maps of a layer on a photo, all of them."""
        return self._make(
            ["maps", photo, "--layer", layer],
            f"convlens.feature_maps(model, model.prepare({photo!r}), layer={layer!r})",
        )

    def tuning(self, layer: str) -> Again:
        """What gratings make the channels of a layer fire."""
        return self._make(
            ["tuning", "--layer", layer, "--orientations", "8", "--phases", "8"],
            f"convlens.orientation_tuning(model, layer={layer!r}, orientations=8, phases=8)",
        )

    def patches(self, layer: str) -> Again:
        """What excites the channels of a layer; the photos are those of the page."""
        paths = [one.path for one in self._photos]
        return self._make(
            ["patches", *paths, "--layer", layer],
            f"convlens.patches(model, {paths}, layers=[{layer!r}])",
        )

    def maximized(self, found: MaximizedImages) -> Again:
        """The images of some targets; beside what photos reach only on the page."""
        targets = [one.objective for one in found.maxima]
        height, width = found.maxima[0].images.shape[2:]
        words = [
            word
            for one in found.maxima
            for word in ("--channel" if one.layer else "--class", one.objective)
        ]
        canvas = f"{height}" if height == width else f"{height}x{width}"
        return self._make(
            ["maximize", *words, "--steps", str(found.steps), "--image-size", canvas],
            f"convlens.maximize(model, {targets}, steps={found.steps}, "
            f"image_size={(height, width)}, seed={self._seed})",
        )

    def anatomy(self) -> Again:
        """The table of layers."""
        return self._make(["anatomy"], "convlens.anatomy(model)")

    def doctor(self, photos: Sequence[PhotoReport], *, labeled: bool) -> Again:
        """The readings; labels can stand in Python only, as a command takes them from a file."""
        paths = [one.path for one in photos]
        right = f", labels={[one.expected for one in photos]}" if labeled else ""
        again = self._make(
            ["doctor", *paths], f"convlens.check_preprocessing(model, {paths}{right})"
        )
        return Again(None, again.python) if labeled else again

    def _make(self, words: Sequence[str], line: str) -> Again:
        command = None
        if self._model.spec is not None:
            command = shlex.join(["convlens", *words, *self._options])
        return Again(command, f"import convlens\n{self._load}\n{line}")

    def _class(self, index: int) -> str:
        """The class by name, or by index where the name is not its own alone."""
        name = class_name(self._model.labels, index)
        try:
            own = find_class(self._model.labels, name, index + 1) == index
        except ConvlensError:
            own = False
        return name if own else str(index)


def _options(model: Model, seed: object) -> tuple[list[str], list[str]]:
    """What loads the same model: words of the command line, and arguments of `load`."""
    words: list[str] = []
    arguments: list[str] = []
    if model.spec not in (None, "default"):
        words += ["--model", str(model.spec)]
        arguments.append(repr(model.spec))
    if model.spec != "default" or model.size != (224, 224):
        height, width = model.size
        words += ["--size", f"{height}" if height == width else f"{height}x{width}"]
        arguments.append(f"size={height if height == width else model.size}")
    if model.device.type != "cpu":
        words += ["--device", str(model.device)]
        arguments.append(f"device={str(model.device)!r}")
    if seed:
        words += ["--seed", str(seed)]
        arguments.append(f"seed={seed}")
    return words, arguments
