"""The default device of torch, on which new tensors are made unless code names another one."""

import torch

from convlens.errors import ConvlensError


def check_default_device() -> None:
    """Check that new tensors are made on the CPU.

    An analysis computes with tensors of its own, which must have values and lie on the CPU. The
    network and its images may be on any device.

    Raises:
        ConvlensError: `torch.set_default_device` or `with torch.device(...)` has set another one.
    """
    device = torch.get_default_device()
    if device.type != "cpu":
        raise ConvlensError(
            f"new tensors are made on {device.type!r} (torch.set_default_device, or a block with "
            f"torch.device); call convlens where the default device is the CPU, the network and "
            f"the images may be on any device"
        )
