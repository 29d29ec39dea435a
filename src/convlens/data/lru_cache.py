"""LRUCache: values by key within a limit of bytes, shared by several threads.

functools and cachetools offer caches that evict the least recently used value. Neither computes a
value only once while several threads ask for it, keeps the error of a computation, or keeps the
last two values whatever their size. The readers of Parquet files need all three.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from convlens.errors import ConvlensError

Value = TypeVar("Value")

_ALWAYS_KEPT = 2  # values; threads that read neighboring photos need both sides of a boundary


class LRUCache(Generic[Value]):
    """Keeps the most recently used values; several threads may use it at the same time.

    Example:
        >>> cache = LRUCache(100)
        >>> cache.get("key", lambda: ("computed", 10)), cache.get("key", lambda: ("again", 10))
        ('computed', 'computed')
    """

    def __init__(self, max_bytes: int) -> None:
        """Make an empty cache.

        Args:
            max_bytes: size of all values that are kept. The two most recently used values are kept
                whatever their size.
        """
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._futures: OrderedDict[Hashable, Future[Value]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self._total = 0

    def get(self, key: Hashable, compute: Callable[[], tuple[Value, int]]) -> Value:
        """The value of a key, computed if it is not in the cache.

        Args:
            key: key of the value.
            compute: returns the value and its size in bytes. It runs once, however many threads
                ask for the key meanwhile.

        Raises:
            ConvlensError: raised by `compute`; the error is cached like a value. Other errors are
                raised too, and the next call computes again.
        """
        with self._lock:
            future = self._futures.get(key)
            is_new = future is None
            if future is None:
                future = self._futures[key] = Future()
            self._futures.move_to_end(key)
        if is_new:
            try:
                value, size = compute()
                self._add_size(key, size)
                future.set_result(value)
            except ConvlensError as error:
                self._add_size(key, 0)
                future.set_exception(error)
            except BaseException as error:  # for example an interrupt
                self._remove(key)
                future.set_exception(error)
        return future.result()

    def _add_size(self, key: Hashable, size: int) -> None:
        with self._lock:
            if key in self._futures:
                self._sizes[key] = size
                self._total += size
            while len(self._futures) > _ALWAYS_KEPT and self._total > self._max_bytes:
                oldest, _ = self._futures.popitem(last=False)
                self._total -= self._sizes.pop(oldest, 0)

    def _remove(self, key: Hashable) -> None:
        with self._lock:
            self._futures.pop(key, None)
            self._total -= self._sizes.pop(key, 0)
