"""How often and how strongly each channel is active: counts, a histogram, samples of each octave.

All of it is exact in any order and grouping of the data: counts are integers, bins are fixed, and
the sampled image of an octave is the one with the least hash.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from convlens.analyses.patches.top_k import NO_IMAGE, FindPositions
from convlens.passes.random_numbers import random_keys
from convlens.passes.reducer import State

# Bins of an image's greatest activation: one up to 2^-12, four per octave, one above 2^12.
_OCTAVES = range(-12, 12)
_BINS_PER_OCTAVE = 4
BIN_EDGES = 2.0 ** (
    torch.arange(
        _OCTAVES.start * _BINS_PER_OCTAVE,
        _OCTAVES.stop * _BINS_PER_OCTAVE + 1,
        dtype=torch.float32,
        device="cpu",
    )
    / _BINS_PER_OCTAVE
)
BIN_COUNT = len(BIN_EDGES) + 1


def empty_statistics(channels: int) -> State:
    """The statistics of no data for a number of channels C.

    Returns:
        `images_fired` and `positions_fired` int64 `(C,)`; `histogram` int32 `(C, BIN_COUNT)`; and
        for the sampled image of each octave `band_keys`, `band_images` and `band_positions` int64
        and `band_values` float32, `(C, octaves)` each.
    """
    octaves = len(_OCTAVES)
    return {
        "images_fired": torch.zeros(channels, dtype=torch.int64),
        "positions_fired": torch.zeros(channels, dtype=torch.int64),
        "histogram": torch.zeros(channels, BIN_COUNT, dtype=torch.int32),
        "band_keys": torch.full((channels, octaves), NO_IMAGE, dtype=torch.int64),
        "band_values": torch.zeros(channels, octaves, dtype=torch.float32),
        "band_images": torch.full((channels, octaves), NO_IMAGE, dtype=torch.int64),
        "band_positions": torch.zeros(channels, octaves, dtype=torch.int64),
    }


def add_batch(
    state: State,
    fired: Tensor,
    maxima: Tensor,
    images: Tensor,
    find_positions: FindPositions,
    seed: int,
) -> None:
    """Add a batch to the statistics, in place.

    Args:
        state: from `empty_statistics`.
        fired: `(N, C)`, number of positions at which each channel is above 0, on the CPU.
        maxima: float32 `(N, C)`, the greatest activation of each map, on the CPU.
        images: int64 `(N,)`, numbers of the images.
        find_positions: finds the positions of these maxima, as `spatial_max` returns it.
        seed: seed of the samples.
    """
    fires = maxima > 0
    state["images_fired"] += fires.sum(dim=0)
    state["positions_fired"] += fired.long().sum(dim=0)
    bins = torch.bucketize(maxima, BIN_EDGES)
    state["histogram"].scatter_add_(1, bins.T, torch.ones_like(bins.T, dtype=torch.int32))
    _sample_octaves(state, maxima, fires, images, find_positions, seed)


def merge(state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
    """The statistics of both data sets together."""
    summed = ("images_fired", "positions_fired", "histogram")
    merged = {name: state_a[name] + state_b[name] for name in summed}
    a_first = state_a["band_keys"] <= state_b["band_keys"]
    for name in ("band_keys", "band_values", "band_images", "band_positions"):
        merged[name] = torch.where(a_first, state_a[name], state_b[name])
    return merged


def quantiles(histogram: Tensor, shares: Tensor) -> Tensor:
    """Estimate from the bins the activations below which given shares of the images stay.

    The estimate is right to within a bin, a quarter of an octave (19 %).

    Args:
        histogram: `(C, BIN_COUNT)`.
        shares: `(Q,)`, from 0 to 1.

    Returns:
        float32 `(C, Q)`: the geometric middle of the bin; 0 for the lowest bin, infinity for the
        highest.
    """
    total = histogram.sum(dim=1, keepdim=True)
    cumulative = histogram.cumsum(dim=1)
    image_counts = (shares * total.double()).clamp(min=1)
    bins = torch.searchsorted(cumulative.double(), image_counts)
    return _middles(torch.inf)[bins.clamp(max=BIN_COUNT - 1)]


def deviation_between_images(histogram: Tensor) -> Tensor:
    """Estimate from the bins how much the greatest activations of the images differ.

    The deviation is greatest, 1/2, for a channel that is silent on one half of the images and
    equally strong on the others. It is 0 for a channel that is equally strong on all images, for
    example because its non-linearity has an upper limit.

    Args:
        histogram: `(C, BIN_COUNT)`.

    Returns:
        float64 `(C,)`: the standard deviation over the images, in units of the strongest image;
        0 for a channel that is never above 0.
    """
    middles = _middles(float(BIN_EDGES[-1])).double()
    shares = histogram.double() / histogram.sum(dim=1, keepdim=True).clamp(min=1)
    mean = (shares * middles).sum(dim=1, keepdim=True)
    deviation = (shares * (middles - mean) ** 2).sum(dim=1).sqrt()
    strongest = torch.where(histogram > 0, middles, 0.0).amax(dim=1)
    return torch.where(strongest > 0, deviation / strongest.clamp(min=middles[1]), 0.0)


def _middles(highest: float) -> Tensor:
    """Geometric middle of each bin, float32 `(BIN_COUNT,)`: 0 for the lowest one.

    Args:
        highest: the value of the highest bin, which has no upper edge.
    """
    geometric = (BIN_EDGES[:-1] * BIN_EDGES[1:]).sqrt()
    return torch.cat([geometric.new_zeros(1), geometric, geometric.new_full((1,), highest)])


def _sample_octaves(
    state: State,
    maxima: Tensor,
    fires: Tensor,
    images: Tensor,
    find_positions: FindPositions,
    seed: int,
) -> None:
    """Keep the image with the least key in each octave of activation."""
    octaves = (torch.frexp(maxima).exponent.long() - 1).clamp(_OCTAVES.start, _OCTAVES.stop - 1)
    bands = (octaves - _OCTAVES.start).T
    keys = random_keys(images, maxima.shape[1], seed).masked_fill(~fires, NO_IMAGE).T
    least = state["band_keys"].scatter_reduce(1, bands, keys, "amin")
    enters = (keys < state["band_keys"].gather(1, bands)) & (keys == least.gather(1, bands))
    channel, entry = enters.nonzero(as_tuple=True)
    band = bands[channel, entry]
    state["band_keys"] = least
    state["band_values"][channel, band] = maxima[entry, channel]
    state["band_images"][channel, band] = images[entry]
    if len(channel):
        state["band_positions"][channel, band] = find_positions(entry, channel)
