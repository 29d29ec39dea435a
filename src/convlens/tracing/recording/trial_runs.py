"""Runs of a network on generated images, for what its operations alone do not tell."""

from contextlib import suppress

import torch
from torch import Tensor
from torch.nn import functional

from convlens.models.model import Model
from convlens.models.outputs import select_output
from convlens.runtime.guard import preserve_network
from convlens.tracing.recording.recording import Recording


def dark_ramp(model: Model, images: Tensor) -> Tensor:
    """An image unlike a random one: from black at the left to medium gray, in the same shape.

    Where the image is wider than the network's input size, the ramp ends at that width.
    """
    low, high = model.bounds
    width = images.shape[-1]
    ramp_width = min(width, model.size[1])
    ramp = torch.linspace(low, high, ramp_width, dtype=images.dtype, device=images.device)
    ramp = functional.pad(ramp, (0, width - ramp_width), value=high)
    return ramp.expand_as(images) * 0.5 + low * 0.5


def run_trial(model: Model, recording: Recording, images: Tensor) -> Tensor | None:
    """The outputs for a batch of images; None if the network does not run on it.

    Images larger than the network's input size are cut to it, which bounds memory and time; a
    network that does not run on the part gets the whole images.

    Args:
        model: the model; left untouched.
        recording: of its network.
        images: `(N, C, H, W)` inside the bounds.
    """
    part = images[..., : model.size[0], : model.size[1]]
    with preserve_network(model.network) as network, torch.no_grad():
        for batch in (part,) if part.shape == images.shape else (part, images):
            with suppress(Exception):  # such as that of a network that takes one image only
                return select_output(network(model.normalize(batch)), index=recording.output_index)
    return None
