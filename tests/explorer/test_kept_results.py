"""Results that the worker keeps in memory, and what happens after it is closed."""

import asyncio
import threading
from dataclasses import dataclass

import pytest
import torch

from convlens.explorer.worker import StoppedError, Worker, count_bytes
from support.explorers import run, save_photos, small_model

KIB = 1024  # bytes; 256 numbers of float32


@dataclass
class Maps:
    maps: torch.Tensor
    parts: tuple[dict[str, torch.Tensor], ...]


def compute_all(worker, keys, size):
    """The keys whose results are computed, where each result has `size` bytes."""
    computed = []

    def work_for(key):
        def work(_):
            computed.append(key)
            return torch.zeros(size // 4)

        return work

    async def ask():
        for key in keys:
            await worker.compute(key, work_for(key))

    asyncio.run(ask())
    return computed


@pytest.mark.parametrize(
    ("limits", "size"),
    [({"max_results": 3}, 4), ({"max_bytes": 3 * KIB}, KIB), ({"max_bytes": 4 * KIB - 1}, KIB)],
)
def test_the_latest_results_are_kept_within_the_limits(limits, size):
    worker = Worker(**limits)
    compute_all(worker, range(20), size)
    assert compute_all(worker, [19, 18, 17], size) == []
    assert compute_all(worker, [16], size) == [16]
    assert compute_all(worker, [18, 17], size) == []  # 19, used least recently, made room
    assert compute_all(worker, [19], size) == [19]
    worker.close()


def test_a_result_above_the_limit_is_kept_until_the_next_one():
    worker = Worker(max_bytes=KIB)
    assert compute_all(worker, ["large", "large"], 4 * KIB) == ["large"]
    assert compute_all(worker, ["next", "next", "large"], 4 * KIB) == ["next", "large"]
    worker.close()


def test_bytes_of_a_result_are_those_of_the_memory_that_it_keeps_alive():
    maps = torch.zeros(256)
    result = Maps(maps, ({"first": maps[:10], "other": torch.zeros(512, dtype=torch.uint8)},))
    assert count_bytes((result, [result], "text", None)) == KIB + 512


def test_a_closed_worker_refuses_what_waits_and_what_is_new():
    worker = Worker()
    started, go_on = threading.Event(), threading.Event()

    def first(_):
        started.set()
        go_on.wait(5)
        return "done"

    async def ask():
        running = asyncio.ensure_future(worker.compute("running", first))
        queued = asyncio.ensure_future(worker.compute("queued", lambda _: "queued"))
        await asyncio.to_thread(started.wait, 5)
        worker.close()
        go_on.set()
        answers = await asyncio.gather(running, queued, return_exceptions=True)
        with pytest.raises(StoppedError):
            await worker.compute("new", lambda _: "new")
        return answers, await worker.compute("running", first)

    (done, queued), repeated = asyncio.run(ask())
    assert (done, repeated) == ("done", "done")
    assert isinstance(queued, StoppedError)


def test_pages_of_a_stopped_explorer_say_so(tmp_path):
    running = run(small_model(), save_photos(tmp_path))
    running.get("/")
    running.session.worker.close()
    answer = running.client.get(f"/photo/{running.keys[0]}?overlay=gradcam&class=1")
    assert (answer.status_code, "has been stopped" in answer.text) == (503, True)
    assert "cat.png" in running.get("/")  # which is kept
