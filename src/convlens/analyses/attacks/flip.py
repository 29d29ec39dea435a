"""The search for the smallest 8-bit FGSM change, in gray levels, that flips a prediction.

Each adversarial image is written as PNG, read back without any resizing and classified again, so
that the reported change survives being saved.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from convlens.analyses.attacks.fgsm_result import Fgsm
from convlens.analyses.attacks.figures import attack_figure, describe_change, draw_change
from convlens.analyses.attacks.steps import fgsm_step
from convlens.analyses.predictions.predictions import compute_logits_together
from convlens.capture.folded_networks import fold_batch_norms
from convlens.data.images import encode_png, to_pixels, to_tensor
from convlens.errors import ConvlensError
from convlens.models.labels import class_names
from convlens.models.model import Model, check_model
from convlens.models.output_head import predict_with_probability
from convlens.results import Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.tracing.tracer import trace as trace_network
from convlens.wording import counted, of_image, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = (1, 2, 3, 4, 6, 8, 12, 16)


@dataclass(frozen=True, eq=False)
class Flip(NetworkResult):
    """The network's predictions for adversarial PNGs of increasing strength.

    Attributes:
        levels: the gray levels that were tried, of 255, ascending (L of them).
        original_predictions: int64 `(N,)`, the predictions for the unchanged 8-bit images; -1 is
            "not class 0" of a network with one output.
        predictions: int64 `(L, N)`, the predictions for the adversarial PNGs.
        noise_predictions: int64 `(L, N)`, the predictions for PNGs with random signs instead.
        confidences: float32 `(L, N)`, the probability of each of `predictions`.
        flip_levels: for each image the smallest level that changes the prediction, or None.
        reverted: for each image whether a higher level gives the original prediction again. The
            success of FGSM does not increase steadily with epsilon.
        names: the names of the predictions at the flip level (of the original prediction where
            there is none).
        pixels: uint8 `(N, H, W, C)`, the PNG at the flip level (at the highest level where there
            is none).
        change: int16 `(N, H, W, C)`, the difference of `pixels` from the unchanged 8-bit image.
        largest_changes: for each image the largest change as measured on the files, in gray
            levels.
        original_names: the names of `original_predictions`.
    """

    levels: tuple[int, ...]
    original_predictions: Tensor
    predictions: Tensor
    noise_predictions: Tensor
    confidences: Tensor
    flip_levels: tuple[int | None, ...]
    reverted: tuple[bool, ...]
    names: tuple[str, ...]
    pixels: Tensor
    change: Tensor
    largest_changes: tuple[int, ...]
    original_names: tuple[str, ...] = ()

    @property
    def noise_flipped(self) -> Tensor:
        """Bool `(L, N)`: random signs of the same size change the prediction."""
        return self.noise_predictions != self.original_predictions

    def summary(self) -> str:
        """At which level the first predictions change, in words."""
        levels = [level for level in self.flip_levels if level is not None]
        count = counted(len(self.flip_levels), "image")
        if len(self.flip_levels) == 1:
            words = describe_change(
                f"FGSM {'at' if levels else 'up to'} {(levels or self.levels)[-1]}/255",
                self._original_name(0), self.names[0], changed=bool(levels),
            )  # fmt: skip
            return f"{words}{', the smallest level tested that does' * bool(levels)}"
        if not levels:
            return f"FGSM changes the prediction of none of {count} up to {self.levels[-1]}/255"
        return (
            f"FGSM changes the prediction of {len(levels)} of {count}, of the first at "
            f"{min(levels)}/255; levels up to {self.levels[-1]}/255 were tried"
        )

    def table(self) -> Table:
        """For each image the smallest level that changes the prediction."""
        return Table.of(
            ["image", "prediction", "changes at", "to", "random signs change it, too"],
            [
                [
                    str(image),
                    self._original_name(image),
                    f"{level}/255" if level is not None else f"not by {self.levels[-1]}/255",
                    self.names[image] if level is not None else "",
                    "yes" if self.noise_flipped[self._row(image), image] else "no",
                ]
                for image, level in enumerate(self.flip_levels)
            ],
        )

    def figure(self) -> "Figure":
        """A row for each image: the original, the change, and the PNG at the flip level.

        At most six images are drawn.
        """
        titles = []
        for image, level in enumerate(self.flip_levels):
            row = self._row(image)
            words = f"at {self.levels[row]}/255" + " (unchanged)" * (level is None)
            titles.append(
                f"{words}\n{self.names[image]}, {percent(float(self.confidences[row, image]))}"
            )
        return attack_figure(
            (self.pixels.short() - self.change).to(torch.uint8),
            [self._original_name(image) for image in range(len(self.pixels))],
            draw_change(self.change.permute(0, 3, 1, 2)),
            [(self.pixels, titles)],
            "the smallest tested FGSM change that flips the answer",
        )

    def _row(self, image: int) -> int:
        """The row of `predictions` that belongs to the PNG of an image."""
        level = self.flip_levels[image]
        return len(self.levels) - 1 if level is None else self.levels.index(level)

    def _original_name(self, image: int) -> str:
        if self.original_names:
            return self.original_names[image]
        return f"class {int(self.original_predictions[image])}"

    def pictures(self) -> dict[str, Tensor]:
        """The PNGs at the flip level."""
        count = len(self.names)
        return {
            of_image(image, count, f"{self._describe_level(image)}, {name}"): pixels
            for image, (name, pixels) in enumerate(zip(self.names, self.pixels, strict=True))
        }

    def _describe_level(self, image: int) -> str:
        level = self.flip_levels[image]
        if level is None:
            return f"no flip up to {self.levels[-1]} of 255"
        return f"flip at {level} of 255"


@keep_warnings
@fold_batch_norms()
def find_flip(model: Model, attack: Fgsm, *, levels: Sequence[int] = LEVELS, seed: int = 0) -> Flip:
    """Find for each image the smallest 8-bit change, in gray levels, that flips the prediction.

    For each level FGSM moves every pixel by that number of gray levels. The image is written as an
    8-bit PNG, read back and classified again. Only the given levels are tried.

    Args:
        model: the model that was attacked; left untouched.
        attack: from `fgsm`. Its signs of the gradient are used for every level.
        levels: the gray levels to try, whole numbers of 1 to 255; default: 1, 2, 3, 4, 6, 8, 12 and
            16.
        seed: seed of the control's random signs; default 0.

    Returns:
        The predictions at every level, and the PNG at the smallest level that flips each image.

    Raises:
        ConvlensError: if there are no levels, or one is out of range.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        >>> model = convlens.wrap(network, size=8)
        >>> attack = convlens.fgsm(model, torch.rand(2, 3, 8, 8), score=False)
        >>> flip = convlens.find_flip(model, attack, levels=[1, 255])
        >>> flip.predictions.shape, flip.pixels.shape
        (torch.Size([2, 2]), torch.Size([2, 8, 8, 3]))
    """
    check_model(model)
    ascending = sorted(set(levels))
    if not ascending or ascending[0] < 1 or ascending[-1] > 255:
        raise ConvlensError(f"gray levels {list(levels)}; give whole numbers of 1 to 255")
    original = _write_and_read_png(model, attack.images)
    signs = attack.signs.float()
    generator = torch.Generator().manual_seed(seed)
    random_signs = torch.randint(0, 2, signs.shape, generator=generator) * 2 - 1
    noise_signs = random_signs * signs.abs()
    epsilons = [level * model.span / 255 for level in ascending]
    attacked, controls = (
        [
            _write_and_read_png(model, fgsm_step(original, moves, epsilon, model.bounds))
            for epsilon in epsilons
        ]
        for moves in (signs, noise_signs)
    )
    classes, probabilities = _classify(model, torch.cat([original, *attacked, *controls]))
    parts = [1, len(ascending), len(ascending)]
    original_predictions, predictions, noise_predictions = classes.view(-1, len(original)).split(
        parts
    )
    confidences = probabilities.view(-1, len(original))[1 : 1 + len(ascending)]
    flipped = (predictions != original_predictions).T.tolist()
    flip_levels = [_first_flipped(row, ascending) for row in flipped]
    rows = [
        len(ascending) - 1 if level is None else ascending.index(level) for level in flip_levels
    ]
    pixels = torch.stack(
        [to_pixels(attacked[row][image], model.bounds) for image, row in enumerate(rows)]
    )
    change = pixels.short() - to_pixels(original, model.bounds).short()
    return Flip(
        levels=tuple(ascending),
        original_predictions=original_predictions[0],
        predictions=predictions,
        noise_predictions=noise_predictions,
        confidences=confidences,
        flip_levels=tuple(flip_levels),
        reverted=tuple(_is_reverted(row) for row in flipped),
        names=class_names(
            model.labels, [int(predictions[row][image]) for image, row in enumerate(rows)]
        ),
        pixels=pixels,
        change=change,
        largest_changes=tuple(change.abs().flatten(1).amax(dim=1).tolist()),
        original_names=class_names(model.labels, original_predictions[0].tolist()),
    )


def _write_and_read_png(model: Model, images: Tensor) -> Tensor:
    """Encode images as 8-bit PNGs and decode them, without any resizing."""
    decoded = []
    for pixels in to_pixels(images, model.bounds):
        with Image.open(io.BytesIO(encode_png(pixels, compression=0))) as picture:
            decoded.append(to_tensor(picture, model.bounds))
    return torch.stack(decoded).contiguous(memory_format=torch.channels_last)


def _classify(model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
    """The predictions, int64 `(N,)`, and their probabilities, `(N,)`."""
    images = images.to(model.device)
    trace = trace_network(model, images)
    (logits,) = compute_logits_together(model, trace, [images])
    return predict_with_probability(logits.cpu(), trace.output_head)


def _first_flipped(flipped: Sequence[bool], levels: Sequence[int]) -> int | None:
    return next((level for level, flips in zip(levels, flipped, strict=True) if flips), None)


def _is_reverted(flipped: Sequence[bool]) -> bool:
    return True in flipped and not all(flipped[flipped.index(True) :])
