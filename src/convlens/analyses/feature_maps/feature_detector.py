"""One unit of a convolution as a feature detector: patch, kernel, products, sum, bias, activation.

The sum of a patch x and a kernel w is their scalar product. By the inequality of Cauchy and
Schwarz it is at most ‖w‖‖x‖, and reaches that for the patches that are a positive multiple of the
kernel. So of all patches of one norm, the kernel detects the one that looks like itself.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from convlens.analyses.feature_maps.detector_result import FeatureDetector
from convlens.analyses.patches.windows import field_box
from convlens.capture.nodes import capture_nodes
from convlens.errors import ConvlensError, suggest
from convlens.models.model import ImagesLike, Model
from convlens.results.network_result import keep_warnings
from convlens.runtime.convolution_call import ConvolutionCall, find_convolution_call
from convlens.tracing.channel_names import check_channel, check_position, match_channel
from convlens.tracing.convolutions import Convolution
from convlens.tracing.left_out import explain_missing_maps
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace


@keep_warnings
def feature_detector(
    model: Model,
    photo: ImagesLike,
    channel: str | None = None,
) -> FeatureDetector:
    """Show what one unit of a convolution computes: patch, kernel, products, sum, bias, activation.

    Args:
        model: the model. It is left untouched.
        photo: one photo as `Model.prepare` takes it, or an image `(1, C, H, W)` inside the bounds.
        channel: `LAYER:K` for a channel of a convolution, at the position where the convolution's
            output is greatest, or `LAYER:K@Y,X` for one of its units. Default: of the first
            convolution, the channel whose patch there is most like its kernel.

    Returns:
        The numbers as the network computes them, and the patch that fits best.

    Raises:
        PhotoError: the photo cannot be read.
        ConvlensError: several images; a layer that is no convolution over rows and columns; a
            channel or a position that it lacks.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.2.1.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())
        >>> model = convlens.wrap(network, size=6, channels=1)
        >>> unit = convlens.feature_detector(model, torch.rand(1, 1, 6, 6), "0:1@2,3")
        >>> abs(unit.sum + unit.bias - unit.output) < 1e-6
        True
        >>> unit.post == max(0.0, unit.output)
        True
    """
    images = model.check(model.to_images(photo))
    if len(images) > 1:
        raise ConvlensError(f"{len(images)} images; give one, (1, C, H, W)")
    name = match_channel(channel) if channel is not None else None
    if channel is not None and name is None:
        raise ConvlensError(f"channel {channel!r} is not LAYER:K or LAYER:K@Y,X")
    model_trace = trace(model, images)
    convolution = _find_convolution(model_trace, name.layer if name else None)
    call = _run_convolution(model, model_trace, convolution, images)
    output, post = convolution.sides.output, convolution.sides.post
    (pre,) = convolution.sides.pre
    captured = {
        node: model_trace.channels_first(node, tensor)[0].detach().float().cpu()
        for node, tensor in capture_nodes(
            model, model_trace, images, list(dict.fromkeys((output, pre, post)))
        ).items()
    }
    maps = captured[output]
    if name is None:
        number = _find_most_similar(call, maps)
        position = _find_greatest(maps[number])
    else:
        number = name.channel
        check_channel(name.layer, number, len(maps))
        position = name.position or _find_greatest(maps[number])
        check_position(name.layer, position, (maps.shape[1], maps.shape[2]))
    unit = (number, *position)
    nonlinear = convolution.sides.nonlinear
    field = model_trace.field(output)
    return FeatureDetector(
        model=model.name,
        layer=convolution.layer,
        channel=number,
        position=position,
        patch=_patch(call, number, position).float().cpu(),
        kernel=call.weight[number].detach().float().cpu(),
        bias=0.0 if call.bias is None else float(call.bias[number].detach()),
        output=float(maps[unit]),
        pre=float(captured[pre][unit]) if nonlinear else None,
        post=float(captured[post][unit]) if nonlinear else None,
        pre_name=model_trace.name(pre) if nonlinear else "",
        post_name=model_trace.name(post) if nonlinear else "",
        reads_image=convolution == model_trace.convolutions[0]
        and call.inputs.shape[1] == model.channels,
        image=images[0].detach().float().cpu().contiguous(),
        bounds=model.bounds,
        box=None if field is None or field.sees_whole_image else field_box(field, *position),
        feature_map=captured[post][number].clone(),
    )


def _find_convolution(model_trace: Trace, layer: str | None) -> Convolution:
    convolutions = {convolution.layer: convolution for convolution in model_trace.convolutions}
    if not convolutions:
        reason = explain_missing_maps(model_trace)
        raise ConvlensError(
            f"{model_trace.model_name} runs no convolution over rows and columns"
            + (f": {reason}" if reason else "")
        )
    if layer is None:
        return next(iter(convolutions.values()))
    if layer not in convolutions:
        raise ConvlensError(
            f"{layer} is no convolution of {model_trace.model_name}{suggest(layer, convolutions)}"
        )
    return convolutions[layer]


def _run_convolution(
    model: Model, model_trace: Trace, convolution: Convolution, images: Tensor
) -> ConvolutionCall:
    """What the convolution receives when the network runs on the image."""
    operations = model_trace.recording.operations
    operation = model_trace.structure.producers[convolution.sides.output]
    number = [op for op in operations if op.name == operation.name].index(operation)
    with torch.inference_mode(mode=False):  # so that the network may write into its input
        normalized = model.normalize(images.detach())
    call = find_convolution_call(model.network, normalized, number)
    if call is None or call.transposed:
        reason = "is a transposed convolution" if call else "did not run on this image"
        raise ConvlensError(
            f"{convolution.layer} of {model_trace.model_name} {reason}, and so has no patch for "
            f"each unit; choose another layer"
        )
    return call


def _patch(call: ConvolutionCall, channel: int, position: tuple[int, int]) -> Tensor:
    """`(C, Mh, Mw)`, the numbers under the kernel at a position, with the zeros of the padding."""
    (y, x), (rows, columns) = call.padding, call.weight.shape[2:]
    padded = F.pad(call.inputs[0], (x, x, y, y))
    top, left = (at * step for at, step in zip(position, call.stride, strict=True))
    down, right = call.dilation
    inputs, outputs = call.weight.shape[1], len(call.weight) // call.groups
    first = channel // outputs * inputs
    return padded[
        first : first + inputs,
        top : top + down * (rows - 1) + 1 : down,
        left : left + right * (columns - 1) + 1 : right,
    ].clone()


def _find_most_similar(call: ConvolutionCall, maps: Tensor) -> int:
    """The channel whose patch, where the channel's output is greatest, is most like its kernel."""
    similarities = torch.stack(
        [
            F.cosine_similarity(
                _patch(call, number, _find_greatest(maps[number])).flatten(),
                call.weight[number].flatten(),
                dim=0,
            )
            for number in range(len(maps))
        ]
    )
    return int(similarities.argmax())


def _find_greatest(values: Tensor) -> tuple[int, int]:
    return divmod(int(values.argmax()), values.shape[1])
