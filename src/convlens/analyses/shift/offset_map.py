"""The probability of one class at every offset of one photo, as a map."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.analyses.predictions.predictions import compute_logits
from convlens.analyses.shift.consistency import PROTOCOLS
from convlens.analyses.shift.views import crop, find_margin, pad_squashed
from convlens.capture.folded_networks import fold_batch_norms
from convlens.drawing import (
    add_color_bar,
    add_title,
    color_bar,
    enlarge,
    make_sheet,
    new_figure,
    sequential_colors,
)
from convlens.drawing.colormaps import SEQUENTIAL
from convlens.errors import ConvlensError
from convlens.models.labels import class_name
from convlens.models.model import Model
from convlens.models.output_head import predicted_classes, prediction_probabilities
from convlens.results import Result
from convlens.text import plot_text
from convlens.tracing.image_parts import even_parts
from convlens.tracing.tracer import trace as trace_network
from convlens.wording import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BATCH_SIZE = 32
_BAR = 120  # pixels
_SIDE = 264  # pixels of the picture over all offsets, about


@dataclass(frozen=True, eq=False)
class OffsetMap(Result):
    """The probability of one class at every offset of one photo.

    Attributes:
        protocol: "crop" or "circular".
        class_index: the class; -1 is "not class 0" of a network with one output.
        name: the name of the class.
        rows: the offsets in pixels from top to bottom (R of them).
        columns: the offsets from left to right (C of them).
        probabilities: float32 `(R, C)`.
        predictions: int64 `(R, C)`, the predicted class.
        lowest: the lowest probability.
        highest: the highest probability.
        predicted_share: the share of the offsets at which the class is predicted.
    """

    protocol: str
    class_index: int
    name: str
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    probabilities: Tensor
    predictions: Tensor
    lowest: float
    highest: float
    predicted_share: float

    def summary(self) -> str:
        """The range of the probability, in words."""
        return (
            f"probability of {self.name} over all offsets ({self.protocol}): {self.lowest:.3g} to "
            f"{self.highest:.3g}; predicted at {percent(self.predicted_share)} of the offsets"
        )

    def figure(self) -> "Figure":
        """The probability at every offset, with axes in pixels."""
        figure = new_figure(figsize=(4.4, 3.6))
        axes = figure.subplots()
        step_y, step_x = (
            (values[-1] - values[0]) / max(1, len(values) - 1) / 2 or 0.5
            for values in (self.rows, self.columns)
        )
        edges = (
            self.columns[0] - step_x, self.columns[-1] + step_x,
            self.rows[-1] + step_y, self.rows[0] - step_y,
        )  # fmt: skip
        image = axes.imshow(
            self.probabilities.numpy(), vmin=0, vmax=1, cmap=SEQUENTIAL, extent=edges
        )
        axes.set_xlabel(f"offset in pixels ({self.protocol})")
        axes.set_ylabel("offset in pixels")
        axes.set_title(plot_text(f"{self.name} at every offset"), fontsize=9)
        figure.colorbar(image, label="probability")
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """A cell for each offset, dark at probability 0 and light at 1, beside its color bar."""
        cells = enlarge(
            sequential_colors(self.probabilities, 0, 1),
            max(1, _SIDE // max(self.probabilities.shape)),
        )
        sheet = add_color_bar(
            make_sheet(
                [cells], 1, heads=[f"{self.columns[0]}\n{self.columns[-1]}"],
                sides=[f"{self.rows[0]}\n{self.rows[-1]}"],
            ),
            color_bar(_BAR, colors="sequential", upright=True),
            ("0", "0.5", "1"),
            f"probability of {self.name}",
        )  # fmt: skip
        descriptions = {
            "crop": "windows of the photo",
            "circular": "the image rolled around its edges",
        }
        return {
            f"offsets, {self.protocol}, {self.name}": add_title(
                sheet, f"{self.name} at every offset: {descriptions[self.protocol]}",
                f"probability {self.lowest:.3g} to {self.highest:.3g}; predicted at "
                f"{percent(self.predicted_share)} of the offsets",
                "across and down: offset in pixels",
            )
        }  # fmt: skip


@fold_batch_norms()
def map_offsets(
    model: Model,
    wide: Tensor,
    *,
    class_index: int | None = None,
    protocol: str = "crop",
    step: int = 1,
) -> OffsetMap:
    """Compute the probability of a class at every offset of one photo.

    Args:
        model: the model; left untouched.
        wide: a wide image `(1, C, H + margin, W + margin)`, as `with_margin(model).prepare(photo)`
            returns it; or an image `(1, C, H, W)`, which has circular shifts only.
        class_index: the class; default: the prediction for the center.
        protocol: "crop": windows from the upper left to the lower right corner; "circular": the
            center rolled by up to half a margin each way. Default: "crop".
        step: pixels from one offset to the next; default: 1.

    Returns:
        The map of probabilities.

    Raises:
        ConvlensError: if there is more than one photo, another protocol, or no room for crops.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        >>> model = convlens.wrap(network, size=8)
        >>> map_offsets(model, torch.rand(1, 3, 10, 11)).probabilities.shape
        torch.Size([3, 4])
    """
    if protocol not in PROTOCOLS or step < 1 or len(wide) != 1:
        raise ConvlensError(
            f"protocol {protocol!r}, step {step}, {len(wide)} photos; give one photo, "
            f"{' or '.join(PROTOCOLS)}, and a step of at least 1"
        )
    size = model.size
    if protocol == "crop":
        wide = pad_squashed(model, wide)
    down, across = (side - window for side, window in zip(wide.shape[2:], size, strict=True))
    center = crop(wide, down // 2, across // 2, size)
    if protocol == "crop":
        if min(down, across) < 1:
            raise ConvlensError(
                f"an image of {tuple(wide.shape[2:])} pixels leaves no room for crops of {size}"
            )
        rows, columns = range(0, down + 1, step), range(0, across + 1, step)
    else:
        half = find_margin(model) // 2
        rows = columns = range(-half, half + 1, step)
    trace = trace_network(model, center)
    offsets = [(y, x) for y in rows for x in columns]
    parts = []
    for part in even_parts(len(offsets), _BATCH_SIZE):
        views = [
            crop(wide, y, x, size) if protocol == "crop" else torch.roll(center, (y, x), (2, 3))
            for y, x in offsets[part]
        ]
        batch = torch.cat(views).contiguous(memory_format=torch.channels_last)
        parts.append(compute_logits(model, trace, batch.to(model.device)).cpu())
    logits = torch.cat(parts)
    if class_index is None:
        center_logits = compute_logits(model, trace, center.to(model.device))
        class_index = int(predicted_classes(center_logits, trace.output_head))
    classes = torch.full((len(logits), 1), class_index, dtype=torch.int64)
    probabilities = prediction_probabilities(logits, classes, trace.output_head)[:, 0]
    predictions = predicted_classes(logits, trace.output_head)
    shape = (len(rows), len(columns))
    return OffsetMap(
        protocol=protocol,
        class_index=class_index,
        name=class_name(model.labels, class_index),
        rows=tuple(rows),
        columns=tuple(columns),
        probabilities=probabilities.view(shape),
        predictions=predictions.view(shape),
        lowest=float(probabilities.min()),
        highest=float(probabilities.max()),
        predicted_share=float((predictions == class_index).float().mean()),
    )
