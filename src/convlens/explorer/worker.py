"""Worker: runs computations one at a time in a thread of its own, and stops unneeded ones.

Hooks and modes belong to the modules of a network, so only one thread uses it. A request no longer
waits for its result when its browser has gone on: a newer click in the same tab ends the older
request. A computation for which no request waits is taken out of the queue, or stopped.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, cast

from torch import Tensor

Computed = TypeVar("Computed")


class StoppedError(Exception):
    """No request waits for a computation any more, or the worker is closed."""


@dataclass(eq=False)
class Job:
    """A computation, which all requests for its result share.

    Attributes:
        waiters: number of requests that wait for its result.
        stopped: set when there are none left; `check` raises then.
        progress: the last report of the computation, for requests that wait.
        preview: the last picture of it that is not finished.
        future: its result, once it is submitted.
    """

    waiters: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    progress: Any = None
    preview: Any = None
    future: "Future[Any] | None" = None

    def check(self) -> None:
        """Raise StoppedError if no request waits any more; called by long computations."""
        if self.stopped.is_set():
            raise StoppedError

    def report(self, done: int, total: int) -> None:
        """Keep how much is done, for requests that wait; raise StoppedError if none does."""
        self.check()
        self.progress = (done, total)

    def show(self, preview: Any) -> None:
        """Keep an unfinished picture, for requests that wait; raise StoppedError if none does."""
        self.check()
        self.preview = preview


class Worker:
    """Computes one thing at a time, and keeps the latest results.

    All methods but `close` are called in the thread of one event loop.

    Args:
        max_results: number of results to keep in memory; the least recently used one is dropped.
            Default: 1,024.
        max_bytes: bytes of the tensors of all results to keep; the latest one is kept in any case.
            Default: 256 MiB.
    """

    def __init__(self, max_results: int = 1024, max_bytes: int = 256 * 2**20) -> None:
        self._max_results = max_results
        self._max_bytes = max_bytes
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="convlens-explorer")
        self._jobs: dict[Hashable, Job] = {}
        self._results: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._is_closed = False
        self._is_running = False

    async def compute(self, key: Hashable, work: Callable[[Job], Computed]) -> Computed:
        """The result of a computation, which runs unless its result is kept.

        Requests for the same key share one computation. An exception is raised in all of them, and
        is not kept.

        Args:
            key: different for each computation.
            work: computes the result in the worker's thread. It is given its job.

        Raises:
            StoppedError: the worker is closed.
        """
        if key in self._results:
            self._results.move_to_end(key)
            return cast(Computed, self._results[key][0])
        if self._is_closed:
            raise StoppedError
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = Job()
            job.future = self._executor.submit(self._run, job, work)
        assert job.future is not None
        job.waiters += 1
        waiting = asyncio.wrap_future(job.future)
        waiting.add_done_callback(_retrieve)
        try:
            # A request that goes away must not cancel what another one waits for.
            result = await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if self._is_closed and job.future.cancelled():  # it waited in the queue
                raise StoppedError from None
            raise
        finally:
            job.waiters -= 1
            if not job.waiters:
                job.stopped.set()
                job.future.cancel()
                if self._jobs.get(key) is job:
                    del self._jobs[key]
        self._keep(key, result)
        return cast(Computed, result)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is computed and nothing waits for it."""
        return not self._jobs and not self._is_running

    def find_job(self, key: Hashable) -> Job | None:
        """The computation that runs, or waits, under a key."""
        return self._jobs.get(key)

    def close(self) -> None:
        """Drop the computations that wait, and stop the one that runs."""
        self._is_closed = True
        for job in list(self._jobs.values()):
            job.stopped.set()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, job: Job, work: Callable[[Job], Computed]) -> Computed:
        self._is_running = True
        try:
            job.check()
            return work(job)
        finally:
            self._is_running = False

    def _keep(self, key: Hashable, result: Any) -> None:
        if key in self._results:  # another request that waited for it was faster
            return
        self._results[key] = result, count_bytes(result)
        self._bytes += self._results[key][1]
        while len(self._results) > self._max_results or (
            self._bytes > self._max_bytes and len(self._results) > 1
        ):
            _, (_, size) = self._results.popitem(last=False)
            self._bytes -= size


def count_bytes(result: Any) -> int:
    """Bytes of the tensors of a result: of itself, of its fields, and of what these contain.

    A tensor counts with all memory that it keeps alive, and once in each result that shares it.
    """
    storages: dict[int, int] = {}
    _add_storages(result, storages, set())
    return sum(storages.values())


def _add_storages(value: Any, storages: dict[int, int], seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    parts: Iterable[Any] = ()
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    elif is_dataclass(value) and not isinstance(value, type):
        parts = [getattr(value, entry.name) for entry in fields(value)]
    elif isinstance(value, (tuple, list)):
        parts = value
    elif isinstance(value, dict):
        parts = value.values()
    for part in parts:
        _add_storages(part, storages, seen)


def _retrieve(waiting: "asyncio.Future[Any]") -> None:
    """Take the exception of a computation without a waiting request, or asyncio prints it."""
    if not waiting.cancelled():
        waiting.exception()
