"""The allocator of the C library, which decides how long small layers take on a CPU.

glibc requests a block beyond a threshold from the system and returns it as soon as it is freed, and
returns the end of its heap when more than another threshold of it is free. The kernel clears the
memory for the next tensor, which takes up to half of the time of a pass over small layers.
"""

import ctypes
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>
_MOST_BLOCK = 32 * 2**20  # bytes: the largest threshold that glibc chooses by itself
_STATUS = Path("/proc/self/status")
_HEADER = 2**16  # bytes, more than malloc adds to a block


def keep_freed_memory() -> None:
    """Make the C library keep freed memory instead of returning it to the system.

    The process then keeps as much memory as was in use at once, until `release_freed_memory` is
    called. The setting holds for the whole process, so only processes that convlens starts make it
    (the command line, workers), not processes that import convlens. It does nothing with other C
    libraries.
    """
    mallopt = _find_function("mallopt")
    if mallopt is not None:
        mallopt(_MMAP, 1 << 30)
        mallopt(_TRIM, (1 << 31) - 1)


def release_freed_memory() -> None:
    """Return the freed memory that the C library keeps to the system.

    It does nothing with C libraries that lack `malloc_trim`.
    """
    malloc_trim = _find_function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def kept_memory() -> int:
    """Bytes of freed memory that the C library keeps; 0 where the system does not tell.

    It grows when tensors of other sizes are freed between those that stay.
    """
    mallinfo2 = _find_function("mallinfo2")
    resident = _resident_memory()
    if mallinfo2 is None or resident is None:
        return 0
    mallinfo2.restype = _HeapStatistics
    heap = mallinfo2()
    return max(0, resident - heap.uordblks - heap.hblkhd)


class _HeapStatistics(ctypes.Structure):
    """`struct mallinfo2` of <malloc.h>.

    `uordblks` are the bytes of the heap that are in use, `hblkhd` those requested from the system.
    """

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def _resident_memory() -> int | None:
    """Bytes of this process in main memory, without files; None where the system does not tell."""
    with suppress(OSError, ValueError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return None


def _find_function(name: str) -> Any:
    """A function of the C library, for ctypes; None where it has no such function."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None


@cache
def raise_heap_thresholds() -> None:
    """Let glibc take blocks of up to 32 MB from its heap, and keep up to 64 MB of the heap free.

    glibc raises its first threshold to the size of the largest block that was returned to the
    system, up to 32 MB, and the second to twice that size. So the time of a pass depends on what
    the process has freed before: Grad-CAM of 8 images with MobileNetV2 takes 67 ms in a new
    process, and 47 ms where a block of 32 MB has been freed. This function frees one, once in a
    process. Nothing is written into it, and no setting is changed. It has no effect with other C
    libraries.
    """
    import numpy as np  # the command line imports this module before it needs numpy

    np.empty(_MOST_BLOCK - _HEADER, dtype=np.uint8)
