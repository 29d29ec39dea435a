"""The result of Grad-CAM over a data set: a folder of maps, and what all of them share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from convlens.analyses.gradcam.layers_result import GradCamLayers
from convlens.analyses.gradcam.pointing_game import PointingTotals
from convlens.analyses.gradcam.randomization_result import Randomization
from convlens.analyses.gradcam.result import GradCam
from convlens.analyses.gradcam.table import SCORES, load_maps
from convlens.drawing import Scale, picture_figure
from convlens.errors import ConvlensError
from convlens.files import NUMBERS
from convlens.results import Table
from convlens.results.network_result import NetworkResult
from convlens.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_PHOTOS = 6  # in a figure


@dataclass(frozen=True, eq=False)
class GradCams(NetworkResult):
    """The maps of many photos, saved in a folder, and what all of them share.

    `result["cat.jpg"]` loads the maps of one photo.

    Attributes:
        folder: the folder that holds a folder for each photo.
        photos: names of the photos' folders, in the order of the photos.
        skipped: the reason for each photo that could not be read, by its path.
        layers: names of the layers, or of the nodes, whose channels are weighted.
        reasons: why each of these layers was chosen.
        scales: for each layer the greatest absolute value of all maps, the scale of all pictures.
        pointing: totals of the pointing game over the first layer's maps, or None without boxes.
        randomization: the randomization check, or None.
        prediction_rule: how predictions are read, in words, where that is not by a softmax.
    """

    folder_title: ClassVar[str] = "Grad-CAM"
    numbers_fields: ClassVar[Mapping[str, tuple[Any, str] | None]] = {
        "folder": None,  # the numbers lie in it, wherever it is moved
        "photos": (
            dict[str, GradCam | GradCamLayers],
            "The maps of each photo, by the name of its folder.",
        ),
    }

    folder: str
    photos: tuple[str, ...]
    skipped: dict[str, str]
    layers: tuple[str, ...]
    reasons: tuple[str, ...]
    scales: tuple[float, ...]
    pointing: PointingTotals | None
    randomization: Randomization | None
    prediction_rule: str = ""

    def __getitem__(self, photo: str) -> GradCam | GradCamLayers:
        """Load the maps of a photo by the name of its folder."""
        return load_maps(Path(self.folder) / photo)

    @property
    def table_path(self) -> Path:
        """The CSV file with a row for each photo, class and layer."""
        return Path(self.folder) / SCORES

    @property
    def numbers_path(self) -> Path:
        """The JSON file with the numbers of all photos."""
        return Path(self.folder) / NUMBERS

    def table(self) -> Table:
        """The layers with the scale of their maps."""
        return Table.of(
            ["layer", "scale"],
            [
                [layer, f"±{scale:.3g} logit"]
                for layer, scale in zip(self.layers, self.scales, strict=True)
            ],
        )

    def figure(self) -> "Figure":
        """The maps of the first photos at the first layer, read from the folder, on one scale.

        At most six photos are drawn.

        Raises:
            ConvlensError: no photo was read.
        """
        if not self.photos:
            raise ConvlensError("no photo was read, so there are no maps to draw")
        rows = []
        for photo in self.photos[:_MOST_PHOTOS]:
            maps = self[photo]
            cam = maps if isinstance(maps, GradCam) else maps.gradcams[0]
            rows.append(cam.panels(0, photo, self.scales[0]))
        some = f"; {len(rows)} of {len(self.photos)} photos" * (len(rows) < len(self.photos))
        return picture_figure(
            rows,
            title=f"Grad-CAM at {self.layers[0]}{some}",
            scale=Scale("overlay", -self.scales[0], self.scales[0], "logit"),
        )

    def summary(self) -> str:
        """What the maps have in common, in words; one sentence per line."""
        lines = [
            f"layer {printable(layer)}: {printable(reason)}; all its pictures share the scale "
            f"±{scale:.3g} logit"
            for layer, reason, scale in zip(self.layers, self.reasons, self.scales, strict=True)
        ]
        if self.prediction_rule:
            lines.append(self.prediction_rule)
        if self.pointing is not None:
            lines.append(self.pointing.summary())
        if self.randomization is not None:
            lines.append(self.randomization.summary())
        return "\n".join(lines)
