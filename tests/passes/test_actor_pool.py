"""The actors of a pass, with a stand-in for Ray that chooses the order of the answers."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from convlens.passes.ray.actor_pool import ActorPool
from convlens.passes.ray.batch_actor import library_versions


class Call:
    """A pending call with its answer."""

    def __init__(self, answer):
        self.answer = answer


class Handle:
    """An actor that holds the batches of the blocks that it was given."""

    def __init__(self) -> None:
        self.spans: dict[int, int] = {}
        self.open = SimpleNamespace(remote=lambda *_: Call(library_versions()))
        self.process_batches = SimpleNamespace(remote=self._process)
        self.hand_over = SimpleNamespace(remote=self._hand_over)
        self.handovers = 0

    def _process(self, block):
        self.spans |= block
        return Call({start: (stop, {}) for start, stop in block.items()})

    def _hand_over(self):
        self.handovers += 1
        assert self.handovers < 10, "the pool asks for a state that it already has"
        spans, self.spans = self.spans, {}
        return Call((spans, {}, {"images": np.array(len(spans))}))


class LastFirst:
    """Ray, in which the latest call is answered first."""

    exceptions = SimpleNamespace(RayActorError=OSError, RayTaskError=OSError, RayError=OSError)

    def __init__(self):
        self.handle = Handle()

    def remote(self, _):
        options = SimpleNamespace(remote=lambda: self.handle)
        return SimpleNamespace(options=lambda **_: options)

    def wait(self, calls, *, num_returns, timeout):
        return calls[-1:], calls[:-1]

    def get(self, call):
        return call.answer

    def kill(self, _):
        pass


def test_a_state_that_arrives_before_the_answers_of_its_batches_is_asked_for_once():
    ray = LastFirst()
    plan: Any = SimpleNamespace(actors=1, cpus=1, gpus=0, threads=1, count_that_fit=lambda _: 1)
    pool = ActorPool(
        ray, None, plan, "cpu",
        handover_interval=1, check_skipped=lambda _: None, should_stop=lambda: False,
    )  # fmt: skip
    results = [
        result
        for start in range(0, 8, 2)
        for result in pool.submit({start: start + 2})
        if result is not None
    ]
    results += [result for result in pool.drain() if result is not None]
    assert sorted(start for result in results for start in result.spans) == [0, 2, 4, 6]
    assert pool.held == 0
