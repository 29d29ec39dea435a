"""Worker: computes one thing at a time in a thread of its own, and stops what nobody waits for.

Hooks and modes belong to the modules of a network, so one thread uses it. A request whose browser
has gone on (a newer click of the same tab ends the older request) no longer waits for its result.
What nobody waits for is taken out of the queue, or told to stop where it already runs.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

Computed = TypeVar("Computed")


class StoppedError(Exception):
    """Raised inside a computation that nobody waits for any more."""


@dataclass(eq=False)
class Job:
    """One computation.

    Attributes:
        waiters: number of requests that wait for its result.
        stopped: set when there are none left; `check` raises then.
        progress: the last report of the computation, for those who wait.
    """

    waiters: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    progress: Any = None
    future: "Future[Any] | None" = None

    def check(self) -> None:
        """Raise StoppedError if nobody waits any more; called by long computations."""
        if self.stopped.is_set():
            raise StoppedError


class Worker:
    """Computes one thing at a time, and keeps the latest results.

    All methods but `close` are called in the thread of one event loop.

    Args:
        max_results: number of results to keep in memory; the least recently used one is dropped.
    """

    def __init__(self, max_results: int = 128) -> None:
        self._max_results = max_results
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="convlens-explorer")
        self._jobs: dict[Hashable, Job] = {}
        self._results: OrderedDict[Hashable, Any] = OrderedDict()

    async def compute(self, key: Hashable, work: Callable[[Job], Computed]) -> Computed:
        """The result of a computation, which runs unless its result is kept.

        Requests for the same key share one computation. An exception is raised in all of them, and
        is not kept.

        Args:
            key: what tells computations apart.
            work: computes the result in the worker's thread. It is given its job.
        """
        if key in self._results:
            self._results.move_to_end(key)
            return cast(Computed, self._results[key])
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = Job()
            job.future = self._executor.submit(_run, job, work)
        assert job.future is not None
        job.waiters += 1
        waiting = asyncio.wrap_future(job.future)
        waiting.add_done_callback(_retrieve)
        try:
            # A request that goes away must not cancel what another one waits for.
            result = await asyncio.shield(waiting)
        finally:
            job.waiters -= 1
            if not job.waiters:
                job.stopped.set()
                job.future.cancel()
                if self._jobs.get(key) is job:
                    del self._jobs[key]
        self._keep(key, result)
        return cast(Computed, result)

    def is_kept(self, key: Hashable) -> bool:
        """Whether a result is in memory."""
        return key in self._results

    def find_job(self, key: Hashable) -> Job | None:
        """The computation that runs, or waits, under a key."""
        return self._jobs.get(key)

    def close(self) -> None:
        """Stop: what waits is dropped, and what runs is told to stop."""
        for job in list(self._jobs.values()):
            job.stopped.set()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _keep(self, key: Hashable, result: Any) -> None:
        self._results[key] = result
        self._results.move_to_end(key)
        while len(self._results) > self._max_results:
            self._results.popitem(last=False)


def _run(job: Job, work: Callable[[Job], Computed]) -> Computed:
    job.check()
    return work(job)


def _retrieve(waiting: "asyncio.Future[Any]") -> None:
    """Take the exception of a computation that nobody waits for, or asyncio would print it."""
    if not waiting.cancelled():
        waiting.exception()
