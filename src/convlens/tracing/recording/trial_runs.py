"""Runs of a network on generated images, for what its operations alone do not tell."""

import torch
from torch import Tensor

from convlens.models.model import Model
from convlens.models.outputs import select_output
from convlens.runtime.guard import preserve_network
from convlens.tracing.recording.recording import Recording


def dark_ramp(model: Model, images: Tensor) -> Tensor:
    """An image unlike a random one: from black at the left to medium gray, in the same shape."""
    low, high = model.bounds
    ramp = torch.linspace(low, high, images.shape[-1], dtype=images.dtype, device=images.device)
    return ramp.expand_as(images) * 0.5 + low * 0.5


def run_trial(model: Model, recording: Recording, images: Tensor) -> Tensor | None:
    """The outputs for a batch of images; None if the network does not run on it.

    Args:
        model: the model; left untouched.
        recording: of its network.
        images: `(N, C, H, W)` inside the bounds.
    """
    with preserve_network(model.network) as network, torch.no_grad():
        try:
            return select_output(network(model.normalize(images)), index=recording.output_index)
        except Exception:  # such as a network that takes one image only
            return None
