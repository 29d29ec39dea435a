"""Flips: the fewest gray levels by which FGSM changes an answer, counted on real 8-bit files.

Each adversarial image is written as PNG, read back without any resizing and classified again, so
that what is reported survives being saved.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from convlens.analyses.attacks.fgsm import Fgsm, step
from convlens.analyses.predictions.predictions import class_scores
from convlens.data.images import encode_png, to_pixels, to_tensor
from convlens.errors import ConvlensError
from convlens.models.labels import class_name
from convlens.models.model import Model, check_model
from convlens.models.output_head import predict_with_probability
from convlens.results import Result
from convlens.tracing.trace import trace

LEVELS = (1, 2, 3, 4, 6, 8, 12, 16)
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Flip(Result):
    """What the network says to adversarial PNGs of growing strength.

    Attributes:
        levels: gray levels tried, of 255, ascending (L of them).
        original_predictions: int64 `(N,)`, the predictions for the unchanged 8-bit images;
            -1 is "not class 0" of a network with one output.
        predictions: int64 `(L, N)`, the answers to the adversarial PNGs.
        noise_predictions: int64 `(L, N)`, the answers to PNGs with random signs instead.
        confidences: float32 `(L, N)`, the probability of the answer given.
        flip_levels: for each image the least level that changed the answer, or None.
        reverted: for each image whether a higher level gave the original answer again; success
            of FGSM does not grow evenly with epsilon.
        names: of the predictions at the flip level (of the original where there is none).
        pixels: uint8 `(N, H, W, C)`, the PNG at the flip level (at the highest level where
            there is none).
        change: int16 `(N, H, W, C)`, what it adds to the pixels of the image.
        largest_changes: greatest change as measured on the files, in gray levels, by image.
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

    @property
    def noise_flipped(self) -> Tensor:
        """Bool `(L, N)`: random signs of that size changed the answer."""
        return self.noise_predictions != self.original_predictions

    def pictures(self) -> dict[str, Tensor]:
        """The PNGs at the flip."""
        return {f"{image}-flip": pixels for image, pixels in enumerate(self.pixels)}


def find_flip(model: Model, attack: Fgsm, *, levels: Sequence[int] = LEVELS, seed: int = 0) -> Flip:
    """For each image the fewest gray levels, among those tried, whose PNG changes the answer.

    Args:
        model: the model that was attacked, left untouched.
        attack: from `fgsm`; its gradient signs are used for every level.
        levels: to try; whole numbers of 1 to 255.
        seed: of the control's random signs.

    Raises:
        ConvlensError: no levels, or one out of range.
    """
    check_model(model)
    tried = sorted(set(levels))
    if not tried or tried[0] < 1 or tried[-1] > 255:
        raise ConvlensError(f"gray levels {list(levels)}; give whole numbers of 1 to 255")
    base = _written(model, attack.images)
    signs = attack.signs.float()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 2, signs.shape, generator=generator) * 2 - 1
    noise = drawn * signs.abs()
    sizes = [level * model.span / 255 for level in tried]
    files = [_written(model, step(base, signs, size, model.bounds)) for size in sizes]
    controls = [_written(model, step(base, noise, size, model.bounds)) for size in sizes]
    classes, probabilities = _answer(model, torch.cat([base, *files, *controls]))
    rows = [1, len(tried), len(tried)]
    original_predictions, answers, noise_predictions = classes.view(-1, len(base)).split(rows)
    confidences = probabilities.view(-1, len(base))[1 : 1 + len(tried)]
    changed = answers != original_predictions
    first = [_first(column, tried) for column in changed.T.tolist()]
    at = [tried.index(level) if level is not None else len(tried) - 1 for level in first]
    pixels = torch.stack(
        [to_pixels(files[index][image], model.bounds) for image, index in enumerate(at)]
    )
    change = pixels.short() - to_pixels(base, model.bounds).short()
    return Flip(
        levels=tuple(tried),
        original_predictions=original_predictions[0],
        predictions=answers,
        noise_predictions=noise_predictions,
        confidences=confidences,
        flip_levels=tuple(first),
        reverted=tuple(_reverted(column) for column in changed.T.tolist()),
        names=tuple(
            class_name(model.labels, int(answers[index][image])) for image, index in enumerate(at)
        ),
        pixels=pixels,
        change=change,
        largest_changes=tuple(change.abs().flatten(1).amax(dim=1).tolist()),
    )


def _written(model: Model, images: Tensor) -> Tensor:
    """The images after being written as 8-bit PNGs and read back, without any resizing."""
    read = []
    for pixels in to_pixels(images, model.bounds):
        with Image.open(io.BytesIO(encode_png(pixels))) as picture:
            read.append(to_tensor(picture, model.bounds))
    batch = torch.stack(read)
    return batch.contiguous(memory_format=torch.channels_last)


def _answer(model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
    """Classes and their probabilities."""
    images = images.to(model.device)
    found = trace(model, images)
    scores = torch.cat([class_scores(model, found, part) for part in images.split(_BATCH)]).cpu()
    return predict_with_probability(scores, found.output_head)


def _first(changed: Sequence[bool], levels: Sequence[int]) -> int | None:
    return next((level for level, flipped in zip(levels, changed, strict=True) if flipped), None)


def _reverted(changed: Sequence[bool]) -> bool:
    return True in changed and not all(changed[changed.index(True) :])
