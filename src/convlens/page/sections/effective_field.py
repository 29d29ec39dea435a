"""The section on effective receptive fields: where the gradient of central units really lies."""

from collections.abc import Iterator
from typing import Any

from convlens.analyses.effective_field.effective_field import effective_field
from convlens.analyses.effective_field.result import EffectiveField, LayerEffectiveField
from convlens.data.sampling import spread
from convlens.html.pictures import PictureBudget
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding
from convlens.page.section import Section
from convlens.results.reproduction import Reproduction
from convlens.tracing.selection import find_channel_sources
from convlens.wording import percent

PHOTOS = 4  # photos that the gradient is averaged over, at most
_BACKWARD = 2  # a backward pass costs about two forward passes as far as the layer
_SIDE = 112  # CSS pixels of a picture


class EffectiveFieldSection(Section[EffectiveField]):
    """Effective receptive fields of some layers, from the first to the last."""

    name = "effective_field"
    title = "Effective receptive fields"
    budget = Budget(items=8, bytes=400_000, work=1e12)
    missing = "No effective receptive fields"

    def compute(self, inputs: Inputs) -> EffectiveField | None:
        """The fields of layers that are evenly spread, the last one among them.

        Raises:
            ConvlensError: the network has no layer with maps, or no gradient passes through it.
        """
        numbers = inputs.shown[:PHOTOS]
        if not numbers:
            return None
        layers = [source.layer for source in find_channel_sources(inputs.trace, None)]
        each = (1 + _BACKWARD) * inputs.multiply_adds * len(numbers)
        most = self.budget.affordable(each)
        # Spread from the end, so that the last layer is among them.
        layers = spread(layers[::-1], most)[::-1]
        images = inputs.model.prepare(inputs.paths(numbers))
        return effective_field(inputs.model, images, layers=layers)

    def reproduction(self, inputs: Inputs, result: EffectiveField) -> Reproduction:
        """The fields of the same layers on the same photos."""
        paths = inputs.paths(inputs.shown[: result.photos])
        layers = [entry.layer for entry in result.layers]
        return inputs.reproducer.reproduction(
            "effective-field",
            ["effective-field", *paths, *(word for layer in layers for word in ("--layer", layer))],
            f"convlens.effective_field(model, model.prepare({paths}), layers={layers})",
        )

    def findings(self, inputs: Inputs, result: EffectiveField) -> Iterator[Finding]:
        """The share of the field at the deepest layer whose units do not see the whole image."""
        entry = _deepest_local(result)
        if entry is None:
            return
        height, width = entry.size
        yield Finding(
            "fine",
            f"At {entry.layer}, {percent(result.share)} of the gradient of the central unit lies "
            f"in {percent(entry.ratio)} of its theoretical receptive field of {height} × {width} "
            f"pixels.",
            "effective_field",
            rank=9,
        )

    def view(
        self, inputs: Inputs, result: EffectiveField, pictures: PictureBudget
    ) -> dict[str, Any]:
        """The gradient of each layer inside its theoretical field."""
        return {
            "tiles": [pictures.photo(entry.tile(), side=_SIDE) for entry in result.layers],
            "share": percent(result.share),
        }


def _deepest_local(result: EffectiveField) -> LayerEffectiveField | None:
    """The last layer with a gradient whose theoretical field is smaller than the image."""
    local = [
        entry
        for entry in result.layers
        if entry.effective_area and not entry.sees_whole_image and entry.size != result.image_size
    ]
    return local[-1] if local else None


SECTION = EffectiveFieldSection()
