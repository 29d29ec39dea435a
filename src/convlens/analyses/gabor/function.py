"""Gabor functions: a wave under a Gaussian envelope, and the orientation of its bars.

Many simple cells of the visual cortex and many filters of first layers look like Gabor functions.
Coordinates are those of a picture: x to the right, y down, in pixels.
"""

import math

import torch
from torch import Tensor

Number = float | Tensor


def gabor(
    x: Tensor,
    y: Tensor,
    A: Number,  # noqa: N803 - the chapter's letter
    alpha: Number,
    beta: Number,
    omega: Number,
    phi: Number,
    x0: Number,
    y0: Number,
    theta: Number,
) -> Tensor:
    """Evaluate a Gabor function: G(x, y) = A exp(-α x̃² - β ỹ²) sin(ω x̃ + φ).

    x̃ = (x - x₀) cos θ + (y - y₀) sin θ and ỹ = -(x - x₀) sin θ + (y - y₀) cos θ are the coordinates
    relative to the center, rotated by θ (Bishop & Bishop, section 10.3). All arguments broadcast.

    Args:
        x: columns, in pixels to the right.
        y: rows, in pixels downwards.
        A: amplitude.
        alpha: decay of the envelope along the wave, in 1/pixel²; 1/(2σ²) for a standard deviation
            σ.
        beta: decay of the envelope across the wave, in 1/pixel².
        omega: angular frequency of the wave, in radians per pixel.
        phi: phase in radians; 0 is odd about the center, π/2 even.
        x0: column of the center, in pixels.
        y0: row of the center, in pixels.
        theta: direction in which the wave runs, in radians from x toward y.

    Returns:
        The values at x and y, of the shape to which all arguments broadcast.

    Example:
        >>> import math, torch, convlens
        >>> x = torch.tensor([-1.0, 0.0, 1.0])
        >>> y = torch.zeros(3)
        >>> convlens.gabor(x, y, 1.0, 0.5, 0.5, math.pi / 2, 0.0, 0.0, 0.0, 0.0)
        tensor([-0.6065,  0.0000,  0.6065])
    """
    if not isinstance(theta, Tensor):
        theta = torch.tensor(theta, dtype=torch.float64, device=x.device)
    cos, sin = theta.cos(), theta.sin()
    along = (x - x0) * cos + (y - y0) * sin
    across = -(x - x0) * sin + (y - y0) * cos
    return A * torch.exp(-alpha * along**2 - beta * across**2) * torch.sin(omega * along + phi)


def bar_orientation(theta: float) -> float:
    """Orientation of the bars of a wave that runs in direction θ.

    Args:
        theta: radians from x (right) toward y (down).

    Returns:
        Degrees of 0 to 180, counter-clockwise from horizontal as one looks at the picture.
    """
    return (90.0 - math.degrees(theta)) % 180.0


def wave_direction(orientation: float) -> float:
    """Direction θ of the wave whose bars have an orientation: the inverse of `bar_orientation`.

    Args:
        orientation: degrees, counter-clockwise from horizontal as one looks at the picture.

    Returns:
        Radians from -π/2 to π/2, from x toward y.
    """
    return math.radians((90.0 - orientation + 90.0) % 180.0 - 90.0)
