"""`cka`: how similar the representations of the layers of two networks are."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from convlens.analyses.comparison.photo_sample import (
    check_enough_photos,
    count_photos,
    describe_cost,
    sample_photos,
)
from convlens.analyses.comparison.similarity.centered_kernel_alignment import (
    cka_matrix,
    gram_matrix,
)
from convlens.analyses.comparison.similarity.cka_result import Cka
from convlens.analyses.comparison.similarity.sampled_features import (
    sample_features,
    unrelated_orders,
)
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.passes.source import PhotosOrImages
from convlens.results.network_result import keep_warnings
from convlens.runtime.callbacks import or_ignore
from convlens.tracing.selection import ChannelSource, Side, find_channel_sources
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace as trace_network

Notify = Callable[[str], None]

MOST_PHOTOS, POSITIONS = 64, 8  # positions in each photo
_LAYERS = 12  # of each network by default
_LEAST_PHOTOS = 5  # with fewer, unrelated layers have a CKA near 1, too
_WHAT = "to compare layers by CKA"
_DRAWS = 20  # orders of unrelated photos


@keep_warnings
def cka(
    first: Model,
    second: Model,
    photos: PhotosOrImages,
    *,
    layers: Sequence[str] | None = None,
    second_layers: Sequence[str] | None = None,
    side: Side = "post",
    most_photos: int = MOST_PHOTOS,
    positions: int = POSITIONS,
    seed: int = 0,
    notify: Notify | None = None,
) -> Cka:
    """Compute linear CKA between the layers of two networks, at sampled positions of photos.

    Layers of different resolution are read at the same points of the photos. CKA is computed again
    with the photos of the second network in other orders, which shows how large it is for unrelated
    features: with few samples and many channels, that is far above 0.

    Args:
        first: the first model; left untouched.
        second: the second model; left untouched.
        photos: files, a data set of them, or images `(N, C, H, W)` inside the bounds of the first
            model.
        layers: names of layers of the first network. Default: 12 of its convolutions, evenly
            spread.
        second_layers: names of layers of the second network. Default: 12 of its convolutions.
        side: side of the layers that is read: "post" (default), "pre" or "output".
        most_photos: greatest number of photos, evenly spread; default 64.
        positions: number of positions in each photo; default 8.
        seed: seed of the positions and of the orders; default 0.
        notify: called with a sentence that states the cost, before anything runs; default: not
            called.

    Returns:
        The matrix of CKA, and its null.

    Raises:
        ConvlensError: an unknown layer, fewer than five photos, or NaN in the activations.

    References:
        Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 6, 3),
        ...     torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        ... )
        >>> model = convlens.wrap(network, size=8)
        >>> result = convlens.cka(model, model, torch.rand(6, 3, 8, 8))
        >>> result.first_layers, result.values.diagonal()
        (('0', '2'), tensor([1., 1.]))
    """
    check_model(first)
    check_model(second)
    sources, cost = plan_cka(
        first, second, photos, layers=layers, second_layers=second_layers, side=side,
        most_photos=most_photos, positions=positions,
    )  # fmt: skip
    or_ignore(notify)(cost)
    sample = sample_photos(first, second, photos, most_photos)
    check_enough_photos(_WHAT, len(sample.numbers), _LEAST_PHOTOS)
    grams = _gram_matrices(first, sample.first, sources[0], sample.ids, positions, seed)
    others = _gram_matrices(second, sample.second, sources[1], sample.ids, positions, seed)
    orders = unrelated_orders(len(sample.numbers), positions, _DRAWS, seed)
    null = torch.stack([cka_matrix(grams, others, order) for order in orders])
    return Cka(
        first=first.name,
        second=second.name,
        first_layers=tuple(source.layer for source in sources[0]),
        second_layers=tuple(source.layer for source in sources[1]),
        photos=len(sample.numbers),
        positions=positions,
        values=cka_matrix(grams, others).clamp(0, 1).float(),
        null_mean=null.mean(dim=0).clamp(0, 1).float(),
        null_high=null.amax(dim=0).clamp(0, 1).float(),
        seed=seed,
    )


def plan_cka(
    first: Model,
    second: Model,
    photos: PhotosOrImages,
    *,
    layers: Sequence[str] | None = None,
    second_layers: Sequence[str] | None = None,
    side: Side = "post",
    most_photos: int = MOST_PHOTOS,
    positions: int = POSITIONS,
) -> tuple[tuple[tuple[ChannelSource, ...], tuple[ChannelSource, ...]], str]:
    """The layers that `cka` compares, and a sentence that states its cost; nothing runs.

    The arguments and their defaults are those of `cka`.

    Raises:
        ConvlensError: as `cka`.
    """
    if most_photos < _LEAST_PHOTOS or positions < 1:
        raise ConvlensError(
            f"{most_photos} photos with {positions} positions; give at least {_LEAST_PHOTOS} "
            f"photos and 1 position"
        )
    traces = trace_network(first), trace_network(second)
    sources = (
        _select_sources(traces[0], layers, side),
        _select_sources(traces[1], second_layers, side),
    )
    count = count_photos(first, photos, most_photos)
    check_enough_photos(_WHAT, count, _LEAST_PHOTOS)
    samples = count * positions
    channels = sum(source.channels for network_sources in sources for source in network_sources)
    cost = describe_cost(
        f"CKA of {len(sources[0])} by {len(sources[1])} layers",
        traces,
        count,
        (4 * samples * channels + 8 * samples**2 * sum(map(len, sources))) / 1e6,
    )
    return sources, cost


def _gram_matrices(
    model: Model,
    images: Tensor,
    sources: Sequence[ChannelSource],
    ids: Tensor,
    positions: int,
    seed: int,
) -> list[Tensor]:
    """The Gram matrices of the layers of one network."""
    trace = trace_network(model, images)
    features = sample_features(model, trace, images, ids, sources, positions=positions, seed=seed)
    return list(map(gram_matrix, features))


def _select_sources(
    trace: Trace, layers: Sequence[str] | None, side: Side
) -> tuple[ChannelSource, ...]:
    """The layers by name, or convolutions evenly spread, the first and the last among them."""
    sources = find_channel_sources(trace, layers, side)
    if layers is not None or len(sources) <= _LAYERS:
        return sources
    last = len(sources) - 1
    return tuple(sources[round(number * last / (_LAYERS - 1))] for number in range(_LAYERS))
