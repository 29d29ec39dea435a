"""The section on shifts: equivariance of the layers, and predictions for shifted photos."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convlens.analyses.shift.dataset_pass import shift
from convlens.analyses.shift.equivariance import LayerEquivariance
from convlens.analyses.shift.shift import Shift
from convlens.analyses.shift.views import find_margin
from convlens.data.sampling import spread
from convlens.drawing import sequential_colors
from convlens.html import scales
from convlens.html.pictures import PictureBudget
from convlens.models.model import Model
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding, Mark
from convlens.page.section import Section, Thumbnail
from convlens.passes.options import PassOptions
from convlens.results import Result
from convlens.results.reproduction import Reproduction
from convlens.wording import capitalized, counted

OFFSETS = 9  # of the first photo's map along each axis, at least
ROWS = 12  # layers in the table of equivariance, at most
_PASSES = 8  # forward passes of one photo's shifts


@dataclass(frozen=True, eq=False)
class ShiftResult(Result):
    """Equivariance, consistency and the map of offsets.

    Attributes:
        shift: the measurements.
        photos: numbers of the photos that they are made on.
        step: pixels between the offsets of the map.
    """

    shift: Shift
    photos: tuple[int, ...]
    step: int


class ShiftSection(Section[ShiftResult]):
    """What shifts of the photos change."""

    name = "shift"
    title = "Shift"
    budget = Budget(items=64, bytes=200_000, work=2.4e12)
    missing = "No measurement of shifts"

    def compute(self, inputs: Inputs) -> ShiftResult:
        """The measurements on as many photos as the budget allows.

        Raises:
            ConvlensError: the network does not predict one class for each photo.
        """
        numbers = inputs.spread_labeled(self.budget.affordable(_PASSES * inputs.multiply_adds))
        step = _offset_step(inputs.model)
        measured = shift(
            inputs.model,
            inputs.paths(numbers),
            labels=inputs.labels(numbers),
            every=step,
            seed=inputs.options.seed,
            pass_options=PassOptions(progress=inputs.stages.reporter("shift")),
        )
        return ShiftResult(measured, numbers, step)

    def findings(self, inputs: Inputs, result: ShiftResult) -> Iterator[Finding]:
        """Where equivariance is lost, and how many predictions survive a shift."""
        sentences = []
        layers = result.shift.equivariance
        if layers is not None:
            sentences.append(f"{capitalized(layers.summary())}.")
        for protocol in result.shift.consistency[:1]:
            same = protocol.agreement
            sentences.append(
                f"Two views of a photo up to {counted(protocol.largest_offset, 'pixel')} apart "
                f"({protocol.protocol}) get the same prediction for {same.count} of "
                f"{counted(same.total, 'photo')}."
            )
        consistent = all(
            2 * protocol.agreement.count > protocol.agreement.total
            for protocol in result.shift.consistency[:1]
        )
        equivariant = layers is not None and layers.lost[0] is None
        mark: Mark = "broken" if not consistent else "fine" if equivariant else "look"
        yield Finding(mark, " ".join(sentences), "shift", rank=4)

    def thumbnail(self, inputs: Inputs, result: ShiftResult, address: str) -> Thumbnail | None:
        """The map of offsets of the first photo."""
        if address != self.name or result.shift.offsets is None:
            return None
        cells = sequential_colors(result.shift.offsets.probabilities, 0, 1)
        name = inputs.photos[result.photos[0]].name
        return Thumbnail(cells, f"probability of the prediction for shifts of {name}")

    def reproduction(self, inputs: Inputs, result: ShiftResult) -> Reproduction:
        """All measurements."""
        return inputs.reproducer.over_photos(
            "shift",
            "shift",
            "shift",
            [inputs.photos[number] for number in result.photos],
            words=["--every", str(result.step)],
            arguments=[f"every={result.step}", f"seed={inputs.options.seed}"],
            labeled=result.shift.accuracy is not None,
        )

    def view(self, inputs: Inputs, result: ShiftResult, pictures: PictureBudget) -> dict[str, Any]:
        """The rows of the table, and the map of offsets of the first photo."""
        offsets = result.shift.offsets
        cells = sequential_colors(offsets.probabilities, 0, 1) if offsets is not None else None
        return {
            "rows": _table_rows(result.shift),
            "offsets": pictures.photo(cells, exact=True) if cells is not None else None,
            "scale": scales.unsigned(),
        }


def _offset_step(model: Model) -> int:
    return max(1, find_margin(model) // (OFFSETS - 1))


def _table_rows(measured: Shift) -> list[tuple[int, LayerEquivariance]]:
    """Layers with strides, those where equivariance is lost, the first and the last."""
    layers = measured.equivariance
    if layers is None:
        return []
    ends = {0, len(layers.layers) - 1, *(at for at in layers.lost if at is not None)}
    telling = [
        (at, layer) for at, layer in enumerate(layers.layers) if max(layer.stride) > 1 or at in ends
    ]
    return spread(telling, ROWS - 1) + telling[-1:] if len(telling) > ROWS else telling


SECTION = ShiftSection()
