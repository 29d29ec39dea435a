"""The steps of attacks along signs: FGSM's single one, and PGD's start and its projected steps."""

import torch
from torch import Tensor

from convlens.errors import ConvlensError

_PATH_LENGTH = 2.5  # in epsilons, of all steps together: to any corner and back (Madry's factor)


def fgsm_step(images: Tensor, signs: Tensor, epsilon: float, bounds: tuple[float, float]) -> Tensor:
    """Move images by epsilon along signs, and clip them to the bounds.

    Args:
        images: `(N, C, H, W)`.
        signs: `(N, C, H, W)`, the signs of a gradient.
        epsilon: epsilon in the units of the image.
        bounds: the least and the greatest value of a pixel.

    Example:
        >>> import torch
        >>> images, signs = torch.tensor([0.5, 0.95]), torch.tensor([-1.0, 1.0])
        >>> fgsm_step(images, signs, epsilon=0.25, bounds=(0.0, 1.0))
        tensor([0.2500, 1.0000])
    """
    return torch.add(images, signs, alpha=epsilon).clamp_(bounds[0], bounds[1])


def pgd_start(
    images: Tensor, noise: Tensor | None, epsilon: float, bounds: tuple[float, float]
) -> Tensor:
    """The first images of PGD: x plus epsilon times noise of -1 to 1, clipped to the bounds.

    Args:
        images: `(N, C, H, W)`.
        noise: `(N, C, H, W)`, or None to start at the images.
        epsilon: epsilon in the units of the image.
        bounds: the least and the greatest value of a pixel.
    """
    if noise is None:
        return images.clone(memory_format=torch.preserve_format)
    return torch.add(images, noise, alpha=epsilon).clamp_(*bounds)


def pgd_step(
    images: Tensor,
    adversarial: Tensor,
    signs: Tensor,
    epsilon: float,
    step_size: float,
    bounds: tuple[float, float],
) -> Tensor:
    """Move adversarial images one step along signs, and project them to epsilon and the bounds.

    Args:
        images: `(N, C, H, W)`, from which the result differs by at most epsilon.
        adversarial: `(N, C, H, W)`, the images after the steps so far.
        signs: `(N, C, H, W)`, the signs of the gradient at `adversarial`.
        epsilon: epsilon in the units of the image.
        step_size: size of a step in the units of the image.
        bounds: the least and the greatest value of a pixel.

    Example:
        >>> import torch
        >>> images, adversarial = torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.75])
        >>> pgd_step(images, adversarial, torch.ones(2), 0.25, 0.125, (0.0, 1.0))
        tensor([0.6250, 0.7500])
    """
    change = torch.add(adversarial, signs, alpha=step_size).sub_(images).clamp_(-epsilon, epsilon)
    return change.add_(images).clamp_(*bounds)


def pgd_step_size(epsilon: float, steps: int, step_size: float | None = None) -> float:
    """The size of a step in the units of the image; default: 2.5 epsilon / steps.

    Raises:
        ConvlensError: if there are no steps, or the size is not positive.
    """
    if steps < 1:
        raise ConvlensError(f"{steps} steps; give at least 1")
    if step_size is not None and not 0 < step_size < float("inf"):
        raise ConvlensError(f"a step of {step_size:g}; give a positive number in image units")
    return _PATH_LENGTH * epsilon / steps if step_size is None else step_size
