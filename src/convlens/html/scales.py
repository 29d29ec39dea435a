"""Colors of color bars, as the stops of a CSS gradient from the least value to the greatest."""

import torch
from torch import Tensor

from convlens.drawing import diverging_colors, overlay, sequential_colors


def signed() -> str:
    """The scale of signed maps, white at zero."""
    return gradient(diverging_colors(torch.linspace(-1, 1, 11, dtype=torch.float32), 1.0))


def unsigned() -> str:
    """The scale of maps from zero upwards."""
    return gradient(sequential_colors(torch.linspace(0, 1, 11, dtype=torch.float32), 0.0, 1.0))


def overlaid(*, positive: bool = False) -> str:
    """The scale of signed maps that are laid over a photo, as they look over mid-gray.

    Args:
        positive: only the part from zero upwards. Default: the whole scale.
    """
    values = [0.0, 1.0] if positive else [-1.0, 0.0, 1.0]
    gray = torch.full((1, len(values), 3), 128, dtype=torch.uint8)
    return gradient(overlay(gray, torch.tensor([values], dtype=torch.float32), 1.0)[0])


def grays() -> str:
    """The scale of weights that are shown as colors of light, mid-gray at zero."""
    ends = torch.linspace(-1, 1, 11, dtype=torch.float32)
    return gradient(((ends + 1) * 127.5).round().to(torch.uint8).unsqueeze(1).expand(-1, 3))


def gradient(colors: Tensor) -> str:
    """Stops of a CSS gradient from colors uint8 `(N, 3)`."""
    return ", ".join(f"rgb({r} {g} {b})" for r, g, b in colors.tolist())
