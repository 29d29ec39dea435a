"""Read the items of some batches in several threads, ahead of the loop that uses them."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

BATCHES_AHEAD = 2  # read while the loop uses the one before
_PIXELS_AHEAD = 2**28  # of them together


def batches_ahead(pixels: int) -> int:
    """Number of batches to read ahead, for batches of so many pixels."""
    return min(BATCHES_AHEAD, _PIXELS_AHEAD // max(1, pixels))


def read_ahead(
    batches: Iterable[Sequence[int]], read: Callable[[int], Item], *, ahead: int
) -> Generator[list[Callable[[], Item]]]:
    """Read the items of each batch in as many threads as there are cores.

    Args:
        batches: numbers of the items of each batch; requested as they are needed.
        read: reads one item; runs in several threads at once.
        ahead: number of batches to read beyond the one that is yielded.

    Yields:
        For each batch a function for each of its items, which waits until the item has been read,
        and returns it or raises what `read` raised.

    Example:
        >>> [[get() for get in batch] for batch in read_ahead([[1, 2], [3]], str, ahead=1)]
        [['1', '2'], ['3']]
    """
    waiting: deque[list[Future[Item]]] = deque()
    left = iter(batches)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            while True:
                while len(waiting) <= ahead and (batch := next(left, None)) is not None:
                    waiting.append([pool.submit(read, number) for number in batch])
                if not waiting:
                    return
                yield [future.result for future in waiting.popleft()]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
