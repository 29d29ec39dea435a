"""On how many photos Grad-CAM passes the check by deletion and insertion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from convlens.analyses.gradcam.deletion_insertion import DeletionInsertion
from convlens.passes.proportion import Proportion
from convlens.wording import counted, interval


@dataclass(frozen=True)
class MapChecks:
    """On how many photos Grad-CAM beats both controls.

    Attributes:
        deletion: share of the photos on which covering beats the controls.
        insertion: share of the photos on which uncovering beats the controls.
        both: share of the photos on which both do.
        failing: numbers of the photos on which one of them does not.
        holding: numbers of the photos on which both do.
    """

    deletion: Proportion
    insertion: Proportion
    both: Proportion
    failing: list[int]
    holding: list[int]

    @property
    def mark(self) -> Literal["fine", "look"]:
        """Fine where both intervals lie above one half."""
        return "fine" if min(self.deletion.low, self.insertion.low) > 0.5 else "look"

    def describe(self, noun: str) -> str:
        """How many maps hold, with the interval, and what that means; without a full stop.

        Args:
            noun: what is counted, such as "map".
        """
        both = self.both
        verb, marked = ("holds", "it marks") if both.count == 1 else ("hold", "they mark")
        return (
            f"{both.count} of {counted(both.total, noun)} {verb} "
            f"({interval(both.low, both.high)}): covering the pixels that {marked} lowers the "
            f"probability more than covering random or central ones (deletion), and uncovering "
            f"them raises it more (insertion)"
        )


def count_map_checks(curves: Mapping[int, DeletionInsertion]) -> MapChecks:
    """Count the photos on which the map of the first class beats the controls.

    Args:
        curves: for each photo, by its number; at least one.
    """
    deletion = {photo for photo, curve in curves.items() if curve.deletion_beats[0]}
    insertion = {photo for photo, curve in curves.items() if curve.insertion_beats[0]}
    both, count = deletion & insertion, len(curves)
    return MapChecks(
        deletion=Proportion.from_counts(len(deletion), count),
        insertion=Proportion.from_counts(len(insertion), count),
        both=Proportion.from_counts(len(both), count),
        failing=[photo for photo in curves if photo not in both],
        holding=[photo for photo in curves if photo in both],
    )
