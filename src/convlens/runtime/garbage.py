"""Fewer and shorter garbage collections while a command starts and a page is made.

Importing torch and timm makes about a million objects, none of which is garbage. Python searches
them for cycles again and again, which is a tenth of the time until the network is loaded.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 100_000  # new objects after which the collector runs while a command starts
_usual: list[tuple[int, int, int]] = []  # the thresholds before, while a command starts


def collect_rarely() -> None:
    """Let the collector run rarely until `collect_as_usual` is called."""
    if not _usual:
        _usual.append(gc.get_threshold())
        gc.set_threshold(_MANY, *_usual[0][1:])


def collect_as_usual() -> None:
    """Let the collector run as before `collect_rarely`, and leave out what exists now.

    The modules that are loaded stay until the process ends, so nothing is gained by a search of
    them. Without a call of `collect_rarely` before, this does nothing.
    """
    if _usual:
        gc.freeze()
        gc.set_threshold(*_usual.pop())


@contextmanager
def collect_new_objects() -> Iterator[None]:
    """Search only the objects that are made inside the block for cycles, until it ends.

    Where something is frozen already, as in a command, nothing changes.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
