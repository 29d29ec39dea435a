"""Pieces of what can only be read from front to back."""

import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

Piece = TypeVar("Piece")

_RECENT = 2  # threads that ask for neighbors do not come in order


class SequentialReader(Generic[Piece]):
    """Pieces by number, read on from the last one where possible; any thread may ask."""

    def __init__(self, read: Callable[[], Generator[Piece]]) -> None:
        """Nothing is read yet; `read` begins at the front each time that it is called."""
        self._read = read
        self._lock = threading.Lock()
        self._recent: deque[tuple[int, Piece]] = deque(maxlen=_RECENT)
        self._next = 0
        self._reading: Generator[Piece] | None = None

    def __getitem__(self, number: int) -> Piece:
        """One of them.

        Raises:
            IndexError: there are fewer.
        """
        with self._lock:
            for known, piece in self._recent:
                if known == number:
                    return piece
            if self._reading is None or number < self._next:
                self._reading, self._next = self._read(), 0
            try:
                for piece in self._reading:
                    self._recent.append((self._next, piece))
                    self._next += 1
                    if self._next > number:
                        return piece
            except BaseException:
                self._reading = None
                raise
            self._reading = None
            raise IndexError(f"piece {number} of {self._next}")
