"""The weights that a network convolves with in a run.

They need not be what an attribute of the convolution holds: parametrizations, hooks (weight norm,
spectral norm, pruning) and the code of a layer (standardized or masked weights) compute them from
parameters each time the layer runs.
"""

import torch
from torch import Tensor, nn

from convlens.errors import ConvlensError, first_line
from convlens.models.model import Model
from convlens.runtime.convolution_call import find_convolution_call
from convlens.runtime.guard import unwrap_network
from convlens.tracing.recording.recording import Operation
from convlens.tracing.trace import Trace


def convolved_weights(model: Model, trace: Trace, operation: Operation) -> Tensor:
    """The weights of a convolution as the network uses them.

    A parameter is read as it is. Weights that the network computes are taken from a run on an image
    of random pixels, which ends at the convolution.

    Args:
        model: the model; its network is left untouched.
        trace: its trace.
        operation: the convolution in the trace.

    Returns:
        A copy of the weights, as the operation receives them.

    Raises:
        ConvlensError: the weights depend on the image, or the network raises an error.
    """
    node = operation.arguments["weight"].node
    name = trace.recording.parameters.get(node)
    network = unwrap_network(model.network)
    path = operation.call.path if operation.call is not None else ""
    if name is not None and _is_plain(network.get_submodule(path)):
        return network.get_parameter(name).detach().clone()
    if node in trace.on_image:
        raise ConvlensError(
            f"{model.name} computes the weights of {trace.name(operation.outputs[0])} from the "
            f"image, so they are no filters of the network; look at its feature maps"
        )
    convolutions = [op for op in trace.recording.operations if op.name == operation.name]
    return _weights_in_run(model, trace, convolutions.index(operation))


def _is_plain(convolution: nn.Module) -> bool:
    """Whether a module convolves with its parameter as it is."""
    own_code = type(convolution) not in (nn.Conv2d, nn.ConvTranspose2d)
    return not own_code and not convolution._forward_pre_hooks


def _weights_in_run(model: Model, trace: Trace, number: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(
        1, model.channels, *trace.image_size, generator=generator, dtype=torch.float32
    )
    images = model.normalize((images * model.span + model.bounds[0]).to(model.device))
    try:
        call = find_convolution_call(model.network, images, number)
    except Exception as error:
        raise ConvlensError(
            f"{model.name} does not run on an image of random pixels: {first_line(error)}"
        ) from error
    if call is None:
        raise ConvlensError(
            f"{model.name} did not run this convolution for an image of random pixels, though "
            f"it did when it was traced; the trace is valid for {trace.valid_for}"
        )
    return call.weight
