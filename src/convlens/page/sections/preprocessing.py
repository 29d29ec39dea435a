"""The section on preprocessing: the usual mistakes, tested on the photos."""

from collections.abc import Iterator

from convlens.analyses.preprocessing_check.preprocessing_check import Diagnosis, check_preprocessing
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding, Mark, Reproduction
from convlens.page.section import Section
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
        sentence = f"{capitalized(result.summary)}."
        yield Finding(_MARKS[result.verdict], sentence, "preprocessing", rank=2)

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
