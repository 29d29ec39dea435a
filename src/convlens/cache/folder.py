"""Where the disk cache lies, how large it may become, and when it is used.

CONVLENS_CACHE      path of its folder, or `off`. Default: `convlens` in the user's folder of caches
                    (on Linux `$XDG_CACHE_HOME` or `~/.cache`).
CONVLENS_CACHE_MB   its largest size in megabytes. Default: 1000.
"""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convlens.errors import ConvlensError

FOLDER_VARIABLE, SIZE_VARIABLE = "CONVLENS_CACHE", "CONVLENS_CACHE_MB"
OFF = "off"

_DEFAULT_MB = 1000.0
_users = [0]  # blocks of `disk_cache` that are running, in all threads
_lock = threading.Lock()


@contextmanager
def disk_cache() -> Iterator[None]:
    """Use the disk cache in every thread until the block ends.

    The command line, `report` and `chapter` use it, and an explorer turns it on for the whole
    process until it is stopped; other calls from Python use it inside this block only. What depends
    on the network alone is then read from disk if it was computed before: the trace, maximized
    images, responses to gratings, and Gabor fits. The results are the same in every bit. The cache
    is never used for a network with code that does not belong to an installed library, because it
    could not tell that this code has changed.

    The environment variable `CONVLENS_CACHE` moves the cache to another folder, or turns it off
    (`off`); `CONVLENS_CACHE_MB` sets its largest size. `convlens cache` shows and clears it.

    Example:
        >>> import torch, convlens
        >>> model = convlens.wrap(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5)), size=16)
        >>> with convlens.disk_cache():
        ...     fit = convlens.fit_gabor(model, null_size=100)
    """
    with _lock:
        _users[0] += 1
    try:
        yield
    finally:
        with _lock:
            _users[0] -= 1


def active_folder() -> Path | None:
    """The folder of the cache inside a block of `disk_cache`; None outside, or if it is off."""
    return cache_folder() if _users[0] else None


def cache_folder() -> Path | None:
    """The folder of the cache, which need not exist; None if the environment turns it off."""
    setting = os.environ.get(FOLDER_VARIABLE, "")
    if setting.casefold() == OFF:
        return None
    if setting:
        return Path(setting).expanduser()
    from platformdirs import user_cache_path  # only where it is needed

    return user_cache_path("convlens", appauthor=False)


def size_limit() -> int:
    """The largest size of the cache in bytes.

    Raises:
        ConvlensError: the environment variable holds no number of at least 0.
    """
    setting = os.environ.get(SIZE_VARIABLE, "")
    try:
        megabytes = float(setting) if setting else _DEFAULT_MB
    except ValueError:
        megabytes = math.nan
    if not 0 <= megabytes < math.inf:
        raise ConvlensError(
            f"{SIZE_VARIABLE}={setting} is no number of megabytes; set it to a number such as 1000"
        )
    return int(megabytes * 1e6)
