"""Contexts that change the whole process, entered once for all threads that are inside them.

The random state, the compiler's stance and similar settings belong to the process. If each thread
saved and restored them by itself, the thread that leaves last would restore what another thread had
set.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


class SharedContext:
    """A context that the first thread enters and the last thread leaves; calls may be nested.

    Args:
        make: makes the context manager that the first thread enters.

    Example:
        >>> import contextlib
        >>> @contextlib.contextmanager
        ... def printing():
        ...     print("in")
        ...     yield
        ...     print("out")
        >>> context = SharedContext(printing)
        >>> with context(), context():
        ...     print("inside")
        in
        inside
        out
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._inside = 0
        self._context: AbstractContextManager[Any]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Enter the context, unless a block that is still running has entered it."""
        with self._lock:
            if not self._inside:
                self._context = self._make()
                self._context.__enter__()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._context.__exit__(None, None, None)
