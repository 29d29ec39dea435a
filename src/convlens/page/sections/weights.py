"""The check of the weights: whether the network looks untrained, which the page says first."""

from collections.abc import Iterator

from convlens.analyses.weights_check.weights_check import WeightsCheck, check_weights
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding
from convlens.page.section import Section
from convlens.results.reproduction import Reproduction
from convlens.wording import capitalized


class WeightsSection(Section[WeightsCheck]):
    """Whether the weights look as an initialization leaves them."""

    name = "weights"
    title = "Weights"
    parent = "photos"
    budget = Budget(items=1)

    def compute(self, inputs: Inputs) -> WeightsCheck:
        """The check, which does not run the network."""
        return check_weights(inputs.model)

    def findings(self, inputs: Inputs, result: WeightsCheck) -> Iterator[Finding]:
        """Untrained weights, before all other findings."""
        if result.untrained:
            yield Finding("broken", f"{capitalized(result.summary())}.", "weights", rank=-1)

    def reproduction(self, inputs: Inputs, result: WeightsCheck) -> Reproduction:
        """The Python lines; there is no command for it."""
        return inputs.reproducer.reproduction("weights", [], "convlens.check_weights(model)")


SECTION = WeightsSection()
