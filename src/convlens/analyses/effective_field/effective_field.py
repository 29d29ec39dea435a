"""The effective receptive field of the central unit of layers (Luo et al. 2016).

    E(y, x) = mean over photos and image channels c of |d a / d image(c, y, x)|

a is the output of the unit in the middle of a layer's feature maps. Gradients are taken with
respect to the image in the model's own pixel units, before normalization.

W. Luo, Y. Li, R. Urtasun, R. Zemel: Understanding the effective receptive field in deep
convolutional neural networks. NeurIPS 2016.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from convlens.analyses.effective_field.result import (
    EffectiveField,
    LayerEffectiveField,
    effective_area,
)
from convlens.analyses.patches.windows import field_box
from convlens.capture.gradients import convert_gradient_errors, enable_gradients
from convlens.capture.nodes import capture_nodes
from convlens.errors import ConvlensError
from convlens.models.model import ImagesLike, Model
from convlens.results.network_result import keep_warnings
from convlens.runtime.callbacks import or_ignore
from convlens.runtime.guard import preserve_network
from convlens.tracing.channel_names import check_channel
from convlens.tracing.left_out import find_left_out
from convlens.tracing.selection import ChannelSource, Side, find_channel_sources
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace


@keep_warnings
def effective_field(
    model: Model,
    images: ImagesLike,
    *,
    layers: Sequence[str] | None = None,
    side: Side = "post",
    channel: int | None = None,
    share: float = 0.95,
    batch_size: int = 8,
    progress: Callable[[str, int, int], None] | None = None,
) -> EffectiveField:
    """Effective receptive fields of the central units of layers, averaged over images.

    For each batch of images the network runs forward once, as far as the last layer, and backward
    once for each layer.

    Args:
        model: the model, left untouched.
        images: `(N, C, H, W)` inside the bounds, or photos as `Model.prepare` takes them.
        layers: names of layers. Default: all convolutions that give feature maps.
        side: "post" (default): the unit's output after the non-linearity; "pre" before it;
            "output": what the layer itself returns.
        channel: index of the unit's channel in each layer. Default: the sum over all channels of
            the layer, as is usual in the literature.
        share: share of the gradient's sum that the effective area holds, between 0 and 1; default
            0.95.
        batch_size: images that run at once; the memory of the backward pass grows with it. Default:
            8.
        progress: called with (stage, images done, number of images); default: not called.

    Returns:
        For each layer the gradient, the theoretical field and the area that holds `share`.

    Raises:
        ConvlensError: an unknown layer or channel, a layer without feature maps, a `share` outside
            of (0, 1), or images that the model does not take.

    References:
        Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field in Deep
        Convolutional Neural Networks", NeurIPS 2016.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Conv2d(2, 2, 3))
        >>> model = convlens.wrap(network, size=9)
        >>> field = convlens.effective_field(model, torch.rand(2, 1, 9, 9))
        >>> [(layer.layer, layer.size) for layer in field.layers]
        [('0', (3, 3)), ('1', (5, 5))]
    """
    if not 0 < share < 1:
        raise ConvlensError(f"share {share:g}; give a number between 0 and 1, for example 0.95")
    images = model.check(model.to_images(images))
    model_trace = trace(model, images)
    sources = find_channel_sources(model_trace, layers, side)
    for source in sources:
        if channel is not None:
            check_channel(source.layer, channel, source.channels)
    # A network that decides by its data has a trace that holds for one image only.
    batch_size = batch_size if model_trace.recording.faked else 1
    sums = [torch.zeros(images.shape[-2:], dtype=torch.float64) for _ in sources]
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        batch_trace = model_trace if start == 0 else trace(model, batch)
        gradients = _absolute_gradients(model, batch_trace, batch, sources, channel)
        sums = [total + gradient for total, gradient in zip(sums, gradients, strict=True)]
        or_ignore(progress)("effective fields", min(start + batch_size, len(images)), len(images))
    return EffectiveField(
        layers=tuple(
            _measure(model_trace, source, channel, (total / len(images)).float(), share)
            for source, total in zip(sources, sums, strict=True)
        ),
        side=side,
        share=share,
        photos=len(images),
        image_size=model_trace.image_size,
        left_out=tuple(map(str, find_left_out(model_trace))) if layers is None else (),
    )


@enable_gradients()
def _absolute_gradients(
    model: Model,
    batch_trace: Trace,
    images: Tensor,
    sources: Sequence[ChannelSource],
    channel: int | None,
) -> list[Tensor]:
    """The absolute gradients of the central units, summed over the images of a batch.

    Returns:
        For each source float64 `(H, W)` on the CPU, the mean over the image's channels.
    """
    images = images.detach().clone().requires_grad_()
    sums = []
    # Guarded to the end: a network may compute parts of itself again in the backward pass.
    with preserve_network(model.network), convert_gradient_errors(batch_trace):
        tensors = capture_nodes(model, batch_trace, images, [source.node for source in sources])
        for source in sources:
            maps = source.channels_first(tensors[source.node])
            row, column = _center(maps)
            units = maps[:, :, row, column] if channel is None else maps[:, channel, row, column]
            # The last gradient may free the graph while it is computed.
            more = source is not sources[-1]
            (gradient,) = torch.autograd.grad(units.sum(), images, retain_graph=more)
            sums.append(gradient.detach().double().abs().mean(dim=1).sum(dim=0).cpu())
    return sums


def _center(maps: Tensor) -> tuple[int, int]:
    """Row and column of the unit in the middle of feature maps `(N, C, h, w)`."""
    return maps.shape[-2] // 2, maps.shape[-1] // 2


def _measure(
    model_trace: Trace,
    source: ChannelSource,
    channel: int | None,
    gradient: Tensor,
    share: float,
) -> LayerEffectiveField:
    """The areas of one layer from its mean absolute gradient."""
    field = model_trace.field(source.node)
    dims = model_trace.spatial_dims(source.node)
    assert field is not None
    assert dims is not None
    position = (
        model_trace.shape(source.node)[dims[0]] // 2,
        model_trace.shape(source.node)[dims[1]] // 2,
    )
    height, width = model_trace.image_size
    if field.sees_whole_image:
        box = (0, height - 1, 0, width - 1)
    else:
        top, bottom, left, right = field_box(field, *position)
        box = (max(top, 0), min(bottom, height - 1), max(left, 0), min(right, width - 1))
    area = (box[1] - box[0] + 1) * (box[3] - box[2] + 1)
    effective = effective_area(gradient, share)
    return LayerEffectiveField(
        layer=source.layer,
        node=source.node_name,
        channel=channel,
        position=position,
        box=box,
        sees_whole_image=field.sees_whole_image,
        area=area,
        effective_area=effective,
        ratio=effective / area if effective else float("nan"),
        gradient=gradient,
    )
