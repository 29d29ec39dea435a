"""The allocator of the C library, in processes that convlens starts."""

import ctypes

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>


def keep_freed_memory() -> None:
    """Make the C library keep freed memory instead of returning it to the system.

    By default glibc returns the memory of each large tensor and requests it again for the next one,
    and the kernel clears the pages each time: up to half of the time of a pass over small layers.
    The process then keeps as much memory as was in use at once. The setting holds for the whole
    process, so only processes that convlens starts make it (the command line, workers), not
    processes that import convlens. It does nothing with other C libraries.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_MMAP, 1 << 30)
    mallopt(_TRIM, (1 << 31) - 1)
