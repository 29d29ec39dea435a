"""What every key of the disk cache holds about the machine, the libraries and torch's settings."""

import hashlib
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import convlens

# Libraries whose code computes what is kept, or belongs to the networks.
_LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scipy")
_PACKAGE = Path(convlens.__file__).parent


def describe_environment(device: str = "cpu") -> dict[str, Any]:
    """Everything besides a network and the options on which a result may depend, in plain values.

    Args:
        device: name of the device that computes; default: the CPU.
    """
    import torch

    processor = torch.backends.cpu.get_cpu_capability()
    accelerator = torch.cuda.get_device_name(device) if device.startswith("cuda") else ""
    return {
        "versions": _versions(),
        "device": device,
        "hardware": [platform.machine(), processor, accelerator],
        "threads": torch.get_num_threads(),
        "settings": [
            str(torch.get_default_dtype()),
            torch.get_float32_matmul_precision(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.mkldnn.enabled,
            torch.backends.cudnn.enabled,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.allow_tf32,
        ],
    }


@cache
def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "convlens": convlens.__version__}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    # A developer changes the code and not the version.
    return versions | {"convlens source": _source_state(_PACKAGE)}


def _source_state(package: Path) -> str:
    """A hash of the names, sizes and times of a package's modules."""
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(package):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".py"):
                path = Path(folder, name)
                status = path.stat()
                relative = path.relative_to(package)
                digest.update(f"{relative} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
