"""The filters of a convolution at several moments of a training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F

from convlens.analyses.filters.filters import Filters, filters
from convlens.drawing import add_title, enlarge, make_grid, make_sheet
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.results import Result

_TILE = 44  # pixels that a filter is enlarged to, about
_ROWS = 16  # of filters, before another block of columns begins


@dataclass(frozen=True, eq=False)
class FiltersOverTraining(Result):
    """One convolution's filters after several numbers of training steps.

    Attributes:
        layer: its dotted name.
        steps: training steps done, increasing.
        filters: those at each of these steps, all with one scale, the greatest absolute weight
            of all.
    """

    layer: str
    steps: tuple[int, ...]
    filters: tuple[Filters, ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Which channels the filters give."""
        return self.filters[0].channels

    @property
    def scale(self) -> float:
        """Greatest absolute weight at any of the steps; all are drawn on this one scale."""
        return self.filters[0].scale

    def pictures(self) -> dict[str, Tensor]:
        """A row for each filter and a column for each step, in blocks of 16 rows side by side."""
        times = [one.tiles() for one in self.filters]
        enlarged = max(1, _TILE // max(times[0][0].shape[:2]))
        blocks = []
        for start in range(0, len(times[0]), _ROWS):
            rows = range(start, min(start + _ROWS, len(times[0])))
            blocks.append(
                make_sheet(
                    [enlarge(column[row], enlarged) for row in rows for column in times],
                    len(times),
                    heads=[f"{step:,}" for step in self.steps],
                    sides=[str(self.channels[row]) for row in rows],
                    gap=4,
                )
            )
        most = max(map(len, blocks))
        level = [F.pad(one, (0, 0, 0, 0, 0, most - len(one)), value=255) for one in blocks]
        drawn = self.filters[0].with_bar(make_grid(level, len(level), gap=2 * enlarged))
        return {
            "over_training": add_title(
                drawn, f"{self.layer}: {len(times[0])} filters as they grew",
                "a row a channel, a column a number of training steps done",
            )
        }  # fmt: skip


def filters_over_training(
    moments: Sequence[tuple[int, Model]], *, layer: str | None = None
) -> FiltersOverTraining:
    """How the filters of a convolution grew.

    Args:
        moments: training steps done and the model as it was then, as
            `convlens.models.loading.load_checkpoints` gives them.
        layer: dotted name of a convolution; default: the first that an image meets.

    Raises:
        ConvlensError: no moments, no such convolution, or filters of different shapes.
    """
    if not moments:
        raise ConvlensError("no moments of a training were given; give (step, model) pairs")
    ordered = sorted(moments, key=lambda moment: moment[0])
    found = [filters(model, layer=layer) for _, model in ordered]
    shapes = {tuple(one.weights.shape) for one in found}
    if len(shapes) > 1:
        raise ConvlensError(
            f"filters of shapes {sorted(shapes)}: the moments are not of one training"
        )
    scale = max(one.scale for one in found)
    return FiltersOverTraining(
        layer=found[0].layer,
        steps=tuple(step for step, _ in ordered),
        filters=tuple(replace(one, scale=scale) for one in found),
    )
