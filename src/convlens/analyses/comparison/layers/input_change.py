"""How the input of the first convolution differs between two networks, channel by channel."""

import torch
from torch import Tensor

from convlens.capture.nodes import capture_nodes
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.tracing.recording.recording import NodeRef
from convlens.tracing.trace import Trace

_RESIDUAL = 1e-3  # RMS of what a line leaves, relative to the values, at most
_BORDER = 8  # the share of a side that is left out at each end is 1 / _BORDER
_SAME = 1e-3  # relative distance of two factors or offsets that count as equal


def explain_input(
    first: Model, first_trace: Trace, image: Tensor, second: Model, second_trace: Trace,
    second_image: Tensor,
) -> str:  # fmt: skip
    """What was done to the input of the first convolution of the first network, in words.

    Each channel of the second network's input is compared with a s + b of each channel a of the
    first one's, by least squares.

    Args:
        first: the first model.
        first_trace: its trace.
        image: `(1, C, H, W)` for the first model.
        second: the second model.
        second_trace: its trace.
        second_image: the same photo for the second model.

    Returns:
        Words that continue "receives"; empty if the inputs are the same, or a line does not explain
        each channel of the second one.
    """
    before = _first_input(first, first_trace, image)
    after = _first_input(second, second_trace, second_image)
    if before is None or after is None or before.shape != after.shape:
        return ""
    lines = [_fit(before, channel, number) for number, channel in enumerate(after)]
    if any(line is None for line in lines):
        return ""
    fits = [line for line in lines if line is not None]
    order = [line[0] for line in fits]
    factors = torch.tensor([line[1] for line in fits], dtype=torch.float64)
    offsets = torch.tensor([line[2] for line in fits], dtype=torch.float64)
    words = []
    if order != list(range(len(order))):
        words.append(f"the channels in the order {', '.join(map(str, order))}")
    if scaling := _describe_scaling(first, order, factors, offsets):
        words.append(scaling)
    return " and ".join(words)


def _first_input(model: Model, trace: Trace, image: Tensor) -> Tensor | None:
    """The input of the first convolution of the image, float64 `(C, positions)`."""
    convolutions = (
        operation
        for operation in trace.recording.operations
        if operation.name == "convolution" and operation.outputs[0] in trace.on_image
    )
    operation = next(convolutions, None)
    argument = operation.arguments.get("input") if operation is not None else None
    if not isinstance(argument, NodeRef):
        return None
    try:
        values = capture_nodes(model, trace, image, [argument.node])[argument.node]
    except ConvlensError:  # computed inside an operation that shows only its result
        return None
    if values.ndim != 4:
        return None
    # Without the border, where the network may have padded the image with zeros.
    rows, columns = (slice(side // _BORDER, side - side // _BORDER) for side in values.shape[2:])
    return values[0, :, rows, columns].detach().flatten(1).double().cpu()


def _fit(before: Tensor, channel: Tensor, number: int) -> tuple[int, float, float] | None:
    """The channel, the factor and the offset that explain a channel; None if none does.

    The channel of the same number is preferred, because those of a gray photo are all equal.
    """
    spread = before - before.mean(dim=1, keepdim=True)
    target = channel - channel.mean()
    squares = spread.square().sum(dim=1)
    if not bool((squares > 0).all()) or not bool(target.any()):
        return None
    factors = (spread * target).sum(dim=1) / squares
    residuals = (target - factors[:, None] * spread).square().mean(dim=1).sqrt()
    most = _RESIDUAL * target.square().mean().sqrt()
    best = number if residuals[number] <= most else int(residuals.argmin())
    if residuals[best] > most:
        return None
    factor = float(factors[best])
    return best, factor, float(channel.mean() - factor * before[best].mean())


def _describe_scaling(model: Model, order: list[int], factors: Tensor, offsets: Tensor) -> str:
    """The factors and offsets in words: one more normalization, none, or the numbers."""
    if _near(factors, torch.ones_like(factors)) and _near(offsets, torch.zeros_like(offsets)):
        return ""
    mean = torch.tensor(model.mean, dtype=torch.float64).expand(model.channels)
    std = torch.tensor(model.std, dtype=torch.float64).expand(model.channels)
    if len(mean) == len(factors):
        mean, std = mean[order], std[order]
        if _near(factors * std, torch.ones_like(std)) and _near(offsets * std, -mean):
            return "images that are normalized twice"
        if _near(factors, std) and _near(offsets, mean):
            return "images that are not normalized"
    low, high = float(factors.min()), float(factors.max())
    factor = f"{low:.4g}" if _near(factors[:1], factors[-1:]) else f"{low:.4g} to {high:.4g}"
    low, high = float(offsets.min()), float(offsets.max())
    return f"values multiplied by {factor}, plus {low:.4g} to {high:.4g}"


def _near(values: Tensor, expected: Tensor) -> bool:
    return bool(((values - expected).abs() <= _SAME * (1 + expected.abs())).all())
