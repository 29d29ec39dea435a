"""How much memory a training step takes, and which batch would fit."""

import copy

import torch
from torch import Tensor, nn

from convlens.errors import ConvlensError
from convlens.training.data.dataset import available_memory

_TRIED = 2  # images; batch normalization needs two
_SPARE = 1.25  # of the activations, for gradients that live beside them


def fitting_batch(network: nn.Module, image: Tensor, batch: int) -> None:
    """Raise ConvlensError where a training step of `batch` images would not fit the memory.

    A copy of the network takes one step on two images, and what it keeps for its gradients is
    counted.

    Args:
        network: on the device that it is trained on; left untouched.
        image: `(C, H, W)`, normalized, on that device.
        batch: images for each step on this device.
    """
    free = _free(image.device)
    if free is None:
        return
    try:
        fixed, each = _needs(network, image)
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise ConvlensError(
            f"not even a step on {_TRIED} images fits the {free / 2**30:.1f} GiB of memory that "
            f"are free; give a smaller size"
        ) from error
    if fixed + each * batch <= free:
        return
    fits = max(0, (free - fixed) // each)
    advice = f"--batch {fits} would fit" if fits else "not even one image fits; give a smaller size"
    raise ConvlensError(
        f"a batch of {batch} images needs about {(fixed + each * batch) / 2**30:.1f} GiB of memory "
        f"and {free / 2**30:.1f} GiB are free: {advice}"
    )


def out_of_memory(error: Exception) -> bool:
    """Whether an exception is torch's way to say that memory ran out, on any device."""
    words = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError)
        and ("not enough memory" in words or "allocate memory" in words)
    )


def too_much(error: Exception, network: nn.Module, image: Tensor, batch: int) -> ConvlensError:
    """What to tell when memory ran out after all."""
    if image.device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        fitting_batch(network, image, batch)
    except ConvlensError as told:
        return told
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ConvlensError(
        f"memory ran out with {batch} images for each step ({said}); give --batch {batch // 2 or 1}"
    )


def _needs(network: nn.Module, image: Tensor) -> tuple[int, int]:
    """Bytes that a step takes whatever the batch, and for each image."""
    duplicate = copy.deepcopy(network).train()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = torch.stack([image] * _TRIED).contiguous(memory_format=torch.channels_last)
    with (
        torch.random.fork_rng(devices=_cuda(image)),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        output = duplicate(images)
    weights = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes()
               for p in duplicate.parameters()}  # fmt: skip
    activations = sum(size for where, size in kept.items() if where not in weights)
    activations += output.untyped_storage().nbytes()
    # Weights are there already: their gradients and the momentum come with the first step.
    return 2 * sum(weights.values()), int(_SPARE * activations / _TRIED)


def _free(device: torch.device) -> int | None:
    if device.type == "cuda":
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - (torch.cuda.memory_allocated(device))
        )
    return available_memory() if device.type == "cpu" else None


def _cuda(image: Tensor) -> list[torch.device]:
    return [image.device] if image.device.type == "cuda" else []
