"""What a training is asked to do, with defaults that work without a choice."""

from dataclasses import asdict, dataclass
from typing import Any

from convlens.errors import ConvlensError, suggest
from convlens.models.model import CENTERS
from convlens.models.networks.build import NETWORKS
from convlens.models.networks.pooling import POOLINGS
from convlens.training.data import Dataset

# By network. Without batch normalization a higher rate lets the loss run away.
_RATES = {"allconv": 0.1, "lenet5": 0.05, "alexnet": 0.01}
_RATE, _RATE_NORMALISED = 0.01, 0.05  # of VGG, plain and with batch normalization

_SEEN = 1_200_000  # images that a training sees by default, each epoch's counted anew
_EPOCHS = (20, 100)  # least and most


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the numbers of a training, but for the data and the machine.

    Attributes:
        network: its name in `convlens.models.networks`.
        pooling: max, average or blur.
        center: `data` or `image`, whose mean is subtracted.
        epochs: times that each image is seen.
        batch: images for each step, over all devices together.
        learning_rate: greatest; it rises linearly over the first fifth of the steps and falls
            linearly to nothing.
        weight_decay: of weights; biases and batch normalization have none.
        momentum: Nesterov's.
        label_smoothing: share of the target that is spread over all classes.
        shift: greatest shift along each axis in pixels.
        flip: whether left and right change places at random.
        erase: probability that part of an image is erased.
        checkpoints: how many weights are kept along the way, the first and the last included.
        seed: of everything that is drawn.
    """

    network: str
    pooling: str
    center: str
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    momentum: float
    label_smoothing: float
    shift: int
    flip: bool
    erase: float
    checkpoints: int
    seed: int

    def __post_init__(self) -> None:
        _least("epochs", self.epochs, 1)
        _least("batch", self.batch, 1)
        _least("checkpoints", self.checkpoints, 0)
        _least("shift", self.shift, 0)
        _least("weight decay", self.weight_decay, 0)
        if not 0 < self.learning_rate < float("inf"):
            raise ConvlensError(f"learning rate {self.learning_rate:g}; give one above 0")
        for word in ("label_smoothing", "erase", "momentum"):
            share = getattr(self, word)
            if not 0 <= share < 1:
                raise ConvlensError(
                    f"{word.replace('_', ' ')} {share:g}; give at least 0 and less than 1"
                )
        for word, value, known in (
            ("network", self.network, NETWORKS),
            ("pooling", self.pooling, POOLINGS),
            ("center", self.center, CENTERS),
        ):
            if value not in known:
                raise ConvlensError(
                    f"no {word} {value!r}{suggest(value, known)}; there are {', '.join(known)}"
                )
        if self.checkpoints == 1:
            raise ConvlensError("one checkpoint shows no change; give at least 2, or 0 for none")

    def to_json(self) -> dict[str, Any]:
        """Name and value of every choice."""
        return asdict(self)

    def schedule(self, step: int, steps: int) -> float:
        """Share of the greatest learning rate at a step, from 0 on, of so many."""
        rising = max(1, steps // 5)
        return min((step + 1) / rising, (steps - step) / max(1, steps - rising + 1))

    def checkpoint_steps(self, steps: int) -> list[int]:
        """After how many steps weights are kept: closer together early on, when most changes."""
        count = self.checkpoints
        if not count:
            return []
        return [round(steps * (number / (count - 1)) ** 2) for number in range(count)]


def recipe_for(data: Dataset, **given: Any) -> Recipe:
    """The recipe with defaults for this data, where nothing, or None, is given.

    Epochs: about 1.2 million images seen, in 20 to 100 epochs. Shift: a fourteenth of the
    shorter side. Left and right change places in color images only, since gray ones are often
    letters or digits.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    network = chosen.get("network", "allconv")
    count = len(data.train)
    defaults: dict[str, Any] = {
        "network": network,
        "pooling": "max",
        "center": "data",
        "epochs": min(max(_EPOCHS[0], round(_SEEN / count)), _EPOCHS[1]),
        "batch": 128,
        "learning_rate": _RATES.get(
            network, _RATE_NORMALISED if network.endswith("_bn") else _RATE
        ),
        "weight_decay": 5e-4,
        "momentum": 0.9,
        "label_smoothing": 0.1,
        "shift": max(1, round(min(data.size) / 14)),
        "flip": data.channels == 3,
        "erase": 0.5,
        "checkpoints": 0,
        "seed": 0,
    }
    recipe = {**defaults, **chosen}
    # A batch is never more than the data; small data has smaller batches, so that it takes steps.
    if "batch" not in chosen:
        recipe["batch"] = max(1, min(recipe["batch"], count // 16))
    recipe["batch"] = min(recipe["batch"], count)
    return Recipe(**recipe)


def _least(word: str, value: float, least: int) -> None:
    if not value >= least:
        raise ConvlensError(f"{word} {value}; give at least {least}")
