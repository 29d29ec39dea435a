"""The memory that is free for this process, of the machine and of a GPU."""

import os
from contextlib import suppress
from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_CONTROL_GROUP = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int | None:
    """Free memory of a device in bytes, or None if it is not known."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return available_memory() if device.type == "cpu" else None


def available_memory() -> int | None:
    """Free main memory in bytes, or None if the operating system does not report it.

    Inside a container it is what the container's limit leaves.
    """
    amounts = [_available_of_machine(), _available_of_container()]
    return min((amount for amount in amounts if amount is not None), default=None)


def _available_of_machine() -> int | None:
    with suppress(OSError, ValueError):
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _available_of_container() -> int | None:
    """What the limit of this process's control group (version 2) leaves; None without a limit."""
    with suppress(OSError, ValueError):
        limit = int((_CONTROL_GROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CONTROL_GROUP / "memory.current").read_text(encoding="ascii"))
        statistics = (_CONTROL_GROUP / "memory.stat").read_text(encoding="ascii")
        by_name = dict(line.split() for line in statistics.splitlines())
        # The kernel gives up pages of files that nobody uses.
        return max(0, limit - used + int(by_name.get("inactive_file", 0)))
    return None
