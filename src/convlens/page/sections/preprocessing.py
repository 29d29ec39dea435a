"""The section on preprocessing: the usual mistakes, tested on the photos."""

from collections.abc import Iterator

from convlens.analyses.preprocessing_check.preprocessing_check import check_preprocessing
from convlens.analyses.preprocessing_check.result import Diagnosis
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding, Mark, Tile
from convlens.page.section import Section
from convlens.results.reproduction import Reproduction
from convlens.wording import capitalized, counted

_PASSES = 24  # forward passes of one photo, about
_MARKS: dict[str, Mark] = {"fine": "fine", "mistake": "broken", "cannot tell": "look"}


class PreprocessingSection(Section[Diagnosis]):
    """Whether another preprocessing suits the network better."""

    name = "preprocessing"
    title = "Preprocessing"
    budget = Budget(items=64)
    missing = "No check of preprocessing"
    failure_mark = "broken"

    def compute(self, inputs: Inputs) -> Diagnosis:
        """The variants, on as many photos as the budget allows.

        Raises:
            ConvlensError: the network does not predict one class for each photo.
        """
        numbers = inputs.spread_labeled(self.budget.affordable(_PASSES * inputs.multiply_adds))
        return check_preprocessing(
            inputs.model,
            inputs.paths(numbers),
            labels=inputs.labels(numbers),
            progress=lambda done, total: inputs.stages.report("preprocessing", done, total),
        )

    def findings(self, inputs: Inputs, result: Diagnosis) -> Iterator[Finding]:
        """The verdict."""
        sentence = f"{capitalized(result.reason)}."
        yield Finding(_MARKS[result.verdict], sentence, "preprocessing", rank=2)

    def tiles(self, inputs: Inputs, result: Diagnosis) -> Iterator[Tile]:
        """The verdict, beside a photo as the network is given it."""
        words = {"fine": "as configured", "mistake": "not the best", "cannot tell": "cannot tell"}
        configured, *others = result.variants
        photos = counted(result.photos, "photo")
        best = result.better or configured
        sentence = {
            "fine": f"None of {len(others)} other readings is clearly better on {photos}.",
            "mistake": f"Clearly better on {photos}: {best.name}.",
            "cannot tell": f"{photos} cannot decide between {len(others) + 1} readings.",
        }[result.verdict]
        middle = inputs.shown[len(inputs.shown) // 2 :][:1]
        yield Tile(
            "Preprocessing", _MARKS[result.verdict], words[result.verdict], sentence,
            "preprocessing", rank=1,
            examples=tuple(f"photo-{number + 1}-plain" for number in middle),
        )  # fmt: skip

    def left_out(self, inputs: Inputs, result: Diagnosis) -> Iterator[str]:
        """Photos beyond the budget."""
        possible = sum(bool(photo.expected) for photo in inputs.photos) or len(inputs.photos)
        if result.photos < possible:
            yield f"the preprocessing is tested on {result.photos} of {counted(possible, 'photo')}"

    def reproduction(self, inputs: Inputs, result: Diagnosis) -> Reproduction:
        """The same variants on the same photos."""
        numbers = inputs.spread_labeled(result.photos)
        return inputs.reproducer.over_photos(
            "preprocessing",
            "doctor",
            "check_preprocessing",
            [inputs.photos[number] for number in numbers],
            labeled=result.labeled,
        )


SECTION = PreprocessingSection()
