"""Random numbers for each image, which depend only on a seed and on the image's number.

An image gets the same numbers in whatever batch, order or process it is handled, so a pass gives
the same result on every engine and after it is resumed.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # of splitmix64
_KEY_BITS = 2**62 - 1  # keys are not negative and stay below the largest int64


def random_keys(ids: Tensor, columns: int, seed: int) -> Tensor:
    """Hash the number of each image into independent random integers.

    The mixing steps are those of splitmix64 (Steele et al., Fast Splittable Pseudorandom Number
    Generators, 2014).

    Args:
        ids: int64 `(N,)`, the number of each image in the data set.
        columns: how many keys each image gets.
        seed: another seed gives other keys.

    Returns:
        int64 `(N, columns)`, from 0 to 2^62 - 1.
    """
    mixed = ids[:, None] * _as_signed(_MIX[0]) + torch.arange(columns) * _as_signed(_MIX[1]) + seed
    for shift, factor in ((30, _MIX[1]), (27, _MIX[2])):
        mixed = (mixed ^ _shift_right(mixed, shift)) * _as_signed(factor)
    return (mixed ^ _shift_right(mixed, 31)) & _KEY_BITS


def random_integers(ids: Tensor, columns: int, below: int, seed: int) -> Tensor:
    """Draw int64 `(N, columns)` from 0 to `below` - 1, for each image."""
    return random_keys(ids.cpu(), columns, seed) % below


def random_signs(images: Tensor, ids: Tensor, seed: int) -> Tensor:
    """Draw a sign, -1 or 1, for each value of each image.

    Args:
        images: `(N, C, H, W)`, whose shape, type and device the signs have.
        ids: int64 `(N,)`, the number of each image in the data set.
        seed: another seed gives other signs.

    Returns:
        `(N, C, H, W)`, of the images' type and on their device.

    Example:
        >>> import torch
        >>> images, ids = torch.zeros(3, 1, 2, 2), torch.arange(3)
        >>> signs = random_signs(images, ids, seed=0)
        >>> torch.equal(random_signs(images[2:], ids[2:], seed=0), signs[2:])
        True
    """
    return _draw_each(
        images,
        ids,
        seed,
        lambda shape, generator: torch.randint(0, 2, shape, generator=generator) * 2.0 - 1,
    )


def random_uniform(images: Tensor, ids: Tensor, seed: int) -> Tensor:
    """Draw a number from -1 to 1, evenly distributed, for each value of each image.

    Arguments and return value as for `random_signs`.
    """
    return _draw_each(
        images,
        ids,
        seed,
        lambda shape, generator: (
            torch.rand(shape, generator=generator, dtype=torch.float32) * 2 - 1
        ),
    )


def _draw_each(
    images: Tensor,
    ids: Tensor,
    seed: int,
    draw: Callable[[tuple[int, ...], torch.Generator], Tensor],
) -> Tensor:
    numbers = torch.empty_like(images)
    for row, key in enumerate(random_keys(ids.cpu(), 1, seed)[:, 0].tolist()):
        generator = torch.Generator().manual_seed(key)
        numbers[row] = draw(tuple(images.shape[1:]), generator).to(images)
    return numbers


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Shift right as if the integers were unsigned."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _as_signed(constant: int) -> int:
    """The signed 64-bit integer with the same bits."""
    return constant - 2**64 if constant >= 2**63 else constant
