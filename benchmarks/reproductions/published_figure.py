"""A published figure, what convlens computes in its place, and whether the two agree."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Weights and data that are not part of the project. Rows that need them name what is missing.
SHARED = ROOT.parent / "shared"
AGREES, DIFFERS, OTHER, MISSING = "agrees", "DIFFERS", "not comparable", "missing"


@dataclass(frozen=True)
class Outcome:
    """What was computed.

    Attributes:
        ours: the figure in words.
        verdict: "agrees", "DIFFERS", "not comparable" or "missing".
    """

    ours: str
    verdict: str


@dataclass(frozen=True)
class PublishedFigure:
    """A published figure.

    Attributes:
        quantity: what is measured.
        published: the published figure in words.
        source: where it is published.
        compute: measures it again.
        needs: files and folders without which it cannot be measured.
    """

    quantity: str
    published: str
    source: str
    compute: Callable[[], Outcome]
    needs: tuple[Path, ...] = ()

    def run(self) -> Outcome:
        """The outcome, or what is missing."""
        for path in self.needs:
            if not path.exists():
                return Outcome(f"there is no {path}", MISSING)
        return self.compute()


def judge(ours: str, agrees: bool) -> Outcome:
    """The outcome of a figure that is comparable."""
    return Outcome(ours, AGREES if agrees else DIFFERS)


def percent(share: float, digits: int = 1) -> str:
    """A share as percent, with digits after the point."""
    return f"{100 * share:.{digits}f} %"
