"""Memory that is freed is kept for the next tensor, in processes that are our own."""

import ctypes

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>


def keep_freed_memory() -> None:
    """Have the C library keep what is freed instead of giving it back to the system.

    By default glibc returns each large tensor when it is freed and asks for the next one anew,
    and the kernel clears its pages once more: up to half the time of a pass over small layers. Kept
    is as much as was in use at once. For the whole process, so for those that convlens starts
    (the command line, workers) and not for those that import it. Other C libraries are left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_MMAP, 1 << 30)
    mallopt(_TRIM, (1 << 31) - 1)
