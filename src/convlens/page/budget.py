"""What a page may cost: for each section the most items, bytes and seconds, in one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

MOST_BYTES = 10_000_000  # of the page as a whole


@dataclass(frozen=True)
class Budget:
    """The most that a section may take.

    Attributes:
        items: photos, filters or layers.
        bytes: of its pictures, as they stand on the page.
        seconds: after which no further item is begun.
    """

    items: int
    bytes: int
    seconds: float


PREDICTIONS = Budget(items=256, bytes=0, seconds=600)  # photos that are read at all
DOCTOR = Budget(items=64, bytes=0, seconds=600)
PHOTOS = Budget(items=24, bytes=6_000_000, seconds=1800)  # photos that are shown in full
CLASSES = 8  # Grad-CAM maps of a photo
SHARES = 3  # channels that are named beneath a map
RANDOM = Budget(items=4, bytes=0, seconds=30)  # photos that the sanity check of maps is made on
RANDOM_STAGES = 6
RANDOM_DRAWS = 2
FILTERS = Budget(items=256, bytes=1_000_000, seconds=60)
CHANNELS = Budget(items=4, bytes=1_500_000, seconds=600)  # layers whose channels are shown
CHANNELS_EACH = 12  # channels of such a layer
MAXIMA = Budget(items=4, bytes=1_000_000, seconds=18)  # maximized images of these channels
MAXIMA_SIDE = 96  # pixels of their canvas, at most where the network allows
CLASS_MAXIMA = Budget(items=6, bytes=500_000, seconds=8)  # maximized images of classes
CLASS_SIDE = 160
MAXIMA_STEPS = (16, 96)  # least and most, whatever they cost
CELLS = Budget(items=5, bytes=0, seconds=20)  # layers that gratings are shown to
GRATING_FIELD = 48  # pixels that a unit may see, for gratings to be shown to its layer
NOISE = 1000  # filters of noise that Gabor fits are compared with
DREAM = Budget(items=1, bytes=250_000, seconds=6)  # photos that are dreamt of
DREAM_SIDE = 320  # pixels of its longer side
DREAM_OCTAVES = 3
DREAM_STEPS = 10  # at each octave, at most
MAPS = Budget(items=6, bytes=700_000, seconds=60)  # layers whose feature maps are shown
MAPS_EACH = 8  # channels of such a layer
FRAGILITY = Budget(items=64, bytes=1_900_000, seconds=60)  # photos that are attacked
PGD_STEPS = 5
EPSILONS = (1, 2, 4, 8)  # gray levels
SLIDES = 3  # photos whose adversarial images are shown at every epsilon
CHANGED = 3  # channels that are named as changed most
SHIFT = Budget(items=64, bytes=200_000, seconds=60)  # photos that are shifted
OFFSETS = 9  # of the first photo's map along each axis, at least
SHIFTED = 12  # layers in the table of equivariance, at most
LAYERS = Budget(items=500, bytes=1_000_000, seconds=60)


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many items, evenly spread over all, the first among them.

    A folder that is sorted by class is then seen from one end to the other.
    """
    count = min(len(items), most)
    return [items[index * len(items) // count] for index in range(count)]


class Purse:
    """Bytes that pictures may still take."""

    def __init__(self, most: int) -> None:
        self.left = most

    def pays(self, size: int) -> bool:
        """Take so many bytes, if they are there."""
        if size > self.left:
            return False
        self.left -= size
        return True
