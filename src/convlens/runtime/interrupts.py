"""Interrupts (Ctrl-C) as a flag that long work checks, so that it can stop in a good place."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def catch_interrupts(*, catch: bool = True) -> Iterator[Callable[[], bool]]:
    """Record the first interrupt inside the block; the second raises KeyboardInterrupt.

    Args:
        catch: False leaves interrupts as they are. So does any thread but the main thread, which
            receives none. Default: True.

    Yields:
        A function that returns whether an interrupt was recorded.
    """
    interrupts: list[int] = []
    if not catch or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def record(number: int, frame: object) -> None:
        if interrupts:
            raise KeyboardInterrupt
        interrupts.append(number)

    previous = signal.signal(signal.SIGINT, record)
    try:
        yield lambda: bool(interrupts)
    finally:
        signal.signal(signal.SIGINT, previous)
