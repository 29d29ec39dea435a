"""The result of `dream`: the photo, the dream, and the objective at every step."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from convlens.data.images import to_pixels
from convlens.drawing import Panel, picture_figure
from convlens.results import Table
from convlens.results.network_result import NetworkResult
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST = 3.3  # inches of a picture in a figure


@dataclass(frozen=True, eq=False)
class Dream(NetworkResult):
    """A dream, and the evidence for it: the objective rises with the steps.

    Attributes:
        photo: float32 `(C, H, W)`, the image before the first step.
        image: float32 `(C, H, W)`, the dream, inside the bounds.
        layer: the layer that was asked for, or the default.
        node_name: name of the node whose activations were strengthened.
        side: side of the layer: `pre`, `post` or `output`; `output` if it has no non-linearity.
        reason: why this layer was chosen.
        channel: the only channel that counted; None for all.
        guide: float32 `(C, h, w)`, the guide as the network was given it; None without a guide.
        sizes: height and width of each octave, the smallest first.
        objective: float64 `(O, S + 1)`, for each octave the objective before each step and after
            the last one: ½‖a‖², or with a guide the sum of the dot products with its features,
            summed over all units of the map. From the second value to the last but one, the photo
            is shifted. NaN for steps that were not made. The maps differ between octaves, so
            compare values of one octave only.
        photo_objective: the objective of the photo at its full size; NaN if the dream was stopped.
        scale: ratio of the sizes of two successive octaves.
        step: mean change of a pixel in one step, in gray levels (1/255 of the span).
        jitter: largest random shift of the photo before each step, in pixels.
        seed: seed of the shifts.
        tiles: number of tiles of the largest octave.
        stopped: where and why the dream ended early; empty if it did not.
        interrupted: whether an interrupt ended it.
        bounds: least and greatest value of a pixel.
        left_out: the convolutions that have no maps, with the reason, where no layer was named.
    """

    photo: Tensor
    image: Tensor
    layer: str
    node_name: str
    side: str
    reason: str
    channel: int | None
    guide: Tensor | None
    sizes: tuple[tuple[int, int], ...]
    objective: Tensor
    photo_objective: float
    scale: float
    step: float
    jitter: int
    seed: int
    tiles: int
    stopped: str
    interrupted: bool
    bounds: tuple[float, float]
    left_out: tuple[str, ...] = ()

    @property
    def rise(self) -> Tensor:
        """float64 `(O,)`, the objective after the last step divided by that before the first."""
        return self.objective[:, -1] / self.objective[:, 0]

    def summary(self) -> str:
        """The objective and by how much it rose, in words."""
        formula = "the dot product with the guide's features" if self.guide is not None else "½‖a‖²"
        node = (
            self.node_name
            if self.channel is None
            else f"channel {self.channel} of {self.node_name}"
        )
        side = {"pre": "pre-activations", "post": "activations", "output": "values"}[self.side]
        octaves, steps = len(self.sizes), self.objective.shape[1] - 1
        objective = f"{formula} of the {side} at {node}"
        work = f"{octaves} octave{'s' * (octaves > 1)} of {steps} step{'s' * (steps > 1)}"
        if self.stopped:
            return f"{objective}, {work}: {self.stopped}"
        last = self.objective[-1, -1]
        if self.photo_objective > 0:
            ratio = float(last) / self.photo_objective
            return f"{objective} is {ratio:.3g} times that of the photo after {work}"
        return f"{objective} went from {self.photo_objective:.3g} to {last:.3g} after {work}"

    def table(self) -> Table:
        """The objective before and after the steps of each octave."""
        return Table.of(
            ["octave", "before", "after", "ratio"],
            [
                [
                    f"{height} × {width}",
                    f"{float(values[0]):.3g}",
                    f"{float(values[-1]):.3g}",
                    f"{float(values[-1] / values[0]):.3g}",
                ]
                for (height, width), values in zip(self.sizes, self.objective, strict=True)
            ],
        )

    def figure(self) -> "Figure":
        """The photo beside the dream."""
        pictures = self.pictures()
        octaves, steps = len(self.sizes), self.objective.shape[1] - 1
        channel = "" if self.channel is None else f":{self.channel}"
        words = f"dream, {counted(octaves, 'octave')} of {counted(steps, 'step')}"
        return picture_figure(
            [[Panel(pictures["photo"], "photo"), Panel(pictures["dream"], words)]],
            title=f"DeepDream at {self.layer}{channel} ({self.side})",
            largest=_LARGEST,
        )

    def pictures(self) -> dict[str, Tensor]:
        """The photo and the dream, as uint8 `(H, W, 3)`."""
        images = {"photo": self.photo, "dream": self.image}
        return {
            name: to_pixels(image, self.bounds).expand(-1, -1, 3).contiguous()
            for name, image in images.items()
        }
