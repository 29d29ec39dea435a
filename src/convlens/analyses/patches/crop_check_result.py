"""The result of the check that units have the same activation on their receptive fields alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from convlens.results import Result
from convlens.wording import counted

TOLERANCE = 1e-5  # of the layer's root mean square: differences up to here are rounding


@dataclass(frozen=True, eq=False)
class CropCheck(Result):
    """Whether units have the same activation when they see only their receptive fields.

    Attributes:
        checked: number of units whose activation was computed again.
        largest_difference: greatest difference of activation, in root mean squares of the layer;
            None where nothing was checked.
        global_units: number of units that see the whole image, which have no crop to check.
        sees_whole_image: whether the layer also depends on the whole image by a global operation,
            so that only its local field can be shown.
        rounding: greatest difference of the layer's activations from those in double precision, on
            the image of the unit that differs most, in root mean squares of the layer; 0 where the
            differences are so small that it was not measured.
    """

    checked: int
    largest_difference: float | None
    global_units: int
    sees_whole_image: bool
    rounding: float = 0.0

    @property
    def holds(self) -> bool | None:
        """Whether all differences are rounding; None where nothing was checked.

        Two activations that are equal on paper differ by at most the sum of their two errors.
        """
        if self.largest_difference is None:
            return None
        return self.largest_difference <= max(TOLERANCE, 2 * self.rounding)

    def short_summary(self) -> str:
        """The result in a few words, for tables."""
        if self.sees_whole_image:
            return "local field only"
        phrases = []
        if self.holds is False:
            phrases.append(
                f"{self.checked} run again, one DIFFERS by {self.largest_difference:.1g} RMS"
            )
        elif self.holds:
            phrases.append(f"{self.checked} the same")
        if self.global_units:
            phrases.append(f"{self.global_units} see the whole image")
        return ", ".join(phrases)

    def summary(self) -> str:
        """The result in words."""
        if self.sees_whole_image:
            return "local field of a layer that also depends on the whole image: not checked"
        parts = []
        if self.largest_difference is not None:
            verdict = "the same activation" if self.holds else "ANOTHER ACTIVATION"
            within = (
                f"within {self.largest_difference:.1g} of the layer's RMS"
                if self.largest_difference
                else "in every bit"
            )
            parts.append(f"{self.checked} crops run again alone give {verdict} ({within})")
        if self.global_units:
            units = counted(self.global_units, "unit")
            see = "sees" if self.global_units == 1 else "see"
            parts.append(f"{units} {see} the whole image, of which there is no crop")
        return "; ".join(parts)


def merge_crop_checks(checks: Sequence[CropCheck]) -> CropCheck:
    """Combine several checks of one layer into one."""
    differences = [
        check.largest_difference for check in checks if check.largest_difference is not None
    ]
    return CropCheck(
        checked=sum(check.checked for check in checks),
        largest_difference=max(differences, default=None),
        global_units=sum(check.global_units for check in checks),
        sees_whole_image=any(check.sees_whole_image for check in checks),
        rounding=max((check.rounding for check in checks), default=0.0),
    )
