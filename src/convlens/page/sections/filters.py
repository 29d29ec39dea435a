"""The section on filters: the weights of the first convolution."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convlens.analyses.filters.filters import Filters, filters
from convlens.data.sampling import spread
from convlens.drawing import enlarge, make_grid
from convlens.html import scales
from convlens.html.pictures import Picture, PictureBudget
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding
from convlens.page.section import Section, Thumbnail
from convlens.results import Result
from convlens.results.reproduction import Reproduction
from convlens.wording import counted, enumerated

_TILE = 48  # CSS pixels of a filter, at most
_FEW = 16  # filters of the thumbnail


@dataclass(frozen=True, eq=False)
class FiltersResult(Result):
    """The filters with their norms as plain numbers.

    Attributes:
        filters: filters of the first convolution.
        norms: for each filter the root of its summed squared weights.
        silent: numbers of the filters whose norm is next to nothing.
    """

    filters: Filters
    norms: tuple[float, ...]
    silent: tuple[int, ...]


@dataclass(frozen=True)
class _Tile:
    number: int
    picture: Picture | None
    silent: bool


class FiltersSection(Section[FiltersResult]):
    """The filters of the first convolution."""

    name = "filters"
    title = "Filters"
    budget = Budget(items=256, bytes=1_000_000)
    missing = "No filters"

    def compute(self, inputs: Inputs) -> FiltersResult:
        """The filters.

        Raises:
            ConvlensError: the network runs no convolution on the image.
        """
        first = filters(inputs.model)
        return FiltersResult(first, tuple(first.norms.tolist()), first.silent)

    def findings(self, inputs: Inputs, result: FiltersResult) -> Iterator[Finding]:
        """Filters that have learned next to nothing."""
        if result.silent:
            names = enumerated([str(number) for number in result.silent])
            yield Finding(
                "look",
                f"{len(result.silent)} of {counted(len(result.norms), 'filter')} of "
                f"{result.filters.layer} have next to no weight (norm below 1/10,000 of the "
                f"greatest): {names}.",
                "filters", rank=8,
            )  # fmt: skip

    def thumbnail(self, inputs: Inputs, result: FiltersResult, address: str) -> Thumbnail | None:
        """Filters, evenly spread."""
        if address != self.name:
            return None
        tiles = spread(result.filters.tiles(), _FEW)
        tiles = [enlarge(tile, max(1, _TILE // max(tile.shape[:2]))) for tile in tiles]
        side = math.isqrt(len(tiles))
        grid = make_grid(tiles[: side * side], columns=side)
        return Thumbnail(grid, f"filters of {result.filters.layer}")

    def left_out(self, inputs: Inputs, result: FiltersResult) -> Iterator[str]:
        """Filters beyond the budget."""
        total = len(result.filters.weights)
        if total > self.budget.items:
            yield f"{self.budget.items} of {counted(total, 'filter')} are shown, evenly spread"

    def reproduction(self, inputs: Inputs, result: FiltersResult) -> Reproduction:
        """The filters."""
        return inputs.reproducer.reproduction("filters", ["filters"], "convlens.filters(model)")

    def view(
        self, inputs: Inputs, result: FiltersResult, pictures: PictureBudget
    ) -> dict[str, Any]:
        """One picture for each filter, and the scale of the weights."""
        tiles = []
        for number, pixels in spread(list(enumerate(result.filters.tiles())), self.budget.items):
            times = max(1, _TILE // max(pixels.shape[:2]))
            picture = pictures.pixelated(pixels, times)
            tiles.append(_Tile(number, picture, number in result.silent))
        color = result.filters.first and result.filters.weights.shape[1] == 3
        return {
            "tiles": [tile for tile in tiles if tile.picture is not None],
            "scale": scales.grays() if color else scales.signed(),
        }


SECTION = FiltersSection()
