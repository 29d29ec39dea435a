"""Figures of attacked images: the original, the change, and the adversarial images with answers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.data.images import to_pixels
from convlens.drawing import Panel, picture_figure
from convlens.models.output_head import predict_with_probability
from convlens.wording import percent

if TYPE_CHECKING:
    from convlens.drawing.result_figure import ResultFigure

MOST_IMAGES = 6  # in a figure
MOST_EPSILONS = 4  # in a figure


def attack_figure(
    photos: Tensor,
    answers: Sequence[str],
    change: tuple[Tensor, str],
    adversarial: Sequence[tuple[Tensor, Sequence[str]]],
    title: str,
) -> "ResultFigure":
    """A row for each image: the original, the change, and the adversarial images.

    At most six images are drawn.

    Args:
        photos: uint8 `(N, H, W, C)`, the original images.
        answers: the network's answer for each of them.
        change: pictures of the changes, uint8 `(N, H, W, C)`, and what they show, in words.
        adversarial: adversarial images, uint8 `(N, H, W, C)`, with the title of each image.
        title: text above the figure.
    """
    count = min(len(photos), MOST_IMAGES)
    if count < len(photos):
        title = f"{title}; {count} of {len(photos)} images"
    pictures, words = change
    rows = [
        [
            Panel(_in_color(photos[image]), f"original\n{answers[image]}"),
            Panel(_in_color(pictures[image]), words),
            *(Panel(_in_color(pixels[image]), titles[image]) for pixels, titles in adversarial),
        ]
        for image in range(count)
    ]
    return picture_figure(rows, title=title)


def draw_signs(signs: Tensor) -> Tensor:
    """Signs `(N, C, H, W)` as uint8 `(N, H, W, C)`; mid-gray pixels do not move."""
    return (signs.float() * 127 + 128).to(torch.uint8).permute(0, 2, 3, 1)


def draw_change(change: Tensor) -> tuple[Tensor, str]:
    """Changes of pixels with the largest at full contrast, and in words what was done.

    Args:
        change: `(N, C, H, W)` in gray levels of 255.

    Returns:
        uint8 `(N, H, W, C)` with mid-gray for no change, and words.
    """
    largest = float(change.abs().max())
    pixels = draw_signs(change / largest if largest else change)
    return pixels, f"change, {127 / largest:.3g} times as strong" if largest else "no change"


def describe_answers(logits: Tensor, names: Sequence[str], output_head: str) -> list[str]:
    """The predicted class of each image and its probability, in words.

    Args:
        logits: `(N, classes)`.
        names: the names of the predicted classes; empty where they are not known.
        output_head: "softmax" or "sigmoid", by which the logits are read.
    """
    classes, probabilities = predict_with_probability(logits, output_head)
    class_names = names or [f"class {number}" for number in classes.tolist()]
    return [
        f"{name}, {percent(probability)}"
        for name, probability in zip(class_names, probabilities.tolist(), strict=True)
    ]


def of_255(fraction: float) -> str:
    """An epsilon as a number of gray levels, such as `2/255`."""
    return f"{fraction * 255:.3g}/255"


def describe_change(attack: str, before: str, after: str, *, changed: bool) -> str:
    """Whether an attack changes the prediction of one image, in words.

    Args:
        attack: the attack and its size.
        before: name of the prediction for the image; empty if it is not known.
        after: the same for the adversarial image.
        changed: whether the prediction changes.

    Example:
        >>> describe_change("FGSM at 2/255", "tabby", "lynx", changed=True)
        'FGSM at 2/255 changes the prediction from tabby to lynx'
    """
    if not changed:
        return f"{attack} does not change the prediction{f' {before}' * bool(before)}"
    names = f" from {before} to {after}" if before and after else ""
    return f"{attack} changes the prediction{names}"


def select_epsilons(count: int) -> list[int]:
    """Positions of at most four of several epsilons, evenly spread, the last among them."""
    num_drawn = min(count, MOST_EPSILONS)
    return [
        count - 1 - (num_drawn - 1 - number) * count // num_drawn for number in range(num_drawn)
    ]


def draw_images(images: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Images `(N, C, H, W)` as uint8 `(N, H, W, C)`, with 3 channels or 1.

    Of images with another number of channels the mean over the channels is drawn.
    """
    in_color_or_gray = images if images.shape[1] in (1, 3) else images.mean(dim=1, keepdim=True)
    return to_pixels(in_color_or_gray, bounds)


def _in_color(pixels: Tensor) -> Tensor:
    return pixels.expand(-1, -1, 3) if pixels.shape[-1] == 1 else pixels[..., :3]
