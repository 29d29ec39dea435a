"""The settings of a training (`Recipe`) and their defaults for given data."""

from dataclasses import asdict, dataclass
from typing import Any

from convlens.errors import ConvlensError, suggest
from convlens.models.model import CENTERS
from convlens.models.networks.names import check_network_name
from convlens.models.networks.pooling import POOLINGS
from convlens.training.data import Dataset

# Learning rates by network. Without batch normalization, training diverges at higher rates.
_LEARNING_RATES = {"allconv": 0.1, "lenet5": 0.05, "alexnet": 0.01}
_RATE, _RATE_BATCH_NORM = 0.01, 0.05  # VGG without and with batch normalization

_IMAGES_SEEN = 1_200_000  # images in all epochs together, by default
_EPOCHS = (20, 100)  # fewest and most


@dataclass(frozen=True)
class Recipe:
    """The settings of a training: all that decides its numbers except the data and the machine.

    Attributes:
        network: name of the network, see `convlens.build`.
        pooling: `max`, `average` or `blur` (Zhang 2019).
        center: which mean is subtracted from an image: that of the `data` or of the `image`.
        epochs: number of times that each image is used.
        batch: number of images for each step, over all devices together.
        learning_rate: the peak. The rate rises linearly during the first fifth of the steps and
            falls linearly to zero after that (one cycle, Smith & Topin 2019).
        weight_decay: factor for weights; biases and batch normalization have no decay.
        momentum: Nesterov momentum, 0 to 1.
        label_smoothing: share of the target distribution that is spread over all classes.
        shift: largest random shift along each axis, in pixels.
        flip: mirror images at random.
        erase: probability that a rectangle of an image is erased.
        checkpoints: number of checkpoints to keep, including those before the first and after the
            last step; 0 keeps only the best and the last.
        seed: seed of the weights, the order of the images and the augmentation.

    Raises:
        ConvlensError: a setting that is out of range or not known.
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
        _check_at_least("epochs", self.epochs, 1)
        _check_at_least("batch", self.batch, 1)
        _check_at_least("checkpoints", self.checkpoints, 0)
        _check_at_least("shift", self.shift, 0)
        _check_at_least("weight decay", self.weight_decay, 0)
        if not 0 < self.learning_rate < float("inf"):
            raise ConvlensError(f"learning rate {self.learning_rate:g}; give one above 0")
        for field_name in ("label_smoothing", "erase", "momentum"):
            share = getattr(self, field_name)
            if not 0 <= share < 1:
                raise ConvlensError(
                    f"{field_name.replace('_', ' ')} {share:g}; give at least 0 and less than 1"
                )
        check_network_name(self.network)
        for field_name, value, allowed in (
            ("pooling", self.pooling, POOLINGS),
            ("center", self.center, CENTERS),
        ):
            if value not in allowed:
                raise ConvlensError(
                    f"no {field_name} {value!r}{suggest(value, allowed)}; "
                    f"there are {', '.join(allowed)}"
                )
        if self.checkpoints == 1:
            raise ConvlensError("one checkpoint shows no change; give at least 2, or 0 for none")

    def to_json(self) -> dict[str, Any]:
        """Name and value of every setting."""
        return asdict(self)

    def schedule(self, step: int, steps: int) -> float:
        """The learning rate at a step (counted from 0) as a share of its peak.

        Args:
            step: number of steps done.
            steps: number of steps of the complete training.
        """
        rising = max(1, steps // 5)
        return min((step + 1) / rising, (steps - step) / max(1, steps - rising + 1))

    def checkpoint_steps(self, steps: int) -> list[int]:
        """The steps after which checkpoints are kept.

        They grow with the square of their number, because weights change most at the start.
        """
        count = self.checkpoints
        if not count:
            return []
        return [round(steps * (number / (count - 1)) ** 2) for number in range(count)]


def default_recipe(data: Dataset, **options: Any) -> Recipe:
    """Settings for a data set: those given, and defaults for the others.

    By default a training uses about 1.2 million images in 20 to 100 epochs, shifts them by up to a
    fourteenth of the shorter side, and mirrors color images only, since gray images often show
    letters or digits.

    Args:
        data: the labeled images.
        **options: fields of `Recipe`; None stands for the default.

    Returns:
        The complete recipe.

    Raises:
        ConvlensError: a setting that is out of range or not known.

    Example:
        >>> from convlens.training import default_recipe, open_data
        >>> recipe = default_recipe(open_data("digits"), epochs=3)
        >>> recipe.network, recipe.epochs, recipe.batch
        ('allconv', 3, 101)
    """
    explicit = {name: value for name, value in options.items() if value is not None}
    network = explicit.get("network", "allconv")
    count = len(data.train)
    defaults: dict[str, Any] = {
        "network": network,
        "pooling": "max",
        "center": "data",
        "epochs": min(max(_EPOCHS[0], round(_IMAGES_SEEN / count)), _EPOCHS[1]),
        "batch": 128,
        "learning_rate": _LEARNING_RATES.get(
            network, _RATE_BATCH_NORM if network.endswith("_bn") else _RATE
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
    recipe = {**defaults, **explicit}
    # Small data sets get small batches, so that an epoch has enough steps.
    if "batch" not in explicit:
        recipe["batch"] = max(1, min(recipe["batch"], count // 16))
    recipe["batch"] = min(recipe["batch"], count)
    return Recipe(**recipe)


def _check_at_least(field_name: str, value: float, least: int) -> None:
    if not value >= least:
        raise ConvlensError(f"{field_name} {value}; give at least {least}")
