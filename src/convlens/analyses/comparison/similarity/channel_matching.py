"""`match_channels`: the channels of two networks that respond alike, one to one."""

from collections.abc import Callable
from math import ceil, log

import torch
from torch import Tensor

from convlens.analyses.comparison.photo_sample import (
    PhotoSample,
    check_enough_photos,
    count_photos,
    describe_cost,
    sample_photos,
)
from convlens.analyses.comparison.similarity.channel_matching_result import (
    PATCHES,
    ChannelMatching,
    ChannelPair,
)
from convlens.analyses.comparison.similarity.sampled_features import (
    sample_features,
    unrelated_orders,
)
from convlens.analyses.patches.dataset_pass import patches as find_patches
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.passes.source import PhotosOrImages
from convlens.results.network_result import keep_warnings
from convlens.runtime.callbacks import or_ignore
from convlens.tracing.selection import ChannelSource, Side, find_channel_sources
from convlens.tracing.tracer import trace as trace_network
from convlens.wording import counted

_LEAST_PHOTOS = 5
_BY_CHANCE = 0.9  # correlation of unrelated channels, up to which a match says something
_DRAWS = 5  # orders of unrelated photos


@keep_warnings
def match_channels(
    first: Model,
    second: Model,
    photos: PhotosOrImages,
    *,
    layer: str | None = None,
    second_layer: str | None = None,
    side: Side = "post",
    show: int = 8,
    most_photos: int = 64,
    positions: int = 8,
    seed: int = 0,
    notify: Callable[[str], None] | None = None,
) -> ChannelMatching:
    """Match the channels of two layers one to one, by the correlation of their activations.

    Activations are compared at the same points of the same photos. The assignment with the greatest
    sum of correlations is found by the Hungarian method. It is found again with the photos of the
    second network in other orders: the correlations are then those that the best choice among many
    channels reaches by chance.

    Args:
        first: the first model; left untouched.
        second: the second model; left untouched.
        photos: files, a data set of them, or images `(N, C, H, W)` inside the bounds of the first
            model.
        layer: layer of the first network. Default: its last convolution.
        second_layer: layer of the second network. Default: its last convolution.
        side: side of the layers that is read: "post" (default), "pre" or "output".
        show: number of pairs whose patches are shown; default 8.
        most_photos: greatest number of photos, evenly spread; default 64.
        positions: number of positions in each photo; default 8.
        seed: seed of the positions and of the orders; default 0.
        notify: called with a sentence that states the cost, before anything runs; default: not
            called.

    Returns:
        The partner of each channel, its correlation with the null, and patches of some pairs.

    Raises:
        ConvlensError: an unknown layer, too few photos for so many channels, or NaN in the
            activations.

    References:
        Li et al., "Convergent Learning: Do different neural networks learn the same
        representations?", ICLR 2016; Kuhn 1955 for the assignment.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        ... )
        >>> model = convlens.wrap(network, size=8)
        >>> matching = convlens.match_channels(model, model, torch.rand(6, 3, 8, 8), show=0)
        >>> matching.partners
        tensor([0, 1, 2, 3])
    """
    check_model(first)
    check_model(second)
    if most_photos < 2 or positions < 1 or show < 0:
        raise ConvlensError(
            f"{most_photos} photos with {positions} positions and {show} pairs; give at least 2 "
            f"photos, 1 position and 0 pairs"
        )
    traces = trace_network(first), trace_network(second)
    sources = [
        find_channel_sources(trace, [name] if name is not None else None, side)[-1]
        for trace, name in zip(traces, (layer, second_layer), strict=True)
    ]
    sizes = [source.channels for source in sources]
    count = count_photos(first, photos, most_photos)
    purpose = f"to match {sizes[0]:,} with {counted(sizes[1], 'channel')}"
    needed = photos_needed(max(sizes))
    check_enough_photos(purpose, count, needed)
    or_ignore(notify)(
        describe_cost(
            f"matching {sizes[0]:,} with {sizes[1]:,} channels",
            traces,
            count * (2 if show else 1),
            (4 * count * positions * sum(sizes) + 8 * sizes[0] * sizes[1] * 3) / 1e6,
        )
    )
    sample = sample_photos(first, second, photos, most_photos)
    check_enough_photos(purpose, len(sample.numbers), needed)
    features = [
        _standardized_features(model, images, source, sample.ids, positions, seed)
        for model, images, source in (
            (first, sample.first, sources[0]), (second, sample.second, sources[1]),
        )
    ]  # fmt: skip
    partners, correlations = match_by_correlation(*features)
    null = _unrelated_correlations(features[0], features[1], len(sample.numbers), positions, seed)
    return ChannelMatching(
        first=first.name,
        second=second.name,
        layer=sources[0].layer,
        second_layer=sources[1].layer,
        second_size=sizes[1],
        photos=len(sample.numbers),
        positions=positions,
        partners=partners,
        correlations=correlations,
        null_mean=float(null.mean()) if len(null) else 0.0,
        null_high=float(null.quantile(0.95)) if len(null) else 0.0,
        shown=_show_pairs((first, second), sources, sample, partners, correlations, show, side),
    )


def _unrelated_correlations(
    first: Tensor, second: Tensor, photos: int, positions: int, seed: int
) -> Tensor:
    """The correlations of matched channels where no photo of the second network is at its place."""
    correlations = torch.cat([
        match_by_correlation(first, second[order])[1]
        for order in unrelated_orders(photos, positions, _DRAWS, seed)
    ])  # fmt: skip
    return correlations[~correlations.isnan()]


def photos_needed(channels: int) -> int:
    """The photos with which the best of so many unrelated channels correlates by less than 0.9.

    The greatest of C correlations of unrelated values of n photos is about sqrt(2 ln C / n). The
    positions of one photo are too much alike to count as samples.

    Args:
        channels: number of channels of the network that has more of them.
    """
    return max(_LEAST_PHOTOS, ceil(2 * log(channels) / _BY_CHANCE**2))


def match_by_correlation(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The one-to-one assignment of columns with the greatest sum of correlations.

    Args:
        first: `(n, p)`, each column with mean 0 and norm 1, or all 0.
        second: `(n, q)`, in the same way.

    Returns:
        int64 `(p,)`, the column of `second` for each of `first`, or -1; and float32 `(p,)`, their
        correlation, NaN for -1 and for columns that do not vary.
    """
    from scipy.optimize import linear_sum_assignment  # takes a second to import

    correlation = first.T @ second
    rows, columns = linear_sum_assignment(correlation.numpy(), maximize=True)
    partners = torch.full((first.shape[1],), -1, dtype=torch.int64)
    correlations = torch.full((first.shape[1],), torch.nan, dtype=torch.float32)
    partners[torch.from_numpy(rows)] = torch.from_numpy(columns)
    matched = torch.from_numpy(rows)
    correlations[matched] = correlation[matched, partners[matched]].float()
    constant = (first == 0).all(dim=0)
    constant[matched] |= (second == 0).all(dim=0)[partners[matched]]
    correlations[constant] = torch.nan
    return partners, correlations


def _standardized_features(
    model: Model, images: Tensor, source: ChannelSource, ids: Tensor, positions: int, seed: int
) -> Tensor:
    """float64 `(n, channels)`, each channel with mean 0 and norm 1; 0 where it does not vary."""
    trace = trace_network(model, images)
    (features,) = sample_features(
        model, trace, images, ids, [source], positions=positions, seed=seed
    )
    centered = features.double() - features.double().mean(dim=0)
    norms = centered.norm(dim=0)
    scale = features.double().abs().amax(dim=0).clamp(min=torch.finfo(torch.float64).tiny)
    varies = norms > 1e-6 * scale
    return torch.where(varies, centered / norms.clamp(min=torch.finfo(torch.float64).tiny), 0.0)


def _show_pairs(
    models: tuple[Model, Model],
    sources: list[ChannelSource],
    sample: PhotoSample,
    partners: Tensor,
    correlations: Tensor,
    show: int,
    side: Side,
) -> tuple[ChannelPair, ...]:
    """The pairs that are most and least alike, with the patches of both channels."""
    matched = (~correlations.isnan()).nonzero().flatten()
    order = matched[correlations[matched].argsort(descending=True, stable=True)].tolist()
    best = order[: -(-show // 2)]
    worst = order[len(best) :][-(show // 2) :] if show > 1 else []
    channels = [*best, *worst]
    if not channels:
        return ()
    selections = channels, [int(partners[channel]) for channel in channels]
    tiles = [
        {
            patches.channel: patches
            for patches in find_patches(
                model, images, layers=[source.layer], side=side, top=PATCHES,
                show={source.layer: numbers},
            ).layers[0].shown
        }
        for model, images, source, numbers in zip(
            models, (sample.first, sample.second), sources, selections, strict=True
        )
    ]  # fmt: skip
    return tuple(
        ChannelPair(
            channel=channel,
            second_channel=partner,
            correlation=float(correlations[channel]),
            first_patches=tiles[0][channel],
            second_patches=tiles[1][partner],
        )
        for channel, partner in zip(*selections, strict=True)
    )
