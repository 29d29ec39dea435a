"""A shelf: what was made lately, within a limit of bytes, for several threads at a time."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from convlens.errors import ConvlensError

Value = TypeVar("Value")

_LEAST = 2  # things that are kept whatever their size: neighbors ask for both sides of an edge


class LRUCache(Generic[Value]):
    """Keeps things by key; each is made once however many threads ask for it meanwhile."""

    def __init__(self, most: int) -> None:
        """An empty one.

        Args:
            most: bytes that are kept; the two used last stay in any case.
        """
        self._most = most
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, Future[Value]] = OrderedDict()
        self._bytes: dict[Hashable, int] = {}
        self._sum = 0

    def get(self, key: Hashable, make: Callable[[], tuple[Value, int]]) -> Value:
        """The thing of that key; unless it is at hand, `make` makes it and says how many bytes.

        Raises:
            ConvlensError: what `make` raises; it is kept as a thing would be.
        """
        with self._lock:
            future = self._held.get(key)
            mine = future is None
            if future is None:
                future = self._held[key] = Future()
            self._held.move_to_end(key)
        if mine:
            try:
                thing, size = make()
                self._weigh(key, size)
                future.set_result(thing)
            except ConvlensError as error:
                self._weigh(key, 0)
                future.set_exception(error)
            except BaseException as error:  # interrupted, say: the next one tries again
                self._forget(key)
                future.set_exception(error)
        return future.result()

    def _weigh(self, key: Hashable, size: int) -> None:
        with self._lock:
            if key in self._held:
                self._bytes[key] = size
                self._sum += size
            while len(self._held) > _LEAST and self._sum > self._most:
                oldest, _ = self._held.popitem(last=False)
                self._sum -= self._bytes.pop(oldest, 0)

    def _forget(self, key: Hashable) -> None:
        with self._lock:
            self._held.pop(key, None)
            self._sum -= self._bytes.pop(key, 0)
