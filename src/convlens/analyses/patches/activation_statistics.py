"""How often and how strongly each channel fires: counts, fixed bins, a random image from each band.

All of it adds up exactly in any order: whole numbers, and a minimum of hashes for the samples.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from convlens.analyses.patches.top_k import NO_IMAGE, Positions
from convlens.passes.random_numbers import random_keys
from convlens.passes.reducer import State

# Bins of the greatest activation of an image: one for none (at most 2^-12), then four an octave,
# one for more than 2^12.
_OCTAVES = range(-12, 12)
_EACH = 4
BIN_EDGES = 2.0 ** (torch.arange(_OCTAVES.start * _EACH, _OCTAVES.stop * _EACH + 1) / _EACH)
BIN_COUNT = len(BIN_EDGES) + 1
BANDS = len(_OCTAVES)


def empty(channels: int) -> State:
    """Nothing seen yet."""
    return {
        "images_fired": torch.zeros(channels, dtype=torch.int64),
        "positions_fired": torch.zeros(channels, dtype=torch.int64),
        "histogram": torch.zeros(channels, BIN_COUNT, dtype=torch.int32),
        "band_keys": torch.full((channels, BANDS), NO_IMAGE),
        "band_values": torch.zeros(channels, BANDS),
        "band_images": torch.full((channels, BANDS), NO_IMAGE),
        "band_positions": torch.zeros(channels, BANDS, dtype=torch.int64),
    }


def add(
    state: State,
    fired: Tensor,
    peaks: Tensor,
    images: Tensor,
    positions: Positions,
    seed: int,
) -> None:
    """Take in a batch, in place.

    Args:
        state: from `empty`.
        fired: `(N, C)`, at how many positions each channel is above 0, on the CPU.
        peaks: float32 `(N, C)`, the greatest of each map, on the CPU.
        images: int64 `(N,)`, their numbers.
        positions: where that is, for chosen (entries, channels).
        seed: of the samples.
    """
    fires = peaks > 0
    state["images_fired"] += fires.sum(dim=0)
    state["positions_fired"] += fired.long().sum(dim=0)
    bins = torch.bucketize(peaks, BIN_EDGES)
    state["histogram"].scatter_add_(1, bins.T, torch.ones_like(bins.T, dtype=torch.int32))
    _sample(state, peaks, fires, images, positions, seed)


def merge(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
    """Both together."""
    summed = ("images_fired", "positions_fired", "histogram")
    merged = {name: one[name] + other[name] for name in summed}
    first = one["band_keys"] <= other["band_keys"]
    for name in ("band_keys", "band_values", "band_images", "band_positions"):
        merged[name] = torch.where(first, one[name], other[name])
    return merged


def quantiles(histogram: Tensor, shares: Tensor) -> Tensor:
    """Activations below which the given shares of images stay, from the fixed bins.

    Right to within a bin, a quarter of an octave (19 %).

    Args:
        histogram: `(C, BINS)`.
        shares: `(Q,)`, of 0..1.

    Returns:
        float32 `(C, Q)`: the bin's middle (geometric); 0 for the lowest bin, infinity for the
        highest.
    """
    total = histogram.sum(dim=1, keepdim=True)
    below = histogram.cumsum(dim=1)
    wanted = (shares * total.double()).clamp(min=1)
    bins = torch.searchsorted(below.double(), wanted)
    between = (BIN_EDGES[:-1] * BIN_EDGES[1:]).sqrt()
    middles = torch.cat([torch.zeros(1), between, torch.full((1,), torch.inf)])
    return middles[bins.clamp(max=BIN_COUNT - 1)]


def _sample(
    state: State, peaks: Tensor, fires: Tensor, images: Tensor, positions: Positions, seed: int
) -> None:
    """Of the images in each octave of activation keep the one with the least hash."""
    octaves = (torch.frexp(peaks).exponent.long() - 1).clamp(_OCTAVES.start, _OCTAVES.stop - 1)
    bands = (octaves - _OCTAVES.start).T
    keys = random_keys(images, peaks.shape[1], seed).masked_fill(~fires, NO_IMAGE).T
    least = state["band_keys"].scatter_reduce(1, bands, keys, "amin")
    won = (keys < state["band_keys"].gather(1, bands)) & (keys == least.gather(1, bands))
    channel, entry = won.nonzero(as_tuple=True)
    band = bands[channel, entry]
    state["band_keys"] = least
    state["band_values"][channel, band] = peaks[entry, channel]
    state["band_images"][channel, band] = images[entry]
    if len(channel):
        state["band_positions"][channel, band] = positions(entry, channel)
