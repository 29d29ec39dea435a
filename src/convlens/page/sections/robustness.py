"""The section on robustness: accuracy against epsilon, and a few photos at each epsilon."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convlens.analyses.attacks.dataset_pass import robustness
from convlens.analyses.attacks.diagnostics import MASKED_GRADIENTS, ONE_OUTPUT
from convlens.analyses.attacks.fgsm import fgsm
from convlens.analyses.attacks.fgsm_result import Fgsm
from convlens.analyses.attacks.internal_changes import InternalChanges, internal_changes
from convlens.analyses.attacks.robustness import Robustness
from convlens.data.images import to_pixels
from convlens.data.sampling import spread
from convlens.errors import ConvlensError
from convlens.html.charts import Series, line_chart
from convlens.html.pictures import SIDE, Picture, PictureBudget
from convlens.models.labels import class_name
from convlens.models.output_head import predict_with_probability
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding, Mark
from convlens.page.section import Section, Thumbnail
from convlens.passes.options import PassOptions
from convlens.results import Result
from convlens.results.reproduction import Reproduction
from convlens.wording import capitalized

EPSILONS = (1, 2, 4, 8)  # gray levels
PGD_STEPS = 5
SLIDES = 3  # photos whose adversarial images are shown at every epsilon
CHANGED = 3  # channels that are named as changed most
_PASSES = 30  # forward passes of one photo's attacks, about


@dataclass(frozen=True, eq=False)
class AttackSlides(Result):
    """One photo at several epsilons.

    Attributes:
        photo: its number among the photos of the report, from 0.
        epsilons: sizes of the changes in gray levels of 255, growing from 0.
        names: names of the predictions for x'.
        probabilities: probabilities of these predictions.
        noise_names: names of the predictions under random signs of the same size.
        against: name of the class that the photo is moved away from.
        attack: the images.
        internal_changes: what the largest epsilon changes in the network, or None for one without
            feature maps.
        channels: the channels that it changes most, as LAYER:K.
        changes: changes of these channels, in units of their own and their layer's size.
        noise_changes: changes of these channels under random signs of the same size.
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
class RobustnessResult(Result):
    """Accuracy against epsilon, and a few photos at each epsilon.

    Attributes:
        curve: share of right (or kept) predictions as epsilon grows.
        photos: numbers of the photos that the curve is computed on.
        slides: photos at each epsilon.
    """

    curve: Robustness
    photos: tuple[int, ...]
    slides: tuple[AttackSlides, ...]


@dataclass(frozen=True)
class _SlidesView:
    """Pictures of one photo at each epsilon; those that found no room are None.

    `maps` are Grad-CAM before and after the attack, or none.
    """

    slides: AttackSlides
    at: str
    pictures: list[Picture | None]
    maps: list[Picture | None]
    reproduction: Reproduction


class RobustnessSection(Section[RobustnessResult]):
    """How predictions withstand small changes of the pixels."""

    name = "robustness"
    title = "Robustness"
    budget = Budget(items=64, bytes=1_900_000, work=2.4e12)
    missing = "No accuracy against epsilon"

    def compute(self, inputs: Inputs) -> RobustnessResult:
        """The curve over as many photos as the budget allows, and the slides.

        Raises:
            ConvlensError: the network does not predict one class for each photo.
        """
        numbers = inputs.spread_labeled(self.budget.affordable(_PASSES * inputs.multiply_adds))
        curve = robustness(
            inputs.model,
            inputs.paths(numbers),
            [f"{level}/255" for level in EPSILONS],
            labels=inputs.labels(numbers),
            pgd_steps=PGD_STEPS,
            seed=inputs.options.seed,
            pass_options=PassOptions(
                progress=lambda _, done, total: inputs.stages.report("robustness", done, total)
            ),
        )
        slides = tuple(_attack(inputs, number) for number in spread(inputs.shown, SLIDES))
        return RobustnessResult(curve, numbers, slides)

    def findings(self, inputs: Inputs, result: RobustnessResult) -> Iterator[Finding]:
        """What the diagnostics of the attack say."""
        for diagnostic in result.curve.diagnostics:
            if diagnostic.name == ONE_OUTPUT:
                continue  # a finding about the predictions says it
            mark: Mark = "broken" if diagnostic.name == MASKED_GRADIENTS else "look"
            yield Finding(mark, f"{capitalized(diagnostic.message)}.", "robustness", rank=5)

    def thumbnail(self, inputs: Inputs, result: RobustnessResult, address: str) -> Thumbnail | None:
        """A photo that FGSM changes, at the smallest epsilon that changes its prediction."""
        if address != self.name or not result.slides:
            return None
        attacked = [
            (level, slides, index)
            for slides in result.slides
            for index, level in enumerate(slides.epsilons)
            if slides.names[index] != slides.names[0]
        ]
        level, slides, index = min(
            attacked or [(slides.epsilons[-1], slides, -1) for slides in result.slides],
            key=lambda entry: entry[0],
        )
        index %= len(slides.epsilons)
        return Thumbnail(
            to_pixels(slides.attack.adversarial(index), inputs.model.bounds)[0],
            f"{inputs.photos[slides.photo].name} at {level}/255, read as {slides.names[index]}",
        )

    def reproduction(self, inputs: Inputs, result: RobustnessResult) -> Reproduction:
        """The curve."""
        curve = result.curve
        epsilons = [f"{fraction * 255:.6g}/255" for fraction in curve.fractions[1:]]
        return inputs.reproducer.over_photos(
            "robustness",
            "fgsm",
            "robustness",
            [inputs.photos[number] for number in result.photos],
            words=["--epsilons", ",".join(epsilons), "--pgd-steps", str(curve.pgd_steps)],
            arguments=[
                f"{epsilons}",
                f"pgd_steps={curve.pgd_steps}",
                f"seed={inputs.options.seed}",
            ],
            labeled=curve.reference == "label",
        )

    def view(
        self, inputs: Inputs, result: RobustnessResult, pictures: PictureBudget
    ) -> dict[str, Any]:
        """The chart, and the photos at each epsilon: adversarial images to the pixel."""
        slides = []
        for number, entry in enumerate(result.slides):
            frames = []
            for index, level in enumerate(entry.epsilons):
                pixels = to_pixels(entry.attack.adversarial(index), inputs.model.bounds)[0]
                frames.append(pictures.photo(pixels, exact=level > 0))
            changes = entry.internal_changes
            maps = changes.pictures() if changes is not None else {}
            small = [pictures.photo(pixels, side=SIDE // 2) for pixels in maps.values()]
            slides.append(
                _SlidesView(entry, f"slides.{number}", frames, small, _reproduce(inputs, entry))
            )
        curve = result.curve
        return {
            "slides": slides,
            "chart": line_chart(
                [fraction * 255 for fraction in curve.fractions],
                [Series(line.name, line.accuracies, line.low, line.high) for line in curve.curves],
            ),
        }


def _attack(inputs: Inputs, number: int) -> AttackSlides:
    model, seed = inputs.model, inputs.options.seed
    levels = (0, *EPSILONS)
    image = inputs.images[number]
    attack = fgsm(model, image, [f"{level}/255" for level in levels], seed=seed)
    assert attack.adversarial_logits is not None
    assert attack.noise_predictions is not None
    classes, confidences = predict_with_probability(
        attack.adversarial_logits[:, 0], attack.output_head
    )
    changes = _internal_changes(inputs, attack)
    most = changes.most_changed(CHANGED) if changes else []
    return AttackSlides(
        photo=number,
        epsilons=levels,
        names=tuple(class_name(model.labels, at) for at in classes.tolist()),
        probabilities=tuple(confidences.tolist()),
        noise_names=tuple(
            class_name(model.labels, at) for at in attack.noise_predictions[:, 0].tolist()
        ),
        against=attack.names[0],
        attack=attack,
        internal_changes=changes,
        channels=tuple(f"{layer}:{channel}" for layer, channel, _, _ in most),
        changes=tuple(change for _, _, change, _ in most),
        noise_changes=tuple(noise for _, _, _, noise in most),
    )


def _internal_changes(inputs: Inputs, attack: Fgsm) -> InternalChanges | None:
    """What the largest epsilon changes, or None for a network without feature maps."""
    try:
        return internal_changes(inputs.model, attack, seed=inputs.options.seed)
    except ConvlensError:
        return None


def _reproduce(inputs: Inputs, slides: AttackSlides) -> Reproduction:
    path = inputs.photos[slides.photo].path
    epsilons = [f"{level}/255" for level in slides.epsilons]
    seed = inputs.options.seed
    attack = f"convlens.fgsm(model, model.prepare({path!r}), {epsilons}, seed={seed})"
    name = f"fgsm-photo-{slides.photo + 1}"
    words = ["fgsm", path, "--epsilons", ",".join(epsilons)]
    if slides.internal_changes is None:
        return inputs.reproducer.reproduction(name, words, attack)
    return inputs.reproducer.reproduction(
        name,
        [*words, "--internal-changes"],
        f"convlens.internal_changes(model, attack, seed={seed})",
        preparation=f"attack = {attack}\nattack.save({f'{name}-images'!r})",
    )


SECTION = RobustnessSection()
