"""The worker: shared computations, kept results, and work that nobody waits for."""

import asyncio
import threading

import pytest

from convlens.explorer.worker import StoppedError, Worker


@pytest.fixture
def worker():
    running = Worker(max_results=2)
    yield running
    running.close()


def test_equal_requests_share_one_computation(worker):
    runs = []

    async def ask():
        return await asyncio.gather(
            *(worker.compute("a", lambda _: runs.append(1)) for _ in range(9))
        )

    asyncio.run(ask())
    assert len(runs) == 1


def test_the_least_recently_used_result_is_dropped(worker):
    computed = []

    async def ask():
        for key in ("a", "b", "a", "c", "a", "b"):
            await worker.compute(key, lambda _, key=key: computed.append(key))

    asyncio.run(ask())
    assert computed == ["a", "b", "c", "b"]


def test_an_error_is_raised_and_not_kept(worker):
    def fail(_):
        raise ValueError("no")

    async def ask():
        with pytest.raises(ValueError, match="no"):
            await worker.compute("a", fail)
        return await worker.compute("a", lambda _: "again")

    assert asyncio.run(ask()) == "again"


def test_what_nobody_waits_for_stops_and_the_queue_goes_on(worker):
    started, ended = threading.Event(), threading.Event()

    def long(job):
        started.set()
        job.stopped.wait(5)
        ended.set()
        job.check()

    async def ask():
        running = asyncio.ensure_future(worker.compute("long", long))
        queued = asyncio.ensure_future(worker.compute("queued", lambda _: ran.append("queued")))
        await asyncio.to_thread(started.wait, 5)
        running.cancel()
        queued.cancel()
        return await worker.compute("next", lambda _: "next")

    ran: list[str] = []
    assert asyncio.run(ask()) == "next"
    assert ended.is_set()
    assert ran == []


def test_one_request_that_goes_away_does_not_stop_the_other(worker):
    started, go_on = threading.Event(), threading.Event()

    def work(job):
        started.set()
        go_on.wait(5)
        job.check()
        return "done"

    async def ask():
        first = asyncio.ensure_future(worker.compute("a", work))
        second = asyncio.ensure_future(worker.compute("a", work))
        await asyncio.to_thread(started.wait, 5)
        first.cancel()
        await asyncio.sleep(0)
        go_on.set()
        return await second

    assert asyncio.run(ask()) == "done"


def test_a_stopped_computation_raises_in_its_thread(worker):
    raised = []

    def work(job):
        job.stopped.wait(5)
        try:
            job.check()
        except StoppedError:
            raised.append(True)
            raise

    async def ask():
        request = asyncio.ensure_future(worker.compute("a", work))
        await asyncio.sleep(0.05)
        request.cancel()
        await worker.compute("b", lambda _: None)

    asyncio.run(ask())
    assert raised == [True]
