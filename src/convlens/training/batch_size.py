"""The memory that a training step needs, and the largest batch that fits."""

import copy

import torch
from torch import Tensor, nn

from convlens.errors import ConvlensError
from convlens.runtime.memory import free_memory

_MEASURED_IMAGES = 2  # images; batch normalization needs at least two
_GRADIENT_FACTOR = 1.25  # memory of activations and their gradients, over that of activations


def check_batch_fits(network: nn.Module, image: Tensor, batch: int) -> None:
    """Raise ConvlensError where a training step of `batch` images would not fit the memory.

    A copy of the network runs forward on two images; the tensors that autograd saves for the
    backward pass are counted.

    Args:
        network: the network on the device that it is trained on; left untouched.
        image: a normalized image `(C, H, W)` on that device.
        batch: number of images for each step on this device.

    Raises:
        ConvlensError: the step does not fit; the message gives the largest batch that does.
    """
    free = free_memory(image.device)
    if free is None:
        return
    try:
        fixed, per_image = _measure_step(network, image)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ConvlensError(
            f"not even a step on {_MEASURED_IMAGES} images fits the {free / 2**30:.1f} GiB of "
            f"memory that are free; give a smaller size"
        ) from error
    if fixed + per_image * batch <= free:
        return
    fits = max(0, (free - fixed) // per_image)
    advice = f"--batch {fits} would fit" if fits else "not even one image fits; give a smaller size"
    raise ConvlensError(
        f"a batch of {batch} images needs about {(fixed + per_image * batch) / 2**30:.1f} GiB of "
        f"memory and {free / 2**30:.1f} GiB are free: {advice}"
    )


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception says that memory ran out, on any device."""
    words = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError)
        and ("not enough memory" in words or "allocate memory" in words)
    )


def out_of_memory_error(
    error: Exception, network: nn.Module, image: Tensor, batch: int
) -> ConvlensError:
    """The error to raise when memory ran out in a step that was expected to fit."""
    if image.device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        check_batch_fits(network, image, batch)
    except ConvlensError as memory_error:
        return memory_error
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ConvlensError(
        f"memory ran out with {batch} images for each step ({reason}); "
        f"give --batch {batch // 2 or 1}"
    )


def _measure_step(network: nn.Module, image: Tensor) -> tuple[int, int]:
    """Bytes that a step needs for any batch, and additional bytes for each image."""
    duplicate = copy.deepcopy(network).train()
    saved_storages: dict[int, int] = {}

    def save_storage(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved_storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = torch.stack([image] * _MEASURED_IMAGES).contiguous(memory_format=torch.channels_last)
    with (
        torch.random.fork_rng(devices=_cuda_devices(image)),
        torch.autograd.graph.saved_tensors_hooks(save_storage, lambda tensor: tensor),
    ):
        output = duplicate(images)
    weights = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes()
               for p in duplicate.parameters()}  # fmt: skip
    activations = sum(size for where, size in saved_storages.items() if where not in weights)
    activations += output.untyped_storage().nbytes()
    # The weights exist already; their gradients and momentum are allocated by the first step.
    return 2 * sum(weights.values()), int(_GRADIENT_FACTOR * activations / _MEASURED_IMAGES)


def _cuda_devices(image: Tensor) -> list[torch.device]:
    return [image.device] if image.device.type == "cuda" else []
