"""Orientation tuning: the responses of a layer's channels to drifting gratings.

Gratings of many orientations and frequencies drift past, as in experiments on the visual cortex,
and the unit in the middle of each map is recorded. A unit whose response follows the drifting bars
is simple, one whose response does not depend on their position is complex: the ratio of the first
harmonic of the response to its mean, F1/F0, is above or below 1 (Skottun et al., "Classifying
simple and complex cells on the basis of response modulation", 1991).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from convlens.analyses.orientation_tuning.gratings import Gratings, choose_frequencies
from convlens.analyses.orientation_tuning.result import OrientationTuning
from convlens.analyses.orientation_tuning.stored_responses import (
    describe_responses,
    read_responses,
    write_responses,
)
from convlens.capture.nodes import stream_nodes
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.results.network_result import keep_warnings
from convlens.runtime.callbacks import or_ignore
from convlens.runtime.guard import preserve_network
from convlens.runtime.precision import full_precision
from convlens.tracing.selection import ChannelSource, Side, find_channel_sources
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace

_BATCH = 64  # gratings that are run at once


@keep_warnings
@full_precision()
def orientation_tuning(
    model: Model,
    *,
    layer: str | None = None,
    side: Side = "post",
    orientations: int = 12,
    frequencies: Sequence[float] | None = None,
    phases: int = 16,
    contrast: float = 0.8,
    progress: Callable[[int, int], None] | None = None,
) -> OrientationTuning:
    """Record the middle unit of every channel of a layer while gratings drift past.

    All channels are recorded at once, on images that are no larger than the unit's receptive field
    needs. Simple and complex units are told apart by F1/F0 (Skottun et al., 1991).

    Args:
        model: left untouched.
        layer: name of a layer or a node. Default: the first convolution.
        side: side of the layer. Only what a rectifier returns can be used: the `post` side, or the
            `output` of a rectifier. Default: `post`.
        orientations: number of orientations, evenly spaced over 180 degrees from horizontal on, at
            least 2; default 12.
        frequencies: frequencies in cycles per pixel, evenly spaced in octaves. Default: eight, from
            one cycle in the unit's receptive field (at least one in 64 pixels) to 0.4.
        phases: number of steps of the drift over one cycle, at least 4. With few steps the mean of
            a rectified response is underestimated: by 5 % with 8 steps, by 1 % with 16. Default:
            16.
        contrast: greatest minus least pixel of a grating, as a share of the span of the bounds,
            above 0 and at most 1; default 0.8.
        progress: called with the number of gratings shown and their total; default: not called.

    Returns:
        The responses of all channels to all gratings, from which the tuning is computed.

    Raises:
        ConvlensError: the layer is unknown or gives no maps; or no rectifier returns its
            activations, so that a mean over the drift says nothing; or a number is out of range.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 5), torch.nn.ReLU())
        >>> model = convlens.wrap(network, size=16, channels=1)
        >>> result = convlens.orientation_tuning(model, orientations=4, phases=4)
        >>> result.responses.shape
        torch.Size([3, 4, 8, 4])
    """
    if orientations < 2 or phases < 4 or not 0 < contrast <= 1:
        raise ConvlensError(
            f"{orientations} orientations, {phases} phases, contrast {contrast:g}; give at least "
            f"2 orientations, at least 4 phases, and a contrast above 0 and at most 1"
        )
    whole_trace = trace(model)
    source = find_channel_sources(whole_trace, [layer] if layer is not None else None, side)[0]
    if not source.rectified:
        raise ConvlensError(
            f"{source.node_name} of {model.name} may be negative, as no rectifier gave it: tuning "
            f"is undefined there; choose a layer after a ReLU"
        )
    model_trace, node, position, field = _find_unit(model, whole_trace, source)
    gratings = Gratings(
        orientations=torch.arange(orientations, dtype=torch.float32) * (180.0 / orientations),
        frequencies=choose_frequencies(frequencies, max(field)),
        phases=phases,
        contrast=contrast,
        size=model_trace.image_size,
        center=_field_center(model_trace, node, position),
    )
    key = describe_responses(model, model_trace, node, position, gratings)
    responses = read_responses(key)
    if responses is None:
        responses = _record(model, model_trace, node, position, gratings, source, progress)
        write_responses(key, responses)
    return OrientationTuning(
        model=model.name,
        layer=source.layer,
        node_name=source.node_name,
        side=source.side,
        size=model_trace.image_size,
        field=field,
        orientations=gratings.orientations.float(),
        frequencies=gratings.frequencies.float(),
        phases=phases,
        contrast=contrast,
        responses=responses.view(source.channels, orientations, len(gratings.frequencies), phases),
    )


def _record(
    model: Model,
    model_trace: Trace,
    node: int,
    position: tuple[int, int],
    gratings: Gratings,
    source: ChannelSource,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    """The responses of all channels at a position, float32 `(channels, gratings)`."""
    total = len(gratings)
    responses = torch.zeros(source.channels, total, dtype=torch.float32)
    row, column = position
    with preserve_network(model.network):
        for start in range(0, total, _BATCH):
            indices = torch.arange(start, min(start + _BATCH, total))
            images = gratings.draw(model, indices)

            def record(_: int, maps: Tensor, indices: Tensor = indices) -> None:
                unit = model_trace.channels_first(node, maps)[:, :, row, column]
                responses[:, indices] = unit.float().cpu().T

            stream_nodes(model, model_trace, images, [node], record)
            or_ignore(progress)(int(indices[-1]) + 1, total)
    return responses


def _find_unit(
    model: Model, whole_trace: Trace, source: ChannelSource
) -> tuple[Trace, int, tuple[int, int], tuple[int, int]]:
    """The smallest images on which a unit sees no padding.

    Returns:
        The trace on them, the node, the unit's row and column, and the rows and columns it sees.
    """
    side = 16
    while side < max(whole_trace.image_size):
        model_trace = trace(model, size=(side, side), partly=True)
        if source.node_name in model_trace:
            node = model_trace.find_node(source.node_name)
            unit = _middle_unit(model_trace, node)
            if unit is not None:
                return model_trace, node, *unit
        side *= 2
    unit = _middle_unit(whole_trace, source.node, allow_padding=True)
    assert unit is not None
    return whole_trace, source.node, *unit


def _middle_unit(
    model_trace: Trace, node: int, *, allow_padding: bool = False
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Row and column of the middle unit and the size of its field; None if it sees padding."""
    field = model_trace.field(node)
    if field is None or (field.sees_whole_image and not allow_padding):
        return None
    position, extent = [], []
    for axis, length in enumerate(model_trace.image_size):
        middle = len(field.low[axis]) // 2
        low, high = int(field.low[axis][middle]), int(field.high[axis][middle])
        if not allow_padding and (low < 0 or high >= length):
            return None
        position.append(middle)
        extent.append(min(high, length - 1) - max(low, 0) + 1)
    return (position[0], position[1]), (extent[0], extent[1])


def _field_center(model_trace: Trace, node: int, position: tuple[int, int]) -> tuple[float, float]:
    """Row and column of the middle of a unit's receptive field, in pixels."""
    field = model_trace.field(node)
    assert field is not None
    y, x = (float(centers[index]) for centers, index in zip(field.centers, position, strict=True))
    return y, x
