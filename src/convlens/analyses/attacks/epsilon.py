"""Epsilon, the largest change of a pixel: parse it and convert it to the units of the image."""

import sys
from collections.abc import Sequence

from convlens.errors import ConvlensError

Epsilon = float | str


def parse_epsilons(
    epsilons: Epsilon | Sequence[Epsilon], bounds: tuple[float, float]
) -> list[float]:
    """Convert one or several epsilons to the units of the image.

    Raises:
        ConvlensError: if there is none, or one that `parse_epsilon` refuses.

    Example:
        >>> parse_epsilons(["51/255", 4.0], bounds=(0.0, 10.0))
        [2.0, 4.0]
    """
    several = [epsilons] if isinstance(epsilons, (str, int, float)) else list(epsilons)
    if not several:
        raise ConvlensError("no epsilon; give at least one, such as 8/255")
    return [parse_epsilon(epsilon, bounds) for epsilon in several]


def check_epsilon(text: str) -> None:
    """Refuse text that is no epsilon for any model.

    Raises:
        ConvlensError: as `parse_epsilon`, except for a plain number above the span of the bounds,
            which only the model knows.
    """
    parse_epsilon(text, (0.0, 1.0 if "/" in text else sys.float_info.max))


def parse_epsilon(epsilon: Epsilon, bounds: tuple[float, float]) -> float:
    """Convert an epsilon to the units of the image.

    Args:
        epsilon: text with a slash ("8/255") is a fraction of the span of the bounds; a plain
            number, also as text, is in the units of the image.
        bounds: the least and the greatest value of a pixel.

    Raises:
        ConvlensError: if it is not a number, negative, or larger than the span.
    """
    span = bounds[1] - bounds[0]
    try:
        if isinstance(epsilon, str) and "/" in epsilon:
            numerator, denominator = epsilon.split("/")
            size = span * float(numerator) / float(denominator)
        else:
            size = float(epsilon)
    except (TypeError, ValueError, ZeroDivisionError):
        raise ConvlensError(
            f"epsilon {epsilon!r} is not a number; write 8/255, or a number in image units"
        ) from None
    if size < 0:
        raise ConvlensError(f"epsilon {epsilon} is negative; write 8/255 for eight gray levels")
    if not size <= span:
        raise ConvlensError(
            f"epsilon {epsilon} is {size:g} in image units, outside 0 to {span:g}; "
            f"write 8/255 for eight gray levels"
        )
    return size
