"""The results of `attack_photos`: the numbers of each photo, and the curve over all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from convlens.analyses.attacks.diagnostics import Diagnostic
from convlens.analyses.attacks.fgsm_result import Fgsm
from convlens.analyses.attacks.robustness import Robustness
from convlens.errors import ConvlensError
from convlens.files import NUMBERS
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class PhotoFlip(Result):
    """The numbers of a photo's `Flip`.

    Attributes:
        level: the smallest of the gray levels that changes the prediction; None if none does.
        highest_level: the highest gray level that was tried.
        prediction: the name of the prediction at `level` (at `highest_level` if there is none).
        reverted: a higher level gives the original prediction again.
        noise_flipped: random signs of the same size change the prediction, too.
        largest_change: the largest change as measured on the file, in gray levels.
    """

    level: int | None
    highest_level: int
    prediction: str
    reverted: bool
    noise_flipped: bool
    largest_change: int


@dataclass(frozen=True, eq=False)
class ChannelChange(Result):
    """How much the largest epsilon changes one channel.

    Attributes:
        layer: the name of the layer.
        channel: the number of the channel.
        change: the change, as `internal_changes` defines it.
        noise_change: the change under random signs of the same size.
    """

    layer: str
    channel: int
    change: float
    noise_change: float


@dataclass(frozen=True, eq=False)
class PhotoAttack(Result):
    """The numbers of the attacks on one photo.

    Attributes:
        photo: the name of its folder in the output.
        class_name: the name of the class t that is moved away from, or towards a target.
        class_origin: where t comes from: "prediction", "label", "given" or "target".
        prediction: the name of the prediction for the unchanged photo.
        epsilons: the largest change of a pixel, in the units of the image.
        fractions: the same, as fractions of the span of the bounds.
        adversarial_predictions: for each epsilon the name of the prediction under FGSM.
        flipped: for each epsilon whether that is another prediction.
        noise_predictions: for each epsilon the name of the prediction under random signs.
        noise_flipped: for each epsilon whether that is another prediction.
        largest_changes: for each epsilon the largest change as measured, in the units of the image.
        flip: the smallest change that flips the prediction; None towards a target.
        changed_channels: the channels that the largest epsilon changes most; empty unless asked
            for.
        diagnostics: reasons not to trust these numbers.
    """

    photo: str
    class_name: str
    class_origin: str
    prediction: str
    epsilons: tuple[float, ...]
    fractions: tuple[float, ...]
    adversarial_predictions: tuple[str, ...]
    flipped: tuple[bool, ...]
    noise_predictions: tuple[str, ...]
    noise_flipped: tuple[bool, ...]
    largest_changes: tuple[float, ...]
    flip: PhotoFlip | None
    changed_channels: tuple[ChannelChange, ...]
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, eq=False)
class PhotoAttacks(NetworkResult):
    """Attacks on photos whose images lie in a folder.

    Attributes:
        folder: where the images lie.
        attacks: the numbers of each photo with a folder, in the order of the photos.
        curve: accuracy against epsilon over all photos; None for one photo, and where the class t
            is given, because another class says nothing about accuracy.
        skipped: the photos that could not be read, with the reason.
        formula: the formula of the adversarial images.
    """

    folder_title: ClassVar[str] = "FGSM"
    numbers_fields: ClassVar[Mapping[str, tuple[Any, str] | None]] = {
        "folder": None,  # the numbers lie in it, wherever it is moved
        "photos": (
            dict[str, Fgsm],
            "The attack on each photo, by the name of its folder; with `flip`, a Flip, and "
            "`internal_changes`, an InternalChanges, if these were computed.",
        ),
    }

    folder: str
    attacks: tuple[PhotoAttack, ...]
    curve: Robustness | None
    skipped: tuple[str, ...]
    formula: str

    def __getitem__(self, photo: str) -> Fgsm:
        """The adversarial images of a photo, read from the folder."""
        return Fgsm.load(Path(self.folder) / photo)

    def summary(self) -> str:
        """How many photos were attacked, and how the largest epsilon changes their answers."""
        if self.curve is not None:
            return self.curve.summary()
        flipped = sum(attack.flipped[-1] for attack in self.attacks if attack.flipped)
        count = counted(len(self.attacks), "photo")
        return f"the largest epsilon changes the answer for {flipped} of {count}"

    def table(self) -> Table:
        """For each photo its answer, and the smallest change that flips it."""
        return Table.of(
            ["photo", "answer", "flips at", "to"],
            [
                [
                    attack.photo,
                    attack.prediction,
                    "" if attack.flip is None or attack.flip.level is None
                    else f"{attack.flip.level}/255",
                    "" if attack.flip is None or attack.flip.level is None
                    else attack.flip.prediction,
                ]
                for attack in self.attacks
            ],
        )  # fmt: skip

    def figure(self) -> "Figure":
        """The curve; without one the images of the first photo, read from the folder."""
        if self.curve is not None:
            return self.curve.figure()
        if not self.attacks:
            raise ConvlensError("no photo was attacked, so there is nothing to draw")
        return self[self.attacks[0].photo].figure()

    @property
    def numbers_path(self) -> Path:
        """The JSON file with the numbers of all results."""
        return Path(self.folder) / NUMBERS

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Reasons not to trust the numbers: the curve's, or else one per name of the photos'."""
        if self.curve is not None:
            return self.curve.diagnostics
        by_name = {
            diagnostic.name: diagnostic
            for attack in self.attacks
            for diagnostic in attack.diagnostics
        }
        return tuple(by_name.values())
