"""`compare_layers`: the first layer in which two networks differ by more than rounding errors.

Floating-point numbers are rounded at each operation, so two networks that compute the same function
in another order, format or type differ by rounding errors, which grow from layer to layer. How
large they are is measured on the networks themselves: each runs on the same images with its weights
and all operations in double precision, too. If both compute the same function f, then

    |a - b| <= |a - f(double)| + |b - f(double)|

at every node, for the root mean square over the positions of a channel as well. A greater
difference is therefore not due to rounding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convlens.analyses.comparison.answers.answer_work import rescale
from convlens.analyses.comparison.layers.double_precision import (
    QuickDepthwise,
    in_double_precision,
)
from convlens.analyses.comparison.layers.input_change import explain_input
from convlens.analyses.comparison.layers.layer_differences import LayerDifference, LayerDifferences
from convlens.analyses.comparison.layers.node_pairs import NodePair, pair_nodes
from convlens.capture.nodes import stream_nodes
from convlens.errors import ConvlensError
from convlens.models.model import ImagesLike, Model, check_model
from convlens.results.network_result import keep_warnings
from convlens.runtime.clone import clone_network
from convlens.runtime.guard import unwrap_network
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace as trace_network

_VALUES_AT_ONCE = 2**25  # of the nodes of one image that are kept in memory, of each network
_CONVERTED_AT_ONCE = 2**18  # values that are converted to float64, 2 MB
_CONTIGUOUS = torch.contiguous_format

Use = Callable[[int, Tensor], None]


@keep_warnings
def compare_layers(
    first: Model, second: Model, images: ImagesLike, *, second_images: ImagesLike | None = None
) -> LayerDifferences:
    """Find the first layer in which two networks differ by more than rounding errors.

    Networks that execute the same operations are compared at every node, others after each
    convolution with its normalization and non-linearity. Each image takes one pass of each network
    in its own precision and, unless all nodes are equal, one in double precision.

    Args:
        first: the first model; left untouched.
        second: the second model; left untouched.
        images: `(N, C, H, W)` inside the bounds of the first model, or photos as `Model.prepare`
            takes them, which each model prepares in its own way.
        second_images: the images for the second model; default: tensors are rescaled to its
            bounds.

    Returns:
        The differences from node to node, each with what rounding explains.

    Raises:
        ConvlensError: a network does not run on the images, or gives no class scores.

    References:
        The triangle inequality, with rounding errors that are measured: see the top of this module.

    Example:
        >>> import copy, torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3),
        ...     torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        ... )
        >>> changed = copy.deepcopy(network)
        >>> changed[2].bias.data[1] += 1
        >>> models = [convlens.wrap(each, size=8) for each in (network, changed)]
        >>> layers = convlens.compare_layers(*models, torch.rand(2, 3, 8, 8))
        >>> layers.first_exceeding.name, layers.first_exceeding.channel
        ('2', 1)
    """
    check_model(first)
    check_model(second)
    batch = first.to_images(images)
    if second_images is None:
        is_tensor = isinstance(images, Tensor) and images.is_floating_point()
        second_batch = rescale(batch, first, second) if is_tensor else second.to_images(images)
    else:
        second_batch = second.to_images(second_images)
    second_batch = second_batch.to(second.device)
    first, second, converted = _to_same_type(first, second, batch[:1], second_batch[:1])
    traces = trace_network(first, batch), trace_network(second, second_batch)
    paired = pair_nodes(*traces)
    comparison = _Comparison((_Run(first, traces[0], batch), _Run(second, traces[1], second_batch)))
    sums = [_Sums() for _ in paired.pairs]
    no_rounding = comparison.compare(paired.pairs, sums)
    return LayerDifferences(
        first=first.name,
        second=second.name,
        images=len(batch),
        layers=tuple(
            node_sums.result(pair.name, known=not no_rounding)
            for pair, node_sums in zip(paired.pairs, sums, strict=True)
        ),
        every_node=paired.every_node,
        reason=paired.reason,
        no_rounding=no_rounding,
        input_change=explain_input(
            first, traces[0], batch[:1], second, traces[1], second_batch[:1]
        ),
        converted=converted,
    )


def _to_same_type(
    first: Model, second: Model, image: Tensor, second_image: Tensor
) -> tuple[Model, Model, str]:
    """Both models in the coarser of their types, and which was converted, if it runs then.

    Networks of different types differ by the rounding of the weights, too. The one with the finer
    type is converted, so that only differences that the conversion does not explain remain.
    """
    if first.dtype == second.dtype:
        return first, second, ""
    models, images = [first, second], [image, second_image]
    finer = min((0, 1), key=lambda number: torch.finfo(models[number].dtype).eps)
    dtype = models[1 - finer].dtype
    network = clone_network(unwrap_network(models[finer].network)).to(dtype)
    converted = replace(models[finer], network=network)
    try:
        trace = trace_network(converted, images[finer])
        stream_nodes(converted, trace, images[finer], [trace.logits], lambda node, values: None)
    except ConvlensError:
        return first, second, ""
    models[finer] = converted
    ordinal = ("first", "second")[finer]
    name = str(dtype).removeprefix("torch.")
    return models[0], models[1], f"the {ordinal} network was converted to {name}"


@dataclass(frozen=True)
class _Run:
    """A network with the images that it is given."""

    model: Model
    trace: Trace
    images: Tensor

    def in_double_precision(self) -> "_Run":
        """The same with weights, images and operations in float64."""
        model = in_double_precision(self.model)
        return replace(self, model=model, images=self.images.contiguous())

    def stream(self, nodes: Mapping[int, int], image: int, use: Use, *, copies: bool) -> None:
        """Call a function with the values at nodes of one image.

        Args:
            nodes: index of the node by the number of its pair.
            image: number of the image.
            use: called with the number of a pair and the values `(C, positions)` of its node.
            copies: whether `use` may keep the values; otherwise the network may overwrite them.
        """
        pairs: dict[int, list[int]] = {}
        for pair, node in nodes.items():
            pairs.setdefault(node, []).append(pair)

        def use_node(node: int, values: Tensor) -> None:
            with torch._C.DisableTorchFunction():  # not observed as operations of the network
                by_channel = self._by_channel(node, values, copies=copies)
                for pair in pairs[node]:
                    use(pair, by_channel)

        stream_nodes(self.model, self.trace, self.images[image : image + 1], pairs, use_node)

    def _by_channel(self, node: int, values: Tensor, *, copies: bool) -> Tensor:
        """The values channel by channel."""
        if values.ndim == 4 and self.trace.spatial_dims(node) is not None:
            values = self.trace.channels_first(node, values)
        channels = values.shape[1] if values.ndim > 1 else 1
        values = values.detach().cpu()
        values = values.clone(memory_format=_CONTIGUOUS) if copies else values.contiguous()
        return values.view(channels, -1)


class _Sums:
    """Sums over images of the squares at one node, for each channel."""

    def __init__(self) -> None:
        self.count = 0
        self.squares: Tensor | None = None  # of both networks, of the difference, of rounding
        self.unequal: Tensor | None = None

    def add(self, first: Tensor, second: Tensor) -> bool:
        """Add the values of both networks, `(C, positions)` each; returns whether they differ."""
        squares = torch.zeros(5, len(first), dtype=torch.float64)
        squares[0] = squares[1] = _sum_squares(first)
        unequal = first != second
        rows = unequal.any(dim=1)
        if rows.any():
            squares[1] = _sum_squares(second)
            squares[2] = _sum_squares(first, second)
            rows = (unequal & ~(first.isnan() & second.isnan())).any(dim=1)
        self.squares = squares if self.squares is None else self.squares + squares
        self.unequal = rows if self.unequal is None else self.unequal | rows
        self.count += first.shape[1]
        return bool(rows.any())

    def add_rounding(self, network: int, values: Tensor, exact: Tensor) -> None:
        """Add the rounding errors of one of the networks."""
        assert self.squares is not None
        self.squares[3 + network] += _sum_squares(exact, values)

    def result(self, name: str, *, known: bool) -> LayerDifference:
        """The difference at the node, relative to it."""
        assert self.squares is not None and self.unequal is not None
        means = (self.squares / max(1, self.count)).sqrt()
        scale = float((self.squares[:2].sum() / (2 * self.squares[0].numel() * self.count)).sqrt())
        scale = scale or 1.0
        difference, rounding = means[2] / scale, (means[3] + means[4]) / scale
        # Where all is finite, the channel in which the difference exceeds rounding most.
        channel = int((difference - rounding).nan_to_num(nan=torch.inf).argmax())
        return LayerDifference(
            name=name,
            equal=not bool(self.unequal.any()),
            difference=float(difference[channel]),
            rounding=float(rounding[channel]) if known else float("nan"),
            channel=channel,
            differing_channels=int(self.unequal.sum()),
            channels=len(self.unequal),
        )


def _sum_squares(values: Tensor, others: Tensor | None = None) -> Tensor:
    """The sum of the squares of each row of `(C, positions)`, or of its difference from others.

    It is computed in float64, some rows at a time, which then stay in the cache.
    """
    rows = max(1, _CONVERTED_AT_ONCE // max(1, values.shape[1]))
    parts = []
    for start in range(0, len(values), rows):
        part = values[start : start + rows].to(torch.float64, copy=others is not None)
        if others is not None:
            part -= others[start : start + rows].double()
        parts.append(torch.linalg.vector_norm(part, dim=1).square())
    return torch.cat(parts)


@dataclass(frozen=True)
class _Comparison:
    """Runs both networks, a few nodes of an image at a time, so that memory stays bounded."""

    runs: tuple[_Run, _Run]

    def compare(self, pairs: Sequence[NodePair], sums: Sequence[_Sums]) -> str:
        """Add the values at all pairs of nodes; returns why rounding was not measured, or empty."""
        no_rounding = ""
        exact: list[_Run] = []
        for group in self._groups(pairs):
            nodes = [
                {place: (pairs[place].first, pairs[place].second)[number] for place in group}
                for number in (0, 1)
            ]
            for image in range(len(self.runs[0].images)):
                unequal = self._add_values(nodes, image, sums)
                if no_rounding or not unequal[0]:
                    continue
                try:
                    exact = exact or [run.in_double_precision() for run in self.runs]
                    for number, run in enumerate(exact):
                        _add_rounding(run, number, nodes[number], image, unequal[number], sums)
                except (ConvlensError, RuntimeError, TypeError) as error:
                    no_rounding = f"as a network does not run in double precision ({error})"
        return no_rounding

    def _add_values(
        self, nodes: Sequence[Mapping[int, int]], image: int, sums: Sequence[_Sums]
    ) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Add the values of one image; returns those of both networks where they are not equal."""
        first: dict[int, Tensor] = {}
        second: dict[int, Tensor] = {}

        def keep(place: int, values: Tensor) -> None:
            first[place] = values

        def compare(place: int, values: Tensor) -> None:
            if sums[place].add(first[place], values):
                second[place] = values
            else:
                del first[place]

        self.runs[0].stream(nodes[0], image, keep, copies=True)
        self.runs[1].stream(nodes[1], image, compare, copies=True)
        return first, second

    def _groups(self, pairs: Sequence[NodePair]) -> Iterator[list[int]]:
        """The places of pairs whose values fit into memory together."""
        trace = self.runs[0].trace
        group: list[int] = []
        size = 0
        for place, pair in enumerate(pairs):
            num_values = torch.Size(trace.shape(pair.first)).numel()
            if group and size + num_values > _VALUES_AT_ONCE:
                yield group
                group, size = [], 0
            group.append(place)
            size += num_values
        if group:
            yield group


def _add_rounding(
    run: _Run, number: int, nodes: Mapping[int, int], image: int, values: Mapping[int, Tensor],
    sums: Sequence[_Sums],
) -> None:  # fmt: skip
    """Add the rounding errors of the values of one network, which runs in double precision."""

    def add(place: int, exact: Tensor) -> None:
        sums[place].add_rounding(number, values[place], exact)

    with QuickDepthwise():
        run.stream({place: nodes[place] for place in values}, image, add, copies=False)
