"""The contract of a section of the page."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

from convlens.html.pictures import PictureBudget
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding, Mark, Tile
from convlens.results import Result
from convlens.results.reproduction import Reproduction

SectionResult = TypeVar("SectionResult", bound=Result)


@dataclass(frozen=True)
class Thumbnail:
    """The small picture of something that has an address on the page.

    Attributes:
        pixels: uint8 `(H, W, 3)` or `(H, W)`, in any size; the page reduces it.
        caption: what it shows, in a few words.
    """

    pixels: Tensor
    caption: str


class Section(ABC, Generic[SectionResult]):
    """One section: computes a result, and says what the page shows of it.

    The docstring of `convlens.page.sections` explains how to add one.

    Attributes:
        name: name of the module, of the template, of the result in the report, and of the address
            on the page.
        title: heading and entry in the navigation.
        parent: name of the section inside which this one stands, or None. The template of the
            parent places its parts with `{{ parts }}`.
        budget: the most that it may take.
        missing: what the findings call the result if it cannot be computed, as in "No filters";
            empty for a section whose failure is no finding.
        failure_mark: mark of that finding.
        method: terms and explanations for the section on methods at the end of the page.
    """

    name: str
    title: str
    parent: str | None = None
    budget: Budget
    missing: str = ""
    failure_mark: Mark = "look"
    method: tuple[tuple[str, str], ...] = ()

    @abstractmethod
    def compute(self, inputs: Inputs) -> SectionResult | None:
        """The result, or None where there is nothing to show.

        It takes no more than the budget's items and work, and looks at no clock.

        Raises:
            ConvlensError: the network cannot give it; the page then shows the message.
        """

    @abstractmethod
    def reproduction(self, inputs: Inputs, result: SectionResult) -> Reproduction:
        """The command and the Python lines that compute the result again."""

    def findings(self, inputs: Inputs, result: SectionResult) -> Iterator[Finding]:
        """Sentences on what was measured; default: none."""
        yield from ()

    def tiles(self, inputs: Inputs, result: SectionResult) -> Iterator[Tile]:
        """Answers for the first screen, each with a number and pictures; default: none."""
        yield from ()

    def thumbnail(self, inputs: Inputs, result: SectionResult, address: str) -> Thumbnail | None:
        """The picture of a photo or channel of this section; default: none.

        Tiles and findings show it beside the link to that address.

        Args:
            inputs: inputs with the results of all sections.
            result: result of this section.
            address: address on the page, without `#`; it may be that of another section.
        """
        return None

    def left_out(self, inputs: Inputs, result: SectionResult) -> Iterator[str]:
        """What the budget left out, in sentences; default: nothing."""
        yield from ()

    def view(
        self, inputs: Inputs, result: SectionResult, pictures: PictureBudget
    ) -> dict[str, Any]:
        """Pictures, drawings and further reproductions, as variables of the template.

        The template is given besides: `result`, `reproduction`, `report`, `model` (the subject),
        `photos`, `failures`, `parts`, `number` (writes a number of this section by its path inside
        the result) and `report_number` (by its path inside the report).

        Args:
            inputs: inputs with the results of all sections.
            result: result of this section.
            pictures: makes pictures as long as the budget of bytes lasts.
        """
        return {}
