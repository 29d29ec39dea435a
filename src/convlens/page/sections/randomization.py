"""The sanity check of the maps: Grad-CAM of the same network with random weights."""

from collections.abc import Iterator

import torch

from convlens.analyses.gradcam.randomization import randomization
from convlens.analyses.gradcam.randomization_result import Randomization
from convlens.analyses.weights_check.weights_check import WeightsCheck
from convlens.data.sampling import spread
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.photo_cards import PhotoCards
from convlens.page.result import Finding
from convlens.page.section import Section
from convlens.results.reproduction import Reproduction

STAGES = 6  # at most: parts of the network whose weights are drawn anew, one after the other
DRAWS = 2
_PASSES = 3.0  # forward passes that one map takes, about


class RandomizationSection(Section[Randomization]):
    """Whether the maps depend on what the network has learned."""

    name = "randomization"
    title = "Sanity check of the maps"
    parent = "photos"
    budget = Budget(items=4, work=1.2e12)

    def compute(self, inputs: Inputs) -> Randomization | None:
        """Rank correlations on a few photos, in as many stages as the budget allows.

        Raises:
            ConvlensError: the maps cannot be computed for the network.
        """
        cards = inputs.result("photos", PhotoCards)
        explained = [card for card in cards.cards if card.gradcam] if cards else []
        if not explained or inputs.predictions_failure is not None:
            return None
        runs = int(self.budget.work / max(_PASSES * DRAWS * inputs.multiply_adds, 1.0))
        few = spread(explained, max(1, min(self.budget.items, runs // 2)))
        return randomization(
            inputs.model,
            torch.cat([card.image for card in few]).to(inputs.model.device),
            classes=inputs.options.classes,
            layer=inputs.options.layer,
            stages=max(1, min(STAGES, runs // len(few))),
            draws=DRAWS,
            seed=inputs.options.seed,
            progress=lambda done, total: inputs.stages.report("randomization", done, total),
        )

    def findings(self, inputs: Inputs, result: Randomization) -> Iterator[Finding]:
        """Whether the maps change with the weights, which says nothing of untrained ones."""
        weights = inputs.result("weights", WeightsCheck)
        if weights is not None and weights.untrained:
            yield Finding(
                "look",
                f"Untrained weights do not show whether Grad-CAM depends on what a network has "
                f"learned: {result.short_summary()}.",
                "randomization", rank=6,
            )  # fmt: skip
            return
        verb = "depends" if result.maps_change else "hardly depends"
        yield Finding(
            "fine" if result.maps_change else "look",
            f"Grad-CAM {verb} on the weights of the network: {result.short_summary()}.",
            "randomization", rank=6,
        )  # fmt: skip

    def reproduction(self, inputs: Inputs, result: Randomization) -> Reproduction:
        """The check on the same photos, with the same draws."""
        cards = inputs.result("photos", PhotoCards)
        numbers = [card.photo for card in cards.cards if card.gradcam] if cards else []
        stages, draws, count = result.correlations.shape[:3]
        paths = inputs.paths(spread(numbers, count))
        layer, classes = inputs.options.layer, inputs.options.classes
        words = ["--layer", layer] if layer else []
        words += inputs.reproducer.class_options(classes or ())
        named = f", layer={layer!r}" if layer else ""
        named += f", classes={classes}" if classes else ""
        return inputs.reproducer.reproduction(
            "randomization",
            ["gradcam", *paths, *words, "--randomize", "--stages", f"{stages}",
             "--draws", f"{draws}"],
            f"convlens.randomization(model, model.prepare({paths}){named}, stages={stages}, "
            f"draws={draws}, seed={inputs.options.seed})",
        )  # fmt: skip


SECTION = RandomizationSection()
