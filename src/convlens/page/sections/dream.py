"""The section on DeepDream: the first photo, and what a layer adds to it."""

from typing import Any

from convlens.analyses.deepdream.deepdream import dream
from convlens.analyses.deepdream.result import Dream
from convlens.errors import ConvlensError
from convlens.html.pictures import PictureBudget
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.section import Section
from convlens.results.reproduction import Reproduction

SIDE = 320  # pixels of the longer side of the dream
OCTAVES = 3
STEPS = 10  # at each octave, at most
_STEP_PASSES = 3.0  # forward passes that one step takes, about
_SCALE = 1.4  # between two octaves


class DreamSection(Section[Dream]):
    """A dream of the first photo that is shown."""

    name = "dream"
    title = "Dream"
    budget = Budget(items=1, bytes=250_000, work=2.4e11)

    def compute(self, inputs: Inputs) -> Dream:
        """The dream, with as many steps as the budget allows.

        Raises:
            ConvlensError: no photo is shown, or the network has no layer to dream of.
            KeyboardInterrupt: the dream was interrupted.
        """
        if not inputs.shown:
            raise ConvlensError("no photo could be shown")
        height, width = inputs.model.size
        # Pixels of all octaves, in images of the model's size.
        octaves = sum(_SCALE ** (-2 * octave) for octave in range(OCTAVES))
        passes = _STEP_PASSES * octaves * SIDE**2 / (height * width)
        each = passes * inputs.multiply_adds
        steps = min(STEPS, max(2, int(self.budget.work / max(each, 1.0))))
        dreamt = dream(
            inputs.model,
            inputs.photos[inputs.shown[0]].path,
            octaves=OCTAVES,
            steps=steps,
            image_size=SIDE,
            seed=inputs.options.seed,
            progress=lambda done, total: inputs.stages.report("dream", done, total),
        )
        if dreamt.interrupted:
            raise KeyboardInterrupt  # meant for the report
        return dreamt

    def reproduction(self, inputs: Inputs, result: Dream) -> Reproduction:
        """The same dream."""
        photo = inputs.photos[inputs.shown[0]].path
        side, octaves = max(result.image.shape), len(result.sizes)
        steps = result.objective.shape[1] - 1
        return inputs.reproducer.reproduction(
            "dream",
            ["dream", photo, "--layer", result.layer, "--octaves", f"{octaves}",
             "--steps", f"{steps}", "--image-size", f"{side}"],
            f"convlens.dream(model, {photo!r}, layer={result.layer!r}, octaves={octaves}, "
            f"steps={steps}, image_size={side}, seed={result.seed})",
        )  # fmt: skip

    def view(self, inputs: Inputs, result: Dream, pictures: PictureBudget) -> dict[str, Any]:
        """The photo and the dream, as large as they are."""
        drawn = [pictures.photo(pixels, side=SIDE) for pixels in result.pictures().values()]
        return {"pictures": drawn, "photo": inputs.photos[inputs.shown[0]]}


SECTION = DreamSection()
