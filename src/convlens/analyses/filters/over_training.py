"""The filters of a convolution over a training, from the checkpoints that the training saved."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor
from torch.nn import functional as F

from convlens.analyses.filters.filters import Filters, filters
from convlens.data.sampling import spread
from convlens.drawing import (
    Panel,
    Scale,
    add_title,
    enlarge,
    make_grid,
    make_sheet,
    picture_figure,
)
from convlens.errors import ConvlensError
from convlens.models.loading.checkpoints import load_checkpoints
from convlens.models.model import Model
from convlens.results import Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TILE = 44  # pixels, about: small filters are enlarged to this side
_MOST_DRAWN = 12  # filters in a figure
_LARGEST = 0.6  # inches of a filter in a figure
_ROWS = 16  # filters in a block; the next block stands beside it


@dataclass(frozen=True, eq=False)
class FiltersOverTraining(NetworkResult):
    """The filters of one convolution after several numbers of training steps.

    Attributes:
        layer: name of the convolution.
        steps: numbers of training steps, increasing.
        filters: the filters after each of them, all on one scale, the greatest absolute weight of
            all.
    """

    folder_title: ClassVar[str] = "Filters over training"

    layer: str
    steps: tuple[int, ...]
    filters: tuple[Filters, ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels whose filters these are."""
        return self.filters[0].channels

    @property
    def scale(self) -> float:
        """Greatest absolute weight at any of the steps, on which all filters are drawn."""
        return self.filters[0].scale

    def summary(self) -> str:
        """What was compared, in words."""
        return (
            f"{counted(len(self.channels), 'filter')} of {self.layer} after "
            f"{', '.join(f'{step:,}' for step in self.steps)} training steps"
        )

    def table(self) -> Table:
        """The mean norm of the filters at each step."""
        return Table.of(
            ["training steps", "mean norm", "greatest weight"],
            [
                [
                    f"{step:,}",
                    f"{float(entry.norms.mean()):.3g}",
                    f"{float(entry.weights.abs().max()):.3g}",
                ]
                for step, entry in zip(self.steps, self.filters, strict=True)
            ],
        )

    def figure(self) -> "Figure":
        """A row for each filter and a column for each step; at most twelve filters are drawn."""
        columns = [entry.tiles() for entry in self.filters]
        total = len(self.channels)
        indices = spread(range(total), _MOST_DRAWN)
        signed = not self.filters[0].colored
        rows = [
            [
                Panel(tiles[index], f"{step:,}" if index == indices[0] else "", signed)
                for step, tiles in zip(self.steps, columns, strict=True)
            ]
            for index in indices
        ]
        title = f"{self.layer}: filters after so many training steps"
        if len(indices) < total:
            title += f"; {len(indices)} of {total} filters"
        return picture_figure(
            rows,
            title=title,
            sides=[str(self.channels[index]) for index in indices],
            scale=Scale(self.filters[0].colors, -self.scale, self.scale, "weight"),
            largest=_LARGEST,
        )

    def pictures(self) -> dict[str, Tensor]:
        """A row for each filter and a column for each step, in blocks of 16 rows side by side."""
        columns = [step_filters.tiles() for step_filters in self.filters]
        factor = max(1, _TILE // max(columns[0][0].shape[:2]))
        blocks = []
        for start in range(0, len(columns[0]), _ROWS):
            rows = range(start, min(start + _ROWS, len(columns[0])))
            blocks.append(
                make_sheet(
                    [enlarge(column[row], factor) for row in rows for column in columns],
                    len(columns),
                    heads=[f"{step:,}" for step in self.steps],
                    sides=[str(self.channels[row]) for row in rows],
                    gap=4,
                )
            )
        height = max(map(len, blocks))
        level = [F.pad(block, (0, 0, 0, 0, 0, height - len(block)), value=255) for block in blocks]
        picture = self.filters[0].add_weight_bar(make_grid(level, len(level), gap=2 * factor))
        return {
            "over training": add_title(
                picture, f"{self.layer}: {counted(len(columns[0]), 'filter')} over training",
                "rows: channels; columns: training steps done",
            )
        }  # fmt: skip


@keep_warnings
def filters_over_training(
    checkpoints: str | Path | Sequence[tuple[int, Model]],
    *,
    layer: str | None = None,
    device: str | None = None,
) -> FiltersOverTraining:
    """The filters of a convolution at each checkpoint of a training.

    Args:
        checkpoints: the folder of a training; or pairs of the number of training steps and the
            model after them, as `convlens.load_checkpoints` returns them.
        layer: name of a convolution; default: the first one that an image meets.
        device: device on which the checkpoints of a folder are loaded; default: as for
            `convlens.load`.

    Returns:
        The filters in the order of the training steps, on one scale.

    Raises:
        ConvlensError: there are no checkpoints, or no such convolution, or the filters of the
            checkpoints differ in shape.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.3.

    Example:
        >>> import torch, convlens
        >>> models = [
        ...     convlens.wrap(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5)), size=8)
        ...     for _ in range(2)
        ... ]
        >>> convlens.filters_over_training([(0, models[0]), (100, models[1])]).steps
        (0, 100)
    """
    if isinstance(checkpoints, (str, Path)):
        checkpoints = load_checkpoints(checkpoints, device=device)
    if not checkpoints:
        raise ConvlensError("no checkpoints of a training were given; give (step, model) pairs")
    ordered = sorted(checkpoints, key=lambda checkpoint: checkpoint[0])
    step_filters = [filters(model, layer=layer) for _, model in ordered]
    shapes = {tuple(entry.weights.shape) for entry in step_filters}
    if len(shapes) > 1:
        raise ConvlensError(
            f"filters of shapes {sorted(shapes)}: the checkpoints are not of one training"
        )
    scale = max(entry.scale for entry in step_filters)
    return FiltersOverTraining(
        layer=step_filters[0].layer,
        steps=tuple(step for step, _ in ordered),
        filters=tuple(replace(entry, scale=scale) for entry in step_filters),
    )
