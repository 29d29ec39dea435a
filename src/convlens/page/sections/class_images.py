"""The part on classes: images that maximize the logits of the predicted classes."""

from collections import Counter
from typing import Any

from convlens.analyses.maximize.objectives import parse_objective
from convlens.analyses.maximize.result import MaximizedImages
from convlens.errors import ConvlensError
from convlens.html.pictures import PictureBudget
from convlens.models.labels import NEGATIVE, class_name
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.maximized_images import maximize_within, reproduce_maximized
from convlens.page.section import Section
from convlens.results.reproduction import Reproduction

MAXIMIZED_SIDE = 160  # pixels of the side of an image, at most where the network allows
_SIDE = 160  # CSS pixels


class ClassImagesSection(Section[MaximizedImages]):
    """What classes look like to the network."""

    name = "class_images"
    title = "Images of classes"
    parent = "channels"
    budget = Budget(items=6, bytes=500_000, work=1.2e11)

    def compute(self, inputs: Inputs) -> MaximizedImages | None:
        """Images of the classes that are predicted for the photos, the most frequent first.

        Raises:
            ConvlensError: the network gives no logits to maximize.
        """
        counts = Counter(
            int(photo.predictions.classes[0, 0])
            for photo in inputs.photos
            if photo.predictions is not None and photo.shown
        )
        classes = [index for index, _ in counts.most_common(self.budget.items)]
        if not classes:
            return None
        targets = [_target(inputs, index) for index in classes]
        return maximize_within(
            inputs, targets, MAXIMIZED_SIDE, self.budget.work, inputs.multiply_adds
        )

    def reproduction(self, inputs: Inputs, result: MaximizedImages) -> Reproduction:
        """The same images."""
        return reproduce_maximized(inputs, result)

    def view(
        self, inputs: Inputs, result: MaximizedImages, pictures: PictureBudget
    ) -> dict[str, Any]:
        """One picture for each class."""
        return {"pictures": [pictures.smooth(row[0], _SIDE) for row in result.tiles()]}


def _target(inputs: Inputs, index: int) -> str:
    """A class by its name, or by its index where another one has that name too.

    Of a single output, "not class 0" is what lowers the logit most.
    """
    if index == NEGATIVE:
        return f"-{_target(inputs, 0)}"
    name = class_name(inputs.model.labels, index)
    try:
        objective = parse_objective(inputs.model, inputs.trace, name)
    except ConvlensError:
        return str(index)
    return name if not objective.layer and int(objective.weights.argmax()) == index else str(index)


SECTION = ClassImagesSection()
