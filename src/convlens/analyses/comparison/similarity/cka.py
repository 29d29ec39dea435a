"""`cka`: how similar the representations of the layers of two networks are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

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
from convlens.analyses.comparison.similarity.sampled_features import (
    sample_features,
    unrelated_orders,
)
from convlens.drawing import new_figure, render_figure
from convlens.drawing.colormaps import SEQUENTIAL
from convlens.drawing.figures import without_middle
from convlens.drawing.palette import INK
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.passes.source import PhotosOrImages
from convlens.results import Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.runtime.callbacks import or_ignore
from convlens.text import plot_text, printable
from convlens.tracing.selection import ChannelSource, Side, find_channel_sources
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace as trace_network
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Notify = Callable[[str], None]

MOST_PHOTOS, POSITIONS = 64, 8  # positions in each photo
_LAYERS = 12  # of each network by default
_LEAST_PHOTOS = 5  # with fewer, unrelated layers have a CKA near 1, too
_WHAT = "to compare layers by CKA"
_DRAWS = 20  # orders of unrelated photos
_LONGEST = 28  # characters of a layer's name in the figure


@dataclass(frozen=True, eq=False)
class Cka(NetworkResult):
    """Linear CKA between the layers of two networks, beside what unrelated photos give.

    Attributes:
        first: name of the first model.
        second: name of the second model.
        first_layers: the layers of the first network, A of them.
        second_layers: the layers of the second network, B of them.
        photos: number of photos.
        positions: number of positions that were sampled in each photo.
        values: float32 `(A, B)`, CKA of each pair of layers, 0 to 1.
        null_mean: float32 `(A, B)`, the mean of CKA between the layer of the first network and that
            of the second one on other photos.
        null_high: float32 `(A, B)`, the greatest of these values in 20 orders of the photos.
        seed: seed of the positions and the orders.
    """

    folder_title: ClassVar[str] = "Similarity of layers (CKA)"

    first: str
    second: str
    first_layers: tuple[str, ...]
    second_layers: tuple[str, ...]
    photos: int
    positions: int
    values: Tensor
    null_mean: Tensor
    null_high: Tensor
    seed: int

    @property
    def counterparts(self) -> Tensor:
        """int64 `(A,)`, the most similar layer of the second network for each of the first."""
        return self.values.argmax(dim=1)

    def summary(self) -> str:
        """The layer with the least similar counterpart, in words."""
        best = self.values.amax(dim=1)
        lowest = int(best.argmin())
        partner = int(self.counterparts[lowest])
        null = float(self.null_high[lowest, partner])
        return (
            f"linear CKA of {len(self.first_layers)} by {len(self.second_layers)} layers on "
            f"{counted(self.photos, 'photo')}: the most similar layer of the second network has "
            f"{float(best.max()):.2f} at best and {float(best.min()):.2f} at least, for "
            f"{printable(self.first_layers[lowest])}; other photos give it up to {null:.2f}"
        )

    def table(self) -> Table:
        """For each layer its most similar counterpart."""
        return Table.of(
            ["layer", "most similar layer", "CKA", "on other photos"],
            [
                [
                    layer,
                    self.second_layers[partner],
                    f"{float(self.values[number, partner]):.2f}",
                    f"{float(self.null_high[number, partner]):.2f}",
                ]
                for number, (layer, partner) in enumerate(
                    zip(self.first_layers, self.counterparts.tolist(), strict=True)
                )
            ],
            most=20,
        )

    def figure(self) -> "Figure":
        """The matrix; cells that do not exceed what other photos give are marked by a cross."""
        rows, columns = self.values.shape
        figure = new_figure(figsize=(min(7.0, 3.2 + 0.3 * columns), 2.0 + 0.22 * rows))
        axes = figure.subplots()
        image = axes.imshow(self.values.numpy(), vmin=0, vmax=1, cmap=SEQUENTIAL, aspect="auto")
        within = (self.values <= self.null_high).nonzero().tolist()
        if within:
            places = list(zip(*within, strict=True))
            axes.scatter(places[1], places[0], marker="x", s=14, color="white", linewidths=0.8)
        axes.set_xticks(
            range(columns), list(map(_shorten, self.second_layers)), rotation=60, ha="right",
            rotation_mode="anchor", fontsize=6.5,
        )  # fmt: skip
        axes.set_yticks(range(rows), list(map(_shorten, self.first_layers)), fontsize=6.5)
        axes.set_xlabel("layer of the second network", fontsize=8)
        axes.set_ylabel("layer of the first network", fontsize=8)
        axes.set_title(
            f"linear CKA on {counted(self.photos, 'photo')}"
            + (", ×: not above other photos" if within else ""),
            fontsize=9, color=INK,
        )  # fmt: skip
        bar = figure.colorbar(image, ax=axes, fraction=0.05)
        bar.ax.tick_params(labelsize=7)
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"CKA": render_figure(self.figure(), dpi=160)}


def _shorten(name: str) -> str:
    return plot_text(without_middle(printable(name), _LONGEST))


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

    Args:
        first: as `cka`, as are the others.
        second: the second model.
        photos: the photos.
        layers: names of layers of the first network.
        second_layers: names of layers of the second network.
        side: side of the layers that is read.
        most_photos: greatest number of photos.
        positions: number of positions in each photo.

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
