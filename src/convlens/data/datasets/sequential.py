"""SequentialReader: random access to chunks that can only be read one after another."""

import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

Chunk = TypeVar("Chunk")

_RECENT = 2  # chunks that are kept; threads do not ask for neighboring chunks in order


class SequentialReader(Generic[Chunk]):
    """Chunks by index; reading continues after the last chunk if possible. Thread-safe.

    Example:
        >>> reader = SequentialReader(lambda: (letter for letter in "abc"))
        >>> reader[1], reader[2], reader[0]
        ('b', 'c', 'a')
    """

    def __init__(self, read: Callable[[], Generator[Chunk]]) -> None:
        """Keep the function; nothing is read yet.

        Args:
            read: starts reading at the first chunk each time that it is called.
        """
        self._read = read
        self._lock = threading.Lock()
        self._recent: deque[tuple[int, Chunk]] = deque(maxlen=_RECENT)
        self._next = 0
        self._chunks: Generator[Chunk] | None = None

    def __getitem__(self, index: int) -> Chunk:
        """The chunk at an index.

        Raises:
            IndexError: there are fewer chunks.
        """
        with self._lock:
            for recent_index, chunk in self._recent:
                if recent_index == index:
                    return chunk
            if self._chunks is None or index < self._next:
                self._chunks, self._next = self._read(), 0
            try:
                for chunk in self._chunks:
                    self._recent.append((self._next, chunk))
                    self._next += 1
                    if self._next > index:
                        return chunk
            except BaseException:
                self._chunks = None
                raise
            self._chunks = None
            raise IndexError(f"chunk {index} of {self._next}")
