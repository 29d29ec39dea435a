"""The thresholds of glibc: a large block comes from the heap instead of from the system."""

import platform
import subprocess
import sys

import pytest

_SCRIPT = """
import ctypes, sys
from convlens.runtime.allocator import raise_heap_thresholds

libc = ctypes.CDLL(None)
fields = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"

class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in fields.split()]

libc.mallinfo2.restype = Mallinfo
libc.malloc.restype = ctypes.c_void_p
if sys.argv[1] == "raised":
    raise_heap_thresholds()
before = libc.mallinfo2().hblks  # blocks requested from the system
libc.malloc(ctypes.c_size_t(30 * 2**20))
print(libc.mallinfo2().hblks - before)
"""


def _blocks_from_system(mode: str) -> int:
    process = subprocess.run(
        [sys.executable, "-c", _SCRIPT, mode], capture_output=True, text=True, check=True
    )
    return int(process.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_large_block_comes_from_the_heap():
    assert _blocks_from_system("raised") == 0
    assert _blocks_from_system("as it was") == 1


_KEEPING_SCRIPT = """
from pathlib import Path
import numpy as np
from convlens.runtime.allocator import keep_freed_memory, kept_memory, release_freed_memory

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20

keep_freed_memory()
resident_before, freed_before = resident_mb(), kept_memory()
blocks = [np.ones(2**17) for _ in range(200)]  # of 1 MB
last = np.ones(2**10)  # behind them, so that the end of the heap is in use
freed_in_use = (kept_memory() - freed_before) // 2**20
del blocks
resident = resident_mb() - resident_before
freed = (kept_memory() - freed_before) // 2**20
release_freed_memory()
print(freed_in_use, resident, freed, resident_mb() - resident_before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept_until_it_is_released():
    process = subprocess.run(
        [sys.executable, "-c", _KEEPING_SCRIPT], capture_output=True, text=True, check=True
    )
    freed_in_use, resident, freed, resident_after = map(int, process.stdout.split())
    assert resident >= 200
    assert abs(freed_in_use) < 20 and abs(freed - resident) < 20
    assert resident_after < 20
