"""Composite operations in inference mode, where a dispatch mode receives them whole."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


def run_parts(
    mode: TorchDispatchMode, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Run the parts of a composite operation, such as the `convolution` of `conv2d`.

    Outside of inference mode, autograd takes composite operations apart before a dispatch mode
    receives them. A network whose code runs in `torch.inference_mode` then consists of the same
    operations as any other.

    Args:
        mode: the mode that receives the operation, and then its parts.
        function: the operation.
        args: its positional arguments.
        kwargs: its other arguments.

    Returns:
        What the operation returns; `NotImplemented` outside of inference mode, and for an operation
        without parts.
    """
    if not torch.is_inference_mode_enabled():
        return NotImplemented
    with mode:
        return function.decompose(*args, **kwargs)
