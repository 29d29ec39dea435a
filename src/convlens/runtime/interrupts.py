"""An interrupt (Ctrl-C) as something that work asks about, to end where it can go on."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def catch_interrupts(*, catch: bool = True) -> Iterator[Callable[[], bool]]:
    """While the block lasts, an interrupt is only noted; a second one comes through at once.

    Args:
        catch: False leaves interrupts alone; so does any thread but the main one, which gets none.

    Yields:
        A function that says whether an interrupt came.
    """
    came: list[int] = []
    if not catch or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)
