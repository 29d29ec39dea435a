"""How fragile it is, for a page: attacks over the photos, a few at each epsilon, and shifts."""

from collections.abc import Sequence
from pathlib import Path

from convlens.analyses.attacks.dataset_pass import robustness
from convlens.analyses.attacks.fgsm import Fgsm, fgsm
from convlens.analyses.attacks.internal_changes import InternalChanges, internal_changes
from convlens.analyses.attacks.robustness import Robustness
from convlens.analyses.shift.consistency import margin_of
from convlens.analyses.shift.dataset_pass import shift
from convlens.analyses.shift.shift import Shift
from convlens.errors import ConvlensError
from convlens.models.labels import class_name
from convlens.models.model import Model
from convlens.models.output_head import predict_with_probability
from convlens.page import budget
from convlens.page.budget import Budget, spread
from convlens.page.progress import Desk
from convlens.page.schema import PhotoReport, Slide
from convlens.passes.options import PassOptions

_ATTACKED = 30  # forward passes of a photo's attacks, about
_SHIFTED = 8  # forward passes of a photo's shifts


def attacked(
    model: Model, read: Sequence[PhotoReport], seed: int, desk: Desk
) -> tuple[Robustness, tuple[int, ...]]:
    """The accuracy-epsilon curve over as many photos as there is time for, and their numbers."""
    numbers = _affordable(read, budget.FRAGILITY, _ATTACKED, desk)
    chosen = [read[number] for number in numbers]
    found = robustness(
        model,
        [one.path for one in chosen],
        [f"{level}/255" for level in budget.EPSILONS],
        labels=_labels(chosen),
        steps=budget.PGD_STEPS,
        seed=seed,
        pass_options=PassOptions(
            progress=lambda stage, done, total: desk.tell("robustness", done, total)
        ),
    )
    return found, numbers


def slides_of(model: Model, read: Sequence[PhotoReport], seed: int) -> tuple[Slide, ...]:
    """A few of the photos that are shown, at every epsilon."""
    shown = [(number, one) for number, one in enumerate(read) if one.image is not None]
    slides = []
    for number, one in spread(shown, budget.SLIDES):
        assert one.image is not None
        levels = (0, *budget.EPSILONS)
        attack = fgsm(model, one.image, [f"{level}/255" for level in levels], seed=seed)
        assert attack.adversarial_logits is not None
        assert attack.noise_predictions is not None
        said, sure = predict_with_probability(attack.adversarial_logits[:, 0], attack.output_head)
        changed = _internal_changes(model, attack, seed)
        most = changed.most_changed(budget.CHANGED) if changed else []
        slides.append(
            Slide(
                photo=number,
                epsilons=levels,
                names=tuple(class_name(model.labels, at) for at in said.tolist()),
                probabilities=tuple(sure.tolist()),
                noise_names=tuple(
                    class_name(model.labels, at) for at in attack.noise_predictions[:, 0].tolist()
                ),
                against=attack.names[0],
                attack=attack,
                internal_changes=changed,
                channels=tuple(f"{layer}:{channel}" for layer, channel, _, _ in most),
                changes=tuple(change for _, _, change, _ in most),
                noise_changes=tuple(noise for _, _, _, noise in most),
            )
        )
    return tuple(slides)


def _internal_changes(model: Model, attack: Fgsm, seed: int) -> InternalChanges | None:
    """What the largest epsilon changes; a network without maps has nothing to look at."""
    try:
        return internal_changes(model, attack, seed=seed)
    except ConvlensError:
        return None


def shifted(
    model: Model, read: Sequence[PhotoReport], seed: int, desk: Desk
) -> tuple[Shift, tuple[int, ...]]:
    """Equivariance, consistency and the first photo's map, and the numbers of the photos."""
    numbers = _affordable(read, budget.SHIFT, _SHIFTED, desk)
    chosen = [read[number] for number in numbers]
    found = shift(
        model,
        [Path(one.path) for one in chosen],
        labels=_labels(chosen),
        every=every(model),
        seed=seed,
        pass_options=PassOptions(
            progress=lambda stage, done, total: desk.tell(f"shift, {stage}", done, total)
        ),
    )
    return found, numbers


def every(model: Model) -> int:
    """Pixels between the offsets of the map."""
    return max(1, margin_of(model) // (budget.OFFSETS - 1))


def _affordable(
    read: Sequence[PhotoReport], most: Budget, passes: int, desk: Desk
) -> tuple[int, ...]:
    """Numbers of photos spread over all, of those with a label where there are some."""
    each = desk.seconds.get("predictions", 0.0) / len(read)
    count = max(1, min(most.items, int(most.seconds / max(passes * each, 1e-9))))
    labeled = [number for number, one in enumerate(read) if one.expected]
    return tuple(spread(labeled or range(len(read)), count))


def _labels(chosen: Sequence[PhotoReport]) -> list[tuple[int, ...] | None] | None:
    return [one.expected for one in chosen] if chosen[0].expected else None
