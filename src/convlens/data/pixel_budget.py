"""PixelBudget: the number of pixels that all threads of a process decode at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """Lets threads decode photos at the same time as long as their pixels fit a limit.

    A photo that is larger than the limit is decoded alone.

    Example:
        >>> budget = PixelBudget(100)
        >>> with budget.scope():
        ...     budget.take(60)
        ...     budget.taken
        60
        >>> budget.taken
        0
    """

    def __init__(self, limit: int) -> None:
        """Make a budget.

        Args:
            limit: number of pixels.
        """
        self._limit = limit
        self._changed = threading.Condition()
        self._of_thread = threading.local()
        self.taken = 0

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What this thread takes inside is given back at the end; an inner scope adds to it."""
        if hasattr(self._of_thread, "pixels"):
            yield
            return
        self._of_thread.pixels = 0
        try:
            yield
        finally:
            with self._changed:
                self.taken -= self._of_thread.pixels
                del self._of_thread.pixels
                self._changed.notify_all()

    def take(self, pixels: int) -> None:
        """Wait until there is room for so many pixels, inside a `scope`."""
        with self._changed:
            # A thread that holds pixels must not wait for another one that may wait for it.
            if not self._of_thread.pixels:
                self._changed.wait_for(
                    lambda: self.taken == 0 or self.taken + pixels <= self._limit
                )
            self.taken += pixels
            self._of_thread.pixels += pixels
