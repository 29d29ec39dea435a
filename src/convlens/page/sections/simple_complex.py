"""The part on simple and complex channels: the responses of a few layers to drifting gratings."""

from dataclasses import dataclass
from typing import Any

from convlens.analyses.orientation_tuning.orientation_tuning import orientation_tuning
from convlens.html.pictures import PictureBudget
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.reproduction import folder_name
from convlens.page.section import Section
from convlens.results import Result
from convlens.results.reproduction import Reproduction
from convlens.tracing.selection import ChannelSource, find_channel_sources
from convlens.tracing.trace import Trace

FIELD = 48  # pixels that a unit may see, so that gratings are small images
ORIENTATIONS, PHASES = 8, 8
_GRATINGS = ORIENTATIONS * PHASES * 8  # of eight frequencies


@dataclass(frozen=True, eq=False)
class LayerCounts(Result):
    """How the channels of one layer respond to drifting gratings.

    Attributes:
        layer: its name.
        simple: channels that follow the bars (F1/F0 above 1).
        complex: channels that fire and do not follow them.
        silent: channels that no grating makes fire.
    """

    layer: str
    simple: int
    complex: int
    silent: int


@dataclass(frozen=True, eq=False)
class SimpleComplex(Result):
    """The counts of a few layers, from the first one on.

    Attributes:
        layers: the counts of each layer, in the order of execution.
    """

    layers: tuple[LayerCounts, ...]


class SimpleComplexSection(Section[SimpleComplex]):
    """Simple and complex channels."""

    name = "simple_complex"
    title = "Simple and complex channels"
    parent = "channels"
    budget = Budget(items=5, work=8e11)

    def compute(self, inputs: Inputs) -> SimpleComplex | None:
        """Counts of layers whose units see little: the first, the last, and some between.

        Raises:
            ConvlensError: a layer's responses cannot be measured.
        """
        local_layers = [
            source
            for source in find_channel_sources(inputs.trace, None)
            if source.rectified and _sees_little(inputs.trace, source)
        ]
        count = min(self.budget.items, len(local_layers))
        tested = [
            local_layers[at * (len(local_layers) - 1) // max(count - 1, 1)] for at in range(count)
        ]
        layers: list[LayerCounts] = []
        left = self.budget.work
        for source in tested:
            left -= _work(inputs, source)
            if layers and left < 0:
                break
            measured = orientation_tuning(
                inputs.model, layer=source.layer, orientations=ORIENTATIONS, phases=PHASES
            )
            layers.append(LayerCounts(source.layer, *measured.counts()))
        return SimpleComplex(tuple(layers)) if layers else None

    def reproduction(self, inputs: Inputs, result: SimpleComplex) -> Reproduction:
        """The responses of each layer: a command for each, and a loop in Python."""
        options = ["--orientations", f"{ORIENTATIONS}", "--phases", f"{PHASES}"]
        folders = {layer.layer: folder_name(f"tuning-{layer.layer}") for layer in result.layers}
        commands = [
            inputs.reproducer.command(folder, ["tuning", "--layer", layer, *options])
            for layer, folder in folders.items()
        ]
        lines = inputs.reproducer.python(
            f"for layer, folder in {folders}.items():\n"
            f"    result = convlens.orientation_tuning(\n"
            f"        model, layer=layer, orientations={ORIENTATIONS}, phases={PHASES})\n"
            f"    result.save(folder)\n"
            f"    print(layer, *result.counts())"
        )
        return Reproduction("\n".join(filter(None, commands)) or None, lines)

    def view(
        self, inputs: Inputs, result: SimpleComplex, pictures: PictureBudget
    ) -> dict[str, Any]:
        """The limit of the fields."""
        return {"field": FIELD}


def _work(inputs: Inputs, source: ChannelSource) -> float:
    """Multiply-adds of all gratings, as far as the layer."""
    height, width = inputs.model.size
    return _GRATINGS * inputs.multiply_adds_until(source.layer) * FIELD**2 / (height * width)


def _sees_little(trace: Trace, source: ChannelSource) -> bool:
    field = trace.field(source.node)
    if field is None or field.sees_whole_image:
        return False
    return max(int((field.high[axis] - field.low[axis]).max()) + 1 for axis in (0, 1)) <= FIELD


SECTION = SimpleComplexSection()
