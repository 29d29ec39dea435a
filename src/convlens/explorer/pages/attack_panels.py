"""The parts of the photo page that change the photo: FGSM at several epsilons, and shifts."""

from dataclasses import dataclass

import torch

from convlens.analyses.attacks.figures import draw_signs
from convlens.explorer.pages.photo_panels import draw_stage
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.rendering import to_picture
from convlens.explorer.session import LEVELS, Session
from convlens.html.pictures import Picture, PictureBudget
from convlens.models.labels import class_name
from convlens.models.output_head import prediction_probabilities
from convlens.results.reproduction import Reproduction
from convlens.wording import percent


@dataclass(frozen=True)
class AttackLevel:
    """The answer at one epsilon.

    Attributes:
        level: gray levels by which every pixel changes; 0 is the photo itself.
        name: the prediction.
        probability: its probability.
        flipped: whether it is another one than for the photo.
        noise_name: the prediction under random signs of the same size.
        noise_flipped: whether that is another one than for the photo.
    """

    level: int
    name: str
    probability: float
    flipped: bool
    noise_name: str
    noise_flipped: bool


@dataclass(frozen=True)
class AttackPanel:
    """FGSM on a photo.

    Attributes:
        signs: the signs of the gradient as levels 0, 128 and 255 of each color, in a picture of
            the photo's size, from which the browser composes the image at each epsilon.
        levels: the answers, the photo itself first.
        chosen: number of the level that is shown at first.
        summary: at which epsilon the answer changes.
        reproduction: what computes it again.
    """

    signs: Picture | None
    levels: list[AttackLevel]
    chosen: int
    summary: str
    reproduction: Reproduction


@dataclass(frozen=True)
class ShiftPanel:
    """A shifted photo.

    Attributes:
        picture: the shifted photo.
        offset: rows downward and columns to the right.
        answers: name and probability of the first predictions.
        summary: what the shift does to the answer.
        reproduction: what computes the predictions again.
    """

    picture: Picture | None
    offset: tuple[int, int]
    answers: list[tuple[str, float]]
    summary: str
    reproduction: Reproduction


async def make_attack_panel(
    session: Session, photo: StoredPhoto, level: int, budget: PictureBudget
) -> AttackPanel:
    """FGSM against the network's own prediction.

    Args:
        session: the session.
        photo: the photo.
        level: gray levels that are shown at first.
        budget: makes the picture of the signs.

    Raises:
        ConvlensError: FGSM does not apply to the network.
    """
    attack, reproduction = await session.attack(photo)
    assert attack.adversarial_logits is not None
    assert attack.noise_predictions is not None
    assert attack.flipped is not None
    assert attack.noise_flipped is not None
    logits = torch.cat([attack.logits[None], attack.adversarial_logits])[:, 0]
    predictions = attack.predictions
    assert attack.adversarial_predictions is not None
    classes = torch.cat([predictions, attack.adversarial_predictions[:, 0]])
    noise = torch.cat([predictions, attack.noise_predictions[:, 0]])
    shares = prediction_probabilities(logits, classes[:, None], attack.output_head)[:, 0]
    labels = session.model.labels
    levels = [
        AttackLevel(
            level=size,
            name=class_name(labels, int(classes[number])),
            probability=float(shares[number]),
            flipped=int(classes[number]) != int(predictions[0]),
            noise_name=class_name(labels, int(noise[number])),
            noise_flipped=int(noise[number]) != int(predictions[0]),
        )
        for number, size in enumerate((0, *LEVELS))
    ]
    signs = draw_signs(attack.signs)[0]
    picture = budget.photo(signs.expand(-1, -1, 3).contiguous(), exact=True)
    sizes = [shown.level for shown in levels]
    return AttackPanel(
        signs=picture,
        levels=levels,
        chosen=sizes.index(level) if level in sizes else 0,
        summary=_summarize(levels),
        reproduction=reproduction,
    )


def _summarize(levels: list[AttackLevel]) -> str:
    """At which epsilon the answer changes, and whether random signs of that size change it."""
    first = next((shown for shown in levels if shown.flipped), None)
    if first is None:
        return f"No tested epsilon up to {levels[-1].level}/255 changes the answer {levels[0].name}"
    noise = "change it too" if first.noise_flipped else "do not change it"
    return (
        f"At {first.level}/255, the smallest tested epsilon that changes the answer, it becomes "
        f"{first.name} ({percent(first.probability)}); random signs of that size {noise}"
    )


async def make_shift_panel(
    session: Session, photo: StoredPhoto, offset: tuple[int, int], budget: PictureBudget
) -> ShiftPanel:
    """A photo that is shifted around its edges, and the answer for it.

    Raises:
        ConvlensError: the network returns no class scores.
    """
    shifted, predictions, reproduction = await session.shifted(photo, offset)
    before = await session.predictions(photo)
    share, share_before = float(predictions.confidences[0, 0]), float(before.confidences[0, 0])
    first, answer = before.names[0][0], predictions.names[0][0]
    if int(predictions.classes[0, 0]) == int(before.classes[0, 0]):
        change = f"keeps the answer {answer}: {percent(share)}, before {percent(share_before)}"
    else:
        change = (
            f"changes the answer from {first} ({percent(share_before)}) to {answer} "
            f"({percent(share)})"
        )
    down, right = (str(pixels).replace("-", "−") for pixels in offset)
    summary = f"The shift by {down} rows and {right} columns {change}"
    return ShiftPanel(
        picture=draw_stage(to_picture(session, shifted), budget),
        offset=offset,
        answers=list(zip(predictions.names[0], predictions.confidences[0].tolist(), strict=True)),
        summary=summary,
        reproduction=reproduction,
    )
